"""Which splits of a task a stage of the trainer uses."""

from glue_lit.errors import UsageError
from glue_lit.tasks.spec import TaskSpec


def split_names(task: TaskSpec, stage: str, wanted: str) -> tuple[str, ...]:
    """Names of the splits that ``fit``, ``validate``, ``test`` or ``predict`` uses.

    Args:
        task: The task.
        stage: One of the four.
        wanted: What `predict` predicts (``data.predict_split``).

    Raises:
        UsageError: The task has none for that stage, or no split has the wanted name.
    """
    if stage in ("fit", "validate") and not task.validation_splits:
        raise UsageError(
            f"data.task: {task.name} has test rows only, so there is nothing to {stage}. Train "
            f"`--data.task {task.trained_as}` and use `glue-lit test --data.task {task.name}` with that run."
        )
    if stage == "fit":
        return ("train", *task.validation_splits)
    if stage == "validate":
        return task.validation_splits
    if stage == "test" or wanted == "test":
        return task.test_splits
    if wanted not in task.files:
        raise UsageError(f"data.predict_split: got {wanted!r}, allowed: test, {', '.join(task.files)}.")
    return (wanted,)
