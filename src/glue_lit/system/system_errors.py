"""Explain errors of the operating system (disk, memory, limits) that a library passes on, and what to do."""

import errno
import os
from collections.abc import Iterator

from glue_lit.errors import GlueLitError

# Bytes of address space that the libraries need without a model: 917 MB with the CPU build of torch 2.13, more with
# CUDA. With less they crash in various ways, or loop forever (OpenBLAS).
_LEAST_MEMORY = 1_000_000_000

_TO_DO = {
    errno.ENOSPC: "Make room, or choose another place",
    errno.EDQUOT: "Make room, or choose another place",
    errno.EFBIG: "Choose another place, or raise the limit (`ulimit -f`)",
    errno.EROFS: "It is mounted read-only: choose another place",
    errno.EACCES: "Choose another place, or change who may write there",
    errno.EPERM: "Choose another place, or change who may write there",
    errno.EIO: "The disk or the network behind it has failed: choose another place",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n`)",
    errno.ENAMETOOLONG: "Use a shorter name",
    errno.ELOOP: "A link points to itself: remove it or name another file",
}
_PLACES = (
    "runs are below `--trainer.default_root_dir`, tokens below `--data.cache_dir` or $GLUE_LIT_CACHE, downloads "
    "below $HF_HOME, temporary files below $TMPDIR."
)
_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc")
_CLEANUP_ERROR = "Please call `iter(combined_loader)` first"
_SHARED = ("shared memory", "/torch_", "/dev/shm", "bus error")


def check_memory_limit() -> None:
    """Refuse a memory limit that the imports would exceed, before they start.

    Raises:
        GlueLitError: The address space (`ulimit -v`) is smaller than the libraries need.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _LEAST_MEMORY:
        raise GlueLitError(
            f"There is not enough memory: its limit (`ulimit -v`) is {limit // 10**6} MB, and torch and the other "
            f"libraries need {_LEAST_MEMORY // 10**6} MB before a model is loaded. Raise the limit, or remove it "
            "(`ulimit -v unlimited`)."
        )


def explain_system_error(error: BaseException) -> str | None:
    """Explain an error of the operating system in one line; ``None`` for any other error.

    The error's causes are searched too, since a library that cleans up after an error often fails again.
    """
    for cause in error_chain(error):
        text = " ".join(str(cause).split())[:300]
        if isinstance(cause, OSError | RuntimeError) and (
            any(word in text.lower() for word in _SHARED) or _is_of_multiprocessing(cause)
        ):
            return _explain_shared_memory(text)
        if type(cause).__name__ == "OutOfMemoryError" or text.startswith("MPS backend out of memory"):
            return (
                f"The GPU's memory is full ({text}). Training takes less with `--model.split_batches true` (a batch "
                "that does not fit is computed in parts, with the same result) or `--model.gradient_checkpointing "
                "true`, an evaluation with a smaller `--data.eval_batch_size`, both with a smaller `--data.max_length`."
            )
        if isinstance(cause, MemoryError) or any(word in text.lower() for word in _MEMORY):
            return (
                f"There was not enough memory{f' ({text})' if text else ''}. Lower `--data.batch_size` "
                "(and raise `--trainer.accumulate_grad_batches`), `--data.eval_batch_size` or `--data.max_length`, or "
                "use a smaller model; `ulimit -v` or a container may set the limit."
            )
        if isinstance(cause, OSError) and cause.errno in _TO_DO:
            at = "" if cause.filename is None else f" {str(cause.filename)[:200]}"
            return f"Cannot write or open{at} ({os.strerror(cause.errno)}). {_TO_DO[cause.errno]}; {_PLACES}"
    return None


def original_error(error: Exception) -> Exception:
    """The error that an error in Lightning's clean-up hides; any other error unchanged."""
    first = error.__context__
    return first if _CLEANUP_ERROR in str(error) and isinstance(first, Exception) else error


def _explain_shared_memory(text: str) -> str:
    return (
        f"Shared memory is full or missing ({text}): the processes of `--data.num_workers` pass batches through it. "
        "Use `--data.num_workers 0`, which is usually faster, or give the container more (`--shm-size 1g`)."
    )


def _is_of_multiprocessing(error: BaseException) -> bool:
    """Whether `multiprocessing` raised the error: its locks are in shared memory, and their errors name no file."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return isinstance(error, OSError) and at is not None and "multiprocessing" in at.tb_frame.f_code.co_filename


def error_chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, the latest first."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__ or at.__context__
