"""Leave linear layers in the files until it is known which of them are frozen, and read those in half precision.

In float32 a model takes twice the memory of its half, which is all that a fit with frozen layers needs.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from glue_lit.encoder.heads import head_of

Waiting = dict[nn.Parameter, Callable[[], Tensor]]
_WAITING: ContextVar[Waiting | None] = ContextVar("waiting", default=None)
Loaded = tuple[Any, dict[str, Any]]


@contextmanager
def linear_layers_wait(is_wanted: bool) -> Iterator[Waiting]:
    """Let models that are loaded in the block have linear layers without values: all of them but the head.

    Yields:
        A function for each of their parameters that reads its values; whoever asked for it reads all of them.
    """
    waiting: Waiting = {}
    token = _WAITING.set(waiting if is_wanted else None)
    try:
        yield waiting
    finally:
        _WAITING.reset(token)


def load_waiting(files: list[Path], load: Callable[[dict[str, Tensor]], Loaded]) -> Loaded | None:
    """Load a model in float32 whose linear layers wait, if that is wanted and possible; ``None`` otherwise.

    transformers gets the names and shapes of all weights, and makes new weights and their random numbers as always.

    Args:
        files: The files of the weights.
        load: Makes the model of its state; returns it with transformers' report.
    """
    waiting = _WAITING.get()
    if waiting is None or not files or any(file.suffix != ".safetensors" for file in files):
        return None
    before = torch.get_rng_state()
    try:
        state, readers = _placeholders(files)
        model, loaded = load(state)
        sources = _sources(model, loaded, {value.untyped_storage().data_ptr(): name for name, value in state.items()})
    except Exception:  # loading them as usual explains what is wrong
        sources = None
    if sources is None:
        torch.set_rng_state(before)
        return None
    kept = _waiting_parameters(model)
    for tensor, name in sources.items():
        if tensor in kept:
            waiting[tensor] = readers[name]
        else:
            tensor.data = readers[name]().to(tensor.dtype, copy=True)
    return model, loaded


def _placeholders(files: list[Path]) -> tuple[dict[str, Tensor], dict[str, Callable[[], Tensor]]]:
    """For each weight in the files a tensor of its shape that takes no memory, and a function that reads it."""
    from safetensors import safe_open

    state: dict[str, Tensor] = {}
    readers: dict[str, Callable[[], Tensor]] = {}

    def reader(file: Path, name: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            with safe_open(file, "pt") as opened:
                value: Tensor = opened.get_tensor(name)
                return value

        return read

    for file in files:
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                readers[name] = reader(file, name)
                part = opened.get_slice(name)
                is_float = str(part.get_dtype()) in ("F32", "F16", "BF16", "F64")
                state[name] = torch.zeros(()).expand(part.get_shape()) if is_float else readers[name]()
    return state, readers


def _sources(model: Any, loaded: Mapping[str, Any], names: Mapping[int, str]) -> dict[Any, str] | None:
    """The name in the files of each weight of a model; ``None`` if one is computed from those of the files."""
    found: dict[Any, str] = {}
    others = {*loaded["missing_keys"], *(key[0] for key in loaded["mismatched_keys"])}
    prefix = f"{model.base_model_prefix}."
    for name, tensor in model.state_dict(keep_vars=True).items():
        source = names.get(tensor.untyped_storage().data_ptr())
        if source is None and name not in others:
            return None
        if source is not None and tensor not in found:
            if source.removeprefix(prefix) != name.removeprefix(prefix):
                return None
            found[tensor] = source
    return found


def _waiting_parameters(model: Any) -> set[nn.Parameter]:
    head = head_of(model)
    return {
        parameter
        for module in model.modules()
        if is_linear(module) and (head is None or module is not head[2])
        for parameter in module.parameters(recurse=False)
        if parameter.is_floating_point()
    }


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer, GPT-2's own kind included."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
