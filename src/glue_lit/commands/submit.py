"""``glue-lit submit``: from runs to the zip that the GLUE server takes, and a check of any such zip."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from glue_lit.commands.flags import Flags
from glue_lit.configs import find_key
from glue_lit.console import print_table, say
from glue_lit.errors import DataError, RunError, UsageError
from glue_lit.runs import LOGS, Run, find_runs, open_run
from glue_lit.submission import ENTRIES, Entry, check_zip, entry_text, filled_text, write_zip
from glue_lit.tasks import TASKS


def _options() -> Any:
    flags = Flags(
        "glue-lit submit",
        description="Predict the test rows with the newest run of each task, or with the runs named, and write the zip "
        "that the GLUE leaderboard takes. Or check a zip.",
        allow_abbrev=False,
    )
    flags.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run directory, one for each task")
    flags.add_argument("--output", type=Path, default=Path("submission.zip"), help="the zip (default: submission.zip)")
    flags.add_argument("--fill_missing", choices=["majority"], help="fill tasks without a run with the commonest label")
    flags.add_argument(
        "--reuse",
        action="store_true",
        help="take test predictions that lie in the runs, where newer than the checkpoint",
    )
    flags.add_argument("--check", type=Path, metavar="ZIP", help="say what is wrong with a zip, and write nothing")
    flags.add_argument("--data.source", dest="source", help="where the test rows are (default: as in the run)")
    flags.add_argument("--trainer.default_root_dir", dest="root", default=".", help="where lightning_logs lies")
    return flags.parse_args(sys.argv[2:])


def main() -> None:
    """Write the zip, or check one."""
    options = _options()
    if options.check is not None:
        _check(options.check)
        return
    runs = _named(options.runs) if options.runs else _newest(Path(options.root) / LOGS)
    missing = [entry for entry in ENTRIES.values() if entry.trained_as not in runs]
    if missing and options.fill_missing is None:
        tasks = ", ".join(dict.fromkeys(entry.trained_as for entry in missing))
        raise RunError(
            f"There is no run of {tasks}, so {', '.join(entry.name for entry in missing)} would be missing, and the "
            "server takes all files only. Train them (`glue-lit fit --config configs/TASK.yaml`), or say "
            "`--fill_missing majority` to fill them with the commonest label."
        )
    texts, rows = {}, []
    for entry in ENTRIES.values():
        if entry in missing:
            texts[entry.name] = filled_text(entry)
            origin = f"filled with {entry.task.most_common!r}, no run"
        else:
            run = runs[entry.trained_as]
            texts[entry.name] = entry_text(entry, _predictions(entry, run, options.source, options.reuse))
            origin = str(run.path)
        rows.append((entry.name, f"{entry.rows:,}", origin))
    write_zip(options.output, texts)
    print_table("Submission", ("file", "rows", "from"), rows, right=("rows",))
    say(f"Written to {options.output}. Upload it on https://gluebenchmark.com/submit")


def _check(path: Path) -> None:
    problems = check_zip(path)
    for problem in problems:
        say(problem)
    if problems:
        raise DataError(f"{path} is no submission that the server takes: {len(problems)} problem(s), see above.")
    say(f"{path} is right: {len(ENTRIES)} files, {sum(entry.rows for entry in ENTRIES.values()):,} rows.")


def _task_of(run: Run) -> str:
    """The task of a run, by the name that the entries know it by."""
    found = find_key(str(run.config), "data.task")
    spec = TASKS.get(str(found[1])) if found is not None else None
    if spec is None:
        raise UsageError(f"{run.path} is a run of {found[1] if found else 'no task'}, which is none of GLUE's tasks.")
    return next((entry.trained_as for entry in ENTRIES.values() if entry.name in spec.submission.values()), spec.name)


def _named(paths: list[Path]) -> dict[str, Run]:
    runs: dict[str, Run] = {}
    for path in paths:
        run = open_run(path)
        task = _task_of(run)
        if task in runs:
            raise UsageError(f"{runs[task].path} and {run.path} are both of task {task}; name one of them.")
        runs[task] = run
    return runs


def _newest(logs: Path) -> dict[str, Run]:
    """The newest run of each task of GLUE that has a checkpoint."""
    runs = {}
    for run in find_runs(logs):
        if run.path.parent.name in TASKS and (run.checkpoints / "best.ckpt").is_file():
            runs[_task_of(run)] = run
    return runs


def _predictions(entry: Entry, run: Run, source: str | None, reuse: bool) -> Path:
    """The file with the predictions of an entry, made anew unless it may be reused.

    A file says not which rows it is about: those of the demo corpus, say, that `test` was tried on.
    """
    own = find_key(str(run.config), "data.task")
    same = own is not None and entry.name in TASKS[str(own[1])].submission.values()
    path = run.predictions / (f"{entry.split}.jsonl" if same else f"{entry.task.name}-{entry.split}.jsonl")
    best = run.checkpoint("best")
    if reuse and path.is_file() and path.stat().st_mtime_ns > best.stat().st_mtime_ns:
        return path
    trained_on = find_key(str(run.config), "data.source")
    if source is None and trained_on is not None and trained_on[1] == "demo":
        raise UsageError(
            f"{run.path} was trained on the demo corpus, whose test rows are not GLUE's. Say where those are: "
            "`--data.source hub`, or a GLUE folder."
        )
    say(f"Predicting {entry.name} with {run.path}")
    task = [] if same else [f"--data.task={entry.task.name}"]
    rows = [] if source is None else [f"--data.source={source}"]
    done = subprocess.run(
        [sys.executable, "-m", "glue_lit", "test", "--run", str(run.path), "--data.test_limit=null", *task, *rows],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("glue-lit: error")] or ["nothing was said"]
        raise RunError(f"{entry.name} cannot be predicted. {said[-1].removeprefix('glue-lit: error: ')}")
    return path
