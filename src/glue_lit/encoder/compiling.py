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


def check_can_compile(device: torch.device) -> None:
    """Refuse to compile on a machine where torch cannot.

    Raises:
        ModelError: It cannot compile for the device.
    """
    if (reason := why_not_here(device)) is not None:
        raise ModelError(
            f"model.compile: got true, but torch cannot compile for {device.type} on this machine. It needs a C++ "
            "compiler (g++), and on a GPU the package triton. Install what is missing, or leave model.compile out. "
            f"torch said: {reason}"
        )


def in_short(error: BaseException) -> str:
    """The first line of an error of the compiler, or of the error that it wraps."""
    inner = getattr(error, "inner_exception", error)
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    return f"{type(inner).__name__}: {lines[0] if lines else ''}"[:300]


def why_not_compiled(model: Any) -> str | None:
    """The reason why a Hugging Face model is not compiled; ``None`` if it can be."""
    return _NOT_COMPILED.get(model.config.model_type)


def check_can_be_compiled(model: Any) -> None:
    """Refuse a Hugging Face model that is never compiled.

    Raises:
        ModelError: torch's compiler does not work for its architecture.
    """
    if (reason := why_not_compiled(model)) is not None:
        raise refusal(model, reason)


def refusal(model: Any, reason: str) -> ModelError:
    """The error for a model that is to be compiled and cannot be."""
    return ModelError(
        f"model.compile: got true, but a model of the architecture {model.config.model_type} cannot be compiled: "
        f"{reason}. Leave model.compile out."
    )


def compile_in_place(model: Any) -> None:
    """Let a Hugging Face model run compiled in training, for any number of rows and any length.

    Its modules and parameters, and so the keys of its checkpoints, stay as they are.
    """
    model.compile(dynamic=True, backend=BACKEND)


def run_plain(model: Any) -> None:
    """Let a compiled model run as it is written again."""
    model._compiled_call_impl = None


def is_compiled(model: Any) -> bool:
    """Whether a model runs compiled in training."""
    return getattr(model, "_compiled_call_impl", None) is not None


def compiled_for(model: Any, rows: int) -> AbstractContextManager[Any]:
    """A context in which a compiled model runs a batch of so many rows plain, where that is better.

    Evaluation is plain, so that a fit and a later command give the same scores. So are batches of one row, for which
    torch would compile everything once more.
    """
    if not is_compiled(model) or (model.training and rows > 1):
        return nullcontext()
    plain: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return plain
