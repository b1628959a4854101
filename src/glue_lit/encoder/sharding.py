"""Split a model's weights over devices, so that each keeps a part of every layer (FSDP2)."""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from glue_lit.encoder.structure import distinct_tensors, replace_tensor
from glue_lit.encoder.trained_embedding import restore_embedding
from glue_lit.errors import ModelError

DROPPED_LAYERS = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop")


def shard_model(model: Any, mesh: Any) -> None:
    """Split every weight of a Hugging Face model over the devices of ``mesh``, in place.

    A layer is gathered when it is needed, and freed after it; all else stays gathered from the forward pass to the
    backward pass. A model that is split already is left as it is. Collective.

    All values are those of the first process, as is the state of torch's random number generator afterwards. A device
    holds one layer at a time before it is split, or what is outside of the layers.

    Args:
        model: On any device; its parts are moved to those of ``mesh``. On all processes but the first it may be on
            ``meta``, without values.
        mesh: A device mesh of one dimension, of all processes.

    Raises:
        ModelError: The model skips layers at random, in which case the devices would wait for each other; or another
            process has a different model.
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
    _take_types_of_first(model)
    kind = mesh.device_type
    device = torch.device(kind) if kind == "cpu" else torch.device(kind, torch.get_device_module(kind).current_device())
    for part in (*_layers(model), model):
        _take_values_of_first(part, device)
        fully_shard(part, mesh=mesh)
    _take_random_state_of_first(device)


def _take_types_of_first(model: nn.Module) -> None:
    """Give a model's tensors the types that they have on the first process.

    Raises:
        ModelError: They have other names or shapes there; all processes raise it.
    """
    named = [*model.named_parameters(), *model.named_buffers()]
    own = [(name, tuple(tensor.shape)) for name, tensor in named]
    told: list[Any] = [(own, [tensor.dtype for _, tensor in named])]
    dist.broadcast_object_list(told, src=0)
    expected, types = told[0]
    different: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(different, own != expected)
    if True in different:
        raise ModelError(
            f"Process {different.index(True)} has another model than the first one. All machines need the same files "
            "in model.name_or_path, and the same versions of transformers and peft.",
            everywhere=True,
        )
    for (_, tensor), dtype in zip(named, types, strict=True):
        if tensor.dtype != dtype:
            replace_tensor(tensor, tensor.device, dtype)


@torch.no_grad()
def _take_values_of_first(part: nn.Module, device: torch.device) -> None:
    """Move to a device what is not split yet, with the values of the first process."""
    for tensor in distinct_tensors(part):
        if isinstance(tensor, DTensor):
            continue
        if tensor.is_meta:
            replace_tensor(tensor, device, tensor.dtype)
        tensor.data = tensor.data.to(device).contiguous()
        if tensor.numel():
            dist.broadcast(tensor.data.view(-1).view(torch.uint8), src=0)  # bytes, since gloo lacks some types


def _take_random_state_of_first(device: torch.device) -> None:
    """Continue with the random numbers of the first process, which drew some for its new weights."""
    state = torch.get_rng_state().to(device)
    dist.broadcast(state, src=0)
    torch.set_rng_state(state.cpu())


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
