"""The layers of an encoder, from the embeddings up: leave some as they are, or let them learn more slowly."""

from typing import Any

from torch import nn

from glue_lit.errors import ModelError


def layers_of(model: Any) -> tuple[nn.Module, list[nn.Module]]:
    """The embeddings and the layers of a Hugging Face model.

    Raises:
        ModelError: Its layers cannot be told apart, as ALBERT's, which share their weights.
    """
    base, count = model.base_model, getattr(model.config, "num_hidden_layers", None)
    stacks = [child for child in base.modules() if isinstance(child, nn.ModuleList) and len(child) == count]
    embeddings = getattr(base, "embeddings", None) or base.get_input_embeddings()
    if not stacks or len({id(layer) for layer in stacks[0]}) != count:
        raise ModelError(
            f"model.freeze and model.layer_decay: the layers of a {model.config.model_type} cannot be told apart "
            "(ALBERT's share their weights). Leave both out."
        )
    return embeddings, list(stacks[0])


def freeze_layers(model: Any, count: int) -> None:
    """Leave the embeddings and the first ``count`` layers as they are; the model is changed in place.

    Raises:
        ModelError: It has not so many.
    """
    embeddings, layers = layers_of(model)
    if not 0 <= count <= len(layers):
        raise ModelError(f"model.freeze: got {count}, allowed: 0 (embeddings only) to {len(layers)} layers.")
    for part in (embeddings, *layers[:count]):
        part.requires_grad_(False)


def layered_groups(
    groups: list[dict[str, Any]], model: Any, learning_rate: float, decay: float
) -> list[dict[str, Any]]:
    """Parameter groups with a learning rate for each layer.

    The rate of a layer is ``decay`` to the power of the layers above it, the head counting as one, times the head's
    (Clark et al. 2020,
    "ELECTRA", appendix B, after Howard & Ruder 2018, section 3.1); the embeddings count as the lowest layer.

    Args:
        groups: From `optim.parameter_groups`; given back as they are for a decay of 1.
        model: A Hugging Face model.
        learning_rate: The head's.
        decay: Above 0, up to 1.
    """
    if decay == 1:
        return groups
    embeddings, layers = layers_of(model)
    # From the top: the first group's rate is the one that is logged.
    above = {id(p): len(layers) - number for number, layer in enumerate(layers) for p in layer.parameters()}
    above |= {id(p): len(layers) + 1 for p in embeddings.parameters()}
    split: list[dict[str, Any]] = []
    for height in range(len(layers) + 2):
        scale = decay**height
        for group in groups:
            members = [p for p in group["params"] if above.get(id(p), 0) == height]
            if members:
                name = _name(height, len(layers))
                split.append(group | {"params": members, "lr": learning_rate * scale, "lr_scale": scale, "name": name})
    return split


def _name(height: int, layers: int) -> str:
    """What the curves call the parameters so many layers below the top: the layers are counted from 0, from below."""
    if height == 0:
        return "head"
    return "embeddings" if height > layers else f"layer_{layers - height:02d}"
