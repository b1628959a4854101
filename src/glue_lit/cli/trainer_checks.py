"""Checks of Trainer settings that Lightning accepts, but then fails, hangs or trains wrongly with."""

import os
import re
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator

from glue_lit.errors import UsageError
from glue_lit.training.processes import check_strategy_setting

_MOST = 2**31 - 1
_LEAST = {"accumulate_grad_batches": 1, "check_val_every_n_epoch": 1, "gradient_clip_val": 0}
_LARGEST_SEED = 2**32 - 1  # numpy's


def check_name(name: str | None) -> None:
    """Stop at a name that no table can show.

    Raises:
        UsageError: It is empty, longer than 100 characters, or has control characters.
    """
    if name is not None and not (name.strip() and len(name) <= 100 and name.isprintable()):
        raise UsageError(f"--name: got {name[:100]!r}, allowed: 1 to 100 printable characters, on one line.")


def check_seed(seed: Any) -> None:
    """Stop at a seed that NumPy does not accept.

    Raises:
        UsageError: It is out of range.
    """
    if not isinstance(seed, bool) and seed is not None and not 0 <= seed <= _LARGEST_SEED:
        raise UsageError(f"seed_everything: got {seed}, allowed: 0 to {_LARGEST_SEED}.")


def check_trainer(values: Mapping[str, Any], is_fit: bool) -> None:
    """Stop at a setting of the Trainer that does not work.

    Args:
        values: The settings below ``trainer``.
        is_fit: Whether to check also the settings of training.

    Raises:
        UsageError: A setting is out of its range, or the strategy is not tested.
    """
    _check_processes(values)
    if not is_fit:
        return
    for name, least in _LEAST.items():
        value = values.get(name)
        if value is not None and not least <= value <= _MOST:
            raise UsageError(f"trainer.{name}: got {value}, allowed: {least} to {_MOST}.")
    if values.get("max_steps") == 0:
        raise UsageError("trainer.max_steps: got 0, which trains nothing; allowed: 1 or more, or -1 for no limit.")
    if isinstance(limit := values.get("max_time"), str) and not re.fullmatch(r"\d+:\d\d:\d\d:\d\d", limit):
        raise UsageError(
            f"trainer.max_time: got {limit!r}, allowed: days:hours:minutes:seconds in two digits each: 00:02:00:00."
        )
    if values.get("val_check_interval") in (0, 0.0):
        raise UsageError(
            "trainer.val_check_interval: got 0, allowed: a number of batches from 1 up, or above 0 and up to 1 for a "
            "share of the epoch. `--trainer.limit_val_batches 0` turns validation off."
        )
    if values.get("overfit_batches"):
        raise UsageError(
            f"trainer.overfit_batches: got {values['overfit_batches']}, which would make batches of one row, the same "
            "on every device. `--data.train_limit N` trains on N rows."
        )
    if values.get("max_epochs") == -1 and (values.get("max_steps") or -1) < 0:
        raise UsageError(
            "trainer.max_epochs: got -1 (no limit), but the learning rate schedule needs an end. Give a number of "
            "epochs, or add `--trainer.max_steps N`."
        )


def _check_processes(values: Mapping[str, Any]) -> None:
    strategy, devices = values.get("strategy"), values.get("devices")
    check_strategy_setting(strategy)
    if values.get("accelerator") == "gpu" and not (CUDAAccelerator.is_available() or MPSAccelerator.is_available()):
        raise UsageError(
            f"trainer.accelerator: got gpu, but PyTorch {torch.__version__} sees no GPU on this machine. Allowed here: "
            "auto, cpu. If it has one, install the build of torch for its driver: https://pytorch.org/get-started."
        )
    most = max(16, 4 * (os.cpu_count() or 1))
    written = str(devices).strip()
    if values.get("accelerator") == "cpu" and written.isdigit() and int(written) > most:
        raise UsageError(
            f"trainer.devices: got {written}, allowed on this machine's CPU: 1 to {most}. Each is a process with its "
            "own copy of the model."
        )
