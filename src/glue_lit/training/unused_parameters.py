"""Parameters without a gradient (XLNet's mask, ESM's contact head) and buffers, which DDP has to be told of."""

from contextlib import suppress
from inspect import signature
from typing import Any, NamedTuple

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.encoder.sharding import DROPPED_LAYERS
from glue_lit.errors import GlueLitError, UsageError
from glue_lit.system.console import say
from glue_lit.training.lightning_internals import ddp_options

_FIND = "find_unused_parameters"
# torch 2.13 warns of the older name, whose False would also leave buffers out as DDP starts.
_NAMES = ("forward_sync_buffers", "broadcast_buffers")
SENDS_BUFFERS = next(name for name in _NAMES if name in signature(DistributedDataParallel).parameters)


class TrialPass(NamedTuple):
    """What a training pass over a few rows shows.

    Attributes:
        unused: The trained parameters that get no gradient.
        changes_buffers: Whether a buffer, such as the running mean of a BatchNorm, changes.
    """

    unused: list[str]
    changes_buffers: bool


def try_pass(classifier: nn.Module, batch: dict[str, Any]) -> TrialPass:
    """Compute the gradient of a batch, and leave everything as it was.

    Args:
        classifier: Gives the logits of a batch.
        batch: A few rows, on the CPU.
    """
    device = next(classifier.parameters()).device
    kept = [(buffer, buffer.clone()) for buffer in classifier.buffers()]
    gpus = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=gpus), torch.device(device):
            inputs = {
                name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()
            }
            classifier(inputs).sum().backward()
        unused = [name for name, p in classifier.named_parameters() if p.requires_grad and p.grad is None]
        return TrialPass(unused, not all(torch.equal(buffer, before) for buffer, before in kept))
    finally:
        classifier.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)


def adapt_ddp(classifier: Any, trainer: Any) -> None:
    """Let DDP search for parameters without a gradient if the model has any, and send no buffers if none changes.

    Without the search it would stop. The parameters are not frozen, so that optimizer and checkpoints are the same on
    any number of devices; besides, a parameter may get a gradient at another step.

    Args:
        classifier: Built, and not yet on its devices.
        trainer: Its trainer.

    Raises:
        UsageError: The model has such parameters, and the strategy is set not to search for them.
    """
    strategy = trainer.strategy
    if not isinstance(strategy, DDPStrategy) or trainer.world_size == 1:
        return
    options = ddp_options(strategy)
    tried = TrialPass([], True)
    with suppress(GlueLitError):  # the first batch will raise it again
        tried = try_pass(classifier, _few_rows(trainer.datamodule))
    if not tried.changes_buffers:  # DDP sends all buffers once, as it starts; by default also before each pass
        options.setdefault("broadcast_buffers" if "broadcast_buffers" in options else SENDS_BUFFERS, False)
    if options.get(_FIND) or options.get("static_graph"):
        return
    if not (reason := _reason_to_search(classifier.model.config, tried.unused)):
        return
    if options.get(_FIND) is False:
        raise UsageError(
            f"trainer.strategy: got one with {_FIND} false, but {reason}: training would stop at the second step. "
            "Use `--trainer.strategy ddp`, which searches for them where needed."
        )
    options[_FIND] = True
    if trainer.is_global_zero:
        say(f"DDP searches for parameters without a gradient at every step: {reason}.")


def _few_rows(data: Any) -> dict[str, Any]:
    """Two training rows, or some tokens if the data are not ours."""
    if isinstance(data, GLUEDataModule):
        rows = data.dataset("train")
        return dict(rows[list(range(min(2, len(rows))))])
    tokens = torch.arange(1, 9, device="cpu")[None]
    return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def _reason_to_search(config: Any, unused: list[str]) -> str:
    """Why parameters may have no gradient; empty if all have one."""
    if dropped := [name for name in DROPPED_LAYERS if getattr(config, name, 0)]:
        return f"{dropped[0]} skips whole layers"
    names = [name.removeprefix("model.") for name in unused]
    if len(names) < 2:
        return "".join(f"{name} has none" for name in names)
    return f"{names[0]} and {len(names) - 1} more have none"
