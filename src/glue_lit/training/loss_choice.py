"""The setting ``model.loss``: its values as plain data, and how it goes with other settings."""

import json
from abc import ABC
from collections.abc import Mapping
from inspect import isfunction
from typing import Any, Protocol

from torch import nn

from glue_lit.errors import RunError, UsageError
from glue_lit.tasks.glue import TaskSpec
from glue_lit.training.named_class import import_named, plain_class

FOCAL = "focal"
ALLOWED = "Allowed: focal, a class such as torch.nn.CrossEntropyLoss, or a function such as PACKAGE.NAME."
Choice = str | dict[str, Any] | None  # "focal", the path of a function, a class and its settings, or the task's loss


class LossName(str):
    """The name of our own loss, or the import path of a function; the command tells it from a class by its type."""

    __slots__ = ()


class LossModule(ABC):  # noqa: B024
    """Any subclass of ``torch.nn.Module``; the help lists torch's losses and not all of its modules."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return issubclass(other, nn.Module)

    @classmethod
    def __subclasses__(cls) -> list[type]:
        names = nn.modules.loss.__all__
        return [getattr(nn, name) for name in names]


class LossClass(Protocol):
    """A class of modules that take logits and labels."""

    def __call__(self) -> LossModule:
        """Make the loss."""


def parse_loss_name(text: str) -> LossName:
    """Read the name of our own loss or of a function.

    Raises:
        ValueError: It is neither.
    """
    if text == FOCAL:
        return LossName(text)
    try:
        is_function = "." in text and isfunction(import_named("model.loss", text, "function"))
    except UsageError:
        is_function = False
    if not is_function:
        raise ValueError(f"{text} is no function")
    return LossName(text)


def loss_name_text(value: object) -> str:
    """The text of a `LossName`, for a configuration file.

    Raises:
        ValueError: It is not one.
    """
    if not isinstance(value, LossName):
        raise ValueError(f"{value!r} is no name of a loss")
    return str(value)


def plain_loss(given: Any) -> Choice:
    """A loss as plain values, for a checkpoint.

    Args:
        given: A name, a function, a class, a ``functools.partial`` of a class, or a mapping with ``class_path`` and
            ``init_args``.

    Raises:
        UsageError: It is none of these, or cannot be found by its name again.
    """
    if given is None or isinstance(given, str):
        return given and str(given)
    if isfunction(given):
        if "<" in given.__qualname__:  # <lambda>, <locals>
            raise UsageError(
                f"model.loss: got {given.__qualname__}, which cannot be imported. Define it at the top of a module."
            )
        return f"{given.__module__}.{given.__qualname__}"
    if (found := plain_class(given, ("torch.nn",))) is None:
        raise UsageError(f"model.loss: got {given!r}. {ALLOWED}")
    try:
        json.dumps(found["init_args"])
    except TypeError:
        raise UsageError(
            f"model.loss: {found['class_path']} has a setting that is no number, text, list or mapping. Checkpoints "
            "and configuration files hold only these; make the rest in a class of your own."
        ) from None
    return found


def check_loss(settings: Mapping[str, Any], task: TaskSpec) -> None:
    """Check how a loss goes with the other settings, without importing it.

    Args:
        settings: The hyperparameters of `SequenceClassifier`.
        task: The task that is trained.

    Raises:
        UsageError: Two of them exclude each other.
    """
    choice, gamma = settings["loss"], settings["focal_gamma"]
    if choice != FOCAL and gamma != 2:
        raise UsageError(
            f"model.focal_gamma: got {gamma:g}, which is for the focal loss. Pass `--model.loss focal`, or leave "
            "it out."
        )
    if choice is not None and settings["label_smoothing"]:
        own = "" if choice == FOCAL else " A class may have such a setting of its own, below model.loss.init_args."
        raise UsageError(
            f"model.label_smoothing: got {settings['label_smoothing']:g}, allowed with model.loss: 0, since it belongs "
            f"to cross-entropy.{own}"
        )
    if choice == FOCAL and task.is_regression:
        raise UsageError(
            f"model.loss: got focal, which is for labels, and {task.name} has scores. Use a loss such as "
            "torch.nn.HuberLoss."
        )


def check_same_loss(saved: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse to resume a fit with another loss.

    Args:
        saved: The hyperparameters in the checkpoint; older ones have no loss.
        settings: Those of now.

    Raises:
        RunError: The losses have different names.
    """
    before, now = (loss_name(each.get("loss")) for each in (saved, settings))
    if before.rpartition(".")[2] != now.rpartition(".")[2]:
        raise RunError(
            f"The checkpoint is of a training with {before}, and model.loss is {now} now. Resume with the former, or "
            "start a new training from it with `--model.init_from`."
        )


def loss_name(choice: Choice) -> str:
    """The name or the import path of a loss."""
    return "the task's own loss" if choice is None else choice if isinstance(choice, str) else str(choice["class_path"])
