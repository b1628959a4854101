"""`glue-lit` with one fault: ``FAULT=where:count:what:rank python tests/faulty.py fit ...``.

When process ``rank`` reaches ``where`` for the ``count``th time, it gets the signal ``what``, or raises an exception if
that is ``raise``. The fault tests start it; Lightning starts the other processes of a DDP run from the same line.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any


def happen(what: str) -> None:
    if what == "raise":
        raise ValueError("a fault, made on purpose")
    os.kill(os.getpid(), signal.Signals[what])
    if what == "SIGKILL":
        threading.Event().wait()  # nothing comes after it


def before(owner: Any, name: str, count: int, what: str, half_way: Callable[..., None] | None = None) -> None:
    """Trigger the fault before the ``count``th call of ``owner.name``, or half-way through it."""
    original, calls = getattr(owner, name), [0]

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == count:
            if half_way is not None:
                half_way(*args)
            happen(what)
        return original(*args, **kwargs)

    setattr(owner, name, wrapper)


def half_a_file(checkpoint: Any, file: Any) -> None:
    file.write(b"PK" + bytes(5000))
    file.flush()


def arm(where: str, count: int, what: str) -> None:
    import torch

    from glue_lit.runs import checkpoints
    from glue_lit.training import classifier as model
    from glue_lit.training import fitting
    from glue_lit.training.callbacks import checkpoints as keepers

    if where == "writing":  # of a checkpoint: its first bytes are on the disk
        before(checkpoints.torch, "save", count, what, half_a_file)
    elif where == "renaming":  # of any file: all its bytes are on the disk, under another name
        before(os, "replace", count, what)
    elif where == "updating":
        before(torch.optim.AdamW, "step", count, what)
    elif where == "training":
        before(model.SequenceClassifier, "training_step", count, what)
    elif where == "backward":
        before(torch.Tensor, "backward", count, what)
    elif where == "validation":
        before(model.SequenceClassifier, "validation_step", count, what)
    elif where == "validated":
        before(keepers.BestCheckpoint, "on_validation_end", count, what)
    elif where == "epoch":
        before(keepers.LastCheckpoint, "on_train_epoch_end", count, what)
    elif where == "final":
        before(fitting, "write_json", count, what)
    else:
        raise SystemExit(f"no place {where}")


def main() -> None:
    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    fault = os.environ.get("FAULT", "")
    if fault:
        where, count, what, rank = fault.split(":")
        if os.environ.get("LOCAL_RANK", "0") == rank:
            arm(where, int(count), what)
    from glue_lit.__main__ import main as glue_lit

    glue_lit()


if __name__ == "__main__":
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]
    main()
