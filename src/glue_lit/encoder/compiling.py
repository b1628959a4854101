"""Compile a model for training with torch's compiler, and find out beforehand whether it works on this machine."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor

from glue_lit.errors import ModelError

BACKEND = "inductor"  # tests also take "eager" and "aot_eager", which need no C++ compiler
GRAPHS = "reduce-overhead"  # torch's name for code whose kernels are launched by CUDA graphs
_NOT_COMPILED = {
    "big_bird": "its attention is another one for each length",
    "bigbird_pegasus": "its attention is another one for each length",
    "reformer": "its backward pass draws the random numbers of the forward pass again",
}


@cache
def why_not_here(device: torch.device) -> str | None:
    """The reason why torch cannot compile for a device, found by compiling a sum; ``None`` if it can."""
    try:
        with ignored_warnings():
            torch.compile(_plus_one, backend=BACKEND)(torch.zeros(8, device=device))
    except Exception as error:  # the compiler's errors have no class in common
        return in_short(error)
    return None


@contextmanager
def ignored_warnings() -> Iterator[None]:
    """Do not show the compiler's warnings, which are about itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _plus_one(numbers: Tensor) -> Tensor:
    return numbers + 1


def is_asked(setting: Any) -> bool:
    """Whether a user asks for compiled code, by ``true`` or by a mode; ``auto`` leaves the choice."""
    return setting not in (False, "auto")


def _words(setting: Any) -> str:
    return str(setting).lower()


def check_can_compile(device: torch.device, setting: Any = True) -> None:
    """Refuse to compile on a machine where torch cannot; ``setting`` is what the user asked for.

    Raises:
        ModelError: It cannot compile for the device.
    """
    if (reason := why_not_here(device)) is not None:
        raise ModelError(
            f"model.compile: got {_words(setting)}, but torch cannot compile for {device.type} on this machine. It "
            "needs a C++ compiler (g++), and on a GPU the package triton. Install what is missing, or leave "
            f"model.compile out. torch said: {reason}"
        )


def in_short(error: BaseException) -> str:
    """The first line of an error of the compiler, or of the error that it wraps."""
    inner = getattr(error, "inner_exception", error)
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    return f"{type(inner).__name__}: {lines[0] if lines else ''}"[:300]


def why_not_compiled(model: Any) -> str | None:
    """The reason why a Hugging Face model is not compiled; ``None`` if it can be."""
    return _NOT_COMPILED.get(model.config.model_type)


def check_can_be_compiled(model: Any, setting: Any = True) -> None:
    """Refuse a Hugging Face model that is never compiled; ``setting`` is what the user asked for.

    Raises:
        ModelError: torch's compiler does not work for its architecture.
    """
    if (reason := why_not_compiled(model)) is not None:
        raise refusal(model, reason, setting)


def refusal(model: Any, reason: str, setting: Any = True) -> ModelError:
    """The error for a model that is to be compiled and cannot be."""
    return ModelError(
        f"model.compile: got {_words(setting)}, but a model of the architecture {model.config.model_type} cannot be "
        f"compiled: {reason}. Leave model.compile out."
    )


def compile_in_place(model: Any, graph_rows: int | None = None) -> None:
    """Let a Hugging Face model run compiled in training, for any number of rows and any length.

    Its modules and parameters, and so the keys of its checkpoints, stay as they are.

    Args:
        model: The model.
        graph_rows: Rows of a batch of which CUDA graphs are recorded, one for each length: the code is compiled once.
            Batches of another number run plain. ``None`` for no graphs.
    """
    model.graph_rows = graph_rows
    model.compile(dynamic=True, backend=BACKEND, mode=None if graph_rows is None else GRAPHS)


def run_plain(model: Any) -> None:
    """Let a compiled model run as it is written again."""
    model._compiled_call_impl = None


def is_compiled(model: Any) -> bool:
    """Whether a model runs compiled in training."""
    return getattr(model, "_compiled_call_impl", None) is not None


def compiled_for(model: Any, rows: int) -> AbstractContextManager[Any]:
    """A context in which a compiled model runs a batch of so many rows plain, where that is better.

    Evaluation is plain, so that a fit and a later command give the same scores. So are batches of one row, for which
    torch would compile everything once more, and the last batch of an epoch where CUDA graphs are recorded.
    """
    if not is_compiled(model):
        return nullcontext()
    if model.training and model.graph_rows is not None and rows == model.graph_rows:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # the last batch's results are used up
        return nullcontext()
    if model.training and model.graph_rows is None and rows > 1:
        return nullcontext()
    plain: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return plain
