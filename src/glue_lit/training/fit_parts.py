"""The classifier's own callbacks in a fit, and checks of the trainer before anything is built."""

from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule
from torch import Tensor
from torch.optim import Optimizer

from glue_lit.data.accumulation import check_accumulation
from glue_lit.data.batches import Batch
from glue_lit.training.averaging import WeightAverage
from glue_lit.training.batch_parts import BatchParts
from glue_lit.training.batch_seeds import BatchSeeds
from glue_lit.training.callbacks.model_summary import replace_summaries
from glue_lit.training.clipping import clip_gradient, gradient_norm
from glue_lit.training.compilation import Compilation
from glue_lit.training.divergence import DivergenceGuard
from glue_lit.training.fit_part import is_fit
from glue_lit.training.lightning_internals.loops import FinalValidation
from glue_lit.training.monitors import check_monitors
from glue_lit.training.optimizer import RecipeOptimizer
from glue_lit.training.position import Position
from glue_lit.training.processes import check_processes, check_sharding
from glue_lit.training.refused_callbacks import refuse_callbacks
from glue_lit.training.tensorboard.points import TrainingCurves


class FitParts:
    """The callbacks that a `SequenceClassifier` adds to one fit.

    Args:
        settings: The hyperparameters of the classifier.
        optimizer: Builds its optimizer.

    Attributes:
        callbacks: All of them.
        optimizer: Builds the optimizer.
        position, guard, curves: The parts that record batches and steps.
        batch_parts: Computes a batch in parts; ``None`` if it is always computed whole.
    """

    def __init__(self, settings: Mapping[str, Any], optimizer: RecipeOptimizer) -> None:
        self.optimizer, self.position, self.guard = optimizer, Position(), DivergenceGuard(settings["non_finite"])
        self.curves = TrainingCurves(self.guard)
        self.batch_parts = BatchParts() if settings["split_batches"] else None
        parts = [BatchSeeds(), FinalValidation(), optimizer, self.position, self.guard, self.curves]
        parts.append(Compilation(settings["compile"]))
        parts += [self.batch_parts] if self.batch_parts is not None else []
        self.callbacks: list[Callback] = parts + ([WeightAverage(decay)] if (decay := settings["average"]) else [])

    def loss(self, module: LightningModule, compute: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        """The mean loss of a training batch, ``()``, which the guard and the curves note.

        Args:
            module: What is trained.
            compute: Gives the mean loss of some rows; of parts of the batch where the memory does not hold all of it.
            batch: A training batch.
        """
        parts = self.batch_parts
        loss = compute(batch) if parts is None else parts.loss(module, compute, batch, module.global_rank == 0)
        self.guard.note_batch(batch["idx"], loss)
        self.curves.note_batch(loss)
        return loss

    def prepare_step(self, module: LightningModule, optimizer: Optimizer, limit: float, algorithm: str | None) -> None:
        """Check, record and clip the gradient of an optimizer step, or clear it if the step is skipped.

        Args:
            module: The module that is trained.
            optimizer: About to take the step.
            limit: Largest norm of the gradient, or largest value; 0 for no clipping.
            algorithm: ``value`` to clip values, anything else to clip the norm.

        Raises:
            DivergenceError: Loss or gradient is not finite, and the policy is to stop.
        """
        every = self.optimizer.parameters
        parameters = [p for p in (module.parameters() if every is None else every) if p.grad is not None]
        norm = gradient_norm(parameters)
        is_taken = self.guard.check_step(module.trainer, optimizer, norm)
        if is_taken is False:
            optimizer.zero_grad()  # without gradients, the step changes nothing
            self.curves.skip_step()
            return
        self.curves.take_step(module, optimizer, norm, is_taken)
        clip_gradient(optimizer, parameters, norm, limit, algorithm)
        self.position.is_updating = True

    def end_step(self) -> None:
        """Note that the weights are those after a whole step again."""
        self.position.is_updating = False


def prepare_trainer(trainer: Any, module: Any) -> None:
    """Check a trainer's settings, and let Lightning's summary of a fit count each parameter once.

    Args:
        trainer: With the user's callbacks.
        module: The `SequenceClassifier`; a user's own subclass may log more than the metrics of its task.

    Raises:
        UsageError: The processes would train the model several times, or the strategy splits it and a setting needs
            the whole. In a fit also: a callback is refused or monitors a value that is never logged, or accumulation is
            set twice.
    """
    check_processes(trainer)
    check_sharding(trainer, module.hparams)
    if is_fit(trainer):
        refuse_callbacks(trainer)
        if type(module).__module__.startswith("glue_lit."):
            check_monitors(trainer.callbacks, module.task)
        check_accumulation(trainer)
        replace_summaries(trainer.callbacks)
