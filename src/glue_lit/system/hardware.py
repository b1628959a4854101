"""Settings for this machine: its fastest precision, and an allocator that keeps freed memory."""

import ctypes
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import torch

_TRIM, _TOP_PAD, _MMAP = -1, -2, -3  # of mallopt, in glibc's malloc.h


def fast_precision(accelerator: str) -> str:
    """The fastest safe `trainer.precision` on this machine.

    ``bf16-mixed`` if the device has instructions for bfloat16 (weights, updates, norms and losses stay in float32),
    else ``32-true``. Never float16, which needs loss scaling.

    Args:
        accelerator: The trainer's accelerator: ``auto``, ``cpu``, ``gpu``, ``cuda`` ...
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available()):
        found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # torch 2.10
        return "bf16-mixed" if any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16")) else "32-true"
    return "32-true"


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next step.

    A training step frees all its activations and gradients. By default glibc returns large blocks to the system, which
    clears every page before reuse: on two cores this took a fifth of a step's time. Peak memory stays the same. Nothing
    changes if the user has set ``MALLOC_...`` variables.

    Returns:
        Whether it was done; only glibc can do it.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    done = [mallopt(_MMAP, 1 << 30), mallopt(_TRIM, 2**31 - 1), mallopt(_TOP_PAD, 64 << 20)]
    return all(done)


def return_freed_memory() -> None:
    """Give the memory that has been freed so far back to the system, which `keep_freed_memory` prevents."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)


def available_memory() -> int | None:
    """Bytes that new processes can use without swapping, also within a container's limit; ``None`` if unknown."""
    found = []
    with suppress(OSError):
        lines = re.findall(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        found += [int(line) * 1024 for line in lines]
    with suppress(OSError, ValueError):  # of cgroups v2, "max" without a limit
        limit, used = (int(Path("/sys/fs/cgroup", f"memory.{name}").read_text()) for name in ("max", "current"))
        found.append(limit - used + _cached_files())
    return min(found, default=None)


def _cached_files() -> int:
    """Bytes of files that count as used in a container, and that the system drops when it needs the memory."""
    with suppress(OSError):
        lines = re.findall(r"^inactive_file (\d+)$", Path("/sys/fs/cgroup/memory.stat").read_text(), re.MULTILINE)
        return sum(map(int, lines))
    return 0


def free_memory_of(device: torch.device) -> int | None:
    """Bytes of an accelerator's own memory that no process uses; ``None`` if its backend does not tell."""
    find = getattr(getattr(torch, device.type, None), "mem_get_info", None)
    return None if find is None else int(find(device)[0])
