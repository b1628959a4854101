import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glue_lit.data.rows import Places
from glue_lit.errors import DataError
from glue_lit.evaluation.predictions import read_predictions
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import get_task

SST2, STSB = get_task("sst2"), get_task("stsb")
GOOD = {"idx": 0, "label": "positive", "probabilities": {"negative": 0.2, "positive": 0.8}, "gold": "negative"}


def write(tmp_path: Path, *lines: Any) -> Path:
    path = tmp_path / "validation.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_predicted_classes_are_in_the_order_of_the_rows(tmp_path: Path) -> None:
    other = {"idx": 1, "label": "negative", "probabilities": {"positive": 0.4, "negative": 0.6}, "gold": "negative"}
    hidden = {key: value for key, value in GOOD.items() if key != "gold"} | {"idx": 2}
    found = read_predictions(write(tmp_path, other, hidden, GOOD), SST2)
    assert (found.idx.tolist(), found.gold.tolist(), found.values.tolist()) == ([0, 1], [0, 0], [1, 0])
    assert found.probabilities is not None
    assert found.probabilities.tolist() == [[0.2, 0.8], [0.6, 0.4]]
    assert (len(found), found.unlabelled, found.gold.dtype) == (2, 1, np.int64)


def test_labels_without_probabilities_are_enough(tmp_path: Path) -> None:
    found = read_predictions(write(tmp_path, {"idx": 0, "label": "positive", "gold": "positive"}), SST2)
    assert found.probabilities is None


def test_predicted_scores_are_read(tmp_path: Path) -> None:
    found = read_predictions(write(tmp_path, {"idx": 0, "score": 3, "gold": 2.5}), STSB)
    assert (found.gold.tolist(), found.values.tolist(), found.values.dtype) == ([2.5], [3.0], np.float64)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "the file is empty. Choose one of validation with `--split SPLIT`."),
        ([{**GOOD, "gold": None}], "none of its 1 rows has a gold label"),
        ([GOOD, "{"], "line 2: not JSON"),
        (["[]"], "line 1: a JSON list, where an object is needed"),
        ([GOOD, GOOD], "line 2: idx 0 is already on line 1. Delete the file; `glue-lit report` then predicts again."),
        ([{**GOOD, "idx": True}], "line 1: idx is True, not a row number"),
        ([{**GOOD, "idx": -1}], "line 1: idx is -1, not a row number"),
        ([{**GOOD, "idx": 10**400}], f"line 1: idx is 1{'0' * 59}..., not a row number"),
        (
            [{**GOOD, "probabilities": {"positive": 10**400, "negative": 0}}],
            f"positive is 1{'0' * 59}..., not a number",
        ),
        ([{**GOOD, "label": "Positive"}], "label is 'Positive', not a label of task sst2. Did you mean 'positive'?"),
        ([{**GOOD, "gold": 1}], "gold is 1, not a label of task sst2. Its labels are: negative, positive."),
        ([{**GOOD, "probabilities": {"positive": 1}}], "one number for each of negative, positive"),
        ([{**GOOD, "probabilities": {"positive": 1, "negative": "0"}}], "negative is '0', not a number"),
        ([{**GOOD, "probabilities": {"positive": 1, "negative": float("nan")}}], "negative is nan, not a number"),
        ([{**GOOD, "probabilities": {"positive": 1, "negative": 0.5}}], "must be 0 or more and sum to 1"),
        ([{**GOOD, "row": "7"}], "line 1: row is '7', not a row number"),
        ([{**GOOD, "row": True}], "line 1: row is True, not a row number"),
        ([{**GOOD, "id": 7}], "line 1: id is 7, not a text"),
        ([GOOD, {"idx": 1, "label": "positive", "gold": "positive"}], "some rows have probabilities and others"),
    ],
)
def test_bad_input_is_one_message(lines: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_predictions(write(tmp_path, *lines), SST2)
    assert message in str(error.value)


def test_a_score_that_is_no_number_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1: score is None, not a number"):
        read_predictions(write(tmp_path, {"idx": 0, "gold": 2.5}), STSB)


def test_row_numbers_and_ids_are_read_with_their_unit(tmp_path: Path) -> None:
    lines = [{**GOOD, "idx": 1, "row": 9, "id": "b"}, {**GOOD, "row": 4}]
    record = {"unit": "line", "file": "/data/reviews.csv"}
    assert read_predictions(write(tmp_path, *lines), SST2, record).places == Places(
        "/data/reviews.csv", "line", [4, 9], ["", "b"]
    )
    assert read_predictions(write(tmp_path, *lines), SST2).places == Places("", "row", [4, 9], ["", "b"])
    assert read_predictions(write(tmp_path, lines[0], GOOD), SST2).places is None  # of an older version


SETS = resolve_task("own", CustomTask("text", kind="multi_label", labels=["a", "b", "c"], metrics=["micro_f1"]))


def set_line(**changes: Any) -> str:
    row = {"idx": 0, "labels": ["b"], "probabilities": {"a": 0.1, "b": 0.9, "c": 0.4}, "gold": ["a", "b"]}
    return json.dumps(row | changes) + "\n"


def test_rows_with_several_labels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "validation.jsonl"
    path.write_text(set_line() + set_line(idx=2, labels=[], gold=[]) + set_line(idx=1, gold=None))
    found = read_predictions(path, SETS, {"thresholds": [0.5, 0.25, 0.5]})
    assert found.idx.tolist() == [0, 2]
    assert found.gold.tolist() == [[1, 1, 0], [0, 0, 0]]
    assert found.values.tolist() == [[0, 1, 0], [0, 0, 0]]
    assert found.probabilities is not None
    assert found.probabilities.tolist() == [[0.1, 0.9, 0.4]] * 2
    assert found.thresholds is not None
    assert found.thresholds.tolist() == [0.5, 0.25, 0.5]
    assert found.is_right.tolist() == [False, True]
    assert found.unlabelled == 1


@pytest.mark.parametrize(
    ("changes", "record", "message"),
    [
        ({"labels": "b"}, {}, "line 1: labels is 'b', not a list of labels"),
        ({"labels": ["d"]}, {}, "line 1: labels is 'd', not a label of task own"),
        ({"gold": ["a", 3]}, {}, "line 1: gold is 3, not a label"),
        ({"probabilities": {"a": 0.1, "b": 1.2, "c": 0}}, {}, "line 1: the probabilities must be from 0 to 1"),
        ({"probabilities": {"a": 0.1}}, {}, "line 1: probabilities need one number for each of a, b, c"),
        ({}, {"thresholds": [0.5, 2.0, 0.5]}, "thresholds that are not numbers between 0 and 1"),
        ({}, {"thresholds": [0.5]}, "thresholds that are not numbers between 0 and 1"),
    ],
)
def test_damaged_rows_with_several_labels(
    tmp_path: Path, changes: dict[str, Any], record: dict[str, Any], message: str
) -> None:
    path = tmp_path / "validation.jsonl"
    path.write_text(set_line(**changes))
    with pytest.raises(DataError, match=message):
        read_predictions(path, SETS, record)
