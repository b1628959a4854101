"""What a fit's trainer may not have, checked before anything is built."""

from typing import Any

from glue_lit.data.accumulation import check_accumulation
from glue_lit.tasks.glue import TaskSpec
from glue_lit.training.monitors import check_monitors
from glue_lit.training.refused_callbacks import refuse_callbacks


def check_fit(trainer: Any, task: TaskSpec, module: type) -> None:
    """Stop where a callback would change the training without a word, or waits for a value that is not logged.

    Args:
        trainer: With the user's callbacks.
        task: Knows its metrics.
        module: The class that is trained; one built on ours may log more.

    Raises:
        UsageError: There is such a callback, or a step's batches are given twice.
    """
    refuse_callbacks(trainer)
    if module.__module__.startswith("glue_lit."):
        check_monitors(trainer.callbacks, task)
    check_accumulation(trainer)
