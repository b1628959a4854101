"""Split a model's weights over devices, so that each keeps a part of every layer (FSDP2)."""

from typing import Any

from torch import nn

from glue_lit.encoder.trained_embedding import restore_embedding
from glue_lit.errors import ModelError

DROPPED_LAYERS = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop")


def shard_model(model: Any, mesh: Any) -> None:
    """Split every weight of a Hugging Face model over the devices of ``mesh``, in place.

    A layer is gathered when it is needed, and freed after it; all else stays gathered from the forward pass to the
    backward pass. A model that is split already is left as it is. Collective.

    Args:
        model: On any device; its parts are moved to those of ``mesh``.
        mesh: A device mesh of one dimension.

    Raises:
        ModelError: The model skips layers at random, in which case the devices would wait for each other.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if isinstance(model, FSDPModule):
        return
    if dropped := [name for name in DROPPED_LAYERS if getattr(model.config, name, 0)]:
        raise ModelError(
            f"trainer.strategy: got fsdp2, but {dropped[0]} of {model.config.model_type} skips whole layers at random, "
            "on each device others. Use `--trainer.strategy ddp`."
        )
    restore_embedding(model)
    for layer in _layers(model):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _layers(model: nn.Module) -> list[nn.Module]:
    """The outermost layers that can be gathered one by one; none if they share weights."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers: list[nn.Module] = []
    inside: set[int] = set()
    for module in model.modules():  # a layer comes before what is inside it
        if isinstance(module, GradientCheckpointingLayer) and id(module) not in inside:
            layers.append(module)
            inside |= {id(part) for part in module.modules()}
    owners: dict[int, int] = {}
    for number, layer in enumerate(layers):
        for parameter in layer.parameters():
            if owners.setdefault(id(parameter), number) != number:
                return []
    return layers
