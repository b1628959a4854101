"""Adapters from peft, such as LoRA: a few weights are trained beside a frozen encoder."""

import re
from abc import ABC
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any

from torch import nn

from glue_lit.encoder import pretrained
from glue_lit.encoder.heads import head_of
from glue_lit.errors import ModelError, UsageError

# Methods whose weights all go into a checkpoint, and can be merged into the model.
METHODS = ("LORA", "IA3", "LOHA", "LOKR", "OFT", "BOFT", "HRA", "FOURIERFT", "LN_TUNING")
_DATA_INITS = ("eva", "corda", "lora_ga", "loftq")  # initialisations that need a pass over the data
_SET_BY_PEFT = ("fan_in_fan_out",)  # follows from how the model stores its weights
_FILE_SETTINGS = ("auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "megatron_config")


class PeftMethod(ABC):  # noqa: B024
    """Any subclass of peft's ``PeftConfig``, such as ``peft.LoraConfig``, without importing peft.

    Attributes:
        package: Where such classes are, for messages.
    """

    package = "peft"

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        """Whether a class inherits from ``PeftConfig``."""
        return any(base.__name__ == "PeftConfig" and base.__module__.startswith("peft.") for base in other.__mro__)


def plain_settings(config: Any) -> dict[str, Any]:
    """The settings of a peft configuration as plain values, for a checkpoint.

    Raises:
        UsageError: It is not a peft configuration.
    """
    if not isinstance(config, PeftMethod):
        raise UsageError(f"model.peft: got {config!r}, allowed: a configuration of peft, e.g. peft.LoraConfig.")
    values: dict[str, Any] = _plain(config.to_dict())  # type: ignore[attr-defined]
    return {name: value for name, value in values.items() if name not in _FILE_SETTINGS}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def add_adapters(model: Any, settings: Mapping[str, Any], new: Collection[str] = ()) -> dict[str, Any]:
    """Add adapters to a model, in place, and freeze its other weights, except those that are trained in full.

    These are the head (everything outside the encoder), ``modules_to_save``, and modules with a parameter in ``new``.

    Args:
        model: A Hugging Face model.
        settings: From `plain_settings`.
        new: Names of parameters without pretrained weights.

    Returns:
        The settings, with the modules that got adapters and those that are trained in full.

    Raises:
        ModelError: peft is not installed, or cannot adapt this model.
    """
    new_modules = {name.rpartition(".")[0] for name in new if name.startswith(f"{model.base_model_prefix}.")}
    whole = sorted({*(settings.get("modules_to_save") or ()), *new_modules})
    trained = _parameters_trained_whole(model, whole)
    config = _inject(model, {**settings, "modules_to_save": None}, trained)
    for parameter in trained:
        parameter.requires_grad_(True)
    completed = plain_settings(config)
    wanted = settings.get("target_modules")  # a pattern is kept
    return completed | {"modules_to_save": whole, "target_modules": wanted or completed.get("target_modules")}


def _parameters_trained_whole(model: Any, whole: list[str]) -> list[nn.Parameter]:
    """The parameters of the head, and of the modules named in ``whole``."""
    head = head_of(model)
    in_head = {id(parameter) for parameter in head[2].parameters()} if head is not None else set()
    prefix = f"{model.base_model_prefix}."
    has_base = hasattr(model, model.base_model_prefix)
    found, used = [], set()
    for name, parameter in model.named_parameters():
        modules = {module for module in whole if f".{module}." in f".{name}"}
        used |= modules
        if modules or id(parameter) in in_head or (has_base and not name.startswith(prefix)):
            found.append(parameter)
    if unknown := sorted(set(whole) - used):
        raise ModelError(f"model.peft.init_args.modules_to_save: the model has no module {', '.join(unknown)}.")
    return found


def _inject(model: Any, settings: dict[str, Any], trained: list[nn.Parameter]) -> Any:
    """Let peft add its layers; return its configuration, which then names the adapted modules.

    Modules that are trained in full are not adapted, unless the user names them.
    """
    try:
        from peft import PEFT_TYPE_TO_CONFIG_MAPPING, inject_adapter_in_model
        from peft.tuners.tuners_utils import BaseTunerLayer
    except ImportError:
        raise ModelError("model.peft needs the package peft: `pip install peft`.") from None
    method = _check_method(settings)
    settings = {name: value for name, value in settings.items() if name not in _FILE_SETTINGS}
    kind = PEFT_TYPE_TO_CONFIG_MAPPING[method]
    if settings.get("exclude_modules") is None and "exclude_modules" in kind.__dataclass_fields__:
        whole = {id(parameter) for parameter in trained}
        linear = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))
        settings["exclude_modules"] = [name for name, module in linear if id(module.weight) in whole]
    try:
        with pretrained.quiet():
            config = kind(**settings)
            try:
                inject_adapter_in_model(config, model)
            except ValueError as error:
                if settings.get("target_modules") is not None or "target_modules" not in str(error):
                    raise
                # peft has no default modules for this architecture
                targets = _default_targets(model, method)
                config = kind(**settings | {"target_modules": targets})
                inject_adapter_in_model(config, model)
    except Exception as error:  # peft raises many kinds
        raise _explain_refusal(model, method, settings, error) from error
    if not any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise ModelError(f"model.peft: {method} added no adapter to this model. Check init_args.target_modules.")
    return config


def _explain_refusal(model: Any, method: str, settings: Mapping[str, Any], error: Exception) -> ModelError:
    reason = " ".join(str(error).split()) or type(error).__name__
    if not re.search(r"(?i)target[ _]modules|modules were targeted", reason):
        return ModelError(f"model.peft: {method} cannot be used with this model: {reason[:300]}")
    if names := _layer_names(model):
        return ModelError(
            f"model.peft.init_args.target_modules: got {settings.get('target_modules')}; the encoder's layers are "
            f"{', '.join(names)}."
        )
    return ModelError(
        f"model.peft: the encoder of the architecture {model.config.model_type} has no linear layers of "
        f"PyTorch's own, so there is nothing that {method} can adapt. Leave model.peft out."
    )


def _check_method(settings: Mapping[str, Any]) -> Any:
    method = settings.get("peft_type")
    if method not in METHODS:
        raise UsageError(f"model.peft: got the method {method}, allowed: {', '.join(METHODS)}.")
    if settings.get("init_lora_weights") in _DATA_INITS:
        raise ModelError(
            f"model.peft.init_args.init_lora_weights: got {settings['init_lora_weights']}, which needs a pass over the "
            "data first. Allowed: true, false, gaussian, pissa, olora, orthogonal."
        )
    return method


def _layer_names(model: Any) -> list[str]:
    """Distinct names of the encoder's linear layers."""
    layers = [name for name, module in model.base_model.named_modules() if isinstance(module, nn.Linear)]
    return sorted({name.rpartition(".")[2] for name in layers})


def _default_targets(model: nn.Module, method: str) -> str | list[str]:
    """Modules to adapt in an architecture for which peft has no defaults."""
    if method != "LN_TUNING":
        return "all-linear"
    return [name for name, module in model.named_modules() if "Norm" in type(module).__name__]


def requested_adapters(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The adapter settings that the user asked for in a checkpoint's run; ``None`` in older checkpoints."""
    own = checkpoint.get("glue_lit")
    asked = own.get("peft") if isinstance(own, Mapping) else None
    return dict(asked) if isinstance(asked, Mapping) else None


def check_same_adapters(
    asked: Mapping[str, Any] | None, kept: dict[str, Any] | None, before: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """Return the settings of a checkpoint's adapters, if they agree with what is asked for.

    Args:
        asked: What the user, or the run's configuration, asks for.
        kept: Settings of the checkpoint's adapters, some of which peft has changed to fit the model.
        before: What its run asked for; ``None`` in older checkpoints.

    Raises:
        UsageError: They differ.
    """
    found = kept or {}
    for name, value in (asked or {}).items():
        same = value is None or name == "peft_version" or found.get(name) == value
        same = same or (before is not None and before.get(name) == value)
        # without `before` it is unknown whether peft has set these; there is one right value for a model
        if same or (name in _SET_BY_PEFT and before is None and kept is not None):
            continue
        if name != "modules_to_save" or not set(value) <= set(found.get(name) or ()):
            raise UsageError(
                f"model.peft: the checkpoint has {name} {found.get(name)!r}, got {value!r}. Leave model.peft as it "
                "was; another one needs a new run (`--model.init_from` starts it from the learned weights)."
            )
    return kept
