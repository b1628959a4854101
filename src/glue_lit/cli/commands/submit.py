"""``glue-lit submit``: write the zip for the GLUE server from runs, or check such a zip."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glue_lit.cli.commands.children import run_child, what_it_said
from glue_lit.cli.commands.flags import Flags
from glue_lit.errors import DataError, RunError, UsageError
from glue_lit.outputs.submission import ENTRIES, Entry, entry_text, family, filled_text
from glue_lit.outputs.submission_zip import check_zip, write_zip
from glue_lit.runs.locks import check_unlocked, is_locked
from glue_lit.runs.prediction_record import checkpoint_fingerprint, read_prediction_record
from glue_lit.runs.run import LOGS, Run, find_runs, open_run
from glue_lit.system.console import json_document, print_table, say
from glue_lit.tasks.glue import TASKS


def _options() -> Any:
    flags = Flags(
        "glue-lit submit",
        description="Predict the test rows with the newest run of each task, or with the given runs, and write the zip "
        "for the GLUE leaderboard. Or check a zip.",
        allow_abbrev=False,
    )
    flags.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run directory, one for each task")
    flags.add_argument("--output", type=Path, default=Path("submission.zip"), help="the zip (default: submission.zip)")
    flags.add_argument(
        "--fill_missing", choices=["majority"], help="fill tasks without a run with their most frequent label"
    )
    flags.add_argument(
        "--reuse",
        action="store_true",
        help="also use predictions that `test` did not write, if they are newer than the checkpoint",
    )
    flags.add_argument("--check", type=Path, metavar="ZIP", help="list what is wrong with a zip, and write nothing")
    flags.add_argument("--json", action="store_true", help="print JSON, for scripts")
    flags.add_argument("--data.source", dest="source", help="where the test rows are (default: as in the run)")
    flags.add_argument("--trainer.default_root_dir", dest="root", default=".", help="where lightning_logs lies")
    options = flags.parse_args(sys.argv[2:])
    own = ("check", "json")
    given = [name for name, value in vars(options).items() if name not in own and value != flags.get_default(name)]
    if options.check is not None and (options.runs or [name for name in given if name != "runs"]):
        raise UsageError("--check only looks at a zip: leave the runs and the other flags out.")
    return options


def main() -> None:
    """Write the zip, or check one."""
    options = _options()
    with json_document(options.json) as give:
        give(_check(options.check) if options.check is not None else _submit(options))


def _submit(options: Any) -> dict[str, Any]:
    _check_output(options.output)
    if options.source == "demo":
        raise UsageError("--data.source: the test rows of the demo corpus are not GLUE's. Allowed: hub, a GLUE folder.")
    runs = _named(options.runs) if options.runs else _newest(Path(options.root) / LOGS)
    if options.fill_missing is None:
        _check_complete(runs)
    for task, run in runs.items():
        say(f"{task:<5} {run.path}")
    outdated = _to_predict(runs, options.source, options.reuse)
    for (task, name), why in outdated.items():
        _predict(name, runs[task], why, options.source)
    texts, rows = {}, []
    for entry in ENTRIES.values():
        if (used := runs.get(entry.trained_as)) is not None:
            texts[entry.name] = entry_text(entry, _predictions(entry, used))
            origin = str(used.path)
        else:
            texts[entry.name] = filled_text(entry)
            origin = f"filled with {entry.task.most_common!r}, no run"
        rows.append((entry.name, f"{entry.rows:,}", origin))
    write_zip(options.output, texts)
    print_table("Submission", ("file", "rows", "from"), rows, right=("rows",))
    say(f"Written to {options.output}. Upload it on https://gluebenchmark.com/submit")
    files = [{"file": name, "rows": ENTRIES[name].rows, "from": origin} for name, _, origin in rows]
    return {"zip": str(options.output), "files": files}


def _check(path: Path) -> dict[str, Any]:
    """Print what is wrong with a zip, or what is in it; returns the content."""
    found = check_zip(path)
    for findings in found:
        for message in findings.messages:
            say(message)
    if count := sum(findings.count for findings in found):
        raise DataError(f"{path} is no submission that the server accepts: {count:,} problem(s), see above.")
    rows = [(f.name, f"{ENTRIES[f.name].rows:,}", f.predicted) for f in found]
    print_table(str(path), ("file", "rows", "predictions"), rows, right=("rows",))
    files = [{"file": f.name, "rows": ENTRIES[f.name].rows, "predictions": f.labels} for f in found]
    say(f"{path} is valid: {len(ENTRIES)} files, {sum(entry.rows for entry in ENTRIES.values()):,} rows.")
    return {"zip": str(path), "files": files}


def _check_output(path: Path) -> None:
    """Stop before hours of predictions if the zip cannot be written."""
    if path.suffix.lower() != ".zip" or path.is_dir():
        raise UsageError(f"--output: got {str(path)!r}, allowed: the name of a file that ends in .zip.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise RunError(f"--output: cannot write in {folder}. Choose another folder.")


def _check_complete(runs: dict[str, Run]) -> None:
    missing = [entry for entry in ENTRIES.values() if entry.trained_as not in runs]
    if missing:
        tasks = ", ".join(dict.fromkeys(entry.trained_as for entry in missing))
        raise RunError(
            f"There is no run of {tasks}, so {', '.join(entry.name for entry in missing)} would be missing, and the "
            "server needs all files. Train them (`glue-lit fit --config configs/TASK.yaml`), or pass "
            "`--fill_missing majority` to fill them with the most frequent label."
        )


def _named(paths: Sequence[Path]) -> dict[str, Run]:
    runs: dict[str, Run] = {}
    for path in paths:
        if path.is_file() and path.suffix.lower() == ".zip":
            raise UsageError(f"submit: {path} is no run directory. To check a zip: `--check {path}`.")
        run = open_run(path, "submit")
        spec = TASKS.get(run.setting("data.task") or "")
        if spec is None:
            name = run.setting("data.task") or "no task"
            raise UsageError(f"{run.path} is a run of {name}, which is not a task of GLUE.")
        if (task := family(spec)) in runs:
            raise UsageError(f"{runs[task].path} and {run.path} are both runs of {task}; name only one of them.")
        check_unlocked(run)
        runs[task] = run
    return runs


def _newest(logs: Path) -> dict[str, Run]:
    """The newest run of each task of GLUE that has a best checkpoint and is not being trained."""
    runs: dict[str, Run] = {}
    for run in reversed(find_runs(logs)):
        spec = TASKS.get(run.path.parent.name)
        if spec is None or family(spec) in runs:
            continue
        if not (run.checkpoints / "best.ckpt").is_file():
            say(f"{run.path} has no best checkpoint, so it is skipped.")
        elif is_locked(run):
            say(f"{run.path} is being trained, so it is skipped.")
        else:
            runs[family(spec)] = run
    if not runs:
        raise RunError(
            f"There is no run of a GLUE task with a checkpoint in {logs}. Train one first, e.g. `glue-lit fit --config "
            "configs/cola.yaml`, name runs, or say where lightning_logs lies: `--trainer.default_root_dir DIR`."
        )
    return {entry.trained_as: runs[entry.trained_as] for entry in ENTRIES.values() if entry.trained_as in runs}


def _predictions(entry: Entry, run: Run) -> Path:
    """The file that `test` writes with a run for an entry."""
    own = TASKS[run.setting("data.task") or entry.task.name]
    task = own if entry.name in own.submission.values() else entry.task
    return run.predictions / f"{run.prefix(task.name)}{entry.split}.jsonl"


def _to_predict(runs: dict[str, Run], source: str | None, reuse: bool) -> dict[tuple[str, str], str]:
    """What must be predicted, and why: by run (its task) and task, since both files of MNLI are made at once."""
    outdated: dict[tuple[str, str], str] = {}
    for entry in ENTRIES.values():
        if (run := runs.get(entry.trained_as)) is not None and (why := _why_outdated(entry, run, reuse)):
            outdated.setdefault((entry.trained_as, entry.task.name), why)
            run.checkpoint("best")  # if it is missing, the error names the others
            if source is None and run.setting("data.source") == "demo":
                raise UsageError(
                    f"{run.path} was trained on the demo corpus, whose test rows are not GLUE's. Say where those are: "
                    "`--data.source hub`, or a GLUE folder."
                )
    return outdated


def _why_outdated(entry: Entry, run: Run, reuse: bool) -> str:
    """Why a run's existing predictions cannot be used; empty if they can."""
    path, best = _predictions(entry, run), run.checkpoints / "best.ckpt"
    if not path.is_file():
        return "there are none"
    record = read_prediction_record(path)
    if record is None and run.setting("data.source") == "demo":
        return "they may be for the demo corpus"
    if record is None:
        newer = not best.is_file() or path.stat().st_mtime_ns > best.stat().st_mtime_ns
        return "" if reuse and newer else f"{path.name} does not say what it is for" if newer else "they are older"
    if record["changed"]:
        if reuse:
            return ""
        raise RunError(
            f"{path} was changed after `test` wrote it. `--reuse` uses it as it is; delete it to predict again."
        )
    if record.get("source") == "demo":
        return "they are for the demo corpus"
    if record.get("rows") != entry.rows:
        return f"they are for {record.get('rows')} rows"
    other = best.is_file() and record.get("checkpoint_fingerprint") != checkpoint_fingerprint(best)
    return "they are from another checkpoint" if other else ""


def _predict(task: str, run: Run, why: str, source: str | None) -> None:
    """Predict all test rows of a task with a run's best checkpoint, in a process of its own."""
    say(f"Predicting {task} with {run.path} ({why})")
    own = TASKS[run.setting("data.task") or task]
    other = [] if own.submission == TASKS[task].submission else [f"--data.task={task}"]
    rows = [] if source is None else [f"--data.source={source}"]
    every = ["--data.test_limit=null", "--trainer.limit_test_batches=null"]
    status, errors = run_child(["test", "--run", str(run.path), *every, *other, *rows])
    if status:
        raise RunError(f"{task} cannot be predicted with {run.path}. {what_it_said(status, errors)}")
    sys.stderr.write(errors)
