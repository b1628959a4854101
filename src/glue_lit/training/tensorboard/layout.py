"""TensorBoard's layout of charts, and the names of the best scores."""

from typing import Any

from glue_lit.tasks.glue import TaskSpec, log_prefix

Layout = dict[str, dict[str, list[Any]]]


def layout(task: TaskSpec) -> Layout:
    """Charts of the page "Custom Scalars": training beside validation, then optimizer and speed."""
    prefixes = [log_prefix(split) for split in task.validation_splits]

    def chart(*tags: str) -> list[Any]:
        return ["Multiline", [f"^{tag}$" for tag in tags]]

    return {
        "Learning": {
            "loss": chart("train/loss", *(f"{prefix}/loss" for prefix in prefixes)),
            **{name: chart(*(f"{prefix}/{name}" for prefix in prefixes)) for name in task.metrics},
        },
        "Optimizer": {
            "learning rate": chart("weights/learning_rate.*"),
            "gradient norm": chart("weights/gradient_norm"),
        },
        "Speed": {
            "samples per second": chart("work/samples_per_second"),
            "share of padding": chart("work/padding"),
        },
    }


def best_tags(task: TaskSpec) -> dict[str, str]:
    """Logged name of each validation score -> the name of its value at the best checkpoint."""
    return {
        f"{log_prefix(split)}/{name}": f"{log_prefix(split)}/best_{name}"
        for split in task.validation_splits
        for name in (*task.metrics, "loss")
    }
