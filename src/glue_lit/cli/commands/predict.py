"""``glue-lit predict`` of texts, files and standard input, and with calibrated probabilities."""

import argparse
import sys
from pathlib import Path
from typing import Any

from glue_lit.cli import trainer_commands
from glue_lit.cli.commands.flags import Flags
from glue_lit.cli.commands.predict_texts import predict_file, predict_texts
from glue_lit.cli.run_arguments import locate
from glue_lit.errors import UsageError, did_you_mean
from glue_lit.outputs.calibrated import calibration_of, rescale_probabilities
from glue_lit.outputs.prediction_files import FORMATS, check_ending
from glue_lit.outputs.predictor import Predictor
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.run import Run
from glue_lit.system.console import say
from glue_lit.system.files import short_path
from glue_lit.system.hardware import keep_freed_memory
from glue_lit.system.library_warnings import quiet_lightning
from glue_lit.system.precisions import NAMES, SHORT_NAMES
from glue_lit.system.untrusted_text import is_encodable
from glue_lit.tasks.custom import parse_custom_task, resolve_task


def parser() -> argparse.ArgumentParser:
    """The flags of this command; those of a split are the trainer's."""
    flags = Flags(
        "glue-lit predict",
        description="Predict texts or files with a checkpoint, or a split of its data (see further below).",
        allow_abbrev=False,
    )
    flags.add_argument(
        "--text", action="append", help="predict a text, or the JSON object of a row, and print the result; repeatable"
    )
    flags.add_argument("--text_pair", action="append", help="its second text, for tasks on pairs")
    flags.add_argument(
        "--file", help="predict a .csv, .tsv, .jsonl, .parquet or .txt file; - for standard input, line by line"
    )
    flags.add_argument("--columns", nargs="+", help="columns of the file with the texts (default: those of the task)")
    flags.add_argument("--id", metavar="COLUMN", help="column that identifies the rows (default: data.custom.id)")
    flags.add_argument("--with_texts", action="store_true", help="put the texts into the predictions")
    flags.add_argument(
        "--output", metavar="FILE", help="file for the predictions, written as its ending says: "
        f"{', '.join(FORMATS)}; - for standard output (default: JSON Lines, in the run)"
    )  # fmt: skip
    flags.add_argument("--json", action="store_true", help="print JSON for --text; the default without a terminal")
    flags.add_argument("--calibrate", action="store_true", help="scale probabilities by a temperature (dev split)")
    flags.add_argument("--devices", type=int, help="number of GPUs, or of groups of processor threads (default: 1)")
    flags.add_argument("--run", help="run directory (default: the newest run)")
    flags.add_argument("--ckpt_path", default="best", help="best (default), last, or a .ckpt file")
    return flags


_OF_TEXTS = ("columns", "id", "with_texts", "output", "json")
_NOT_THE_TRAINERS = (
    "--text", "--text_pair", "--file", "--columns", "--id", "--with_texts", "--output", "--json", "--devices",
    "--calibrate", "--help", "-h",
)  # fmt: skip


def main() -> None:
    """Predict texts, files or standard input, or pass a split of the run's data on to the trainer."""
    arguments = sys.argv[2:]
    if not CommandLine(arguments).has(*_NOT_THE_TRAINERS):
        trainer_commands.run()
        return
    quiet_lightning()
    keep_freed_memory()
    if {"-h", "--help"} & set(arguments):
        _help()
        return
    options, others = parser().parse_known_args(CommandLine(arguments, "predict").with_run_flag(first_word=True).words)
    is_split = options.text is None and options.file is None
    if is_split:
        _check_split(options)
    else:
        _check_own(options, others)
    line = CommandLine(others, "predict")
    run, checkpoint = locate(options.ckpt_path, options.run, line)
    if is_split:
        _predict_split(line, run, checkpoint)
        return
    devices = 1 if options.devices is None else options.devices
    predictor = Predictor(checkpoint, devices, line.setting("trainer.precision"), **_model_settings(line))
    calibration = calibration_of(run, checkpoint, predictor.task, lambda: predictor) if options.calibrate else None
    temperature = 1.0 if calibration is None else calibration.temperature
    if options.text is not None:
        predict_texts(predictor, options, temperature)
    else:
        predict_file(predictor, options, temperature, run, checkpoint)


def _model_settings(line: CommandLine) -> dict[str, Any]:
    trusted = line.setting("model.trust_remote_code") == "true"
    return {"trust_remote_code": trusted, "name_or_path": line.setting("model.name_or_path")}


def _check_split(options: Any) -> None:
    """Stop at flags that would be ignored for a split."""
    if options.text_pair is not None:
        raise UsageError("--text_pair: the first text is missing, `--text TEXT`.")
    if options.devices is not None:
        raise UsageError("--devices goes with --text or --file; for a split it is `--trainer.devices`.")
    if given := [f"--{name}" for name in _OF_TEXTS if getattr(options, name)]:
        raise UsageError(f"{given[0]} goes with --text or --file; a split is written into the run.")


def _check_own(options: Any, others: list[str]) -> None:
    """Stop at flags and values that do not go with a text or a file."""
    of_runs = Flags("glue-lit predict", allow_abbrev=False, add_help=False)
    of_runs.add_argument("--data.task")  # these two say where the newest run is looked for
    of_runs.add_argument("--trainer.default_root_dir")
    of_runs.add_argument("--model.trust_remote_code", choices=["true", "false"])
    of_runs.add_argument("--model.name_or_path")
    of_runs.add_argument("--trainer.precision", choices=[*NAMES, *SHORT_NAMES])
    _, wrong = of_runs.parse_known_args(others)
    if wrong and wrong[0].startswith("-"):
        flags = [flag for action in parser()._actions for flag in action.option_strings]
        hint = did_you_mean(wrong[0].partition("=")[0], flags)
        raise UsageError(
            f"predict: {wrong[0]} does not go with --text or --file.{hint} `glue-lit predict --help` lists all."
        )
    if wrong:
        raise UsageError(f"predict: got {wrong[0]!r}, which belongs to no flag. One file at a time; quote a text.")
    if options.text is not None and options.file is not None:
        raise UsageError("--text and --file: give only one of them.")
    if options.text is None and options.text_pair is not None:
        raise UsageError("--text_pair: a file holds both texts; the flag goes with --text.")
    if options.text is not None and (given := [f"--{name}" for name in ("columns", "id") if getattr(options, name)]):
        raise UsageError(f"{given[0]} goes with --file: a text has no columns.")
    if not all(map(is_encodable, [*(options.text or ()), *(options.text_pair or ())])):
        raise UsageError("--text: not UTF-8 text. Convert it, or set a UTF-8 locale.")
    if options.id is not None and Path(options.file).suffix.lower() == ".txt":
        raise UsageError(f"--id: {options.file} has no columns. Rows are named by their line.")
    if options.output not in (None, "-"):
        _check_output(options)


def _check_output(options: Any) -> None:
    output = Path(options.output)
    if output.is_dir():
        raise UsageError(f"--output: {options.output} is a folder. Allowed: a file, or - for standard output.")
    if options.file is not None and output.exists() and Path(options.file).exists() and output.samefile(options.file):
        raise UsageError(f"--output: {options.output} is the file that is read; it would be replaced.")
    check_ending(options.output)


def _help() -> None:
    """Print both parts of the help: for texts and files, then the trainer's settings for a split."""
    parser().print_help()
    print("\nWithout --text and --file, a split of the run's data (data.predict_split) is predicted:\n", flush=True)
    trainer_commands.run()


def _predict_split(line: CommandLine, run: Run | None, checkpoint: Path) -> None:
    """Predict a split as the trainer's command does, then calibrate the probabilities that it has written."""
    settings = read_checkpoint(checkpoint)["hyper_parameters"]
    task = resolve_task(settings["task"], parse_custom_task(settings.get("custom")))
    calibration = calibration_of(run, checkpoint, task, lambda: Predictor(checkpoint, **_model_settings(line)))
    named = ["--run", str(run.path)] if run is not None else []
    result = trainer_commands.predict([*line.words, *named, "--ckpt_path", str(checkpoint)])
    for path in result.predictions:
        effect = rescale_probabilities(path, calibration.temperature)
        say(f"Calibrated  {short_path(path)}")
        if effect is not None:
            say(f"            {effect.rows:,} labelled rows: {effect}")
        if path.stem == task.monitored_split:
            say("            on the rows that the temperature was fitted on: new rows will be calibrated less well")
