import json
from pathlib import Path
from typing import Any

import pytest

from glue_lit.errors import RunError, UsageError
from glue_lit.evaluation.report.run_in_words import (
    duration,
    outcome,
    read_record_notes,
    read_settings,
    section,
    task_in,
)
from glue_lit.runs.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "config.yaml").write_text("data:\n  task: rte\n")
    return Run(tmp_path)


def test_outcome_describes_the_record() -> None:
    record = {
        "parameters": {"total": 66_955_010, "trained": 592_130},
        "best": {"epoch": 2, "step": 188},
        "wall_seconds": 7384.0,
        "device": {"type": "cuda", "name": "NVIDIA A100", "processes": 4},
        "git": {"commit": "0123456789abcdef"},
        "data": {"splits": {"train": {"rows": 8551}}},
        "train_samples_per_second": 812.3,
    }
    assert outcome(record) == {
        "Parameters": "67.0 M (592,130 trained)",
        "Training rows": "8,551",
        "Best checkpoint": "epoch 2, step 188",
        "Time": "2 h 03 min",
        "Speed": "812 samples/s",
        "Device": "4 x NVIDIA A100",
        "Git": "0123456789ab",
    }


@pytest.mark.parametrize(
    "record", [{}, {"parameters": 3, "best": [], "device": None, "git": "x", "data": {"splits": 1}}]
)
def test_a_record_of_another_shape_gives_no_outcome(record: dict[str, Any]) -> None:
    assert outcome(record) == {}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(12.34, "12.3 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (None, None), (-1, None), (float("nan"), None)],
)
def test_duration_in_words(seconds: Any, words: str | None) -> None:
    assert duration(seconds) == words


def test_a_run_without_a_record(run: Run) -> None:
    assert read_record_notes(run) == (
        {},
        ["The fit was not finished: there is no metrics.json, so time and device are unknown."],
    )


@pytest.mark.parametrize(
    ("findings", "notes"),
    [
        (
            [
                {"what": "labels with one training row", "count": "1 of 3 labels", "example": "'c' (a.csv, line 2)"},
                1,
                {},
            ],
            ["In the data: labels with one training row: 1 of 3 labels; 'c' (a.csv, line 2)."],
        ),
        ("none", []),
        (None, []),
    ],
)
def test_what_was_found_in_the_data_is_a_note(findings: object, notes: list[str], run: Run) -> None:
    run.metrics.write_text(json.dumps({"metrics": {"val/loss": 1.0}, "data": {"findings": findings}}))
    assert read_record_notes(run)[1] == notes


@pytest.mark.parametrize("content", ["{", "[1]", "\x00", '{"a": ' * 10_000])
def test_a_damaged_record_is_reported(content: str, run: Run) -> None:
    run.metrics.write_text(content)
    record, (problem,) = read_record_notes(run)
    assert record == {}
    assert problem.startswith("metrics.json cannot be read (")
    run.metrics.write_bytes(b"\xff\xfe")
    assert read_record_notes(run)[0] == {}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("data:\n  source: demo\n", "data.task is None, which is not the name of a task"),
        ("data:\n  task: rte\n  custom: {txt: a}\n", "data.custom does not describe a task"),
    ],
)
def test_a_configuration_without_a_known_task_is_one_message(config: str, message: str, run: Run) -> None:
    run.config.write_text(config)
    with pytest.raises(RunError, match=message):
        task_in(read_settings(run), run)


@pytest.mark.parametrize("config", ["", "data: [", "- a\n", "data: 3\n", "data: !!python/name:os.system ''\n"])
def test_a_file_that_is_no_configuration_is_one_message(config: str, run: Run) -> None:
    run.config.write_text(config)
    with pytest.raises(UsageError, match=r"config\.yaml"):
        read_settings(run)


def test_task_is_the_runs_own_or_a_named_one(run: Run) -> None:
    assert task_in(read_settings(run), run)[0].name == "rte"
    assert task_in(read_settings(run), run, "ax")[0].name == "ax"
    with pytest.raises(UsageError, match="there is no task 'rt'"):
        task_in(read_settings(run), run, "rt")


def test_a_section_may_be_missing() -> None:
    assert section({"a": {"b": {"c": 1}}}, "a", "b") == {"c": 1}
    assert section({"a": 1}, "a", "b") == {}
    assert json.dumps(section({"a": {"b": None}}, "a", "b")) == "{}"
