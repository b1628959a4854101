"""``glue-lit submit``: write the zip for the GLUE server from runs, or check such a zip."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glue_lit.cli.commands.flags import Flags
from glue_lit.errors import DataError, UsageError
from glue_lit.outputs.submission import ENTRIES
from glue_lit.outputs.submission_zip import check_zip
from glue_lit.outputs.submit import SubmitResult, check_submission, run_submit
from glue_lit.outputs.submitted_runs import BestRuns, SubmittedRun, best_runs, named_runs
from glue_lit.runs.run import LOGS, Run
from glue_lit.system.console import count_of, json_document, print_list, print_table, say
from glue_lit.tasks.glue import TASKS


def _options() -> Any:
    flags = Flags(
        "glue-lit submit",
        description="Predict the test rows with the best run of each task, or with the given runs, and write the zip "
        "for the GLUE leaderboard. Or check a zip.",
        allow_abbrev=False,
    )
    flags.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run directory, one for each task (default: "
                       "of each task the best by its metric on all validation rows)")  # fmt: skip
    flags.add_argument("--run", action="append", type=Path, default=[], help="the same; may be repeated")
    flags.add_argument("--output", type=Path, default=Path("submission.zip"), help="the zip (default: submission.zip)")
    flags.add_argument("--overwrite", action="store_true", help="replace an earlier zip")
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
    options.runs = [*options.runs, *options.run]
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
    check_submission(options.output, options.source, options.overwrite)
    found = None if options.runs else best_runs(Path(options.root) / LOGS)
    runs = named_runs(options.runs) if found is None else found.chosen
    return submit(
        runs, options.output, found, fill_missing=options.fill_missing is not None, reuse=options.reuse,
        source=options.source, overwrite=options.overwrite,
    )  # fmt: skip


def submit(
    runs: Mapping[str, SubmittedRun], output: Path, found: BestRuns | None = None, **options: Any
) -> dict[str, Any]:
    """Write the zip with `run_submit`, and print which runs it is from and what is in it; returns that for JSON.

    Args:
        runs: The run of each task.
        output: The zip.
        found: What they were chosen from, unless the user has named them.
        options: Further arguments of `run_submit`.
    """
    rows = []
    for path, why in found.skipped.items() if found is not None else ():
        say(f"{path} {why}, so it is skipped.")
    for task, one in runs.items():
        metric = TASKS[task].monitor
        score = "" if one.score is None else f"{one.score:.4f}"
        rows.append((task, str(one.run.path), metric, score, _why(task, one, found)))
    print_list("Runs", ("task", "run", "metric", "score", "chosen"), rows, right=("score",))
    result = run_submit({task: one.run for task, one in runs.items()}, output, on_predict=_say_predicting, **options)
    document = _print_result(result)
    chosen = [{"task": task, "run": one.run.path, "metric": TASKS[task].monitor, "score": one.score}
              for task, one in runs.items()]  # fmt: skip
    return {"zip": result.zip, "runs": chosen, "files": document}


def _why(task: str, one: SubmittedRun, found: BestRuns | None) -> str:
    """Why a run was taken."""
    if found is None:
        return "named"
    count = found.candidates[task]
    why = "the only one" if count == 1 else f"best of {count}" if one.score is not None else f"newest of {count}"
    if one.score is None:
        return f"{why}, no score"
    return why if one.is_comparable else f"{why}, scored on other rows than GLUE's dev set"


def _say_predicting(task: str, run: Run, why: str) -> None:
    say(f"Predicting {task} with {run.path} ({why})")


def _print_result(result: SubmitResult) -> list[dict[str, Any]]:
    files, rows = [], []
    for file in result.files:
        most_common = ENTRIES[file.name].task.most_common
        origin = f"filled with {most_common!r}, no run" if file.run is None else str(file.run)
        files.append({"file": file.name, "rows": file.rows, "from": file.run or origin})
        rows.append((file.name, f"{file.rows:,}", origin))
    print_table("Submission", ("file", "rows", "from"), rows, right=("rows",))
    say(f"Written to {result.zip}. Upload it on https://gluebenchmark.com/submit")
    return files


def _check(path: Path) -> dict[str, Any]:
    """Print what is wrong with a zip, or what is in it; returns the content."""
    found = check_zip(path)
    for findings in found:
        for message in findings.messages:
            say(message)
    if count := sum(findings.count for findings in found):
        raise DataError(f"{path} is no submission that the server accepts: {count_of(count, 'problem')}, see above.")
    rows = [(f.name, f"{ENTRIES[f.name].rows:,}", f.predicted) for f in found]
    print_table(str(path), ("file", "rows", "predictions"), rows, right=("rows",))
    files = [{"file": f.name, "rows": ENTRIES[f.name].rows, "predictions": f.labels} for f in found]
    say(f"{path} is valid: {len(ENTRIES)} files, {sum(entry.rows for entry in ENTRIES.values()):,} rows.")
    return {"zip": path, "files": files}
