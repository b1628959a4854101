"""GLUE from the Hugging Face Hub, or from what ``datasets`` has cached of it."""

import os
from typing import Any

from glue_lit.data.sources import Label, Rows, Split
from glue_lit.errors import DataError
from glue_lit.tasks import TaskSpec

REPOSITORY = "nyu-mll/glue"


def open_hub_split(task: TaskSpec, split: str) -> Split:
    """Download a split, or take it from the cache (always, under ``HF_HUB_OFFLINE=1``).

    Raises:
        DataError: The Hub cannot be reached and the split is not cached.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        data = datasets.load_dataset(REPOSITORY, task.hub_name, split=split)
    except Exception as error:  # datasets raises a dozen kinds, down to httpx's: none means more to the user
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"data.source hub: could not load {REPOSITORY} ({task.hub_name}, {split}): {reason}. "
            "Check the network (and HF_HUB_OFFLINE), or read the official files with "
            "`--data.source FOLDER`, or try `--data.source demo`."
        ) from error
    origin = f"{REPOSITORY}/{task.hub_name}:{split}"
    return Split(split, origin, data._fingerprint, lambda: rows_from_dataset(task, data, origin))


def rows_from_dataset(task: TaskSpec, data: Any, origin: str) -> Rows:
    """Rows of a ``datasets.Dataset`` in the Hub's format; its ``-1`` is an unlabelled example.

    Raises:
        DataError: A column is missing, or a label is not one of the task's.
    """
    missing = [column for column in (*task.text_columns, "label") if column not in data.column_names]
    if missing:
        raise DataError(f"{origin}: no column {missing[0]!r}; the columns are {', '.join(data.column_names)}.")
    if len(data) == 0:
        raise DataError(f"{origin}: the split is empty; at least one row is needed.")
    texts = [list(data[column]) for column in task.text_columns]
    # By name, not by number: another copy of the data may order its classes otherwise.
    names = getattr(data.features["label"], "names", None) or list(task.labels)
    unknown = sorted(set(names) - set(task.labels))
    if unknown:
        raise DataError(f"{origin}: label {unknown[0]!r} is not one of task {task.name}: {', '.join(task.labels)}.")
    order = [task.labels.index(name) for name in names]
    labels = [_label(task, order, value, f"{origin}, row {row}") for row, value in enumerate(data["label"])]
    return Rows(texts[0], texts[1] if len(texts) > 1 else None, labels)


def _label(task: TaskSpec, order: list[int], value: Any, where: str) -> Label:
    if value is None or value == -1:
        return None
    if task.is_regression:
        return float(value)
    if not 0 <= int(value) < len(order):
        raise DataError(f"{where}: label {value} is not one of task {task.name}: 0 to {len(order) - 1}.")
    return order[int(value)]
