"""The learning rate over the steps of a fit: a warm-up, then one of the schedules."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from glue_lit.errors import UsageError
from glue_lit.runs.settings import SHARE, Allowed, above, at_least, check_values, count, one_of

Schedule = Literal["linear", "cosine", "constant", "polynomial", "cosine_with_restarts", "warmup_stable_decay"]
Options = dict[str, int | float | str]

_SHAPES = one_of(Literal["linear", "cosine", "1-sqrt"])
_OPTIONS: dict[str, dict[str, Allowed]] = {
    "polynomial": {"power": above(0), "lr_end": at_least(0)},
    "cosine_with_restarts": {"num_cycles": count(1)},
    "warmup_stable_decay": {
        "num_decay_steps": above(0),
        "decay_type": _SHAPES,
        "warmup_type": _SHAPES,
        "min_lr_ratio": SHARE,
    },
}


def check_schedule(hparams: Mapping[str, Any]) -> None:
    """Stop at options that do not fit the schedule.

    Args:
        hparams: ``schedule``, ``schedule_options`` and ``learning_rate``.

    Raises:
        UsageError: An option is unknown, missing or out of range.
    """
    schedule, options = hparams["schedule"], hparams["schedule_options"] or {}
    allowed = _OPTIONS.get(schedule, {})
    if unknown := [name for name in options if name not in allowed]:
        raise UsageError(
            f"model.schedule_options: got {', '.join(unknown)}, allowed with the schedule {schedule}: "
            f"{', '.join(allowed) or 'none'}."
        )
    check_values("model.schedule_options", allowed, options)
    if schedule == "warmup_stable_decay" and options.get("num_decay_steps") is None:
        raise UsageError(
            "model.schedule_options: the schedule warmup_stable_decay needs num_decay_steps, a fraction of all steps "
            "if below 1, else a number of steps: `--model.schedule_options.num_decay_steps 0.1`."
        )
    if schedule == "polynomial" and hparams["learning_rate"] <= (end := options.get("lr_end", 1e-7)):
        raise UsageError(
            f"model.schedule_options.lr_end: got {end}, allowed: below model.learning_rate, which is "
            f"{hparams['learning_rate']}."
        )


def warmup_steps(warmup: float, total: int) -> int:
    """Steps of warm-up: ``warmup`` itself, or if below 1 that fraction of ``total``, rounded up."""
    return int(warmup) if warmup >= 1 else math.ceil(warmup * total)


def build_schedule(
    optimizer: Optimizer, schedule: Schedule, warmup: int, total: int, options: Mapping[str, Any] | None = None
) -> LambdaLR:
    """The schedule of `transformers.get_scheduler`; ``constant`` is its ``constant_with_warmup``.

    The usual ones are computed here: importing transformers' schedules takes a second and 50 MiB, since its trainer and
    peft come with them, and its cosine differs in the last bit of some steps, and rises again after its end.

    Args:
        optimizer: Has the peak learning rates.
        schedule: Name of the schedule.
        warmup: Steps of warm-up.
        total: Steps of the fit.
        options: Options of the schedule; ``num_decay_steps`` below 1 is a fraction of ``total``, rounded down.

    Raises:
        UsageError: Warm-up and decay together are longer than the fit.
    """
    if schedule in ("linear", "cosine", "constant"):
        return LambdaLR(optimizer, partial(_factor, schedule=schedule, warmup=warmup, total=total))
    from transformers import get_scheduler

    given = dict(options or {})
    if schedule == "warmup_stable_decay":
        decay = given["num_decay_steps"]
        given["num_decay_steps"] = decay = int(decay if decay >= 1 else decay * total)
        if warmup + decay > total:
            raise UsageError(
                f"model.schedule_options.num_decay_steps: got {decay} steps and a warm-up of {warmup}, allowed: "
                f"together at most the {total} steps of this fit."
            )
    if schedule == "polynomial":
        total = max(total, warmup + 1)  # it divides by the steps after the warm-up
    found: LambdaLR = get_scheduler(schedule, optimizer, warmup, total, given)
    return found


def _factor(step: int, schedule: Schedule, warmup: int, total: int) -> float:
    """The share of the peak learning rate after so many steps."""
    if step < warmup:
        return step / max(1, warmup)
    if schedule == "constant":
        return 1.0
    left = max(0.0, (total - step) / max(1, total - warmup))
    return left if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * (1.0 - left)))
