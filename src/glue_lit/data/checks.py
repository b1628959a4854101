"""Checks of a data module's settings and of its training rows."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from glue_lit.data.rows import Split
from glue_lit.data.tokens import TokenStore, are_labels
from glue_lit.data.window_settings import check_windows
from glue_lit.errors import DataError, UsageError
from glue_lit.runs.settings import Allowed, check_settings
from glue_lit.tasks.custom import CustomTask, parse_custom_task
from glue_lit.tasks.glue import TaskSpec

_AT_ONCE = 1 << 18  # labels
MOST_WORKERS = max(64, 8 * (os.cpu_count() or 1))
ROWS_OR_SHARE = Allowed(
    "a number of rows, or above 0 and below 1 for a share",
    lambda limit: 0 < limit < 1 or (limit >= 1 and limit % 1 == 0),
)


def check_data_settings(owner: type, values: Mapping[str, Any], task: TaskSpec) -> None:
    """Check the settings of `GLUEDataModule`, or of a subclass.

    Raises:
        UsageError: A value is not allowed, or does not fit the task.
    """
    check_settings("data", owner, values)
    check_windows(values, task.text_columns)
    if values["both_orders"] and len(task.text_columns) < 2:
        raise UsageError(f"data.both_orders: an example of {task.name} has one text, and this setting is for pairs.")
    for name, default in (("pad_to_multiple_of", 1), ("length_buckets", None)):
        if values["padding_free"] and values[name] != default:
            raise UsageError(
                f"data.{name}: got {values[name]}, and data.padding_free true, with which nothing is padded. Leave one "
                "of them out."
            )
    if values["shots"] is not None:
        _check_shots(values, task)


def _check_shots(values: Mapping[str, Any], task: TaskSpec) -> None:
    if task.is_regression and not task.levels:
        raise UsageError(
            f"data.shots: got {values['shots']}, but {task.name} is a regression, which has no labels to choose rows "
            f"by. `--data.train_limit {values['shots']}` trains on as many rows."
        )
    if task.is_multi_label:
        raise UsageError(
            f"data.shots: got {values['shots']}, but a row of {task.name} may have several labels, so that their rows "
            f"cannot be equally many. `--data.train_limit {values['shots'] * len(task.labels)}` trains on as many rows."
        )
    if values["train_limit"] is not None:
        raise UsageError(
            f"data.shots: got {values['shots']}, and data.train_limit {values['train_limit']}: both say how many rows "
            "to train on. Give one of them."
        )
    check_balance(values["shots"], parse_custom_task(values["custom"]))


def check_balance(shots: int | None, custom: CustomTask) -> None:
    """Refuse weights that balance labels which have equally many training rows; before they become numbers.

    Raises:
        UsageError: There are both shots and balanced weights.
    """
    if shots is not None and custom.class_weights == "balanced":
        raise UsageError(
            "data.custom.class_weights: got balanced, but with data.shots the labels have equally many training rows. "
            "Leave it out."
        )


def check_all_labelled(store: TokenStore, split: Split) -> None:
    """Refuse training rows without a label.

    Raises:
        DataError: A training row has no label.
    """
    if store.is_labelled:
        return
    hidden, first = 0, -1
    for start, labels in enumerate(torch.split(store.labels, _AT_ONCE)):
        places = (~are_labels(labels)).nonzero().flatten()
        first = start * _AT_ONCE + int(places[0]) if len(places) and not hidden else first
        hidden += len(places)
    if hidden:
        number = first + 1 if store.numbers is None else int(store.numbers[first])
        raise DataError(
            f"{split.origin}: {hidden} training row(s) have no label, the first is {split.unit} {number}. "
            "Label them or take them out."
        )
