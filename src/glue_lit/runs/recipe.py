"""The settings that decide what a fit makes of a model, described once: model card and report read this."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """A setting of a recipe.

    Attributes:
        key: Its dotted key in a run's configuration.
        title: What a card or a report calls it.
        off: Value at which it changes nothing; it is left out then, as it is where it is null or false.
    """

    key: str
    title: str
    off: Any = None


SETTINGS = (
    Setting("model.name_or_path", "Model"),
    Setting("model.revision", "Model revision", off="main"),
    Setting("model.trust_remote_code", "Runs the model's own code"),
    Setting("model.init_from", "Started from"),
    Setting("model.peft", "Adapter"),
    Setting("model.freeze", "Frozen layers"),
    Setting("model.attention", "Attention"),
    Setting("model.dropout", "Dropout"),
    Setting("model.learning_rate", "Learning rate"),
    Setting("model.layer_decay", "Layer decay", off=1),
    Setting("model.schedule", "Schedule"),
    Setting("model.schedule_options", "Schedule options"),
    Setting("model.warmup", "Warm-up"),
    Setting("model.weight_decay", "Weight decay"),
    Setting("model.adam_beta1", "Adam beta 1"),
    Setting("model.adam_beta2", "Adam beta 2"),
    Setting("model.adam_eps", "Adam epsilon"),
    Setting("model.max_grad_norm", "Largest gradient norm"),
    Setting("trainer.gradient_clip_val", "Gradient clipping"),
    Setting("trainer.gradient_clip_algorithm", "Gradients clipped by"),
    Setting("model.non_finite", "Steps that are not finite", off="stop"),
    Setting("model.label_smoothing", "Label smoothing", off=0),
    Setting("model.r_drop", "R-Drop", off=0),
    Setting("model.average", "Moving average of weights", off=0),
    Setting("data.custom.class_weights", "Class weights"),
    Setting("data.batch_size", "Batch size per device"),
    Setting("data.group_by_length", "Batches of like lengths"),
    Setting("trainer.max_epochs", "Epochs", off=-1),
    Setting("trainer.max_steps", "Steps, at most", off=-1),
    Setting("trainer.max_time", "Time, at most"),
    Setting("trainer.min_epochs", "Epochs, at least"),
    Setting("trainer.min_steps", "Steps, at least"),
    Setting("trainer.limit_train_batches", "Batches of an epoch", off=1.0),
    Setting("trainer.check_val_every_n_epoch", "Epochs between validations", off=1),
    Setting("trainer.val_check_interval", "Validation interval", off=1.0),
    Setting("trainer.limit_val_batches", "Batches of a validation", off=1.0),
    Setting("checkpoint.monitor", "Checkpoint picked by"),
    Setting("checkpoint.mode", "Best is"),
    Setting("early_stopping", "Validations without improvement, at most"),
    Setting("trainer.callbacks", "Callbacks"),
    Setting("trainer.precision", "Precision"),
    Setting("trainer.strategy", "Strategy", off="auto"),
    Setting("trainer.plugins", "Plugins"),
    Setting("trainer.deterministic", "Deterministic"),
    Setting("seed_everything", "Seed"),
    Setting("data.seed", "Seed of the order"),
    Setting("data.source", "Data"),
    Setting("data.train_limit", "Training rows, at most"),
    Setting("data.both_orders", "Pairs in both orders"),
    Setting("data.validation_limit", "Validation rows, at most"),
    Setting("data.max_length", "Longest input"),
)
_SEEDS = {"seed_everything", "data.seed"}  # numbers that count nothing


def recipe(config: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a run that change what comes out, by their titles, in words.

    Args:
        config: The run's configuration.
    """
    values = {setting: _value(config, setting.key) for setting in SETTINGS}
    return {
        setting.title: str(value) if setting.key in _SEEDS else _words(value)
        for setting, value in values.items()
        if not (value is None or value is False or value in ("", [], {}) or _is_off(value, setting.off))
    }


def _is_off(value: Any, off: Any) -> bool:
    """Whether a value is that at which the setting changes nothing: 1 validates after one batch, 1.0 after all."""
    return off is not None and value == off and (type(value) is float or type(off) is not float)


def _value(config: Mapping[str, Any], key: str) -> Any:
    found: Any = config
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return _batch(config, found) if key == "data.batch_size" else found


def _batch(config: Mapping[str, Any], size: Any) -> Any:
    """Examples or tokens of a step on one device."""
    tokens, groups = _value(config, "data.tokens_per_batch"), _value(config, "trainer.accumulate_grad_batches")
    batch = f"{_words(tokens)} tokens" if tokens else size
    return f"{batch} x {groups}" if batch and groups not in (None, 1) else batch


def short_path(value: str) -> str:
    """A name as it is, and the last parts of a path: where the user keeps files is no one's business."""
    parts = Path(value).parts
    return "/".join(parts[-2:]) if Path(value).is_absolute() and len(parts) > 2 else value


def _words(value: Any) -> str:
    if value is True:
        return "yes"
    if isinstance(value, Mapping):
        return _class(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return f"{value:,}" if isinstance(value, int) else short_path(str(value))


def _class(value: Mapping[str, Any]) -> str:
    """A class and those of its settings that say something."""
    name = str(value.get("class_path") or "").rpartition(".")[2]
    given = value.get("init_args") if name else value
    settings = given.items() if isinstance(given, Mapping) else ()
    said = ", ".join(
        f"{key} {_schedule(setting) if isinstance(setting, Mapping) else _words(setting)}"
        for key, setting in settings
        if setting not in (None, False, "", "none", [], {}) and (not isinstance(setting, Mapping) or _schedule(setting))
    )
    return f"{name} ({said})" if name and said else name or said


def _schedule(values: Mapping[Any, Any]) -> str:
    """Numbers by numbers, as those of a GradientAccumulationScheduler by the epoch; nothing of any other mapping."""
    is_one = all(type(value) is int for value in values.values()) and all(str(key).isdecimal() for key in values)
    return "{" + ", ".join(f"{key}: {value}" for key, value in values.items()) + "}" if is_one and values else ""
