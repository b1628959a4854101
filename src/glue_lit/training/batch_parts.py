"""Compute a batch in parts where it does not fit into a GPU's memory: the same gradient, and so the same step."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from glue_lit.data.batches import Batch
from glue_lit.errors import UsageError
from glue_lit.system.console import note
from glue_lit.training.fit_part import FitPart


def check_splitting(precision: str, accelerator: str) -> None:
    """Refuse settings of the trainer with which a batch cannot be split when memory is full.

    Raises:
        UsageError: The precision is 16-mixed, whose loss is scaled as a whole, or the processor trains, where the
            system ends a process without memory.
    """
    if accelerator == "cpu" or torch.accelerator.current_accelerator(check_available=True) is None:
        raise UsageError(
            "model.split_batches: got true, which needs a GPU: on a processor no error tells that memory is full. "
            "Lower `--data.batch_size` and raise `--trainer.accumulate_grad_batches` in its place."
        )
    if precision == "16-mixed":
        raise UsageError(
            "model.split_batches: got true, allowed with trainer.precision 16-mixed: false. Pass `--trainer.precision "
            "bf16-mixed`, or a smaller `--data.batch_size` with more batches a step "
            "(`--trainer.accumulate_grad_batches`)."
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device's memory was full; MPS, and libraries beside torch's allocator, have no own class of error."""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)


def _free_cached(device: torch.device) -> None:
    """Give the allocator's free blocks back to the device: for parts of another size they are too small."""
    free = getattr(torch.get_device_module(device), "empty_cache", None)
    if free is not None:
        free()


class BatchParts(FitPart):
    """Halves the rows that are computed at once whenever the GPU's memory does not suffice for them.

    Attributes:
        tokens: Most tokens of a part, padding included; ``None`` as long as whole batches fit. Each device has its own.
    """

    def __init__(self) -> None:
        self.tokens: int | None = None

    def loss(self, module: nn.Module, compute: Callable[[Batch], Tensor], batch: Batch, is_first: bool) -> Tensor:
        """The mean loss of a batch, ``()``, whose backward pass gives all of its gradient.

        Args:
            module: What is trained.
            compute: Gives the mean loss of some rows.
            batch: A training batch.
            is_first: Whether this is the first device, which prints what happens.

        Raises:
            RuntimeError: Not even a single row fits: torch.OutOfMemoryError, except on MPS.
        """
        size, length = batch["input_ids"].shape
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        while True:
            rows = size if self.tokens is None else min(size, max(1, self.tokens // length))
            try:
                return _loss_in_parts(compute, batch, rows, parameters)
            except RuntimeError as error:
                if rows == 1 or not is_out_of_memory(error):
                    raise
            # outside of the except clause, whose traceback keeps the activations
            self.tokens = (rows + 1) // 2 * length
            _free_cached(batch["input_ids"].device)
            if is_first:
                note(f"{rows} rows of {length} tokens do not fit into the memory: computing them in smaller parts.")

    def save_state(self, trainer: Any, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """The size of a part."""
        return {"part_tokens": self.tokens}

    def load_state(self, trainer: Any, checkpoint: dict[str, Any], state: dict[str, Any]) -> None:
        """Restore the size of a part."""
        self.tokens = state.get("part_tokens")


def _loss_in_parts(
    compute: Callable[[Batch], Tensor], batch: Batch, rows: int, parameters: Sequence[nn.Parameter]
) -> Tensor:
    size = len(batch["labels"])
    total, sums = batch["labels"].new_zeros((), dtype=torch.float32), dict[int, Tensor]()
    for first in range(0, size, rows):
        part: Any = {name: value[first : first + rows] for name, value in batch.items()}
        loss = compute(part) * (len(part["labels"]) / size)
        with torch.autocast(loss.device.type, enabled=False):
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
        for number, gradient in enumerate(found):
            if gradient is not None:  # not in place: two parameters may have one gradient
                sums[number] = sums[number] + gradient if number in sums else gradient
        total = total + loss.detach()
    known: Tensor = _KnownGradient.apply(total, [*sums.values()], *(parameters[number] for number in sums))  # type: ignore[no-untyped-call]
    return known


class _KnownGradient(torch.autograd.Function):
    """A loss whose gradient is known already, so that DDP and accumulation see an ordinary backward pass."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> Any:
        gradients, ctx.gradients = ctx.gradients, None
        return (None, None, *(gradient * factor for gradient in gradients))
