"""The files that the GLUE server takes, written from predictions.

The format follows the benchmark's instructions (https://gluebenchmark.com/faq): one TSV file for each test set, a
header, the row's position and the predicted label as the training file writes it, except that CoLA, SST-2, MRPC, QQP
and WNLI take numbers and the inference tasks take names.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_lit.errors import DataError
from glue_lit.system.console import count_of
from glue_lit.tasks.glue import TASKS, TaskSpec

HEADER = "index\tprediction"


@dataclass(frozen=True)
class Entry:
    """One file of a submission."""

    name: str
    task: TaskSpec  # whose labels it holds
    split: str  # the test split that it predicts

    @property
    def rows(self) -> int:
        """Number of rows that it must have."""
        return self.task.files[self.split].rows

    @property
    def trained_as(self) -> str:
        """The task whose runs predict it."""
        return self.task.trained_as or self.task.name


def _entries() -> Iterator[Entry]:
    seen = set()
    for task in TASKS.values():
        for split, name in task.submission.items():
            if name not in seen:  # mnli-mm has the same files as mnli
                seen.add(name)
                yield Entry(name, task, split)


ENTRIES: dict[str, Entry] = {entry.name: entry for entry in _entries()}


def family(task: TaskSpec) -> str:
    """The task whose runs predict the files of ``task``: one name for all tasks with the same files."""
    return ENTRIES[next(iter(task.submission.values()))].trained_as


def entry_text(entry: Entry, predictions: Path) -> str:
    """The content of an entry's file, from the predictions that `test` wrote; labels are matched by name.

    Raises:
        DataError: The predictions are not those of the official test rows (naming file and line).
    """
    lines = [HEADER]
    try:
        with predictions.open("rb") as file:
            count = sum(1 for _ in file)
            if count != entry.rows:
                raise DataError(
                    f"{predictions}: {count_of(count, 'row')}, {entry.name} needs {entry.rows:,}. The rows are not "
                    "all those of the official test file. Delete it, and `submit` writes a new one."
                )
            file.seek(0)
            for row, line in enumerate(file):
                try:
                    lines.append(f"{row}\t{_prediction(entry.task, json.loads(line.decode('utf-8')), row)}")
                except (ValueError, RecursionError) as error:
                    what = str(error) if type(error) is ValueError else "not a JSON object in UTF-8"
                    raise DataError(
                        f"{predictions}, line {row + 1}: {what}. Delete the file, and `submit` writes a new one."
                    ) from None
    except OSError as error:
        raise DataError(f"{predictions}: cannot be read ({error.strerror}).") from None
    return "\n".join(lines) + "\n"


def _prediction(task: TaskSpec, record: Any, row: int) -> str:
    """A record's label or score as the server wants it; a ValueError says what is wrong with the record."""
    if not isinstance(record, dict):
        raise ValueError(f"{str(record)[:50]!r} is not a prediction")
    idx = record.get("idx")
    if type(idx) is not int or idx != row:
        raise ValueError(f"idx {str(idx)[:50]} where {row} is needed: a row is missing, duplicated or out of order")
    if not task.is_regression:
        if record.get("label") not in task.labels:
            raise ValueError(f"label {str(record.get('label'))[:50]!r}, allowed: {', '.join(task.labels)}")
        return task.file_labels[task.labels.index(record["label"])]
    score = record.get("score")
    low, high = task.score_range or (-math.inf, math.inf)
    if isinstance(score, bool) or not isinstance(score, int | float) or score != score:
        raise ValueError(f"score {str(score)[:50]}, a number is needed")
    return f"{min(max(score, low), high) + 0.0:.3f}"  # no minus before a zero


def filled_text(entry: Entry) -> str:
    """The content of an entry's file without a run: the most frequent training label or the mean score on every row."""
    return "\n".join([HEADER, *(f"{row}\t{entry.task.most_common}" for row in range(entry.rows))]) + "\n"
