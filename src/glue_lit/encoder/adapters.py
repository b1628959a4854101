"""Adapters from peft (LoRA and its like): few weights are trained beside an encoder that stays as it is."""

import re
from abc import ABC
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any

from torch import nn

from glue_lit.encoder import pretrained
from glue_lit.encoder.heads import head_of
from glue_lit.errors import ModelError, UsageError

# Those whose weights all go into a checkpoint, and can be merged into the model.
METHODS = ("LORA", "IA3", "LOHA", "LOKR", "OFT", "BOFT", "HRA", "FOURIERFT", "LN_TUNING")
_BY_DATA = ("eva", "corda", "lora_ga", "loftq")
_FITTED = ("fan_in_fan_out",)  # by peft, to how the model stores its weights
_OF_A_FILE = ("auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "megatron_config")


class PeftMethod(ABC):  # noqa: B024
    """The configuration of a method of peft, such as ``peft.LoraConfig``: any subclass of its ``PeftConfig``.

    It stands for that class where peft need not be installed, or not be imported yet.
    """

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        """Whether a class is such a configuration."""
        return any(base.__name__ == "PeftConfig" and base.__module__.startswith("peft.") for base in other.__mro__)


def plain_settings(config: Any) -> dict[str, Any]:
    """The settings of a peft configuration as plain values, as a checkpoint keeps them.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(config, PeftMethod):
        raise UsageError(f"model.peft: got {config!r}, allowed: a configuration of peft, e.g. peft.LoraConfig.")
    values: dict[str, Any] = _plain(config.to_dict())  # type: ignore[attr-defined]
    return {name: value for name, value in values.items() if name not in _OF_A_FILE}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def add_adapters(model: Any, settings: Mapping[str, Any], new: Collection[str] = ()) -> dict[str, Any]:
    """Put adapters into a model, in place; only they, the head and weights that nobody has trained are trained.

    The head is all that lies outside of the encoder.

    Args:
        model: A Hugging Face model.
        settings: From `plain_settings`.
        new: Names of parameters that there were no pretrained weights for.

    Returns:
        The settings, completed by which modules have adapters and which are trained as a whole.

    Raises:
        ModelError: peft is not installed, or cannot do this with this model.
    """
    of_new = {name.rpartition(".")[0] for name in new if name.startswith(f"{model.base_model_prefix}.")}
    whole = sorted({*(settings.get("modules_to_save") or ()), *of_new})
    trained = _trained_as_a_whole(model, whole)
    config = _inject(model, {**settings, "modules_to_save": None}, trained)
    for parameter in trained:
        parameter.requires_grad_(True)
    wanted = settings.get("target_modules")  # a pattern stays one
    found = plain_settings(config)
    return found | {"modules_to_save": whole, "target_modules": wanted or found.get("target_modules")}


def _trained_as_a_whole(model: Any, whole: list[str]) -> list[nn.Parameter]:
    """The parameters of the head, and those of the modules called ``whole``."""
    head = head_of(model)
    of_head = {id(parameter) for parameter in head[2].parameters()} if head is not None else set()
    prefix = f"{model.base_model_prefix}."
    has_base = hasattr(model, model.base_model_prefix)
    found, used = [], set()
    for name, parameter in model.named_parameters():
        of = {module for module in whole if f".{module}." in f".{name}"}
        used |= of
        if of or id(parameter) in of_head or (has_base and not name.startswith(prefix)):
            found.append(parameter)
    if unknown := sorted(set(whole) - used):
        raise ModelError(f"model.peft.init_args.modules_to_save: the model has no module {', '.join(unknown)}.")
    return found


def _inject(model: Any, settings: dict[str, Any], trained: list[nn.Parameter]) -> Any:
    """Let peft add its layers; returns its configuration, which then names the modules that have them.

    What is trained as a whole has none, unless the user names it.
    """
    try:
        from peft import PEFT_TYPE_TO_CONFIG_MAPPING, inject_adapter_in_model
        from peft.tuners.tuners_utils import BaseTunerLayer
    except ImportError:
        raise ModelError("model.peft needs the package peft: `pip install peft`.") from None
    method = _method(settings)
    settings = {name: value for name, value in settings.items() if name not in _OF_A_FILE}
    if "exclude_modules" in settings and settings["exclude_modules"] is None:
        whole = {id(parameter) for parameter in trained}
        settings["exclude_modules"] = [
            name for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and id(module.weight) in whole
        ]  # fmt: skip
    try:
        with pretrained.quiet():
            config = PEFT_TYPE_TO_CONFIG_MAPPING[method](**settings)
            try:
                inject_adapter_in_model(config, model)
            except ValueError as error:
                if settings.get("target_modules") is not None or "target_modules" not in str(error):
                    raise
                # peft knows no usual modules of this architecture
                config = PEFT_TYPE_TO_CONFIG_MAPPING[method](**settings | {"target_modules": _usual(model, method)})
                inject_adapter_in_model(config, model)
    except Exception as error:  # peft has many kinds for what a method cannot do
        reason = " ".join(str(error).split()) or type(error).__name__
        if re.search(r"(?i)target[ _]modules|modules were targeted", reason):
            if not (names := _layer_names(model)):
                raise ModelError(
                    f"model.peft: the encoder of the architecture {model.config.model_type} has no linear layers of "
                    f"PyTorch's own, so there is nothing that {method} can adapt. Leave model.peft out."
                ) from error
            raise ModelError(
                f"model.peft.init_args.target_modules: got {settings.get('target_modules')}; the encoder's layers are "
                f"{', '.join(names)}."
            ) from error
        raise ModelError(f"model.peft: {method} cannot be used with this model: {reason[:300]}") from error
    if not any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise ModelError(f"model.peft: {method} has put no adapter into this model. Check init_args.target_modules.")
    return config


def _method(settings: Mapping[str, Any]) -> Any:
    """The method that is asked for, if it can be used."""
    method = settings.get("peft_type")
    if method not in METHODS:
        raise UsageError(f"model.peft: got the method {method}, allowed: {', '.join(METHODS)}.")
    if settings.get("init_lora_weights") in _BY_DATA:
        raise ModelError(
            f"model.peft.init_args.init_lora_weights: got {settings['init_lora_weights']}, which needs a pass over the "
            "data first. Allowed: true, false, gaussian, pissa, olora, orthogonal."
        )
    return method


def _layer_names(model: Any) -> list[str]:
    """What the encoder's linear layers are called, each name once."""
    layers = [name for name, module in model.base_model.named_modules() if isinstance(module, nn.Linear)]
    return sorted({name.rpartition(".")[2] for name in layers})


def _usual(model: nn.Module, method: str) -> str | list[str]:
    """Modules to adapt in an architecture that peft has no list for."""
    if method != "LN_TUNING":
        return "all-linear"
    return [name for name, module in model.named_modules() if "Norm" in type(module).__name__]


def requested_adapters(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings that a checkpoint's adapters were asked for with; ``None`` in one that keeps what they became."""
    own = checkpoint.get("glue_lit")
    asked = own.get("peft") if isinstance(own, Mapping) else None
    return dict(asked) if isinstance(asked, Mapping) else None


def check_same_adapters(
    asked: Mapping[str, Any] | None, kept: dict[str, Any] | None, before: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """The settings that a checkpoint's adapters were made with.

    peft changes some of them to fit the model, so what is asked for is compared with what was.

    Args:
        asked: What the user, or the run's configuration, says.
        kept: What the checkpoint's adapters were made with.
        before: What they were asked for with; ``None`` in older checkpoints.

    Raises:
        UsageError: They differ.
    """
    found = kept or {}
    for name, value in (asked or {}).items():
        same = value is None or name == "peft_version" or found.get(name) == value
        same = same or (before is not None and before.get(name) == value)
        # without `before`, whether this is the user's or peft's cannot be told; for a model there is one right value
        if same or (name in _FITTED and before is None and kept is not None):
            continue
        if name != "modules_to_save" or not set(value) <= set(found.get(name) or ()):
            raise UsageError(
                f"model.peft: the checkpoint has {name} {found.get(name)!r}, got {value!r}. Leave model.peft as it "
                "was; another one needs a new run (`--model.init_from` takes what was learned)."
            )
    return kept
