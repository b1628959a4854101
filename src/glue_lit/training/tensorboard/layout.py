"""Charts that show curves together, and the hyperparameters of a run, as TensorBoard takes them."""

import inspect
from typing import Any

from glue_lit.data.accumulation import accumulation_schedule
from glue_lit.system.environment import global_seed
from glue_lit.tasks.glue import TaskSpec, log_prefix

Layout = dict[str, dict[str, list[Any]]]
_ALWAYS = ("task", "name_or_path", "learning_rate", "batch_size", "max_epochs", "seed")  # also where they are defaults
_NO_SETTINGS = ("custom", "architecture", "tokenizer", "cache_dir")  # no settings, or those that another one gives


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


def best_tags(task: TaskSpec) -> dict[str, str]:
    """By the logged name of each validation score, the name of its value at the best checkpoint."""
    return {
        f"{log_prefix(split)}/{name}": f"{log_prefix(split)}/best_{name}"
        for split in task.validation_splits
        for name in (*task.metrics, "loss")
    }


def hyperparameters(trainer: Any, module: Any, data: Any) -> dict[str, Any]:
    """Settings by name that are one number or word and differ from their defaults.

    Args:
        trainer: Lightning's.
        module: What is trained.
        data: Its data module, if it has one.
    """
    found: dict[str, Any] = {}
    defaults: dict[str, Any] = {"accumulate_grad_batches": 1, "devices": 1}
    for part in (data, module):
        found |= dict(part.hparams) if part is not None else {}
        defaults |= {name: p.default for name, p in inspect.signature(type(part).__init__).parameters.items()}
    schedule = accumulation_schedule(trainer)
    found |= {
        "max_epochs": trainer.max_epochs,
        "precision": str(trainer.precision),
        "devices": trainer.world_size,
        "accumulate_grad_batches": trainer.accumulate_grad_batches if schedule is None else str(schedule),
        "seed": found.get("seed") if (seed := global_seed()) is None else seed,
    }
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, bool | int | float | str)
        and name not in _NO_SETTINGS
        and (name in _ALWAYS or value != defaults.get(name))
    }
