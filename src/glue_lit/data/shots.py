"""Which examples of a split are used: all, some spread evenly, or a few of each label."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from glue_lit.data.tokens import TokenStore, evenly_spaced
from glue_lit.system.environment import global_seed
from glue_lit.tasks.spec import limit_setting


def choose_examples(split: str, store: TokenStore, settings: Mapping[str, Any]) -> Tensor:
    """Positions of a split's examples that ``data.shots`` or its limit leaves, ascending, ``(examples,)`` int64.

    Args:
        split: Name of the split.
        store: Its tokens.
        settings: The settings of a `GLUEDataModule`.

    Raises:
        DataError: No example is left.
    """
    if split == "train" and settings.get("shots") is not None:
        return draw_shots(store.labels, settings["shots"], order_seed(settings))
    return evenly_spaced(store, settings.get(limit_setting(split)))


def draw_shots(labels: Tensor, shots: int, seed: int) -> Tensor:
    """Positions of ``shots`` random examples of each label, or of all that it has, ascending, ``(examples,)`` int64.

    Args:
        labels: Classes, ``(examples,)`` int64; -1 where unlabelled.
        shots: Examples of each label.
        seed: Decides which.
    """
    order = torch.randperm(len(labels), generator=torch.Generator("cpu").manual_seed(seed), device="cpu")
    chosen = [order[labels[order] == label][:shots] for label in torch.unique(labels[labels >= 0])]
    return torch.cat([order[:0], *chosen]).sort().values


def order_seed(settings: Mapping[str, Any]) -> int:
    """Seed of the order of training examples, and of the choice of shots."""
    seed = global_seed() if settings.get("seed") is None else settings["seed"]
    return 42 if seed is None else int(seed)
