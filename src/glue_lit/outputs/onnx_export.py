"""Export a trained classifier as ONNX, and check it against PyTorch."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from glue_lit.data.batches import Batch
from glue_lit.encoder.limits import PAGE
from glue_lit.errors import ModelError
from glue_lit.outputs.hugging_face import Logits, Trained, example_batches, plain_model

NAME = "model.onnx"
_ALLOWED = 1e-4  # largest difference between two logits


class _Logits(nn.Module):
    """A model with positional inputs that returns only its logits."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def require() -> None:
    """Check that the packages are installed.

    Raises:
        ModelError: One is missing.
    """
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ModelError(f"--format onnx needs {', '.join(missing)}: `pip install 'glue-lit[onnx]'`.")


def write_onnx(trained: Trained, path: Path) -> float:
    """Write the model for any batch size and length; return the largest difference from PyTorch's logits.

    Raises:
        ModelError: It cannot be exported, or the difference is too large.
    """
    batches = example_batches(trained)
    names = [
        name for name in trained.tokenizer.model_input_names if name in trained.classifier.accepted & set(batches[0])
    ]
    module = _Logits(plain_model(trained), names).eval()
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=trained.max_length)
    shapes = (tuple({0: batch, 1: length} for _ in names),)
    example = tuple(batches[0][name] for name in names)
    try:
        with _silence_exporter(), torch.no_grad():
            torch.onnx.export(
                module, example, str(path), input_names=names, output_names=["logits"], dynamo=True,
                dynamic_shapes=shapes, external_data=False, verbose=False,
            )  # fmt: skip
    except Exception as error:  # the exporter's own classes, for operators that ONNX does not have
        raise ModelError(_refusal(trained, "PyTorch's exporter", error)) from error
    _remove_traces(path)
    try:
        return _compare(module, path, batches, names)
    except ModelError:
        raise
    except Exception as error:  # from the model's own code or the runtime
        raise ModelError(_refusal(trained, "With a batch of another shape, the runtime", error)) from error


@contextmanager
def _silence_exporter() -> Iterator[None]:
    """Hide messages for the exporter's developers: deprecated names, whole graphs."""
    before = logging.root.manager.disable
    try:
        logging.disable(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _refusal(trained: Trained, who: str, error: Exception) -> str:
    """The error message for an architecture that cannot be exported, with the library's reason."""
    kind = trained.classifier.model.config.model_type
    cause: BaseException = error
    while cause.__cause__ is not None:  # the exporter wraps it in advice for its developers
        cause = cause.__cause__
    reason = shorten(str(cause), 190, placeholder=" ...") or type(cause).__name__
    return (
        f"--format onnx: a model of the architecture {kind} cannot be exported as ONNX. Export it without --format, as "
        f"a folder for transformers; {PAGE} says which can. {who} said: {reason}"
    )


def _remove_traces(path: Path) -> None:
    """Remove the path on this machine and the line where each operator was traced."""
    import onnx

    model = onnx.load(path)
    for graph in (model.graph, *model.functions):
        for part in (*graph.node, *getattr(graph, "value_info", ()), graph):
            del part.metadata_props[:]
    onnx.save(model, path)


def _compare(module: nn.Module, path: Path, batches: list[Batch], names: list[str]) -> float:
    """The largest difference between the logits over batches of several shapes, some padded."""
    compute = onnx_logits(path)
    largest = 0.0
    for batch in batches:
        with torch.inference_mode():
            expected = module(*(batch[name] for name in names))
        largest = max(largest, float((compute(batch) - expected).abs().max()))
    if not largest <= _ALLOWED:
        raise ModelError(
            f"--format onnx: the export's logits differ from PyTorch's by {largest:.2g}, so it is not kept."
        )
    return largest


def onnx_logits(path: Path) -> Logits:
    """A function that computes logits with an ONNX file on the CPU."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)  # errors are also raised
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = [given.name for given in session.get_inputs()]

    def compute(batch: Mapping[str, Tensor]) -> Tensor:
        (found,) = session.run(None, {name: batch[name].numpy() for name in wanted})
        return torch.from_numpy(found)

    return compute


def quantize(path: Path) -> None:
    """Replace 32-bit weights by 8-bit ones (dynamic quantisation: activations are scaled at inference)."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    # The exporter writes the shapes of weights twice. The quantiser transposes weights, and in onnxruntime 1.20 to 1.28
    # (not 1.32) it fails where the second shape then differs.
    weights = {weight.name for weight in model.graph.initializer}
    shapes = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(shapes)
    root, small = logging.getLogger(), path.with_suffix(".int8")
    level = root.level
    try:
        root.setLevel(logging.ERROR)  # it advises preprocessing that the exporter has already done
        quantize_dynamic(model, str(small), weight_type=QuantType.QInt8)
    finally:
        root.setLevel(level)
    small.replace(path)
