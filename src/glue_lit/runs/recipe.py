"""The recipe of a run in words, for model card and report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glue_lit.runs.settings import Setting, settings_of

# Settings that are not arguments of our classes.
_OTHER_SETTINGS = {
    "trainer.gradient_clip_val": Setting(label="Gradient clipping", row=210),
    "trainer.gradient_clip_algorithm": Setting(label="Gradients clipped by", row=211),
    "data.custom.class_weights": Setting(label="Class weights", row=304),
    "trainer.max_epochs": Setting(label="Epochs", row=500, default=-1),
    "trainer.max_steps": Setting(label="Steps, at most", row=501, default=-1),
    "trainer.max_time": Setting(label="Time, at most", row=502),
    "trainer.min_epochs": Setting(label="Epochs, at least", row=503),
    "trainer.min_steps": Setting(label="Steps, at least", row=504),
    "trainer.limit_train_batches": Setting(label="Batches of an epoch", row=505, default=1.0),
    "trainer.check_val_every_n_epoch": Setting(label="Epochs between validations", row=506, default=1),
    "trainer.val_check_interval": Setting(label="Validation interval", row=507, default=1.0),
    "trainer.limit_val_batches": Setting(label="Batches of a validation", row=508, default=1.0),
    "early_stopping": Setting(label="Validations without improvement, at most", row=602),
    "trainer.callbacks": Setting(label="Callbacks", row=700),
    "trainer.precision": Setting(label="Precision", row=701),
    "trainer.strategy": Setting(label="Strategy", row=702, default="auto"),
    "trainer.plugins": Setting(label="Plugins", row=703),
    "trainer.deterministic": Setting(label="Deterministic", row=704),
    "seed_everything": Setting(label="Seed", row=800, in_words=str),
}


def describe_recipe(config: Mapping[str, Any], owners: Mapping[str, type]) -> dict[str, str]:
    """The label and the value, in words, of each setting that affects a run's result.

    Args:
        config: The run's configuration.
        owners: The class whose settings a section of the configuration holds, by section.
    """
    settings = dict(_OTHER_SETTINGS)
    for section, owner in owners.items():
        settings |= {f"{section}.{name}": setting for name, setting in settings_of(owner).items()}
    ordered = sorted(settings.items(), key=lambda item: item[1].row)
    shown = [(setting, value) for key, setting in ordered if _is_shown(key, setting, value := _value(config, key))]
    return {setting.label: (setting.in_words or in_words)(value) for setting, value in shown}


def recorded_recipe(record: Mapping[str, Any], config: Any) -> dict[str, str] | None:
    """The recipe that the fit recorded; ``None`` without one, or if the configuration has changed since.

    Args:
        record: The run's ``metrics.json``.
        config: The run's configuration now.
    """
    recipe = record.get("recipe")
    if not isinstance(recipe, Mapping) or record.get("config") != config:
        return None
    return {str(label): str(words) for label, words in recipe.items()}


def _is_shown(key: str, setting: Setting, value: Any) -> bool:
    if setting.card == "never" or value is None or value is False or value in ("", [], {}):
        return False
    # To the Trainer, 1 means one batch and 1.0 means all batches.
    is_other_type = key.startswith("trainer.") and type(value) is not type(setting.default)
    return setting.card == "always" or value != setting.default or is_other_type


def _value(config: Mapping[str, Any], key: str) -> Any:
    found: Any = config
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    if key.startswith("model.adam_") and _has_no_adamw(config):
        return None
    return _batch(config, found) if key == "data.batch_size" else found


def _has_no_adamw(config: Mapping[str, Any]) -> bool:
    """Whether the settings of AdamW are without effect; Muon has it beside itself."""
    chosen = _value(config, "model.optimizer.class_path")
    return chosen is not None and not str(chosen).endswith(".Muon")


def _batch(config: Mapping[str, Any], size: Any) -> Any:
    """Examples or tokens in an optimizer step on one device, e.g. ``32 x 4``."""
    tokens, groups = _value(config, "data.tokens_per_batch"), _value(config, "trainer.accumulate_grad_batches")
    batch = f"{in_words(tokens)} tokens" if tokens else size
    return f"{batch} x {groups}" if batch and groups not in (None, 1) else batch


def _short_path(value: str) -> str:
    """The last two parts of an absolute path, since where users keep their files is private; a name unchanged."""
    parts = Path(value).parts
    return "/".join(parts[-2:]) if Path(value).is_absolute() and len(parts) > 2 else value


def in_words(value: Any) -> str:
    """Format a value for readers: ``yes``, ``1,500``, ``LoraConfig (r 8)``."""
    if value is True:
        return "yes"
    if isinstance(value, Mapping):
        return _class_in_words(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value))
    return f"{value:,}" if isinstance(value, int) else _short_path(str(value))


def _class_in_words(value: Mapping[str, Any]) -> str:
    """Format a class with its settings, leaving out empty ones."""
    name = str(value.get("class_path") or "").rpartition(".")[2]
    given = value.get("init_args") if name else value
    settings = given.items() if isinstance(given, Mapping) else ()
    words = ", ".join(
        f"{key} {_schedule(setting) if isinstance(setting, Mapping) else in_words(setting)}"
        for key, setting in settings
        if setting not in (None, False, "", "none", [], {}) and (not isinstance(setting, Mapping) or _schedule(setting))
    )
    return f"{name} ({words})" if name and words else name or words


def _schedule(values: Mapping[Any, Any]) -> str:
    """Format numbers by epoch, as for a GradientAccumulationScheduler; empty for other mappings."""
    is_one = all(type(value) is int for value in values.values()) and all(str(key).isdecimal() for key in values)
    return "{" + ", ".join(f"{key}: {value}" for key, value in values.items()) + "}" if is_one and values else ""
