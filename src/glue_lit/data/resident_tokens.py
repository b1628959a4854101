"""Tokens that stay on an accelerator, which then cuts batches by itself.

A batch on the processor is cut, copied to pinned memory and sent, array by array. Where the tokens of all splits are a
small part of the free memory, the accelerator holds them, and gets only a table of the rows of many batches.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data._utils import pin_memory

from glue_lit.data.tokens import TokenStore
from glue_lit.errors import UsageError
from glue_lit.runs.settings import Allowed
from glue_lit.system.hardware import free_memory_of

OnDevice = Literal["auto"] | bool
ALLOWED = Allowed("auto, true, false", lambda value: value == "auto" or isinstance(value, bool))
_SHARE = (
    50  # of the free memory, one part in so many: there may be other trainings, and the activations are yet to come
)


class Tokens(NamedTuple):
    """Tokens of a store, on any device; see `TokenStore`."""

    input_ids: Tensor
    token_type_ids: Tensor | None


def move(rows: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Send tensors to a device without waiting for it."""
    if device.type not in ("cpu", "mps"):  # from other memory a copy waits; MPS shares that of the processor
        rows = pin_memory.pin_memory(rows)  # type: ignore[no-untyped-call]
    return {name: value.to(device, non_blocking=True) for name, value in rows.items()}


class ResidentTokens:
    """The tokens of some stores on a device.

    Args:
        device: The device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._held: dict[int, tuple[TokenStore, Tokens]] = {}

    def of(self, store: TokenStore) -> Tokens:
        """The tokens of a store, copied at first use."""
        if id(store) not in self._held:
            with torch.inference_mode(False):  # an evaluation may come before the training
                types = None if store.token_type_ids is None else store.token_type_ids.to(self.device)
                self._held[id(store)] = store, Tokens(store.input_ids.to(self.device), types)
        return self._held[id(store)][1]

    def release(self) -> None:
        """Free the device's memory; a loader that is used again copies its tokens again."""
        self._held = {}


def keep_tokens(stores: Sequence[TokenStore], device: torch.device, setting: OnDevice) -> ResidentTokens | None:
    """Copy the tokens of all splits to an accelerator, if they fit or it is asked for; ``None`` if they stay.

    Args:
        stores: Those of all splits.
        device: Where the model is.
        setting: ``data.tokens_on_device``.
    """
    if setting is False or device.type == "cpu":
        return None
    stores = list({id(store): store for store in stores}.values())
    if setting == "auto":
        free = free_memory_of(device)
        if free is None or sum(map(_size, stores)) > free // _SHARE:
            return None
    tokens = ResidentTokens(device)
    for store in stores:
        tokens.of(store)
    return tokens


def check_device(setting: OnDevice, device: torch.device) -> None:
    """Refuse to keep tokens on an accelerator where there is none.

    Raises:
        UsageError: It is asked for on a processor.
    """
    if setting is True and device.type == "cpu":
        raise UsageError(
            "data.tokens_on_device: got true, which needs a GPU; this is computed on cpu, whose memory holds the "
            "tokens anyway. Allowed here: auto, false."
        )


def _size(store: TokenStore) -> int:
    return store.input_ids.nbytes + (0 if store.token_type_ids is None else store.token_type_ids.nbytes)
