"""The rows that a report is on: their file, and their predictions, made where they are missing or outdated."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from glue_lit.data.rows import Split
from glue_lit.data.sources import open_split
from glue_lit.errors import DataError, RunError, UsageError
from glue_lit.outputs.child_process import run_child, what_it_said
from glue_lit.runs.prediction_record import checkpoint_fingerprint, read_prediction_record
from glue_lit.runs.run import Run
from glue_lit.tasks.custom import CustomTask
from glue_lit.tasks.spec import TaskSpec, limit_setting

OnPredict = Callable[[Run, str, str], None]


@dataclass(frozen=True)
class ReportedRows:
    """The rows of one split.

    Attributes:
        run: The run whose model predicts them.
        task: Its task, or another that it predicts.
        split: Name of the split.
        source: Where the rows are, if the user says so; else as in the run.
        custom: The run's own task; the files in it win over the source.
        file: File with the rows, which the run's configuration does not name; ``None`` if it names them.
        origin: What the rows must come from; ``None`` if that is not known.
    """

    run: Run
    task: TaskSpec
    split: str
    source: str | None
    custom: CustomTask
    file: str | None = None
    origin: str | None = None

    @property
    def predictions(self) -> Path:
        """The file of predictions."""
        return self.run.predictions / f"{self.run.prefix(self.task.name)}{self.split}.jsonl"

    @property
    def own_source(self) -> str | None:
        """The run's source; ``None`` for another task, whose rows may come from anywhere."""
        return self.run.setting("data.source") if self.run.setting("data.task") == self.task.name else None

    def open(self) -> Split:
        """Find the rows, to read their texts.

        Raises:
            DataError: They are not there.
        """
        record = read_prediction_record(self.predictions) or {}
        source = self.source or record.get("source") or self.run.setting("data.source") or "hub"
        return open_split(self.task, str(source), self.split, self.custom)

    def predict(self, on_predict: OnPredict) -> list[str]:
        """Make the predictions if they are missing or outdated; returns notes on them for the reader.

        Args:
            on_predict: Called before that, with the run, the split and the reason.

        Raises:
            RunError: They cannot be made.
        """
        why, notes = self._why_outdated()
        if not why:
            return notes
        self.run.checkpoint("best")  # if it is missing, the error names the others
        on_predict(self.run, self.split, why)
        task = self.task.name if self.run.setting("data.task") != self.task.name else None
        flags = {"data.predict_split": self.split, "data.task": task, "data.source": self.source}
        flags[f"data.custom.{self.split}_file"] = self.file
        given = [f"--{name}={value}" for name, value in flags.items() if value is not None]
        status, errors = run_child(["predict", "--run", str(self.run.path), "--ckpt_path", "best", *given])
        if status:
            raise RunError(f"{self.split} cannot be predicted with {self.run.path}. {what_it_said(status, errors)}")
        return []

    def _why_outdated(self) -> tuple[str, list[str]]:
        """Why predictions cannot be used (empty if they can), and notes on them if they can."""
        path, best, source = self.predictions, self.run.checkpoints / "best.ckpt", self.source or self.own_source
        if not path.is_file():
            return "there are no predictions yet", []
        record = read_prediction_record(path)
        if record is None:
            return "", [f"{path.name} does not say which checkpoint it is from; delete it to predict again."]
        if record["changed"]:
            was = f"{path.name} was changed after it was written, and is used as it is"
            return "", [f"{was}; delete it to predict again."]
        if source is not None and record.get("source") != source:
            return f"its predictions are for other rows, from {record.get('source')}", []
        if self.origin is not None and record.get("origin", self.origin) != self.origin:
            return f"its predictions are for other rows, from {record['origin']}", []
        limit, was = f"data.{limit_setting(self.split)}", json.dumps(record.get("limit"))
        if "limit" in record and was != (now := self.run.setting(limit) or "null"):
            return f"its predictions were made with {limit} {was}, the run has {now}", []
        if not best.is_file():
            return "", ["The run's best checkpoint is missing; these are its last predictions."]
        if record.get("checkpoint_fingerprint") != checkpoint_fingerprint(best):
            return "its predictions are from another checkpoint", []
        if "temperature" in record:
            return "", [f"Probabilities in {path.name} are scaled by a temperature (`predict --calibrate`)."]
        return "", []


def find_rows(
    run: Run, task: TaskSpec, custom: CustomTask, split: str, source: str | None, test_file: Path | None
) -> ReportedRows:
    """Find the rows of a split: in the file that the user names, as the run's configuration says, or as last predicted.

    Args:
        run: The run.
        task: Its task, or another that it predicts.
        custom: The run's own task, as configured.
        split: Name of the split.
        source: Where the rows are, if the user says so.
        test_file: File with test rows, if the user names one.

    Raises:
        UsageError: The file is named for another split, or for a task of GLUE.
    """
    rows = ReportedRows(run, task, split, source, custom)
    if test_file is not None:
        if split != "test" or not custom.text_columns:
            what = f"the report is on {split}; add `--split test`" if custom.text_columns else "the task is GLUE's"
            raise UsageError(f"--data.custom.test_file: it holds test rows of a task of your own, and {what}.")
        file = str(test_file.expanduser().absolute())
        return replace(rows, custom=replace(custom, test_file=file), file=file, origin=file)
    if not custom.text_columns:
        return rows
    try:
        own = source or rows.own_source or "hub"
        return replace(rows, origin=open_split(task, own, split, custom).origin)
    except DataError:  # the run's configuration names no such rows, or they have moved
        last = (read_prediction_record(rows.predictions) or {}).get("origin")
    if split == "train" or not isinstance(last, str) or not Path(last).is_file():
        return rows
    named = replace(custom, test_file=last) if split == "test" else replace(custom, validation_file=last)
    return replace(rows, custom=named, file=last)
