"""The commands ``fit``, ``validate``, ``test`` and ``predict``: what they check, do, and print at the end."""

import sys
from pathlib import Path
from typing import Any

from glue_lit.cli.configure import ConfiguredCLI
from glue_lit.cli.messages import (
    advice,
    print_scores,
    say_collapsed,
    say_data,
    say_model,
    say_next,
    say_skipped,
    say_speed,
    say_stopped,
    say_unscored,
    score_intervals,
    shown,
)
from glue_lit.cli.trainer_checks import complaint
from glue_lit.data.accumulation import batches_of_step
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.data.splits import datamodule_state
from glue_lit.encoder.build import check_tokens
from glue_lit.encoder.limits import MIXED, check_precision_of, why_not_mixed
from glue_lit.engine.job_progress import end_with_driver
from glue_lit.errors import RunError, Stopped, UsageError
from glue_lit.runs.checkpoints import check_model, check_task, read_checkpoint, verify_checksums
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.run import run_of_checkpoint
from glue_lit.system.console import json_document, say
from glue_lit.system.environment import local_rank
from glue_lit.system.files import write_json
from glue_lit.system.hardware import keep_freed_memory
from glue_lit.system.library_warnings import quiet_lightning
from glue_lit.system.run_log import begin_log
from glue_lit.tasks.glue import TaskSpec
from glue_lit.training.callbacks.early_stopping import describe_end
from glue_lit.training.callbacks.rank_watch import die_with_parent, is_lost_connection
from glue_lit.training.classifier import SequenceClassifier
from glue_lit.training.lightning_internals import compute_in_float32
from glue_lit.training.lightning_internals.loop_state import batches_of_left_epoch, is_within_epoch
from glue_lit.training.provenance import run_record
from glue_lit.training.resume import explain_restore_error, read_progress
from glue_lit.training.tensorboard.pages import tensorboard_loggers


class GlueLitCLI(ConfiguredCLI):
    """The commands ``fit``, ``validate``, ``test`` and ``predict``."""

    _is_over = False  # a fit that is continued at its end, and has said so

    # ---------------------------------------------------------------- commands

    def _check(self) -> None:
        """Read all data and the model before the trainer starts: what is wrong shows before anything is written."""
        saved = None
        if self._checkpoint is not None:
            saved = read_checkpoint(self._checkpoint)
            if local_rank() == 0:
                verify_checksums(self._checkpoint)
            check_task(self._checkpoint, saved, self.datamodule.task)
            check_model(self._checkpoint, saved, self.model.hparams["name_or_path"])
            self.datamodule.use_checkpoint(saved)
            self.model.use_architecture_of(saved)
        elif self.origin is not None:
            self.datamodule.use_checkpoint(self.origin)
        self.datamodule.setup(str(self.subcommand))
        epochs = steps = 0
        left = ""
        if saved is not None and self._checkpoint is not None and self.subcommand == "fit":
            loop, epochs, steps = read_progress(self._checkpoint, saved, self.trainer.fit_loop.state_dict())
            left = self._check_batches(saved, loop)
            epochs -= bool(left)
        must_be_trained = saved is None and self.subcommand != "fit"
        self.model.build_model(must_be_trained, self.datamodule.padding)
        self._settle_precision()
        for store in self.datamodule.splits.loaded_stores:
            check_tokens(self.model.model, store.input_ids, self.model.hparams["name_or_path"], store.token_type_ids)
        if not self.trainer.is_global_zero:
            return
        say_data(self.datamodule.splits, str(self.subcommand))
        if self._checkpoint is None or saved is None:
            say_model(self.model, self.trainer)
            return
        say(f"Checkpoint {shown(self._checkpoint)}{left}")
        limit, most = self.trainer.max_epochs or 0, self.trainer.max_steps
        done = {"max_epochs": f"all {limit} epochs"} if 0 < limit <= epochs else {}
        done |= {"max_steps": f"{steps} of at most {most} steps"} if 0 < most <= steps else {}
        if done:
            flags = " and ".join(f"`--trainer.{name} N`" for name in done)
            say(f"It has done {' and '.join(done.values())}; {flags} with a larger N goes on.")
        self._is_over = bool(done)

    def _settle_precision(self) -> None:
        """Compute in float32 where the machine's fast precision is none for this model, and say so.

        Raises:
            ModelError: The user asked for the precision.
        """
        why = why_not_mixed(self.model.model)
        if self._precision_is_ours and why is not None and str(self.trainer.precision) in MIXED:
            compute_in_float32(self.trainer)
            self.config[self.subcommand]["trainer.precision"] = self.trainer.precision
            if self.trainer.is_global_zero:
                say(f"Computing in float32: this model does not run in bfloat16 ({why}).")
        check_precision_of(self.model.model, str(self.trainer.precision))

    def _check_batches(self, saved: dict[str, Any], loop: dict[str, Any]) -> str:
        """Stop where a fit would go on within an epoch with other batches.

        Returns:
            Where it goes on, if the checkpoint is of an older version, which counts an epoch that was left as whole.
        """
        data, trainer = self.datamodule, self.trainer
        data.load_state_dict(datamodule_state(saved))
        if is_within_epoch(loop):
            data.check_same_batches(trainer)
        if is_within_epoch(loop) or "scored_step" in saved.get("glue_lit", {}) or not data.has_same_batches(trainer):
            return ""
        limit, batches = trainer.limit_train_batches, len(data.training_sampler(trainer))
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        done = batches_of_left_epoch(
            loop, batches, batches_of_step(trainer, loop["epoch_progress"]["current"]["processed"] - 1)
        )
        return f", after batch {done} of {batches} of its last epoch" if done else ""

    before_fit = before_validate = before_test = before_predict = _check

    def after_fit(self) -> None:
        """Score the best checkpoint and write the final figures."""
        best, has_curves = Path(self.best.best_model_path or "."), bool(tensorboard_loggers(self.trainer))
        is_told = self._is_over or self._setting("trainer.fast_dev_run") or not self.trainer.global_step
        if self.trainer.is_global_zero and not is_told:
            say(describe_end(self.trainer))
        if not best.is_file():
            if self.trainer.is_global_zero and not self._setting("trainer.fast_dev_run"):
                say_unscored(self.trainer)
            self._give({"checkpoint": None, "metrics": {}})
            return
        self.trainer.logger = None  # this is no point of the curves
        self.trainer.validate(self.model, self.datamodule, ckpt_path=str(best), weights_only=True, verbose=False)
        if not self.trainer.is_global_zero:
            return
        saved = read_checkpoint(best)
        task: TaskSpec = self.datamodule.task
        record: dict[str, Any] = {"metrics": self.model.scores}
        if (run := run_of_checkpoint(best)) is not None:
            record = {"seed": self._setting("seed_everything"), "monitor": self.best.monitor}
            record |= run_record(run, self.trainer, self.model, self.datamodule.splits, saved, self.speed)
            write_json(run.metrics, record)
        intervals = score_intervals(task, self.pages.predicted)
        places = {"run": run and str(run.path.absolute()), "checkpoint": str(best.absolute())}
        self._give({**places, **record, "intervals": intervals})
        print_scores(f"{task.name}: best checkpoint", task, self.model.scores, intervals, saved["epoch"] + 1)
        say_collapsed(self.model)
        say_skipped(self.model)
        say_speed(self.speed, self.trainer)
        say_next(self.datamodule.splits, best, self._setting("trainer.default_root_dir"), has_curves)

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
            | ({"positive": task.positive_label} if "f1" in task.metrics else {})
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
            wrong = complaint(error) or explain_restore_error(self._checkpoint, error)
            shown_error = error if wrong is None else (UsageError if wrong.startswith("trainer") else RunError)(wrong)
            if dead is not None:
                shown_error = RunError(dead)
            if (line := self._advice()) is not None:
                shown_error.add_note(line)
            if shown_error is error:
                raise
            raise shown_error from error
        finally:
            self.watch.close(failed)
            self.directory.release()


def main(
    model_class: type[SequenceClassifier] = SequenceClassifier,
    datamodule_class: type[GLUEDataModule] = GLUEDataModule,
) -> None:
    """Run one of the trainer's commands on ``sys.argv``.

    Args:
        model_class: Class whose settings are the flags ``--model.*``.
        datamodule_class: Class whose settings are the flags ``--data.*``.
    """
    quiet_lightning()
    line = CommandLine(sys.argv[2:], sys.argv[1])
    if line.command == "fit":
        begin_log(sys.argv[1:])
    sys.argv[2:] = line.without("--json").words  # which no parser, and no other process of the run, has to know
    die_with_parent()
    end_with_driver()
    keep_freed_memory()
    with json_document(line.asks_for_json) as give:
        if (result := GlueLitCLI(model_class, datamodule_class).result) is not None:
            give(result)
