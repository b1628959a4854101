"""Compile the model of a fit, where it is asked for or pays for itself."""

from typing import Any, Literal, get_args

import torch
from lightning.pytorch import LightningModule, Trainer

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.encoder.compiling import (
    GRAPHS,
    check_can_be_compiled,
    check_can_compile,
    compile_in_place,
    ignored_warnings,
    in_short,
    is_asked,
    refusal,
    run_plain,
    why_not_compiled,
    why_not_here,
)
from glue_lit.runs.settings import Allowed
from glue_lit.system.console import say
from glue_lit.training.cuda_graphs import check_graphs
from glue_lit.training.fit_part import FitPart
from glue_lit.training.padding_free import check_combines

Compile = Literal["auto", "reduce-overhead"] | bool
ALLOWED = Allowed(
    f"auto, true, false, {GRAPHS}", lambda value: isinstance(value, bool) or value in get_args(get_args(Compile)[0])
)

# Estimates for "auto", not measured on a GPU. MiniLM's 6 layers took 120 s on two processor cores; a quarter of that is
# assumed beside a GPU, whose host has more cores. A layer is assumed to launch 60 operators fewer in a step, at 5
# microseconds each. Faster operators count nothing, so that "auto" is rather late.
_SECONDS_TO_COMPILE_A_LAYER = 5.0
_SECONDS_SAVED_BY_A_LAYER = 0.0003
STEPS_THAT_PAY = round(_SECONDS_TO_COMPILE_A_LAYER / _SECONDS_SAVED_BY_A_LAYER)
DEVICES = ("cuda",)  # of "auto"; a processor with its few cores was slower with compiled code


class Compilation(FitPart):
    """Compile the model before the first step, with the first rows of the training data.

    They are the same for a resumed fit, so that its code is the same, too. On several devices each exchanges its
    gradients after the whole backward pass.

    Args:
        setting: ``auto`` compiles on a GPU if the fit has enough steps, and trains the plain model if that fails;
            ``reduce-overhead`` compiles and records CUDA graphs.

    Attributes:
        is_on: Whether the model is compiled; ``None`` before it is decided. A resumed fit keeps it.
    """

    def __init__(self, setting: Compile) -> None:
        self.setting, self.is_on = setting, None if setting == "auto" else is_asked(setting)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compile the model if that is to be done.

        Raises:
            ModelError: It is asked for, and torch cannot.
        """
        device, model = trainer.strategy.root_device, pl_module.model
        run_plain(model)
        settings, of_data = dict(pl_module.hparams), dict(getattr(_data_of(trainer), "hparams", {}))
        check_combines(is_packed := of_data.get("padding_free", False), settings)
        check_graphs(trainer, settings, of_data)
        if is_packed:
            self.is_on = False
        elif self.setting == "auto":
            pays = trainer.estimated_stepping_batches * trainer.accumulate_grad_batches >= STEPS_THAT_PAY
            wanted = pays if self.is_on is None else self.is_on
            can = device.type in DEVICES and not (why_not_compiled(model) or (wanted and why_not_here(device)))
            self.is_on = bool(wanted and can)
        elif self.setting:
            check_can_be_compiled(model, self.setting)
            check_can_compile(device, self.setting)
        if not self.is_on:
            return
        if trainer.is_global_zero:
            say("Compiling the model, which takes a minute or more. `--model.compile false` trains without.")
        compile_in_place(model, _graph_rows(pl_module, trainer) if self.setting == GRAPHS else None)
        try:
            with ignored_warnings():
                _run_once(trainer, pl_module)
        except Exception as error:
            run_plain(model)
            reason = in_short(error.__cause__ or error)
            if is_asked(self.setting):
                raise refusal(model, f"torch said: {reason}", self.setting) from error
            self.is_on = False
            if trainer.is_global_zero:
                say(f"The model cannot be compiled, so it is trained as it is. torch said: {reason}")

    def save_state(self, trainer: Trainer, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """Whether the model is compiled."""
        return {"compiled": self.is_on}

    def load_state(self, trainer: Trainer, checkpoint: dict[str, Any], state: dict[str, Any]) -> None:
        """Keep what was decided, since the last bits of the weights depend on it."""
        if self.setting == "auto":
            self.is_on = state.get("compiled")


def _data_of(trainer: Trainer) -> GLUEDataModule | None:
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, GLUEDataModule) else None


def _graph_rows(module: LightningModule, trainer: Trainer) -> int:
    """Rows of each batch but the last of an epoch, as the model gets them."""
    data: Any = getattr(trainer, "datamodule", None)
    rows = data.hparams["batch_size"]
    return int(2 * rows if module.hparams["r_drop"] else rows)


def _run_once(trainer: Trainer, module: LightningModule) -> None:
    """Compile the forward and the backward pass; random numbers, buffers and gradients stay as they are."""
    if (data := _data_of(trainer)) is None:
        return  # the first batch will compile them
    rows = data.training_set(trainer)
    count = min(max(2, data.hparams["batch_size"]), len(rows))
    batch: Any = rows[list(range(count))]
    if batch["input_ids"].shape[1] == count > 2:  # torch takes equal sizes for the same one
        batch = rows[list(range(count - 1))]
    batch = data.transfer_batch_to_device(batch, module.device, 0)
    model: Any = module.model
    graph_rows = model.graph_rows
    if graph_rows is not None:
        model.graph_rows = len(batch["labels"])
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        with torch.random.fork_rng(devices=[module.device] if module.device.type == "cuda" else []):
            with trainer.precision_plugin.forward_context():
                loss = module(batch).sum()
            # not backward(), which would leave gradients and start their exchange between devices
            torch.autograd.grad(loss, trained, allow_unused=True)
    finally:
        model.graph_rows = graph_rows
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)
