"""A run's record is checked before a model card quotes it: hand-edited values give a message, not a traceback."""

import json
from pathlib import Path
from typing import Any

import pytest

from glue_lit.errors import RunError
from glue_lit.outputs.card_record import read_card_record
from glue_lit.outputs.model_card import model_card
from glue_lit.runs.run import Run
from glue_lit.tasks.glue import TASKS

RECORD = {
    "model": "bert",
    "model_commit": None,
    "metrics": {"val/accuracy": 0.5, "val/f1": None},
    "positive": "yes",
    "epochs": 2,
    "device": {"processes": 1},
    "versions": {"torch": "2.13.0"},
    "data": {"splits": {"train": {"origin": "train.tsv", "rows": 10, "commit": None, "hash": "ab"}}},
    "recipe": {"Learning rate": "2e-05"},
    "config": {"model": {}},
}


def written(folder: Path, record: dict[str, Any]) -> Run:
    run = Run(folder)
    run.metrics.write_text(json.dumps(record), encoding="utf-8")
    return run


def test_a_sound_record_is_read_as_it_is(tmp_path: Path) -> None:
    assert read_card_record(written(tmp_path, RECORD)) == RECORD
    assert read_card_record(written(tmp_path, {"metrics": {}})) == {"metrics": {}}


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"metrics": {"val/accuracy": "high"}}, "metrics.val/accuracy"),
        ({"metrics": {"val/accuracy": True}}, "metrics.val/accuracy"),
        ({"model": 3}, "model"),
        ({"data": [1]}, "data"),
        ({"data": {"splits": "all"}}, "data.splits"),
        ({"data": {"splits": {"train": None}}}, "data.splits.train"),
        ({"data": {"splits": {"train": {"rows": 1}}}}, "data.splits.train.origin"),
        ({"data": {"splits": {"train": {"origin": "a", "rows": "1"}}}}, "data.splits.train.rows"),
        ({"versions": ["torch"]}, "versions"),
        ({"device": 4}, "device"),
        ({"config": "none"}, "config"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(changed: dict[str, Any], key: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"^damaged metrics.json \({key} is missing or has a wrong type\)$"):
        read_card_record(written(tmp_path, RECORD | changed))


def test_values_that_a_card_does_not_need_may_have_any_type(tmp_path: Path) -> None:
    record = RECORD | {"positive": [1], "epochs": "two", "findings": 3}
    card = model_card(TASKS["rte"], 128, read_card_record(written(tmp_path, record)), {}, "my-model")
    assert "val/accuracy | 0.500000" in card
