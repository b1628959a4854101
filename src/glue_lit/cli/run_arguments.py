"""From what the user typed to a full command line: which run, which configuration, which checkpoint.

`glue-lit validate --ckpt_path best` becomes `glue-lit validate --config RUN/config.yaml --ckpt_path
RUN/checkpoints/best.ckpt`. The command line is rewritten before it is parsed: the run's configuration
comes first, so that the user's flags win over it, and Lightning starts the other processes of a DDP
run from the same line.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.errors import RunError, UsageError
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.config_values import to_flag
from glue_lit.runs.run import LOGS, Run, newest_run, open_run, run_of_checkpoint, run_of_slurm_job
from glue_lit.runs.settings import settings_of
from glue_lit.system.console import say
from glue_lit.system.environment import is_slurm_restart, slurm_job
from glue_lit.tasks.glue import TASKS
from glue_lit.training.classifier import SequenceClassifier

TRAINER_COMMANDS = ("fit", "validate", "test", "predict")


def resolve_arguments(
    arguments: Sequence[str], classes: tuple[type, type] = (SequenceClassifier, GLUEDataModule)
) -> list[str]:
    """Replace a run directory, with ``--run`` or without a flag, and a named ``--ckpt_path``.

    Configuration and checkpoint file that they stand for take their places.

    Args:
        arguments: The command and its flags, e.g. ``["validate", "--ckpt_path", "best"]``.
        classes: Classes of model and data; their settings are read from a checkpoint outside any run.

    Raises:
        UsageError: The command needs a checkpoint, or a flag lacks its value.
        RunError: There is no such run or checkpoint.
    """
    line = CommandLine(arguments[1:], arguments[0])
    if line.command not in TRAINER_COMMANDS or line.only_shows:
        return list(arguments)
    line = line.with_run_flag(first_word=line.command != "fit")
    run_given, line = line.take("--run")
    wanted, line = line.take("--ckpt_path")
    if wanted is None and line.command == "fit":
        if run_given is not None:
            raise UsageError(
                "--run: to resume the run with `fit`, add `--ckpt_path last`; for a new run, leave --run out."
            )
        requeued = _requeued(list(arguments), line)
        if requeued is None:
            return list(arguments)
        wanted, run_given = "last", str(requeued.path)
    if wanted is None and run_given is None:
        if line.setting("model.name_or_path") is not None:
            return list(arguments)  # a model that was fine-tuned elsewhere; loading it shows whether it was
        raise _no_checkpoint(line.command)
    run, file = locate("best" if wanted is None else wanted, run_given, line)
    if line.command == "fit" and wanted == "last" and run is not None:
        file = _whole_checkpoint(run, file)
    configured = ["--config", str(run.config)] if run is not None else _from_checkpoint(file, classes)
    return [line.command, *configured, *line.words, "--ckpt_path", str(file)]


def _no_checkpoint(command: str) -> UsageError:
    done = {"validate": "scored", "test": "scored", "predict": "used"}[command]
    return UsageError(
        f"`{command}` needs a checkpoint: `--ckpt_path best` (of the newest run), `--ckpt_path FILE`, or `--run DIR`. "
        f"Without one, an untrained model would be {done}. For a model that was fine-tuned elsewhere: "
        "`--model.name_or_path MODEL`."
    )


def locate(wanted: str, run_given: str | None, line: CommandLine) -> tuple[Run | None, Path]:
    """The run and the checkpoint file that the user means.

    Args:
        wanted: ``best``, ``last`` or a file.
        run_given: Value of ``--run``.
        line: The other arguments, which may name the folder of runs and the task.

    Raises:
        RunError: There is no such run or checkpoint.
    """
    if wanted not in ("best", "last"):
        file = Path(wanted)
        if not file.is_file():
            raise RunError(f"--ckpt_path: there is no file {wanted!r}. Allowed: best, last, or a .ckpt file.")
        return (open_run(Path(run_given)) if run_given is not None else run_of_checkpoint(file)), file
    if run_given is not None:
        run = open_run(Path(run_given))
    else:
        root = line.setting_or_variable("trainer.default_root_dir")
        run = newest_run(Path(root or ".") / LOGS, _trained_as(line.setting_or_variable("data.task")))
    return run, run.checkpoint(wanted)


def _requeued(command: list[str], line: CommandLine) -> Run | None:
    """The run that this SLURM job began before it was requeued; the same command resumes it."""
    if (job := slurm_job()) is None or not is_slurm_restart():
        return None
    root = Path(line.setting_or_variable("trainer.default_root_dir") or ".")
    run = run_of_slurm_job(root / LOGS, job, command)
    if run is not None:
        say(f"SLURM has restarted job {job}: resuming {run.path}.")
    return run


def _whole_checkpoint(run: Run, last: Path) -> Path:
    """The last checkpoint, or if it is damaged the best one, with a message."""
    from glue_lit.runs.checkpoints import read_checkpoint, unfinished_checkpoints, verify_checksums

    if unfinished_checkpoints(run.checkpoints):
        say("The run ended while a checkpoint was being written; that file is ignored.")
    try:
        read_checkpoint(last)
        verify_checksums(last)
    except RunError as error:
        best = run.checkpoints / "best.ckpt"
        if not best.is_file():
            raise
        read_checkpoint(best)
        verify_checksums(best)
        say(f"{error} Resuming from {best} instead.")
        return best
    return last


def _trained_as(task: str | None) -> str | None:
    """The task whose runs can evaluate ``task``: mnli for ax, else the task itself."""
    spec = TASKS.get(task or "")
    return (spec.trained_as or spec.name) if spec else task


def _on_one_line(value: Any) -> Any:
    return to_flag(value) if isinstance(value, dict) else value


def _from_checkpoint(file: Path, classes: tuple[type, type]) -> list[str]:
    """Flags for a checkpoint outside any run: task, model and data from its hyperparameters."""
    from glue_lit.runs.checkpoints import read_checkpoint

    saved = read_checkpoint(file)
    flags: list[str] = []
    parts = (("data", "datamodule_hyper_parameters", classes[1]), ("model", "hyper_parameters", classes[0]))
    for section, key, owner in parts:
        values = saved.get(key) or {}
        names = [name for name, setting in settings_of(owner).items() if setting.restored]
        flags += [f"--{section}.{name}={_on_one_line(values[name])}" for name in names if values.get(name) is not None]
    custom = (saved.get("hyper_parameters") or {}).get("custom") or {}
    if known := {name: value for name, value in custom.items() if value is not None}:
        flags.append(f"--data.custom={to_flag(known)}")
    precision = saved["glue_lit"].get("precision") if "glue_lit" in saved else None
    return flags if precision is None else [*flags, f"--trainer.precision={precision}"]
