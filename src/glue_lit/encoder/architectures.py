"""Building a Hugging Face model from its configuration, by transformers or by code that comes with the model."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

from glue_lit.encoder import pretrained
from glue_lit.errors import ModelError
from glue_lit.system.system_errors import explain_system_error

_MODEL = "AutoModelForSequenceClassification"
_Model = TypeVar("_Model")


def empty_model(values: dict[str, Any], hparams: Mapping[str, Any], padding: int | None = None) -> Any:
    """Build a model with random weights from the values of its configuration; arguments as in `model_from_values`."""
    from transformers import AutoModelForSequenceClassification

    def build(config: Any, options: dict[str, str]) -> Any:
        return AutoModelForSequenceClassification.from_config(
            config,
            dtype=torch.float32,
            trust_remote_code=hparams["trust_remote_code"],
            **options,
            **attention(hparams),
        )

    return model_from_values(values, hparams, padding, build)


def model_from_values(
    values: dict[str, Any],
    hparams: Mapping[str, Any],
    padding: int | None,
    build: Callable[[Any, dict[str, str]], _Model],
) -> _Model:
    """Build a model from the values of its configuration.

    Args:
        values: As in ``config.json``.
        hparams: Those of `SequenceClassifier`, which decide whether code may run and from where.
        padding: Padding id to write into the configuration; ``None`` to keep its own.
        build: Makes the model from the configuration and transformers' options.

    Raises:
        ModelError: The values do not make a model, or make one whose code may not run.
    """
    pretrained.check_sizes(values, "The checkpoint's configuration")
    trusted = hparams["trust_remote_code"]
    try:
        config, options = _configuration(dict(values), hparams if trusted else {})
        set_padding(config, padding)
        with pretrained.quiet():
            return build(config, options)
    except ModelError:
        raise
    except Exception as error:  # made-up values make transformers and torch raise anything
        if explain_system_error(error) is not None:
            raise
        if not trusted and ("trust_remote_code" in str(error) or _has_own_code(values)):
            raise ModelError(
                "The checkpoint's model is made by code that comes with it; if you trust its author, pass "
                "`--model.trust_remote_code true` (from Python: trust_remote_code=True)."
            ) from error
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ModelError(f"The checkpoint's configuration does not make a model ({reason}).") from error


def set_padding(config: Any, padding: int | None) -> None:
    """Write a padding id into a configuration and those within it; do nothing for ``None``."""
    if padding is None:
        return
    for part in vars(config).values():
        if hasattr(part, "model_type") and hasattr(part, "to_dict"):
            set_padding(part, padding)
    if hasattr(config, "pad_token_id"):
        config.pad_token_id = padding


def _has_own_code(values: Mapping[str, Any]) -> bool:
    """Whether a model's type is known only to code that comes with it."""
    from transformers import CONFIG_MAPPING

    return bool(values.get("auto_map")) and str(values.get("model_type")) not in CONFIG_MAPPING


def _configuration(values: dict[str, Any], trusting: Mapping[str, Any]) -> tuple[Any, dict[str, str]]:
    """The configuration, and the options that transformers needs to build its model.

    ``trusting`` are the settings that say where the model's code is; empty if it may not run.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    model_type, classes = values.pop("model_type"), values.get("auto_map")
    if not trusting or not classes:
        return AutoConfig.for_model(model_type, **values), {}
    place, revision = pretrained.resolve(trusting["name_or_path"]), trusting["revision"]

    def load_class(auto: str) -> Any:
        def load(place: str) -> Any:
            return get_class_from_dynamic_module(classes[auto], place, revision=revision)

        loaded = pretrained.load("code", load, place)
        loaded.register_for_auto_class(auto)  # makes an export include the code
        return loaded

    if "AutoConfig" not in classes:  # then transformers finds the model's code beside its weights
        config = AutoConfig.for_model(model_type, **values)
        config.name_or_path = place
        is_beside = _MODEL in classes and classes[_MODEL].rpartition("--")[0] in ("", place)
        return config, {"code_revision": revision} if is_beside else {}
    config = load_class("AutoConfig")(**values)
    if _MODEL in classes:
        AutoModelForSequenceClassification.register(type(config), load_class(_MODEL), exist_ok=True)
    return config, {}


def attention(hparams: Mapping[str, Any]) -> dict[str, str]:
    """The option of transformers that chooses the attention's implementation; empty to let it choose."""
    return {"attn_implementation": hparams["attention"]} if hparams["attention"] else {}
