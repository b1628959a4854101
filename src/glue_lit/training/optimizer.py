"""The optimizer of the recipe: AdamW, or a chosen one, over two groups of parameters."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
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
from glue_lit.errors import RunError
from glue_lit.system.precisions import check_eps
from glue_lit.training.chosen_optimizer import (
    build_chosen,
    check_optimizer,
    decays_as_adamw,
    is_muon,
    is_same_class,
    keep_kernels,
    optimizer_class,
    own_settings,
    plain_optimizer,
)
from glue_lit.training.fit_part import FitPart
from glue_lit.training.lightning_internals.sharding import is_sharded
from glue_lit.training.schedule import build_schedule, warmup_steps


class RecipeOptimizer(FitPart):
    """Builds the optimizer and its schedule from the hyperparameters, and adapts a checkpoint's state to them.

    Args:
        settings: The hyperparameters of `SequenceClassifier`.

    Attributes:
        parameters: All of the trained module's, in its order, since a search in each step takes a while; ``None``
            before `build`.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self.parameters: list[nn.Parameter] | None = None
        self._rows_before: Tensor | None = None  # embedding rows in use that the checkpoint has moments for

    def build(self, module: LightningModule) -> OptimizerLRSchedulerConfig:
        """The optimizer, and a schedule that changes the learning rate at every step."""
        settings, precision = self._settings, str(module.trainer.precision)
        check_eps(precision, settings["adam_eps"])
        check_optimizer(settings, precision)
        fused, groups = supports_fused(module.device, precision), self._groups(module)
        self.parameters = [*module.parameters()]
        if settings["optimizer"] is None:
            betas = settings["adam_beta1"], settings["adam_beta2"]
            optimizer: Optimizer = build_adamw(groups, settings["learning_rate"], betas, settings["adam_eps"], fused)
        else:
            optimizer = build_chosen(settings["optimizer"], groups, settings, fused)
        keep_kernels(optimizer)
        if (table := find_trained_rows(module)) is not None:
            # A moving average reads the table after steps, and one multiplication is cheap on an accelerator.
            decay_unused_rows(optimizer, table, bool(settings["average"]) or module.device.type != "cpu")
        total = int(planned_steps(module.trainer))
        warmup = warmup_steps(settings["warmup"], total)
        schedule = build_schedule(optimizer, settings["schedule"], warmup, total, settings["schedule_options"])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self, module: Any) -> list[dict[str, Any]]:
        """Groups of parameters, each with its own hyperparameters."""
        settings, model, choice = self._settings, module.model, self._settings["optimizer"]
        adam = {"betas": (settings["adam_beta1"], settings["adam_beta2"]), "eps": settings["adam_eps"]}
        groups = parameter_groups(model, settings["weight_decay"])
        if choice is None:
            groups = [group | adam for group in groups]
        elif is_muon(optimizer_class(choice)):
            groups = split_matrices(groups, model, adam, own_settings(choice))
        else:
            groups = [group | own_settings(choice) for group in groups]
        groups = layered_groups(groups, model, settings["learning_rate"], settings["layer_decay"])
        return sorted(groups, key=lambda group: "matrices" in group)

    def use_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Train at least the embedding rows that a checkpoint has moments for."""
        self._rows_before = saved_rows_in_use(checkpoint)

    @staticmethod
    def rows_in_use(model: Any) -> dict[str, Any]:
        """The embedding rows that the optimizer has moments for, by their key in ``checkpoint["glue_lit"]``."""
        table = find_trained_rows(model)
        return {} if table is None else {"rows": table.tokens.detach()}

    def choose_rows(self, module: Any, trainer: Any) -> None:
        """Train only the embedding rows in use, if optimizer and data are ours and each device has the whole table."""
        is_ours = module.has_recipe_optimizer and decays_as_adamw(self._settings["optimizer"])
        if is_ours and isinstance(trainer.datamodule, GLUEDataModule) and not is_sharded(trainer):
            tokens = trainer.datamodule.splits.training_tokens()
            train_rows_in_use(
                module.model, tokens if self._rows_before is None else torch.cat([tokens, self._rows_before])
            )

    def load_state(self, trainer: Any, checkpoint: dict[str, Any], state: dict[str, Any]) -> None:
        """Align a checkpoint's moments with the embedding rows that are in use now.

        Raises:
            RunError: The checkpoint's optimizer is another one, or trains other parameters, or in other groups.
        """
        module = trainer.lightning_module
        if module.has_recipe_optimizer:
            before = plain_optimizer(checkpoint.get("hyper_parameters", {}).get("optimizer"))
            if not is_same_class(before, now := self._settings["optimizer"]):
                raise RunError(
                    f"The checkpoint has the state of {_name(before)}, and model.optimizer is {_name(now)} now. Give "
                    "the one of before, or start a new training from the checkpoint's encoder: `--model.init_from`."
                )
            groups = self._groups(module)
            check_same_groups(groups, checkpoint, module.model.config.model_type)
            align_moments(module, [parameter for group in groups for parameter in group["params"]], checkpoint)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Apply this fit's settings again, which a restored checkpoint has replaced by its own."""
        # Lightning's accumulation scheduler sets it at the start of an epoch, but a fit may resume within one.
        trainer.accumulate_grad_batches = batches_of_step(trainer, trainer.current_epoch)
        for config in trainer.lr_scheduler_configs if pl_module.has_recipe_optimizer else ():
            if isinstance(config.scheduler, LambdaLR):
                override_hyperparameters(config.scheduler, self._settings["learning_rate"], self._groups(pl_module))

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Leave the embedding with all decays."""
        if (table := find_trained_rows(pl_module)) is not None:
            table.apply_decays()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Do the same if the fit is stopped."""
        self.on_train_end(trainer, pl_module)


def _name(choice: Mapping[str, Any] | None) -> str:
    return "the recipe's AdamW" if choice is None else str(choice["class_path"])


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices and embeddings decay, biases and norms don't.

    As in BERT's own training (Devlin et al. 2019, and google-research/bert ``optimization.py``). Every bias and every
    norm weight is a vector, and no other parameter is.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def split_matrices(
    groups: Iterable[dict[str, Any]], model: Any, adamw: Mapping[str, Any], muon: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Split groups into those of AdamW, and those of Muon with the key ``matrices``: the encoder's linear layers.

    Args:
        groups: From `parameter_groups`.
        model: A Hugging Face model.
        adamw: Hyperparameters of the groups of AdamW.
        muon: Hyperparameters of the groups of Muon.
    """
    in_encoder = {
        id(module.weight)
        for module in model.base_model.modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter) and not isinstance(module, nn.Embedding)
    }
    split = []
    for group in groups:
        is_matrix = [parameter.ndim == 2 and id(parameter) in in_encoder for parameter in group["params"]]
        rest = [p for p, is_one in zip(group["params"], is_matrix, strict=True) if not is_one]
        matrices = [p for p, is_one in zip(group["params"], is_matrix, strict=True) if is_one]
        split.append({**group, **adamw, "params": rest})
        if matrices:
            split.append({**group, **muon, "params": matrices, "matrices": True})
    return split


def build_adamw(
    groups: Iterable[dict[str, object]], learning_rate: float, betas: tuple[float, float], eps: float, fused: bool
) -> AdamW:
    """AdamW (Loshchilov & Hutter 2019); ``fused`` is one kernel for all parameters, see `supports_fused`."""
    return AdamW(groups, lr=learning_rate, betas=betas, eps=eps, fused=fused or None)


def supports_fused(device: torch.device, precision: str) -> bool:
    """Whether AdamW can be fused: not with float16's loss scaling, where it would see scaled gradients."""
    return device.type in {"cpu", "cuda", "mps", "xpu"} and precision != "16-mixed"


def override_hyperparameters(scheduler: LambdaLR, learning_rate: float, groups: Iterable[Mapping[str, Any]]) -> None:
    """Apply settings again that a restored checkpoint has replaced by its own.

    Args:
        scheduler: The schedule, at the right step.
        learning_rate: Of groups without an ``lr_scale``.
        groups: The groups of the optimizer's parameters with their settings, in the same order.
    """
    optimizer = scheduler.optimizer
    factor = scheduler.lr_lambdas[0](scheduler.last_epoch)
    for group, own in zip(optimizer.param_groups, groups, strict=True):
        group.update({name: value for name, value in own.items() if name not in ("params", "lr", "name")})
        rate = learning_rate * group.get("lr_scale", 1.0)
        group["initial_lr"], group["lr"] = rate, rate * factor
    scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
