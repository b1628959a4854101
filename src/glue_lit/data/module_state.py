"""Find the state of the data module in a checkpoint."""

from collections.abc import Mapping
from typing import Any


def datamodule_state(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """State of the data module in a checkpoint, where its class name is the key; empty if there is none."""
    parts = (value for value in checkpoint.values() if isinstance(value, dict))
    others = (part for part in parts if {"tokenizer", "batches"} <= set(part))
    return checkpoint.get("GLUEDataModule") or next(others, {})
