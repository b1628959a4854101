"""What decides which examples a training batch holds, so that a fit resumes within an epoch only if it is the same."""

from collections.abc import Mapping
from typing import Any

from glue_lit.data.accumulation import accumulation_schedule
from glue_lit.data.sampling import rank_and_world
from glue_lit.data.shots import order_seed
from glue_lit.data.splits import TaskSplits
from glue_lit.errors import RunError

_NAMES = (
    "batch_size", "group_by_length", "tokens_per_batch", "train_limit", "shots", "both_orders", "pad_to_multiple_of",
    "windows",
)  # fmt: skip


def batch_settings(settings: Any, splits: TaskSplits, trainer: Any) -> dict[str, Any]:
    """All that decides which examples a training batch holds, by its name in a message.

    Args:
        settings: The hyperparameters of `GLUEDataModule`.
        splits: Its splits.
        trainer: Its trainer, if it has one.
    """
    schedule, batches = (accumulation_schedule(trainer), trainer.accumulate_grad_batches) if trainer else (None, 1)
    is_mixed = settings["tokens_per_batch"] is not None and not settings["group_by_length"]
    return {f"data.{name}": settings[name] for name in _NAMES} | {
        "data.padding_free": is_mixed and settings["padding_free"],  # else the examples are the same
        "data.max_length": splits.max_length,  # the lengths by which examples are grouped
        "the seed of the order": order_seed(settings),
        "training rows": splits.training_rows,
        "devices": rank_and_world(trainer)[1],
        "trainer.accumulate_grad_batches": schedule or batches,
    }


def changed_settings(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """Names of what is not as before; what a checkpoint does not tell counts as unchanged."""
    return [name for name, was in (before or {}).items() if now[name] != was]


def check_unchanged(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    """Refuse to go on within an epoch whose batches would now hold other examples.

    Args:
        before: `batch_settings` of the checkpoint; ``None`` if it has none.
        now: Those of now.

    Raises:
        RunError: They are not the same.
    """
    for name in changed_settings(before, now):
        was = (before or {})[name]
        raise RunError(
            f"The checkpoint is in the middle of an epoch that began with {name} {was}; now it is {now[name]}. "
            f"Resume with {was}, or from a checkpoint at the end of an epoch."
        )
