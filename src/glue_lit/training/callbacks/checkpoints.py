"""The checkpoints of a run: the best by a metric, and the last state of training."""

from pathlib import Path
from typing import Annotated, Any, Literal

from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from glue_lit.errors import RunError, Stopped
from glue_lit.runs.checkpoints import AtomicCheckpointIO
from glue_lit.runs.settings import Setting, described
from glue_lit.system.console import say
from glue_lit.tasks.glue import monitor_mode
from glue_lit.training.callbacks.early_stopping import EarlyStop, find_early_stop
from glue_lit.training.callbacks.signals import StopRequest
from glue_lit.training.lightning_internals import checkpoint_content
from glue_lit.training.lightning_internals.loops import score_last_step
from glue_lit.training.lightning_internals.sharding import is_sharded
from glue_lit.training.position import Position
from glue_lit.training.processes import check_shared_folder


def _write_atomically(trainer: Trainer) -> None:
    """Write checkpoints atomically, unless the user chose another plugin."""
    if type(getattr(trainer.strategy, "checkpoint_io", None)) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()


class BestCheckpoint(ModelCheckpoint):
    """Keep the checkpoint with the best value of one logged name, as ``best.ckpt``.

    Args:
        monitor: Logged value that picks the best checkpoint; null for the task's own metric.
        mode: max if higher is better, min if lower is better; null for that of the metric.
    """

    @described
    def __init__(
        self,
        monitor: Annotated[str | None, Setting(None, "Checkpoint picked by", 600)] = None,
        mode: Annotated[Literal["max", "min"] | None, Setting(None, "Best is", 601)] = None,
    ) -> None:
        super().__init__(
            filename="best",
            monitor=monitor,
            mode=mode or monitor_mode(monitor or ""),
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self._chosen_mode = mode

    def follow(self, model: Any) -> None:
        """Monitor the metric of a `SequenceClassifier`, in its direction, unless the user chose otherwise."""
        self.monitor = self.monitor or str(model.monitor)
        if (
            self._chosen_mode is None
            and (mode := monitor_mode(self.monitor, getattr(model, "task", None))) != self.mode
        ):
            self.mode, self.kth_value = mode, -self.kth_value

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Monitor the task's metric unless the user chose a value.

        Raises:
            RunError: A machine of the run cannot see the folder.
        """
        self.follow(pl_module)
        _write_atomically(trainer)
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            check_shared_folder(trainer, Path(self.dirpath or "."))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score even if the run was moved; Lightning would forget it and overwrite best.ckpt."""
        here = Path(self.dirpath or ".")

        def moved(path: str) -> str:
            return str(here / Path(path).name) if path else path

        if not Path(moved(state_dict.get("best_model_path", ""))).is_file():
            return  # a checkpoint outside its run: this fit has no best yet
        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        super().load_state_dict(
            state_dict
            | {key: moved(state_dict.get(key, "")) for key in paths}
            | {
                "dirpath": self.dirpath,
                "best_k_models": {moved(path): score for path, score in state_dict.get("best_k_models", {}).items()},
            }
        )


class LastCheckpoint(ModelCheckpoint):
    """Keep the last state of training as ``last.ckpt``: after each epoch, and when the run is stopped or fails.

    ``ModelCheckpoint(save_last=True)`` writes only together with the best.

    Args:
        every: Write it also every N optimizer steps; ``None`` for epoch ends alone.
        stop: Receives the signals that ask the run to stop.

    Attributes:
        saved_at: Optimizer steps done when the file was written; ``None`` until this fit has written it.
    """

    def __init__(self, every: int | None = None, stop: StopRequest | None = None) -> None:
        super().__init__(filename="last", save_top_k=0, enable_version_counter=False)
        self.every = every
        self.stop = stop or StopRequest()
        self.saved_at: int | None = None
        self._has_begun = False

    @property
    def path(self) -> Path:
        """Where the checkpoint is."""
        return Path(self.dirpath or ".") / "last.ckpt"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Move behind all other callbacks, so that the checkpoint gets their states after each hook."""
        trainer.callbacks = [callback for callback in trainer.callbacks if callback is not self] + [self]  # type: ignore[attr-defined]
        _write_atomically(trainer)
        super().setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End at once if the resumed fit had stopped early and was killed before its final scores."""
        super().on_fit_start(trainer, pl_module)
        if (early := find_early_stop(trainer)) is not None:
            trainer.should_stop = True
            if trainer.is_global_zero:
                ours = "pass `--early_stopping N` with a larger N, or null"
                theirs = "remove it from trainer.callbacks"
                say(
                    "Early stopping has already ended this run; to train further, "
                    f"{ours if isinstance(early, EarlyStop) else theirs}."
                )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note signals from now on."""
        super().on_train_start(trainer, pl_module)
        self.stop.note_signals(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a signal end the program at once."""
        self.stop.release_signals()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Write the checkpoint if one is due or a signal has come.

        Not at the end of a batch, when its points of the curves are not written yet.
        """
        signum = self.stop.agreed_signal(trainer)
        step = trainer.global_step
        self._has_begun = True
        is_due = self.every is not None and step > 0 and step % self.every == 0
        if (is_due or signum) and step not in (0, self.saved_at):
            self._save(trainer)
        if signum:
            raise Stopped(signum, agreed=True)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop within a validation if a signal has come; a resumed fit begins the validation again."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        # All devices are here: each has as many batches as the others (see `EvaluationSampler`).
        if signum := self.stop.agreed_signal(trainer):
            self._save(trainer)
            raise Stopped(signum, agreed=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint, then stop if a signal has come."""
        score_last_step(trainer)
        self._save(trainer)
        if signum := self.stop.agreed_signal(trainer):
            raise Stopped(signum, agreed=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write the state after the last optimizer step, unless the exception came within one."""
        self.stop.release_signals()
        if is_sharded(trainer):  # the file needs the parts of all processes, and the others may be gone
            return
        # Before the first batch the file is up to date, and our own errors need no rescue.
        if not self._has_begun or isinstance(exception, Stopped | RunError) or trainer.state.fn != "fit":
            return
        position = Position.of(trainer)
        if trainer.global_step in (0, self.saved_at) or (position is not None and position.is_updating):
            return
        # The other processes may be gone: nothing here may wait for them.
        if trainer.is_global_zero and not _is_dry_run(trainer) and (trainer.training or trainer.validating):
            try:
                trainer.strategy.checkpoint_io.save_checkpoint(checkpoint_content(trainer), self.path)
                self.saved_at = trainer.global_step
            except Exception:  # the exception being handled matters more; the last checkpoint is unchanged
                return

    def _save(self, trainer: Trainer) -> None:
        if not _is_dry_run(trainer):
            trainer.save_checkpoint(self.path)
            self.saved_at = trainer.global_step


def _is_dry_run(trainer: Trainer) -> bool:
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
