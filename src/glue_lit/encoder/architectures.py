"""A Hugging Face model without weights, from its configuration: transformers' own, or one that comes with code."""

from collections.abc import Mapping
from typing import Any

import torch

from glue_lit.encoder import pretrained
from glue_lit.errors import ModelError
from glue_lit.system.system_errors import explain_system_error

_MODEL = "AutoModelForSequenceClassification"


def empty_model(values: dict[str, Any], hparams: Mapping[str, Any], padding: int | None = None) -> Any:
    """A model with random weights, from the values of its configuration.

    Args:
        values: As in ``config.json``.
        hparams: Those of `SequenceClassifier`, which say whether and from where code may be taken.
        padding: The padding id that its configuration is given; ``None`` for its own.

    Raises:
        ModelError: No model can be made of them, or one that takes code which may not be run.
    """
    from transformers import AutoModelForSequenceClassification

    pretrained.check_sizes(values, "The checkpoint's configuration")
    trusted = hparams["trust_remote_code"]
    try:
        config, options = _configuration(dict(values), hparams if trusted else {})
        set_padding(config, padding)
        with pretrained.quiet():
            return AutoModelForSequenceClassification.from_config(
                config, dtype=torch.float32, trust_remote_code=trusted, **options, **attention(hparams)
            )
    except ModelError:
        raise
    except Exception as error:  # whatever transformers and torch raise at values that somebody made up
        if explain_system_error(error) is not None:
            raise
        if not trusted and ("trust_remote_code" in str(error) or _has_own_code(values)):
            raise ModelError(
                "The checkpoint's model is made by code that comes with it; if you trust its author, pass "
                "`--model.trust_remote_code true` (from Python: trust_remote_code=True)."
            ) from error
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ModelError(f"The checkpoint's configuration is none that a model can be made of ({reason}).") from error


def set_padding(config: Any, padding: int | None) -> None:
    """Write a padding id into a configuration, and into those within it that have one; nothing for ``None``."""
    if padding is None:
        return
    for part in vars(config).values():
        if hasattr(part, "model_type") and hasattr(part, "to_dict"):
            set_padding(part, padding)
    if hasattr(config, "pad_token_id"):
        config.pad_token_id = padding


def _has_own_code(values: Mapping[str, Any]) -> bool:
    """Whether a model is of a kind that code which comes with it knows, and transformers does not."""
    from transformers import CONFIG_MAPPING

    return bool(values.get("auto_map")) and str(values.get("model_type")) not in CONFIG_MAPPING


def _configuration(values: dict[str, Any], trusting: Mapping[str, Any]) -> tuple[Any, dict[str, str]]:
    """A configuration of transformers', or of code that comes with the model, and what transformers wants besides.

    Args:
        values: Of the configuration.
        trusting: The settings that say where the code is; empty where it may not be run.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    kind, automatic = values.pop("model_type"), values.get("auto_map")
    if not trusting or not automatic:
        return AutoConfig.for_model(kind, **values), {}
    place, revision = pretrained.resolve(trusting["name_or_path"]), trusting["revision"]

    def own(auto: str) -> Any:
        def load(place: str) -> Any:
            return get_class_from_dynamic_module(automatic[auto], place, revision=revision)

        found = pretrained.load("code", load, place)
        found.register_for_auto_class(auto)  # so that an export has the code
        return found

    if "AutoConfig" not in automatic:  # transformers looks for the model's code itself, beside the weights
        config = AutoConfig.for_model(kind, **values)
        config.name_or_path = place
        is_beside = _MODEL in automatic and automatic[_MODEL].rpartition("--")[0] in ("", place)
        return config, {"code_revision": revision} if is_beside else {}
    config = own("AutoConfig")(**values)
    if _MODEL in automatic:
        AutoModelForSequenceClassification.register(type(config), own(_MODEL), exist_ok=True)
    return config, {}


def attention(hparams: Mapping[str, Any]) -> dict[str, str]:
    """The attention's implementation as transformers takes it; nothing for its own choice."""
    return {"attn_implementation": hparams["attention"]} if hparams["attention"] else {}
