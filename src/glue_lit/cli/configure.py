"""From a command line to a `Session`: LightningCLI parses it, and builds the trainer, the model and the data."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import ModelParallelStrategy

from glue_lit.cli.complete_settings import complete_settings
from glue_lit.cli.engine_arguments import CONFIG_HELP
from glue_lit.cli.parse_errors import check_environment
from glue_lit.cli.parser import TRAINER_DEFAULTS, add_checkpoints, add_trainer_model_and_data, parser_of
from glue_lit.cli.run_arguments import resolve_arguments
from glue_lit.cli.trainer_checks import check_seed
from glue_lit.data.accumulation import check_accumulation
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.engine.job_progress import JobProgress
from glue_lit.errors import UsageError
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.config_file import check_config, compose, find_node
from glue_lit.runs.run import LOGS, Run, run_of_checkpoint
from glue_lit.runs.shipped_configs import find_config
from glue_lit.system.environment import job_folder, setting_variable
from glue_lit.training.callbacks.checkpoints import LastCheckpoint
from glue_lit.training.callbacks.early_stopping import early_stop_callbacks
from glue_lit.training.callbacks.epoch_lines import EpochLines
from glue_lit.training.callbacks.prediction_writer import PredictionWriter
from glue_lit.training.callbacks.progress import Bar, FitClock, ProgressLines
from glue_lit.training.callbacks.rank_watch import RankWatch
from glue_lit.training.callbacks.run_directory import RunDirectory, RunLogger
from glue_lit.training.callbacks.save_config import SaveConfig
from glue_lit.training.callbacks.signals import EvaluationSignals, StopRequest
from glue_lit.training.callbacks.speed import TrainingSpeed
from glue_lit.training.classifier import SequenceClassifier
from glue_lit.training.lightning_internals.sharding import ShardedStrategy
from glue_lit.training.monitors import check_monitors
from glue_lit.training.processes import check_processes, check_sharding, launched_devices
from glue_lit.training.refused_callbacks import allowed_callbacks, as_list
from glue_lit.training.resume_advice import own_program, resume_advice
from glue_lit.training.session import Session
from glue_lit.training.tensorboard.pages import TensorBoardPages

Classes = tuple[type[SequenceClassifier], type[GLUEDataModule]]
_OURS: Classes = (SequenceClassifier, GLUEDataModule)


def resolve(command: str, words: Sequence[str], classes: Classes = _OURS) -> CommandLine:
    """Complete a command line with the run's configuration and the checkpoint that it refers to.

    Args:
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        words: Its flags, as the user typed them.
        classes: The classes of model and data.

    Raises:
        UsageError: A configuration file cannot be used, or the command needs a checkpoint.
        RunError: There is no such run or checkpoint.
    """
    if (variable := setting_variable(command, "config")) in os.environ:
        os.environ[variable] = find_config(os.environ[variable])
    given = CommandLine(words).with_found_configs()
    for file in (named := given.config_files):
        check_config(file)
        _check_sections(file, command)
    line = CommandLine(resolve_arguments([command, *given.words], classes)[1:], command)
    for file in line.config_files:
        if file not in named:  # the run's own file, which anybody may have edited
            check_config(file)
    return line


def _check_sections(file: str, command: str) -> None:
    """Refuse a file for `tune` or `suite`, whose sections the other commands do not have."""
    root = compose(file)
    for section, of in (("tune", "tune"), ("suite", "suite"), ("engine", "tune` and `suite")):
        if (found := find_node(root, section)) is not None:
            raise UsageError(
                f"--config {file}, line {found[0]}: the section `{section}` is for `{of}`, and `{command}` has none. "
                "Leave the file out, or use a copy without the section."
            )


def configure(line: CommandLine, typed: Sequence[str] = (), classes: Classes = _OURS) -> Session:
    """Parse a command line and build its session.

    Args:
        line: The result of `resolve`.
        typed: The words after ``glue-lit`` as the user typed them, for the run's records.
        classes: The classes of model and data, whose settings are the flags ``--model.*`` and ``--data.*``.

    Raises:
        UsageError: A setting does not exist, is wrong, or contradicts another one.
    """
    return ConfiguredCLI(line, typed, classes).session


class ConfiguredCLI(LightningCLI):
    """Lightning's parser with our settings. It builds a session and runs nothing.

    Args:
        line: The full command line.
        typed: The words after ``glue-lit`` as the user typed them.
        classes: The classes of model and data.

    Attributes:
        session: What the command works with.
    """

    model: SequenceClassifier
    datamodule: GLUEDataModule

    def __init__(self, line: CommandLine, typed: Sequence[str] = (), classes: Classes = _OURS) -> None:
        self._line, self._classes = line, classes
        self._origin: dict[str, Any] | None = None  # the checkpoint whose encoder a new fit starts from
        self._chooses_precision = False
        self._last: LastCheckpoint | None = None
        self._writer: PredictionWriter | None = None
        self._speed, self._clock, self._pages = TrainingSpeed(), FitClock(), TensorBoardPages()
        self._directory, self._stop = RunDirectory(typed), StopRequest()
        program = "glue-lit" if classes == _OURS else own_program()
        self._watch = RankWatch(lambda: resume_advice(self._last, program))
        super().__init__(
            *classes,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True},
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=42,
            parser_kwargs={"default_env": True, "env_prefix": "GLUE_LIT", "prog": "glue-lit"},
            parser_class=parser_of(line),
            args=[line.command, *line.words],
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )
        self.session = Session(
            line.command, self.trainer, self.model, self.datamodule, self._setting("seed_everything"),
            checkpoint=self._checkpoint, weights_only=self._setting("weights_only"), origin=self._origin,
            may_use_float32=self._chooses_precision, best=self.config_init[line.command]["checkpoint"],
            last=self._last, writer=self._writer, pages=self._pages, speed=self._speed, directory=self._directory,
            stop=self._stop, watch=self._watch, program=program,
        )  # fmt: skip

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The requested command alone, since adding the flags of all four would take three times as long."""
        return {name: skipped for name, skipped in LightningCLI.subcommands().items() if name == self._line.command}

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add trainer, model and data."""
        add_trainer_model_and_data(parser, *self._classes)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add checkpoints and early stopping, and link settings that model and data share."""
        add_checkpoints(parser)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        next(action for action in parser._actions if "--config" in action.option_strings).help = CONFIG_HELP
        parser.set_defaults({"weights_only": True})  # a checkpoint is data: no code in it is run
        if subcommand == "predict":
            parser.set_defaults({"return_predictions": False})
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Stop at misspelt environment variables, then parse the line."""
        check_environment(parser, self._line.command, os.environ)
        self.config = parser.parse_args(args)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing: functions of `glue_lit.training` run the session."""

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would replace the user's settings by the checkpoint's hyperparameters."""

    def _set_seed(self) -> None:
        check_seed(self._setting("seed_everything"))
        super()._set_seed()

    def _setting(self, key: str) -> Any:
        return self.config[self.subcommand].get(key)

    @property
    def _checkpoint(self) -> Path | None:
        path = self._setting("ckpt_path")
        return Path(path) if path else None

    def before_instantiate_classes(self) -> None:
        """Check the settings, and complete them from runs, data and the machine."""
        completed = complete_settings(self.config[self.subcommand], self._line)
        self._origin, self._chooses_precision = completed.origin, completed.chooses_precision

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add our callbacks; a fit logs to its run directory, an evaluation logs nowhere."""
        config = self.config_init[self.subcommand]
        best = config["checkpoint"]
        trainer = config["trainer"]
        run = run_of_checkpoint(self._checkpoint) if self._checkpoint is not None else None
        if type(strategy := trainer.get("strategy")) is ModelParallelStrategy:
            kwargs["strategy"] = ShardedStrategy.like(strategy)
        kwargs |= launched_devices(trainer.get("devices"), trainer.get("num_nodes"))
        given = allowed_callbacks(trainer.get("callbacks"), self.subcommand == "fit")
        callbacks = [*given, self._watch, EvaluationSignals(self._stop)]
        if self.subcommand != "fit":
            kwargs["logger"] = False
            if self.subcommand != "validate":
                self._writer = PredictionWriter(*self._place_of_predictions(run))
            callbacks.append(self._writer or self._pages)
        else:
            best.follow(self.model)
            check_monitors(given, self.model.task)
            self._last = LastCheckpoint(self._setting("checkpoint_every"), self._stop)
            # The directory comes first, since it opens the curves; the clocks come after callbacks that take time.
            callbacks += [self._directory, EpochLines(), self._pages, self._speed, self._clock]
            callbacks += [ProgressLines(self._clock, self._speed)]
            callbacks += [*early_stop_callbacks(self._setting("early_stopping"), best, trainer), self._last]
            if (folder := job_folder()) is not None:
                callbacks.append(JobProgress(folder, best.monitor))
            own = trainer.get("logger")  # besides those of the run directory, which a fit always has
            others = [] if own is True or own is False else as_list(own)
            kwargs["logger"] = [self._run_logger(run, curves=own is not False), *others]
        if trainer.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
            callbacks.append(Bar(self._clock))
        try:
            made = super().instantiate_trainer(callbacks=callbacks, **kwargs)
        except (MisconfigurationException, ImportError, RuntimeError, TypeError, ValueError) as error:
            raise UsageError(f"trainer: {' '.join(str(error).split())}") from error
        check_processes(made)
        check_sharding(made, self.model.hparams)
        check_accumulation(made)
        return made

    def _place_of_predictions(self, run: Run | None) -> tuple[Path, str]:
        """The folder, and a prefix for the names of files that are not on the run's own task."""
        task = self._setting("data.task")
        if run is not None:
            return run.predictions, run.prefix(task)
        if self._checkpoint is not None:
            return self._checkpoint.absolute().parent / "predictions", ""
        return Path(self._setting("trainer.default_root_dir") or ".") / "predictions", f"{task}-"

    def _run_logger(self, run: Run | None, curves: bool) -> RunLogger:
        """The logger of a new run, or of the run that is resumed."""
        if run is not None:
            path = run.path.absolute()
            return RunLogger(path.parent.parent, path.parent.name, path.name, curves)
        root = Path(self._setting("trainer.default_root_dir") or ".") / LOGS
        return RunLogger(root, self._setting("data.task"), None, curves)
