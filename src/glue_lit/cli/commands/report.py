"""``glue-lit report``: what one run has learned, or several side by side, as a page and pictures."""

import importlib.util
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glue_lit.cli.commands.children import run_child, what_it_said
from glue_lit.cli.commands.flags import Flags
from glue_lit.cli.commands.suite_report import is_suite, write_suite_report
from glue_lit.errors import RunError, UsageError, did_you_mean
from glue_lit.runs.locks import check_unlocked
from glue_lit.runs.prediction_record import checkpoint_fingerprint, read_prediction_record
from glue_lit.runs.recipe import recorded_recipe
from glue_lit.runs.run import LOGS, Run, newest_run, open_run
from glue_lit.system.console import print_table, say
from glue_lit.system.files import open_atomic_binary, to_json_values, write_text
from glue_lit.system.streams import is_utf8
from glue_lit.tasks.glue import TaskSpec

if TYPE_CHECKING:
    from glue_lit.evaluation.report.canvas import Drawing
    from glue_lit.evaluation.report.findings import Material, Report

_NEEDED = {"jinja2": "jinja2", "matplotlib": "matplotlib", "scipy": "scipy"}
_MOST_RUNS = 6  # colours that all readers can tell apart
_PAGE = "report.html"


def _parser() -> Flags:
    flags = Flags(
        "glue-lit report",
        description="Write a page (one HTML file) and its figures (PNG) on a run, or on several side by side: scores "
        "with intervals, learning curves, confusion, slices, calibration, mistakes; of two runs whether they differ by "
        "more than chance. On a suite (lightning_logs/suite/NAME): tasks by models, beside what others have published.",
        allow_abbrev=False,
    )
    flags.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run directories, or suites (default: the "
                       "newest run)")  # fmt: skip
    flags.add_argument("--output", type=Path, help="folder (default: RUN/report; of several runs ./report)")
    flags.add_argument("--split", help="labelled split (default: the one whose metric picks the checkpoint)")
    flags.add_argument("--slice", action="append", default=[], metavar="COLUMN", help="score by a column of the data")
    flags.add_argument("--json", action="store_true", help="print the numbers as JSON")
    flags.add_argument("--data.task", dest="task", help="another task that the runs have predicted (ax)")
    flags.add_argument("--data.source", dest="source", help="where the rows are (default: as in the run)")
    flags.add_argument("--trainer.default_root_dir", dest="root", default=".", help="where lightning_logs lies")
    return flags


def main() -> None:
    """Write the report."""
    options = _parser().parse_args(sys.argv[2:])
    _check_installed()
    if any(is_suite(path) for path in options.runs):
        return write_suite_report(options)
    runs = _runs(options)
    output = _output(options, runs)
    from glue_lit.evaluation.report.as_json import report_values
    from glue_lit.evaluation.report.figures import drawings
    from glue_lit.evaluation.report.findings import build_report
    from glue_lit.evaluation.report.page import page

    report = build_report([_material(run, options) for run in runs])
    figures = drawings(report)
    text = page(report, figures)
    _write(output, text, figures)
    if options.json:
        print(json.dumps(to_json_values(report_values(report)), ensure_ascii=not is_utf8(sys.stdout)))
    else:
        _say(report, output, figures)


def _check_installed() -> None:
    missing = [package for name, package in _NEEDED.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"report: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed. Install what a "
            "report needs: pip install 'glue-lit[report]'"
        )


def _runs(options: Any) -> list[Run]:
    if len(options.runs) > _MOST_RUNS:
        raise UsageError(f"report: got {len(options.runs)} runs, allowed: at most {_MOST_RUNS} side by side.")
    runs = [open_run(path, "report") for path in options.runs] or [newest_run(Path(options.root) / LOGS)]
    seen: dict[Path, Path] = {}
    for run in runs:
        if (there := run.path.resolve()) in seen:
            raise UsageError(f"report: {seen[there]} and {run.path} are the same run; name it once.")
        seen[there] = run.path
        check_unlocked(run)
    return runs


def _output(options: Any, runs: Sequence[Run]) -> Path:
    if options.output is not None:
        output = Path(options.output)
    elif len(runs) > 1:
        output = Path("report")
    else:
        beside = "-".join(part for part in (options.task, options.split) if part)
        output = runs[0].path / (f"report-{beside}" if beside else "report")
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output: {output} is a file. Allowed: a folder, which is created if missing.")
    return output


def _material(run: Run, options: Any) -> "Material":
    """Predictions and texts of a run; missing predictions are made."""
    from glue_lit.data.sources import open_split
    from glue_lit.evaluation.predictions import read_predictions
    from glue_lit.evaluation.report.findings import Material
    from glue_lit.evaluation.report.run_in_words import read_settings, section, task_in
    from glue_lit.evaluation.report.texts import read_texts

    settings = read_settings(run)
    task, custom = task_in(settings, run, options.task)
    split = _split(task, options.split)
    path, notes = _predictions(run, task, split, options)
    record = read_prediction_record(path)
    predicted = read_predictions(path, task, record)
    if predicted.unlabelled:
        notes.append(f"{predicted.unlabelled:,} rows have no gold label and are left out.")
    source = options.source or (record or {}).get("source") or section(settings, "data").get("source") or "hub"
    texts = read_texts(task, partial(open_split, task, str(source), split, custom), predicted, record, options.slice)
    return Material(run, task, split, settings, _recipe(run, settings), predicted, texts, notes)


def _recipe(run: Run, settings: dict[str, Any]) -> dict[str, str]:
    from glue_lit.evaluation.report.run_in_words import read_record_notes

    if (recorded := recorded_recipe(read_record_notes(run)[0], settings)) is not None:
        return recorded
    from glue_lit.training.provenance import recipe_of  # which takes seconds, for a run that did not finish

    return recipe_of(settings)


def _split(task: TaskSpec, wanted: str | None) -> str:
    if wanted is None:
        return task.monitored_split or task.test_splits[0]
    if wanted not in task.files:
        raise UsageError(
            f"--split: task {task.name} has no split {wanted!r}.{did_you_mean(wanted, task.files)} "
            f"Allowed: {', '.join(task.files)}."
        )
    return wanted


def _predictions(run: Run, task: TaskSpec, split: str, options: Any) -> tuple[Path, list[str]]:
    """The file of predictions, made if necessary, and notes on it for the reader."""
    path, best = run.predictions / f"{run.prefix(task.name)}{split}.jsonl", run.checkpoints / "best.ckpt"
    # rows of another task, such as ax, may come from another source
    own = run.setting("data.source") if run.setting("data.task") == task.name else None
    why, notes = _why_outdated(path, best, options.source or own)
    if why:
        run.checkpoint("best")  # if it is missing, the error names the others
        _predict(run, task, split, why, options)
    return path, notes


def _why_outdated(path: Path, best: Path, source: str | None) -> tuple[str, list[str]]:
    """Why predictions cannot be used (empty if they can), and notes on them if they can."""
    if not path.is_file():
        return "there are no predictions yet", []
    record = read_prediction_record(path)
    if record is None:
        return "", [f"{path.name} does not say which checkpoint it is from; delete it to predict again."]
    if record["changed"]:
        return "", [f"{path.name} was changed after it was written, and is used as it is; delete it to predict again."]
    if source is not None and record.get("source") != source:
        return f"its predictions are for other rows, from {record.get('source')}", []
    if not best.is_file():
        return "", ["The run's best checkpoint is missing; these are its last predictions."]
    if record.get("checkpoint_fingerprint") != checkpoint_fingerprint(best):
        return "its predictions are from another checkpoint", []
    if "temperature" in record:
        return "", [f"Probabilities in {path.name} are scaled by a temperature (`predict --calibrate`)."]
    return "", []


def _predict(run: Run, task: TaskSpec, split: str, why: str, options: Any) -> None:
    """Predict a split with a run's best checkpoint, in a process of its own."""
    if not options.json:
        say(f"Predicting {split} with {run.path} ({why})")
    other = [] if run.setting("data.task") == task.name else [f"--data.task={task.name}"]
    rows = [] if options.source is None else [f"--data.source={options.source}"]
    arguments = ["predict", "--run", str(run.path), "--ckpt_path", "best", f"--data.predict_split={split}"]
    status, errors = run_child([*arguments, *other, *rows], sys.stderr if options.json else None)
    if status:
        raise RunError(f"{split} cannot be predicted with {run.path}. {what_it_said(status, errors)}")


def _write(output: Path, text: str, figures: Sequence["Drawing"]) -> None:
    """Write page and pictures, and delete pictures of an earlier report that this one does not have."""
    names = {f"{figure.name}.png" for figure in figures}
    if (output / _PAGE).is_file():
        for kind in ("loss", "learning", "slices", "confusion*", "scatter*", "calibration", "comparison"):
            for path in output.glob(f"{kind}.png"):
                if path.name not in names:
                    path.unlink()
    for figure in figures:
        with open_atomic_binary(output / f"{figure.name}.png") as file:
            file.write(figure.png)
    write_text(output / _PAGE, text)


def _say(report: "Report", output: Path, figures: Sequence["Drawing"]) -> None:
    from glue_lit.evaluation.formulas import metric_titles
    from glue_lit.evaluation.report.page import verdict

    titles = metric_titles(report.task)
    rows = [
        (run.name, report.split, titles[name], f"{score.value:.4f}", f"{score.low:.4f} to {score.high:.4f}")
        for run in report.runs
        for name, score in run.scores.items()
    ]
    print_table(report.task.title, ("run", "split", "metric", "value", "95 % interval"), rows, right=("value",))
    for run in report.runs:
        for note in run.notes:
            say(f"{run.name}: {note}")
    if report.comparison is not None:
        say(f"Is the difference more than chance? {verdict(report, report.comparison)}")
    say(f"Report      {output / _PAGE}, and {len(figures)} figures (PNG)")
