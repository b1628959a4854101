"""What this machine can do: the precision that it computes fastest in, and memory that is kept once it was used."""

import ctypes
import os
import sys

import torch

_TRIM, _TOP_PAD, _MMAP = -1, -2, -3  # of mallopt, in glibc's malloc.h


def fast_precision(accelerator: str) -> str:
    """The precision to train in on this machine, as `trainer.precision` names it.

    bfloat16 where there are instructions for it (weights, their updates, norms and losses stay in float32),
    else float32. Never float16, which needs its loss scaled.

    Args:
        accelerator: The trainer's: ``auto``, ``cpu``, ``gpu``, ``cuda`` ...
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available()):
        found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # torch 2.10
        return "bf16-mixed" if any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16")) else "32-true"
    return "32-true"


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed, so that the next step need not ask the system for it again.

    A training step frees all its activations and gradients. glibc hands large blocks back, and the system
    clears every page before it gives it out again: on two cores that took a fifth of a step's time. The
    peak stays what it was. Nothing is done where the user has set ``MALLOC_...`` variables.

    Returns:
        Whether it was done: only glibc can.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    done = [mallopt(_MMAP, 1 << 30), mallopt(_TRIM, 2**31 - 1), mallopt(_TOP_PAD, 64 << 20)]
    return all(done)
