"""Merging adapters into a model's weights, so that it no longer needs peft."""

import copy
from collections import Counter
from typing import Any

from glue_lit.encoder.quantization import dequantized
from glue_lit.errors import ModelError


def check_can_be_merged(model: Any) -> None:
    """Refuse adapters of weights that several layers share, because one weight cannot take several adapters.

    Raises:
        ModelError: Layers share adapted weights, as in Zamba, whose layers share one attention.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    owners = Counter(id(parameter) for module in model.modules() for parameter in module._parameters.values())
    shared: set[str] = set()
    own: set[str] = set()
    for name, layer in model.named_modules():
        if isinstance(layer, BaseTunerLayer):
            is_shared = any(owners[id(parameter)] > 1 for parameter in layer.get_base_layer().parameters())
            (shared if is_shared else own).add(next(part for part in reversed(name.split(".")) if not part.isdigit()))
    if shared:
        others = ", ".join(sorted(own - shared)) or "none"
        raise ModelError(
            f"model.peft: a {model.config.model_type} uses the weights of {', '.join(sorted(shared))} in several "
            "places, and one weight cannot take the adapters of all of them when it is exported. Name other modules in "
            f"model.peft.init_args.target_modules. Adapted modules with weights of their own: {others}."
        )


def merge_adapters(model: Any) -> Any:
    """Return a copy of a model with its adapters merged into its weights; the model itself if it has none.

    Layers in 4 bits are in float32 in the copy.

    Raises:
        ModelError: They cannot be merged.
    """
    if getattr(model, "peft_config", None) is None:
        return model
    original, model = model, dequantized(model)
    from peft.tuners.tuners_utils import BaseTunerLayer

    check_can_be_merged(model)
    model = copy.deepcopy(model) if model is original else model
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, BaseTunerLayer) and not isinstance(parent, BaseTunerLayer):
                within: object = layer  # adapters of a mixture of experts are nested
                while isinstance(within, BaseTunerLayer):
                    within.merge(safe_merge=True)
                    within = getattr(within, "base_layer")  # noqa: B009
                setattr(parent, name, layer.get_base_layer())
    del model.peft_config
    return model
