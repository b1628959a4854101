"""Which examples of a split are used: all, some spread evenly, or a few of each label."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glue_lit.data.cache import cache_folder
from glue_lit.data.large_arrays import scratch_array
from glue_lit.data.tokens import TokenStore, evenly_spaced
from glue_lit.system.environment import global_seed
from glue_lit.tasks.spec import limit_setting

_AT_ONCE = 1 << 18  # labels


def choose_examples(split: str, store: TokenStore, settings: Mapping[str, Any]) -> Tensor:
    """Positions of a split's examples that ``data.shots`` or its limit leaves, ascending, ``(examples,)``.

    Args:
        split: Name of the split.
        store: Its tokens.
        settings: The settings of a `GLUEDataModule`.

    Raises:
        DataError: No example is left.
    """
    folder = cache_folder(settings.get("cache_dir"))
    if split == "train" and settings.get("shots") is not None:
        return draw_shots(store.labels, settings["shots"], order_seed(settings), folder)
    return evenly_spaced(store, settings.get(limit_setting(split)), folder)


def draw_shots(labels: Tensor, shots: int, seed: int, folder: Path | None = None) -> Tensor:
    """Positions of ``shots`` random examples of each label, or of all that it has, ascending, ``(examples,)`` int64.

    Args:
        labels: Classes, ``(examples,)`` int64; -1 where unlabelled.
        shots: Examples of each label.
        seed: Decides which.
        folder: Folder for a temporary file that holds the order of very many examples.
    """
    order = torch.from_numpy(scratch_array(len(labels), "int64", folder))
    torch.randperm(len(labels), generator=torch.Generator("cpu").manual_seed(seed), out=order, device="cpu")
    chosen: dict[int, list[Tensor]] = {}
    left: dict[int, int] = {}
    for part in torch.split(order, _AT_ONCE):
        of_part = labels[part]
        for label in torch.unique(of_part).tolist():
            if label >= 0 and (missing := left.get(label, shots)):
                found = part[of_part == label][:missing]
                chosen.setdefault(label, []).append(found)
                left[label] = missing - len(found)
    return torch.cat([order[:0], *(part for parts in chosen.values() for part in parts)]).sort().values


def order_seed(settings: Mapping[str, Any]) -> int:
    """Seed of the order of training examples, and of the choice of shots."""
    seed = global_seed() if settings.get("seed") is None else settings["seed"]
    return 42 if seed is None else int(seed)
