"""`run_export`: a run's model as a folder for transformers, or as ONNX."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from glue_lit.data.window_settings import parse_windows
from glue_lit.errors import GlueLitError
from glue_lit.outputs import onnx_export as onnx_format
from glue_lit.outputs.hugging_face import (
    Trained,
    load_trained,
    record_settings,
    replace_folder,
    score,
    torch_logits,
    write_model,
    write_tokenizer,
)
from glue_lit.outputs.input_record import describe_inputs, describe_output
from glue_lit.outputs.model_card import model_card
from glue_lit.runs.run import Run
from glue_lit.system.files import write_text


@dataclass(frozen=True)
class ExportResult:
    """An export.

    Attributes:
        folder: Its folder.
        files: Names of the files in it.
        measured: Figures measured for an ONNX model, by title.
        card: Makes the model card, given the name of the folder or repository.
    """

    folder: Path
    files: tuple[str, ...]
    measured: dict[str, str]
    card: Callable[[str], str]


def run_export(
    checkpoint: Path,
    run: Run | None,
    output: Path,
    form: Literal["transformers", "onnx"] = "transformers",
    quantize: Literal["int8"] | None = None,
    overwrite: bool = False,
    trust_remote_code: bool = False,
    name_or_path: str | None = None,
) -> ExportResult:
    """Write the model of a checkpoint into a folder, with its tokenizer and a model card.

    Args:
        checkpoint: The checkpoint file.
        run: Its run, if any; the card quotes its record.
        output: The folder, written whole or not at all.
        form: The format.
        quantize: Store the weights of an ONNX model in 8 bits.
        overwrite: Replace an earlier export in the folder.
        trust_remote_code: Run code that comes with the model.
        name_or_path: Where the base model of a checkpoint's adapters is now; ``None`` for its place in the training.

    Raises:
        GlueLitError: The checkpoint cannot be read, the model does not support the format, or the folder cannot be
            written.
    """
    trained = load_trained(checkpoint, run, trust_remote_code, name_or_path=name_or_path)
    is_onnx = form == "onnx"
    with replace_folder(output, overwrite) as folder:
        measured = _write_onnx(trained, folder, quantize) if is_onnx else {}
        if not is_onnx:
            write_model(trained, folder)
        windows = parse_windows(trained.classifier.hparams["windows"])
        kind: dict[str, Any] = {"is_onnx": is_onnx, "has_code": any(folder.glob("*.py")), "windows": windows}
        inputs = describe_inputs(trained.task, trained.tokenizer, trained.max_length, trained.truncation)
        inputs += describe_output(trained.task)

        def card(name: str) -> str:
            return model_card(trained.task, trained.max_length, trained.record, measured, name, inputs, **kind)

        write_text(folder / "README.md", card(output.resolve().name))
        files = tuple(sorted(path.name for path in folder.iterdir()))
    return ExportResult(output, files, measured, card)


def _write_onnx(trained: Trained, folder: Path, quantize: str | None) -> dict[str, str]:
    """Write ONNX, tokenizer and configuration; return the measured figures."""
    path = folder / onnx_format.NAME
    notes = {"Largest difference to PyTorch's logits, 32-bit weights": f"{onnx_format.write_onnx(trained, path):.2g}"}
    config = trained.classifier.model.config
    record_settings(trained, config)
    config.save_pretrained(folder)
    write_tokenizer(trained, folder)
    if quantize is None:
        return notes
    size = path.stat().st_size
    onnx_format.quantize(path)
    notes["Size with 8-bit weights"] = f"{path.stat().st_size / 2**20:.1f} MiB instead of {size / 2**20:.1f}"
    sides = {"PyTorch": torch_logits(trained), "int8": onnx_format.onnx_logits(path)}
    try:
        scores = score(trained, sides)
    except GlueLitError as error:
        notes["Scores with 8-bit weights"] = f"not measured, since the validation rows cannot be used: {error}"
        return notes
    for name, value in scores["PyTorch"].items():
        notes[f"{trained.task.monitored_split}, {name}"] = f"{value:.4f}, with 8-bit weights {scores['int8'][name]:.4f}"
    return notes
