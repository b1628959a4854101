"""GLUE, or a data set of the user's choice, from the Hugging Face Hub, or from what ``datasets`` has cached of it."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glue_lit.data.class_labels import names_in_features
from glue_lit.data.rows import Label, Rows, Split
from glue_lit.data.source import Source
from glue_lit.data.tables import FORMATS, SPLIT_NAMES, Table
from glue_lit.encoder.pretrained import unwritable_cache, waiting_for_hub
from glue_lit.errors import DataError
from glue_lit.system.system_errors import explain_system_error
from glue_lit.system.untrusted_text import Value
from glue_lit.tasks.glue import TaskSpec

REPOSITORY = "nyu-mll/glue"


def commit_of(data: Any) -> str | None:
    """The commit of the Hub's repository that a ``datasets.Dataset`` was made of; ``None`` where it does not say."""
    named = [str(url) for url in (getattr(data.info, "download_checksums", None) or {})]
    named += [str(file.get("filename", "")) for file in data.cache_files]  # .../0.0.0/COMMIT/glue-train.arrow
    for pattern in (r"@([0-9a-f]{40})/", r"[/\\]([0-9a-f]{40})[/\\][^/\\]+$"):
        if found := [match[1] for name in named if (match := re.search(pattern, name))]:
            return found[0]
    return None


def _load(what: str, advice: str, *args: Any, **options: Any) -> Any:
    """``datasets.load_dataset``, quietly; whatever goes wrong becomes one `DataError`."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        with waiting_for_hub():
            return datasets.load_dataset(*args, **options)
    except Exception as error:  # datasets raises a dozen kinds, down to httpx's: none means more to the user
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        if (refused := explain_system_error(error)) is not None:
            raise DataError(f"data.source hub: could not load {what}: {refused}") from error
        if (unwritable := unwritable_cache()) is not None:
            raise DataError(f"data.source hub: could not load {what}: {reason}. {unwritable}") from error
        if "scripts are no longer supported" in reason:  # `datasets` sees a file where every name is answered
            reason += "; if a proxy or $HF_ENDPOINT answers every question with a page, that is why"
        raise DataError(
            f"data.source hub: could not load {what}: {reason}. Check the network (and HF_HUB_OFFLINE), or {advice}."
        ) from error


class HubTable(Table):
    """A split of a data set as `datasets` has it; class numbers become the names that the data set gives them.

    Args:
        data: A ``datasets.Dataset``.
        origin: Its name, for messages.
    """

    unit = "row"

    def __init__(self, data: Any, origin: str) -> None:
        self.data = data
        self.commit = commit_of(data)
        super().__init__(Path(origin))
        self.class_names = names_in_features(data.features)

    def fingerprint(self) -> str:
        """That of `datasets`."""
        return str(self.data._fingerprint)

    def _read_columns(self) -> tuple[str, ...]:
        if len(self.data) == 0:
            raise self._empty()
        return tuple(self.data.column_names)

    def _rows(self, columns: Sequence[str]) -> Iterator[tuple[int, tuple[Value, ...]]]:
        picked = self.data.select_columns(list(dict.fromkeys(columns)))
        for number, row in enumerate(picked, start=1):
            place = self.place(number)
            yield number, tuple(self._value(row[c], c, place) for c in columns)


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
    labels = [_label(task, order, value, f"{origin}, row {row}") for row, value in enumerate(data["label"], 1)]
    numbers = np.arange(1, len(labels) + 1, dtype=np.int32)
    return Rows(texts[0], texts[1] if len(texts) > 1 else None, labels, numbers)


def _label(task: TaskSpec, order: list[int], value: Any, where: str) -> Label:
    if value is None or value == -1:
        return None
    if task.is_regression:
        return float(value)
    if not 0 <= int(value) < len(order):
        raise DataError(f"{where}: label {value} is not one of task {task.name}: 0 to {len(order) - 1}.")
    return order[int(value)]


class HubSource(Source):
    """GLUE on the Hub, or a data set of the user's choice."""

    glue = "hub"
    custom = "the name of a data set on the Hub (name:configuration)"

    def matches(self, location: str, is_custom: bool) -> bool:
        """Whether it is ``hub``; for a task of the user's own, whether it can be a data set's name."""
        if not is_custom:
            return location == "hub"
        path = Path(location).expanduser()
        is_path = path.exists() or path.suffix.lower() in FORMATS or location.startswith((".", "/", "~"))
        return not is_path and location not in ("hub", "demo")

    def open_split(self, task: TaskSpec, location: str, split: str) -> Split:
        """Download a split of GLUE, or take it from the cache (always, under ``HF_HUB_OFFLINE=1``)."""
        data = _load(
            f"{REPOSITORY} ({task.hub_name}, {split})",
            "read the official files with `--data.source FOLDER`, or try `--data.source demo`",
            REPOSITORY,
            task.hub_name,
            split=split,
        )
        origin = f"{REPOSITORY}/{task.hub_name}:{split}"
        return Split(
            split,
            origin,
            data._fingerprint,
            lambda: rows_from_dataset(task, data, origin),
            labels=task.file_labels,
            commit=commit_of(data),
        )

    def open_tables(self, location: str) -> dict[str, Table]:
        """The splits of the data set ``name`` or ``name:configuration`` that have usual names."""
        name, _, configuration = location.partition(":")
        found = _load(location, "pass a file or folder", name, configuration or None)
        tables: dict[str, Table] = {
            split: HubTable(found[there], f"{location}:{there}")
            for split, names in SPLIT_NAMES.items()
            for there in names
            if there in found
        }
        if not tables:
            raise DataError(f"data.source: {location} has no train, validation or test split, but {', '.join(found)}.")
        return tables
