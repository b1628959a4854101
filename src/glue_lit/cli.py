"""LightningCLI, plus which run a command is about and what it prints at the end."""

import os
import sys
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from glue_lit.arguments import resolve_arguments, setting
from glue_lit.callbacks import Bar, EpochLines, PredictionWriter, SaveConfig
from glue_lit.checkpoints import check_model, check_task, check_undamaged, read_checkpoint
from glue_lit.configs import check_config, config_files, where_set
from glue_lit.console import json_asked, json_document, print_scores, say
from glue_lit.custom import custom_of, task_of
from glue_lit.data.custom import complete_task
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.errors import RunError, Stopped, UsageError, did_you_mean
from glue_lit.job_progress import JobProgress, end_with_driver, job_folder
from glue_lit.keepers import BestCheckpoint, LastCheckpoint
from glue_lit.machine import fast_precision, keep_freed_memory
from glue_lit.model import SequenceClassifier
from glue_lit.parse_errors import check_environment
from glue_lit.parsing import TRAINER_DEFAULTS, Parser, add_checkpoints, add_trainer_model_and_data
from glue_lit.quiet import quiet_loggers
from glue_lit.resume import is_within_epoch
from glue_lit.run_directory import RunDirectory, RunLogger
from glue_lit.runs import LOGS, Run, best_of, run_of
from glue_lit.signals import EvaluationSignals, StopRequest
from glue_lit.speed import TrainingSpeed
from glue_lit.summary import (
    advice,
    run_record,
    say_collapsed,
    say_data,
    say_model,
    say_next,
    say_skipped,
    say_speed,
    say_stopped,
    score_intervals,
    shown,
)
from glue_lit.tasks import TaskSpec, logged_names
from glue_lit.tracking.pages import TensorBoardPages, boards
from glue_lit.watch import RankWatch, die_with_parent, is_lost_connection
from glue_lit.whole_files import write_metrics

_PATHS = (
    "data.source",
    "data.custom.validation_file",
    "data.custom.test_file",
    "data.tokenizer",
    "model.name_or_path",
    "model.init_from",
)


class GlueLitCLI(LightningCLI):
    """The commands ``fit``, ``validate``, ``test`` and ``predict``."""

    model: SequenceClassifier
    datamodule: GLUEDataModule

    def __init__(self) -> None:
        self.best = BestCheckpoint()  # replaced by the configured one
        self.last: LastCheckpoint | None = None
        self.speed = TrainingSpeed()
        self.pages = TensorBoardPages()
        self.directory = RunDirectory()
        self.stop = StopRequest()
        self.watch = RankWatch()
        self.writer: PredictionWriter | None = None
        self.result: dict[str, Any] | None = None  # what a script is told, on the first device
        self.origin: dict[str, Any] | None = None  # the checkpoint whose encoder a new fit starts from
        super().__init__(
            SequenceClassifier,
            GLUEDataModule,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True},
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=42,
            parser_kwargs={"default_env": True, "env_prefix": "GLUE_LIT", "prog": "glue-lit"},
            parser_class=Parser,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    # ---------------------------------------------------------------- arguments

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add trainer, model and data."""
        add_trainer_model_and_data(parser)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the rest."""
        add_checkpoints(parser)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.set_defaults({"weights_only": True})  # a checkpoint is data: no code in it is run
        if subcommand == "predict":
            parser.set_defaults({"return_predictions": False})
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Find the run that is meant; Lightning starts the other DDP processes from ``sys.argv``, so set that."""
        for file in config_files(sys.argv[1:]):
            check_config(file)
        check_environment(parser, sys.argv[1], os.environ)
        self.directory.command = sys.argv[1:]
        sys.argv[1:] = resolve_arguments(sys.argv[1:])
        super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        """Leave the flags alone: Lightning would put the checkpoint's hyper-parameters over the user's."""

    def _setting(self, key: str) -> Any:
        return self.config[self.subcommand].get(key)

    @property
    def _checkpoint(self) -> Path | None:
        path = self._setting("ckpt_path")
        return Path(path) if path else None

    @property
    def _is_new_fit(self) -> bool:
        return self.subcommand == "fit" and self._checkpoint is None

    def before_instantiate_classes(self) -> None:
        """Stop where an untrained model would be scored, whichever way the arguments came in.

        Folders are written down in full, so that the run can be used from any directory.
        """
        config = self.config[self.subcommand]
        for key in _PATHS:
            if config[key] not in ("hub", "demo", None) and (path := Path(config[key]).expanduser()).exists():
                config[key] = str(path.resolve())
        if config["model.init_from"] is not None and self._is_new_fit:
            self._start_from_run(config)
        custom = custom_of(config["data.custom"].as_dict())
        if custom.text_columns:
            custom = complete_task(config["data.task"], custom, config["data.source"])
            config["model.custom"] = custom.settings()
            config["data.custom"] = Namespace(custom.settings())  # type: ignore[no-untyped-call]
        if config["trainer.precision"] is None and not config.get("trainer.plugins"):
            # A run whose files name no precision was trained in the Trainer's own default.
            fast = fast_precision(config["trainer.accelerator"]) if self._is_new_fit else "32-true"
            config["trainer.precision"] = fast
        if self._checkpoint is not None and not self._checkpoint.is_file():
            raise UsageError(
                f"ckpt_path: there is no file {str(self._checkpoint)!r}. Pass `--ckpt_path best` on the command line."
            )
        monitor, names = self._setting("checkpoint.monitor"), logged_names(task_of(config["data.task"], custom))
        if self.subcommand == "fit" and monitor is not None and monitor not in names:
            raise UsageError(
                f"checkpoint.monitor: {monitor!r} is not logged.{did_you_mean(monitor, names)} "
                f"Allowed: {', '.join(names)}."
            )

    def _start_from_run(self, config: Any) -> None:
        """Take the model's name from the run whose encoder is taken, and keep its tokenizer at hand.

        Raises:
            UsageError: Another model was asked for as well.
        """
        file = best_of(config["model.init_from"])
        self.origin = read_checkpoint(file)
        if os.environ.get("LOCAL_RANK", "0") == "0":
            check_undamaged(file)
        name = self.origin["hyper_parameters"]["name_or_path"]
        asked = setting(sys.argv[1:], "model.name_or_path")
        if asked is not None and config["model.name_or_path"] != name:
            raise UsageError(
                f"model.init_from: {config['model.init_from']} is a run of {name}, not of {asked}. Leave "
                f"{where_set(sys.argv[1:], 'model.name_or_path')} out, or pass `--model.name_or_path {name}`: the run "
                "brings its model and tokenizer."
            )
        config["model.name_or_path"] = config["data.tokenizer"] = name

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add our callbacks; a fit logs to its run directory, an evaluation logs nowhere."""
        config = self.config_init[self.subcommand]
        self.best = config["checkpoint"]
        trainer = config["trainer"]
        run = run_of(self._checkpoint) if self._checkpoint is not None else None
        callbacks = [*(trainer.get("callbacks") or []), self.watch, EvaluationSignals(self.stop)]
        if self.subcommand != "fit":
            kwargs["logger"] = False
            if self.subcommand != "validate":
                self.writer = PredictionWriter(*self._place_of_predictions(run))
            callbacks.append(self.writer or self.pages)
        else:
            self.last = LastCheckpoint(self._setting("checkpoint_every"), self.stop)
            # The directory first, which opens the curves; the clock of the steps last of those that take time.
            callbacks += [self.directory, EpochLines(), self.pages, self.speed, self.last]
            if (folder := job_folder()) is not None:
                callbacks.append(JobProgress(folder, self.best.monitor))
            if trainer.get("logger") in (None, True, False):  # without curves it is a run all the same
                kwargs["logger"] = self._run_logger(run, curves=trainer.get("logger") is not False)
        if trainer.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
            callbacks.append(Bar())
        try:
            return super().instantiate_trainer(callbacks=callbacks, **kwargs)
        except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
            raise UsageError(f"trainer: {' '.join(str(error).split())}") from error

    def _place_of_predictions(self, run: Run | None) -> tuple[Path, str]:
        """Folder, and what precedes the names of files on other rows than the run's own."""
        task = self._setting("data.task")
        if run is not None:
            return run.predictions, run.prefix(task)
        if self._checkpoint is not None:
            return self._checkpoint.absolute().parent / "predictions", ""
        return Path(self._setting("trainer.default_root_dir") or ".") / "predictions", f"{task}-"

    def _run_logger(self, run: Run | None, curves: bool) -> RunLogger:
        """The logger of a new run, or of the one that is continued."""
        if run is not None:
            path = run.path.absolute()
            return RunLogger(path.parent.parent, path.parent.name, path.name, curves)
        root = Path(self._setting("trainer.default_root_dir") or ".") / LOGS
        return RunLogger(root, self._setting("data.task"), None, curves)

    # ---------------------------------------------------------------- commands

    def _check(self) -> None:
        """Read all data and the model before the trainer starts: what is wrong shows before anything is written."""
        saved = None
        if self._checkpoint is not None:
            saved = read_checkpoint(self._checkpoint)
            if os.environ.get("LOCAL_RANK", "0") == "0":
                check_undamaged(self._checkpoint)
            check_task(self._checkpoint, saved, self.datamodule.task)
            check_model(self._checkpoint, saved, self.model.hparams["name_or_path"])
            self.datamodule.use_checkpoint(saved)
            self.model.use_architecture_of(saved)
        elif self.origin is not None:
            self.datamodule.use_checkpoint(self.origin)
        self.model.must_be_trained = saved is None and self.subcommand != "fit"
        self.datamodule.load(str(self.subcommand))
        if saved is not None and self.subcommand == "fit" and is_within_epoch(saved["loops"]["fit_loop"]):
            self.datamodule.trainer = self.trainer
            self.datamodule.load_state_dict(saved.get(GLUEDataModule.__qualname__, {}))
            self.datamodule.check_same_batches()
        self.model.configure_model()
        if not self.trainer.is_global_zero:
            return
        say_data(self.datamodule, str(self.subcommand))
        if self._checkpoint is None or saved is None:
            say_model(self.model, self.trainer)
            return
        say(f"Checkpoint {shown(self._checkpoint)}")
        limit = self.trainer.max_epochs or 0
        loops = saved["loops"]["fit_loop"]
        if self.subcommand == "fit" and 0 < limit <= loops["epoch_progress"]["current"]["processed"]:
            say(f"It has finished all {limit} epochs; `--trainer.max_epochs N` with a larger N goes on.")
        steps = self.trainer.max_steps
        if self.subcommand == "fit" and 0 < steps <= saved["global_step"]:
            say(f"It has done all {steps} steps; `--trainer.max_steps N` with a larger N goes on.")

    before_fit = before_validate = before_test = before_predict = _check

    def after_fit(self) -> None:
        """Score the best checkpoint and write the final figures."""
        best, has_curves = Path(self.best.best_model_path or "."), bool(boards(self.trainer))
        if not best.is_file():
            if self.trainer.is_global_zero and not self._setting("trainer.fast_dev_run"):
                say("Nothing was validated, so there is no best checkpoint and no score.")
            self._give({"checkpoint": None, "metrics": {}})
            return
        self.trainer.logger = None  # this is no point of the curves
        self.trainer.validate(self.model, self.datamodule, ckpt_path=str(best), weights_only=True, verbose=False)
        if not self.trainer.is_global_zero:
            return
        saved = read_checkpoint(best)
        task: TaskSpec = self.datamodule.task
        record: dict[str, Any] = {"metrics": self.model.scores}
        if (run := run_of(best)) is not None:
            record = {"seed": self._setting("seed_everything"), "monitor": self.best.monitor}
            record |= run_record(run, self.trainer, self.model, self.datamodule, saved, self.speed)
            write_metrics(run.metrics, record)
        intervals = score_intervals(task, self.pages.predicted)
        places = {"run": run and str(run.path.absolute()), "checkpoint": str(best.absolute())}
        self._give({**places, **record, "intervals": intervals})
        print_scores(f"{task.name}: best checkpoint", task, self.model.scores, intervals, saved["epoch"] + 1)
        say_collapsed(self.model)
        say_skipped(self.model)
        say_speed(self.speed, self.trainer)
        say_next(self.datamodule, best, self._setting("trainer.default_root_dir"), has_curves)

    def _give(self, result: dict[str, Any]) -> None:
        """Keep what a script is told."""
        if self.trainer.is_global_zero:
            self.result = {"command": self.subcommand, "task": self.datamodule.task.name, **result}

    def after_validate(self) -> None:
        """Print the metrics."""
        self._print_scores()

    def after_test(self) -> None:
        """Print the metrics if there are labels, and where the predictions are."""
        self._print_scores()
        self._say_written()
        if self.trainer.is_global_zero and not self.model.scores:
            say("These rows have no labels, so there is nothing to score.")

    def after_predict(self) -> None:
        """Print where the predictions are."""
        self._say_written()

    def _print_scores(self) -> None:
        if not self.trainer.is_global_zero:
            return
        task, scores = self.datamodule.task, self.model.scores
        intervals = score_intervals(task, self.pages.predicted)
        checkpoint, written = self._checkpoint, self.writer.written if self.writer is not None else []
        self._give(
            {"checkpoint": checkpoint and str(checkpoint.absolute()), "metrics": scores, "intervals": intervals}
            | {"predicted": self.model.predicted, "predictions": [str(path.absolute()) for path in written]}
        )
        if scores:
            print_scores(f"{task.name}: {self.subcommand}", task, scores, intervals)
            say_collapsed(self.model)

    def _say_written(self) -> None:
        for path in self.writer.written if self.writer is not None else ():
            say(f"Predictions {shown(path)}")

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if "verbose" in kwargs:
            kwargs["verbose"] = False  # our table takes the place of Lightning's
        return kwargs

    # ---------------------------------------------------------------- ends that are none

    def _advice(self) -> str | None:
        return advice(self.last)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run it, and when it is stopped or fails, say how to go on."""
        self.watch.advice = self._advice
        failed = True
        try:
            with self.stop.listening():
                super()._run_subcommand(subcommand)
            failed = False
        except Stopped as stopped:
            failed = not stopped.agreed
            self.watch.close(failed)
            if self.trainer.is_global_zero:
                say_stopped(stopped, self.last, self.best)
            raise
        except Exception as error:
            dead = self.watch.explain() if is_lost_connection(error) else None
            shown_error = error if dead is None else RunError(dead)
            if (line := self._advice()) is not None:
                shown_error.add_note(line)
            if dead is None:
                raise
            raise shown_error from error
        finally:
            self.watch.close(failed)
            self.directory.release()


def main() -> None:
    """Run one of the trainer's commands on ``sys.argv``."""
    quiet_loggers()
    die_with_parent()
    end_with_driver()
    keep_freed_memory()
    with json_document(json_asked()) as give:
        if (result := GlueLitCLI().result) is not None:
            give(result)
