"""Optimizers that users choose by class in place of the recipe's AdamW: torch's own, or those of another package."""

from collections.abc import Iterable, Mapping, Sequence
from inspect import isabstract, signature
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from glue_lit.errors import UsageError
from glue_lit.training.named_class import import_named, plain_class

_DEFAULTS = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_eps": 1e-8}
_REFUSED = {
    "LBFGS": "computes the loss several times a step, and has one learning rate for all weights",
    "SparseAdam": "takes sparse gradients only, and no model here has them",
    "torchao": "keeps its state in tensors of its own kind, from whose checkpoint no fit can be resumed",
}
_OF_MACHINE = {"foreach", "fused", "capturable", "differentiable"}  # how a step is computed, not what it does


class OptimizerClass(Protocol):
    """Any subclass of torch's ``Optimizer``; the arguments named here have settings of their own."""

    def __call__(self, params: Iterable[Any], /, lr: float, weight_decay: float) -> Optimizer:
        """Make the optimizer of some parameters."""


def plain_optimizer(given: Any) -> dict[str, Any] | None:
    """An optimizer's class and settings as plain values, for a checkpoint.

    Args:
        given: A class, a ``functools.partial`` of one, or a mapping with ``class_path`` and ``init_args``.

    Raises:
        UsageError: It is none of these.
    """
    if given is None:
        return None
    if (found := plain_class(given, ("torch.optim",))) is None:
        raise UsageError(f"model.optimizer: got {given!r}, allowed: a class of optimizer, e.g. torch.optim.SGD.")
    return found


def optimizer_class(choice: Mapping[str, Any] | None) -> type[Optimizer]:
    """The class that a choice names; AdamW for none.

    Raises:
        UsageError: It cannot be imported, or trains nothing here.
    """
    if choice is None:
        return AdamW
    path = choice["class_path"]
    module, _, name = path.rpartition(".")
    if reason := _REFUSED.get("torchao" if module.startswith("torchao.") else name):
        raise UsageError(
            f"model.optimizer: got {path}, which {reason}. Use torch.optim.Adafactor, bitsandbytes.optim.AdamW8bit ..."
        )
    found = import_named("model.optimizer", path, "class")
    if not (isinstance(found, type) and issubclass(found, Optimizer)) or isabstract(found) or found is Optimizer:
        raise UsageError(f"model.optimizer: {path} is not an optimizer. Name a class such as torch.optim.SGD.")
    return found


def is_muon(kind: type) -> bool:
    """Whether a class is torch's Muon, which takes matrices only."""
    return any(base.__name__ == "Muon" and base.__module__.startswith("torch.optim") for base in kind.__mro__)


def is_same_class(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two choices name one class, which may have several import paths; imports nothing."""
    ends = [choice["class_path"].split(".") if choice is not None else [""] for choice in (one, other)]
    return (ends[0][0], ends[0][-1]) == (ends[1][0], ends[1][-1])


def scales_and_skips(optimizer: Any) -> bool:
    """Whether a step is one kernel that also scales the gradient, and that skips the step if ``found_inf`` says so.

    Fused SGD does both, but would start with a momentum of random bits if its first step is skipped. On MPS the fused
    kernels silently ignore both (https://github.com/pytorch/pytorch/pull/186360).
    """
    groups = optimizer.param_groups if isinstance(optimizer, Adam | AdamW) else []
    devices = {parameter.device.type for group in groups for parameter in group["params"][:1]}
    return bool(groups) and all(group["fused"] for group in groups) and "mps" not in devices


def keep_kernels(optimizer: Optimizer) -> None:
    """Keep how steps are computed when a checkpoint is restored; torch would take that of the machine that wrote it.

    The place of Adam's count of steps depends on it: the fused kernel wants it on the device, others on the host.
    """

    def replaced(now: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        groups = [
            group | {name: value for name, value in own.items() if name in _OF_MACHINE}
            for group, own in zip(state["param_groups"], now.param_groups, strict=False)  # torch refuses other groups
        ]
        return {**state, "param_groups": groups}

    optimizer.register_load_state_dict_pre_hook(replaced)


def decays_as_adamw(choice: Mapping[str, Any] | None) -> bool:
    """Whether weights without a gradient only decay, as the embedding rows that are not in use do."""
    kind = optimizer_class(choice)
    return kind is AdamW or is_muon(kind)


def check_optimizer(settings: Mapping[str, Any], precision: str) -> None:
    """Check the optimizer of a fit on two small parameters, before data are read.

    Args:
        settings: The hyperparameters of `SequenceClassifier`.
        precision: The trainer's.

    Raises:
        UsageError: There is no such class, or it does not take a setting.
    """
    if (choice := settings["optimizer"]) is None:
        return
    path, kind, own = choice["class_path"], optimizer_class(choice), choice["init_args"]
    for name, default in _DEFAULTS.items():
        if settings[name] != default and not is_muon(kind):
            raise UsageError(
                f"model.{name}: got {settings[name]:g}, which is for the recipe's AdamW; model.optimizer is {path}, "
                f"with settings of its own: model.optimizer.init_args. Pass `--model.{name} {default:g}`, or leave one "
                "of both out."
            )
    for name, setting in (("lr", "learning_rate"), ("weight_decay", "weight_decay")):
        if name in own:
            raise UsageError(f"model.optimizer.init_args.{name}: set model.{setting} instead.")
    if not _takes(kind, "lr"):
        raise UsageError(f"model.optimizer: {path} has no learning rate `lr`, which the schedule changes at each step.")
    if settings["weight_decay"] and not _takes(kind, "weight_decay"):
        raise UsageError(f"model.optimizer: {path} has no weight decay. Pass `--model.weight_decay 0`.")
    if own.get("fused") and precision == "16-mixed":
        raise UsageError(
            "model.optimizer.init_args.fused: got true, allowed with trainer.precision 16-mixed: false, since it would "
            "see gradients before they are clipped."
        )
    layer = nn.Linear(2, 2)
    groups: list[dict[str, Any]] = [{"params": [layer.bias]}, {"params": [layer.weight], "matrices": True}]
    try:
        build_chosen(choice, groups if is_muon(kind) else [{"params": [*layer.parameters()]}], settings, False)
    except Exception as error:  # packages raise what they like
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise UsageError(f"model.optimizer: {path} refuses its settings: {said}") from error


def _takes(kind: type, name: str) -> bool:
    parameters = signature(kind).parameters
    return name in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def own_settings(choice: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a chosen class that belong to its groups of parameters, and are applied again after a resume."""
    own = {name: value for name, value in choice["init_args"].items() if name not in _OF_MACHINE}
    if is_muon(optimizer_class(choice)) and own.get("adjust_lr_fn") is None:
        own["adjust_lr_fn"] = "match_rms_adamw"  # so that one learning rate suits both of its optimizers
    return own


def build_chosen(
    choice: Mapping[str, Any], groups: Sequence[dict[str, Any]], settings: Mapping[str, Any], fused: bool
) -> Optimizer:
    """Make the chosen optimizer.

    Args:
        choice: From `plain_optimizer`.
        groups: Groups of parameters; those for Muon have the key ``matrices``.
        settings: Give ``learning_rate`` and ``weight_decay``, and Adam's settings for the other groups beside Muon.
        fused: Whether Adam and AdamW take one kernel for all parameters, unless the user says how.
    """
    kind, rate = optimizer_class(choice), settings["learning_rate"]
    given = choice["init_args"] | own_settings(choice) | {"lr": rate}
    if _takes(kind, "weight_decay"):
        given["weight_decay"] = settings["weight_decay"]
    if not is_muon(kind):
        is_plain = all(given.get(name) in (None, False) for name in _OF_MACHINE)
        if fused and is_plain and kind in (Adam, AdamW) and given.get("foreach") is None:
            given["fused"] = True
        return kind(groups, **given)
    betas = (settings["adam_beta1"], settings["adam_beta2"])
    rest = AdamW([each for each in groups if "matrices" not in each], rate, betas, settings["adam_eps"])
    return MuonAndAdamW(rest, kind([each for each in groups if "matrices" in each], **given))


class MuonAndAdamW(Optimizer):
    """Muon for the encoder's matrices, and AdamW for embeddings, head, biases and norms, as one optimizer.

    Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/), who train the other parameters in this way.

    Args:
        adamw: Its groups come first.
        muon: torch's Muon.
    """

    def __init__(self, adamw: AdamW, muon: Optimizer) -> None:
        self._parts = (adamw, muon)
        super().__init__([*adamw.param_groups, *muon.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let both parts use the groups and the state of the whole."""
        adamw, muon = self._parts
        count = len(adamw.param_groups)
        adamw.param_groups, muon.param_groups = self.param_groups[:count], self.param_groups[count:]
        adamw.state = muon.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the states of both parts."""
        super().load_state_dict(state_dict)
        self._share()

    def step(self, closure: Any = None) -> Any:
        """Take a step of both parts; returns the loss of ``closure``."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss
