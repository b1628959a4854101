"""Which rows a report is on, and when they are predicted again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from glue_lit.errors import DataError, UsageError
from glue_lit.outputs import reported_rows
from glue_lit.outputs.reported_rows import find_rows
from glue_lit.runs.prediction_record import write_prediction_record
from glue_lit.runs.run import Run
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import get_task

CUSTOM = CustomTask("text", labels=["bad", "good"], kind="classification", metrics=["accuracy"])
TASK = resolve_task("reviews", CUSTOM)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run on train.csv, which has no test rows; there are three more files."""
    found = Run(tmp_path / "lightning_logs" / "reviews" / "version_0")
    found.checkpoints.mkdir(parents=True)
    (found.checkpoints / "best.ckpt").write_text("weights")
    for name in ("train", "test", "more", "other"):
        (tmp_path / f"{name}.csv").write_text("text,label\n" + f"{name} 1,good\n{name} 2,bad\n" * 10)
    found.config.write_text(json.dumps({"data": {"task": "reviews", "source": str(tmp_path / "train.csv")}}))
    return found


def predicted(run: Run, split: str, origin: Path | str, **more: object) -> None:
    """Leave predictions of a split as `test` and `predict` do."""
    path = run.predictions / f"{split}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"idx": 0}\n')
    source, best = str(run.setting("data.source")), run.checkpoints / "best.ckpt"
    write_prediction_record(path, source, 1, best, origin=str(origin), **more)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would predict."""
    commands: list[list[str]] = []

    def run_child(arguments: list[str]) -> tuple[int, str]:
        commands.append(arguments)
        return 0, ""

    monkeypatch.setattr(reported_rows, "run_child", run_child)
    return commands


def ask(run: Run, split: str, custom: CustomTask = CUSTOM, test_file: Path | None = None) -> tuple[list[str], str]:
    """The reasons to predict again, and the first text of the rows."""
    reasons: list[str] = []
    rows = find_rows(run, TASK, custom, split, None, test_file)
    assert rows.predict(lambda run, split, why: reasons.append(why)) == []
    return reasons, rows.open().read().texts_a[0]


def test_test_rows_that_only_the_last_test_knew_are_found(run: Run, tmp_path: Path, children: list[list[str]]) -> None:
    predicted(run, "test", tmp_path / "test.csv")
    assert ask(run, "test") == ([], "test 1")
    (run.checkpoints / "best.ckpt").write_text("weights after more epochs")
    assert ask(run, "test") == (["its predictions are from another checkpoint"], "test 1")
    assert f"--data.custom.test_file={tmp_path / 'test.csv'}" in children[-1]


def test_a_named_file_wins_over_the_rows_tested_last(run: Run, tmp_path: Path, children: list[list[str]]) -> None:
    predicted(run, "test", tmp_path / "test.csv")
    other = f"its predictions are for other rows, from {tmp_path / 'test.csv'}"
    assert ask(run, "test", test_file=tmp_path / "more.csv") == ([other], "more 1")
    assert f"--data.custom.test_file={tmp_path / 'more.csv'}" in children[-1]
    assert ask(run, "test", test_file=tmp_path / "test.csv") == ([], "test 1")


def test_rows_that_the_run_names_win_over_those_predicted_last(
    run: Run, tmp_path: Path, children: list[list[str]]
) -> None:
    predicted(run, "validation", tmp_path / "other.csv")  # `predict --data.custom.validation_file other.csv`
    reasons, text = ask(run, "validation")
    assert reasons == [f"its predictions are for other rows, from {tmp_path / 'other.csv'}"]
    assert text.startswith("train")
    assert not [flag for flag in children[-1] if "_file" in flag]
    predicted(run, "validation", f"{tmp_path / 'train.csv'} (held out)")
    assert ask(run, "validation") == ([], text)
    predicted(run, "test", tmp_path / "other.csv")
    assert ask(run, "test", replace(CUSTOM, test_file=str(tmp_path / "more.csv")))[1] == "more 1"


def test_predictions_of_some_rows_are_not_those_of_the_run(run: Run, tmp_path: Path, children: list[list[str]]) -> None:
    held_out = f"{tmp_path / 'train.csv'} (held out)"
    predicted(run, "validation", held_out, limit=1)  # `predict --data.validation_limit 1`
    other = "its predictions were made with data.validation_limit 1, the run has null"
    assert ask(run, "validation")[0] == [other]
    predicted(run, "validation", held_out, limit=None)
    assert ask(run, "validation")[0] == []
    data = {"task": "reviews", "source": str(tmp_path / "train.csv"), "validation_limit": 1}
    run.config.write_text(json.dumps({"data": data}))
    predicted(run, "validation", held_out, limit=1)
    assert ask(run, "validation")[0] == []


def test_test_rows_that_are_gone_are_named_with_the_flag(run: Run, tmp_path: Path) -> None:
    predicted(run, "test", tmp_path / "gone.csv")
    rows = find_rows(run, TASK, CUSTOM, "test", None, None)
    with pytest.raises(DataError, match=r"has no test rows; give `--data.custom.test_file FILE`"):
        rows.open()


@pytest.mark.parametrize(
    ("task", "custom", "split", "words"),
    [
        (TASK, CUSTOM, "validation", "the report is on validation; add `--split test`"),
        (get_task("cola"), CustomTask(), "test", "the task is GLUE's"),
    ],
)
def test_a_file_of_other_rows_is_refused(
    run: Run, tmp_path: Path, task: object, custom: CustomTask, split: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        find_rows(run, task, custom, split, None, tmp_path / "test.csv")  # type: ignore[arg-type]
