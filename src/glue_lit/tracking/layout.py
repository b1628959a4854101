"""What TensorBoard is told of a run at its start: which curves belong together, and the hyperparameters."""

import os
from collections.abc import Mapping
from typing import Any

from glue_lit.tasks import TaskSpec, log_prefix

Layout = dict[str, dict[str, list[Any]]]
_FIRST = ("learning_rate", "batch_size", "max_epochs", "seed", "name_or_path")  # a table shows five at first
_NO_SETTINGS = ("custom", "architecture", "tokenizer", "cache_dir")  # say nothing, or what another one says


def layout(task: TaskSpec) -> Layout:
    """Charts of the page "Custom Scalars": training beside validation, then how the training goes."""
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


def best_names(task: TaskSpec) -> dict[str, str]:
    """By the logged name of each validation score, the name of its value at the best checkpoint."""
    return {
        f"{log_prefix(split)}/{name}": f"{log_prefix(split)}/best_{name}"
        for split in task.validation_splits
        for name in (*task.metrics, "loss")
    }


def hyperparameters(trainer: Any, module: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, as far as they are set and are one number or word."""
    found = {**data, **module} | {
        "max_epochs": trainer.max_epochs,
        "precision": str(trainer.precision),
        "devices": trainer.world_size,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "seed": int(os.environ["PL_GLOBAL_SEED"]) if "PL_GLOBAL_SEED" in os.environ else data.get("seed"),
    }
    return {
        name: value
        for name, value in sorted(
            found.items(), key=lambda item: (_FIRST.index(item[0]) if item[0] in _FIRST else len(_FIRST), item[0])
        )
        if name not in _NO_SETTINGS and isinstance(value, bool | int | float | str)
    }
