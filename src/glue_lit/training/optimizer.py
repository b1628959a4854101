"""The optimizer of the recipe: AdamW over two groups of parameters, and gradient clipping."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from glue_lit.data.accumulation import batches_of_step, planned_steps
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.encoder.layers import check_same_groups, layered_groups
from glue_lit.encoder.trained_embedding import (
    align_moments,
    decay_unused_rows,
    find_trained_rows,
    saved_rows_in_use,
    train_rows_in_use,
)
from glue_lit.system.precisions import check_eps
from glue_lit.training.fit_part import FitPart
from glue_lit.training.lightning_internals.sharding import is_sharded
from glue_lit.training.schedule import build_schedule, warmup_steps


class RecipeOptimizer(FitPart):
    """Builds AdamW and its schedule from the hyperparameters, and adapts a checkpoint's optimizer state to them.

    Args:
        settings: The hyperparameters of `SequenceClassifier`.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._rows_before: Tensor | None = None  # embedding rows in use that the checkpoint has moments for

    def build(self, module: LightningModule) -> OptimizerLRSchedulerConfig:
        """The optimizer, and a schedule that changes the learning rate at every step."""
        settings, adamw, precision = self._settings, self._adamw, str(module.trainer.precision)
        check_eps(precision, adamw["eps"])
        fused = supports_fused(module.device, precision)
        optimizer = build_adamw(self._groups(module), adamw["lr"], adamw["betas"], adamw["eps"], fused)
        if (table := find_trained_rows(module)) is not None:
            decay_unused_rows(optimizer, table)
        total = int(planned_steps(module.trainer))
        warmup = warmup_steps(settings["warmup"], total)
        schedule = build_schedule(optimizer, settings["schedule"], warmup, total, settings["schedule_options"])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self, module: Any) -> list[dict[str, Any]]:
        settings, model = self._settings, module.model
        groups = parameter_groups(model, settings["weight_decay"])
        return layered_groups(groups, model, settings["learning_rate"], settings["layer_decay"])

    @property
    def _adamw(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "lr": settings["learning_rate"],
            "betas": (settings["adam_beta1"], settings["adam_beta2"]),
            "eps": settings["adam_eps"],
            "weight_decay": settings["weight_decay"],
        }

    def use_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Train at least the embedding rows that a checkpoint has moments for."""
        self._rows_before = saved_rows_in_use(checkpoint)

    @staticmethod
    def rows_in_use(model: Any) -> dict[str, Any]:
        """The embedding rows that the optimizer has moments for, by their key in ``checkpoint["glue_lit"]``."""
        table = find_trained_rows(model)
        return {} if table is None else {"rows": table.tokens.cpu()}

    def choose_rows(self, module: Any, trainer: Any) -> None:
        """Train only the embedding rows in use, if optimizer and data are ours and each device has the whole table."""
        is_ours = module.has_recipe_optimizer and isinstance(trainer.datamodule, GLUEDataModule)
        if is_ours and not is_sharded(trainer):
            tokens = trainer.datamodule.splits.training_tokens()
            train_rows_in_use(
                module.model, tokens if self._rows_before is None else torch.cat([tokens, self._rows_before])
            )

    def load_state(self, trainer: Any, checkpoint: dict[str, Any], state: dict[str, Any]) -> None:
        """Align a checkpoint's moments with the embedding rows that are in use now.

        Raises:
            RunError: The checkpoint's optimizer trains other parameters, or in other groups.
        """
        module = trainer.lightning_module
        if module.has_recipe_optimizer:
            groups = self._groups(module)
            check_same_groups(groups, checkpoint, module.model.config.model_type)
            align_moments(module, [parameter for group in groups for parameter in group["params"]], checkpoint)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Apply this fit's settings again, which a restored checkpoint has replaced by its own."""
        # Lightning's accumulation scheduler sets it at the start of an epoch, but a fit may resume within one.
        trainer.accumulate_grad_batches = batches_of_step(trainer, trainer.current_epoch)
        for config in trainer.lr_scheduler_configs if pl_module.has_recipe_optimizer else ():
            if isinstance(config.scheduler, LambdaLR):
                groups = config.scheduler.optimizer.param_groups
                for group, own in zip(groups, self._groups(pl_module), strict=True):
                    if "lr_scale" in own:
                        group["lr_scale"] = own["lr_scale"]
                override_hyperparameters(config.scheduler.optimizer, config.scheduler, **self._adamw)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Trainable parameters in two groups: matrices and embeddings decay, biases and norms don't.

    As in BERT's own training (Devlin et al. 2019, and google-research/bert ``optimization.py``). Every bias and every
    norm weight is a vector, and no other parameter is.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def build_adamw(
    groups: Iterable[dict[str, object]], learning_rate: float, betas: tuple[float, float], eps: float, fused: bool
) -> AdamW:
    """AdamW (Loshchilov & Hutter 2019); ``fused`` is one kernel for all parameters, see `supports_fused`."""
    return AdamW(groups, lr=learning_rate, betas=betas, eps=eps, fused=fused or None)


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """L2 norm of the whole gradient, ``()`` in float32, or in float64 if it is; collective if devices have parts."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    parts = [gradient.to_local() for gradient in gradients if isinstance(gradient, DTensor)]
    if parts:
        total = _norm(parts).double().square()
        torch.distributed.all_reduce(total)
        return total.sqrt().float()
    return _norm(gradients)


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    if any(gradient.dtype in (torch.float16, torch.bfloat16) for gradient in gradients):
        # In their own precision the norm would have two or three digits, and overflow above 65504 in float16.
        norm: Tensor = torch.stack([torch.linalg.vector_norm(g, dtype=torch.float32) for g in gradients]).norm()
        return norm
    return get_total_norm(gradients)


def clip_with_norm(optimizer: Optimizer, parameters: Iterable[nn.Parameter], norm: Tensor, limit: float) -> None:
    """Scale a gradient down to ``limit``, as ``torch.nn.utils.clip_grads_with_norm_`` does.

    Fused AdamW divides by a float32 factor as it reads the gradient, which saves a pass over it. A float64 gradient is
    scaled here.

    Args:
        optimizer: The optimizer that takes the next step.
        parameters: Those with a gradient.
        norm: L2 norm of the gradient, ``()``.
        limit: Largest norm, above 0.
    """
    if isinstance(optimizer, AdamW) and optimizer.defaults["fused"] and norm.dtype == torch.float32:
        factor = ((norm + 1e-6) / limit).clamp(min=1)
        # A factor of 1 would make the kernel write every gradient back; only on the CPU is it known without a sync.
        optimizer.grad_scale = None if factor.device.type == "cpu" and factor == 1 else factor  # type: ignore[attr-defined]
    else:
        clip_grads_with_norm_(parameters, limit, norm)


def clip_gradient(
    optimizer: Optimizer, parameters: Iterable[nn.Parameter], norm: Tensor, limit: float, algorithm: str | None
) -> None:
    """Clip by value if ``algorithm`` is ``value``, else by norm as `clip_with_norm`; a limit of 0 turns it off."""
    if limit and algorithm == "value":
        clip_grad_value_(parameters, limit)  # Lightning's own clipping refuses a fused optimizer with bfloat16
    elif limit:
        clip_with_norm(optimizer, parameters, norm, limit)


def supports_fused(device: torch.device, precision: str) -> bool:
    """Whether AdamW can be fused: not with float16's loss scaling, where it would see scaled gradients."""
    return device.type in {"cpu", "cuda", "mps", "xpu"} and precision != "16-mixed"


def override_hyperparameters(optimizer: Optimizer, scheduler: LambdaLR, **settings: Any) -> None:
    """Apply settings again that a restored checkpoint has replaced by its own.

    Args:
        optimizer: AdamW over `parameter_groups`.
        scheduler: Its schedule, at the right step.
        settings: ``lr``, ``betas``, ``eps`` and ``weight_decay``.
    """
    factor = scheduler.lr_lambdas[0](scheduler.last_epoch)
    for group in optimizer.param_groups:
        rate = settings["lr"] * group.get("lr_scale", 1.0)
        decays = all(parameter.ndim >= 2 for parameter in group["params"])
        group.update(settings | {"weight_decay": settings["weight_decay"] if decays else 0.0})
        group["initial_lr"], group["lr"] = rate, rate * factor
    scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
