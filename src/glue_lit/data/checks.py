"""What a data module's settings may be, and its training rows."""

import os
from collections.abc import Mapping
from typing import Any

from glue_lit.data.rows import Split
from glue_lit.data.tokens import TokenStore
from glue_lit.errors import DataError, UsageError
from glue_lit.tasks.glue import TaskSpec

_LEAST = {
    "batch_size": 1,
    "tokens_per_batch": 1,
    "eval_batch_size": 1,
    "max_length": 4,
    "validation_limit": 1,
    "test_limit": 1,
    "num_workers": 0,
}
_MOST = 2**31 - 1  # what counts batches and rows takes


def check_settings(values: Mapping[str, Any], task: TaskSpec) -> None:
    """Stop at a setting of `GLUEDataModule` that no batch can be made with.

    Raises:
        UsageError: A number is out of its range, or the task has no such thing.
    """
    for flag, least in _LEAST.items():
        value = values[flag]
        if value is not None and value < least:
            raise UsageError(f"data.{flag}: got {value}, allowed: {least} or more.")
        most = max(64, 8 * (os.cpu_count() or 1)) if flag == "num_workers" else _MOST
        if value is not None and value > most:
            raise UsageError(f"data.{flag}: got {value}, allowed: {least} to {most}.")
    limit = values["train_limit"]
    if limit is not None and not (0 < limit < 1 or (limit >= 1 and limit % 1 == 0)):
        raise UsageError(
            f"data.train_limit: got {limit}, allowed: a number of rows, or above 0 and below 1 for a share."
        )
    if values["both_orders"] and len(task.text_columns) < 2:
        raise UsageError(f"data.both_orders: an example of {task.name} has one text; this is for pairs.")


def check_all_labelled(store: TokenStore, split: Split) -> None:
    """Stop at a training row without a label.

    Raises:
        DataError: There is one.
    """
    hidden = (~store.labelled).nonzero().flatten()
    if len(hidden):
        first = int(hidden[0])
        number = first + 1 if store.numbers is None else int(store.numbers[first])
        raise DataError(
            f"{split.origin}: {len(hidden)} training row(s) have no label, the first is {split.unit} {number}. "
            "Label them or take them out."
        )
