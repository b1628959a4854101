"""Losses that users choose in place of the task's: a class of `torch.nn`, or any function of logits and labels."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isabstract, isfunction
from typing import Any

import torch
from torch import Tensor, nn

from glue_lit.errors import GlueLitError, UsageError, did_you_mean
from glue_lit.tasks.glue import TaskSpec
from glue_lit.training.loss_choice import ALLOWED, FOCAL, loss_name
from glue_lit.training.named_class import import_named

_PROBED = 6  # rows; one more for six labels, lest a loss of another shape be taken for that of each row
_AT_ONCE = 4096  # rows of an evaluation
_SCORES = 121  # at which the loss of a rating is tried


class ChosenLoss:
    """A loss that a user has named; it is imported and tried on a few rows when `load` is called.

    Args:
        choice: From `plain_loss`.
        task: Gives the kind of labels, and their weights if it has any.
    """

    def __init__(self, choice: str | dict[str, Any], task: TaskSpec) -> None:
        self._choice, self._task = choice, task
        self._compute: Callable[[Tensor, Tensor], Any] | None = None

    @property
    def name(self) -> str:
        """Its import path."""
        return loss_name(self._choice)

    def load(self, in_parts: bool = False) -> None:
        """Import it, and try it on a few rows on the processor.

        Args:
            in_parts: Whether batches may be computed in parts (``model.split_batches``).

        Raises:
            UsageError: It cannot be imported, or a fit with it would fail or train wrongly.
        """
        if self._compute is not None:
            return
        self._compute = build_loss(self._choice)
        try:
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings(action="ignore"):
                self._check()
                self._check_ratings()
                if in_parts:
                    self._check_parts()
        except BaseException:
            self._compute = None
            raise

    def move(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Move its tensors as ``fn`` moves those of the model; none loses precision."""
        if isinstance(self._compute, nn.Module):
            for part in self._compute.modules():  # a loss with parameters of its own is refused
                for name, tensor in part.named_buffers(recurse=False):
                    setattr(part, name, _moved(tensor, fn(tensor)))

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss ``()``, or the loss of each row ``(batch,)``, as the user's own gives it.

        That of a multi-label task may also be of each row and label, ``(batch, labels)``.

        Args:
            logits: ``(batch, labels)``, or ``(batch, 1)`` for regression, which gets them as ``(batch,)``.
            labels: Labels of the same rows, all known: classes ``(batch,)``, scores ``(batch,)``, or 0 and 1 for each
                label ``(batch, labels)``.

        Raises:
            UsageError: It fails, or returns something else.
        """
        if self._compute is None:
            self.load()
            self.move(lambda tensor: tensor.to(logits.device))
        assert self._compute is not None
        if self._task.is_regression:
            logits, labels = logits[:, 0], labels.to(logits.dtype)
        given = f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}"
        try:
            loss = self._compute(logits, labels)
        except (GlueLitError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the user's own code raises what it likes
            said = " ".join(str(error).split())[:300]
            raise self._refused(f"raises {type(error).__name__} for {given}: {said}") from error
        if not isinstance(loss, Tensor) or not loss.is_floating_point():
            kind = f"a tensor of {loss.dtype}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise self._refused(f"returns {kind}, allowed: a tensor of floating-point numbers")
        if loss.shape not in ((), labels.shape[:1], labels.shape):
            each = f", or {tuple(labels.shape)}, that of each label" if labels.ndim > 1 else ""
            raise self._refused(
                f"returns a tensor of shape {tuple(loss.shape)} for {given}, allowed: (), the mean, or "
                f"{tuple(labels.shape[:1])}, the loss of each row{each}"
            )
        return loss.to(logits.dtype)

    def mean(self, logits: Tensor, labels: Tensor) -> float:
        """The mean over the rows of an evaluation, whatever the batches were; NaN without rows.

        Args:
            logits: Those of all labelled rows, as for a call.
            labels: Their labels.
        """
        rows, total = len(labels), 0.0
        device = next((tensor.device for tensor in _tensors(self._compute).values()), torch.device("cpu"))
        with _evaluating(self._compute):
            for first in range(0, rows, _AT_ONCE):
                part = slice(first, first + _AT_ONCE)
                loss = self(logits[part].to(device), labels[part].to(device))
                total += float(loss.cpu().double().mean()) * len(labels[part]) / rows  # MPS has no float64
        return total if rows else float("nan")

    def _check(self) -> None:
        logits, labels = _some_rows(self._task)
        before = {name: value.clone() for name, value in _tensors(self._compute).items()}
        torch.manual_seed(0)
        with torch.enable_grad():
            loss = self(logits, labels)
            if loss.ndim < labels.ndim and self._task.class_weights:
                what = "the loss of each row" + (" and label" if labels.ndim > 1 else "")
                raise self._refused(
                    f"returns a mean, and data.custom.class_weights needs {what} (as with `reduction: none`)"
                )
            if not loss.requires_grad:
                raise self._refused("has no gradient with respect to the logits")
            (gradient,) = torch.autograd.grad(loss.mean(), logits)
        if not (loss.isfinite().all() and gradient.isfinite().all()):
            raise self._refused("gives a loss or a gradient that is not finite for small random logits")
        if any(not torch.equal(value, before[name]) for name, value in _tensors(self._compute).items()):
            raise self._refused("changes tensors of its own with each batch, which no checkpoint keeps")
        torch.manual_seed(0)
        if not torch.equal(self(logits, labels), loss):
            raise self._refused("gives the same rows another loss each time, so that no fit could be resumed exactly")
        torch.manual_seed(0)
        twice = self(torch.cat([logits, logits]), torch.cat([labels, labels]))
        if loss.ndim == 0 and torch.allclose(twice, 2 * loss) and not torch.allclose(twice, loss):
            raise self._refused("sums over the rows of a batch, allowed: their mean, or the loss of each row")

    def _check_ratings(self) -> None:
        """Refuse a loss that is lowest at the same score for two ratings, so that it cannot learn to tell them apart.

        Binary cross-entropy, for example, wants a score as high as possible for all of them but the first.
        """
        highest = len(self._task.levels) - 1
        scores = torch.linspace(-highest, 2 * highest, _SCORES)
        ratings = sorted({round(share * highest / 4) for share in range(5)}) if self._task.levels else []
        best = [
            int(
                torch.stack([self(score.view(1, 1), torch.tensor([float(rating)])).mean() for score in scores]).argmin()
            )
            for rating in ratings
        ]
        for first, second, one, other in zip(ratings, ratings[1:], best, best[1:], strict=False):
            if one >= other:
                raise self._refused(
                    f"is lowest at the score {scores[one]:.3g} for rating {first} and at {scores[other]:.3g} for "
                    f"rating {second} (of 0 to {highest}), and scores must rise with the ratings. Allowed: a loss of "
                    "scores, such as torch.nn.HuberLoss"
                )

    def _check_parts(self) -> None:
        """Refuse a loss of a batch that is not the mean over its rows: its parts would train something else."""
        logits, labels = _some_rows(self._task)
        torch.manual_seed(0)
        whole = self(logits, labels).mean()
        parts = [self(logits[part], labels[part]).mean() * len(labels[part]) for part in (slice(0, 2), slice(2, None))]
        if not torch.allclose(torch.stack(parts).sum() / len(labels), whole, rtol=1e-4, atol=1e-6):
            raise UsageError(
                f"model.split_batches: got true, allowed with model.loss {self.name}: false, since its loss of a batch "
                "is not the mean over the rows, and a batch in parts would be trained otherwise. Leave it out, and "
                "pass a smaller `--data.batch_size`."
            )

    def _refused(self, what: str) -> UsageError:
        return UsageError(f"model.loss: {self.name} {what}. `--model.loss null` takes the task's own.")


def build_loss(choice: str | dict[str, Any]) -> Callable[[Tensor, Tensor], Any]:
    """Import a loss, and make it if it is a class.

    Settings may come from anybody, so that nothing but functions and classes of modules is called, and only the latter
    with arguments of the settings.

    Raises:
        UsageError: It cannot be imported, is no loss, refuses its settings, or has weights of its own.
    """
    path, settings = (choice, {}) if isinstance(choice, str) else (choice["class_path"], choice["init_args"])
    if "." not in path:
        known = [FOCAL, *(f"torch.nn.{name}" for name in nn.modules.loss.__all__)]
        raise UsageError(f"model.loss: got {path!r}.{did_you_mean(path, known)} {ALLOWED}")
    found = import_named("model.loss", path, "class or function")
    if isfunction(found):
        if settings:
            raise UsageError(f"model.loss: {path} is a function, which takes no settings. Name it alone, or a class.")
        return found
    if not (isinstance(found, type) and issubclass(found, nn.Module)) or isabstract(found):
        raise UsageError(f"model.loss: {path} is neither a subclass of torch.nn.Module nor a function. {ALLOWED}")
    try:
        module = found(**settings)
    except Exception as error:  # packages raise what they like
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise UsageError(f"model.loss: {path} refuses its settings: {said}") from error
    if names := [name for name, parameter in module.named_parameters() if parameter.requires_grad]:
        raise UsageError(
            f"model.loss: {path} has weights of its own ({', '.join(names[:3])}), which the model's optimizer does not "
            "train and an exported model would not have. Use a loss without weights."
        )
    return module


def _moved(tensor: Tensor, new: Tensor) -> Tensor:
    """A tensor on the device of its new version, without its lower precision."""
    return tensor.to(new.device, torch.promote_types(tensor.dtype, new.dtype))


def _tensors(loss: Any) -> dict[str, Tensor]:
    """The buffers and fixed weights of a loss, by name."""
    return {**dict(loss.named_buffers()), **dict(loss.named_parameters())} if isinstance(loss, nn.Module) else {}


@contextmanager
def _evaluating(loss: Any) -> Iterator[None]:
    if isinstance(loss, nn.Module):
        loss.eval()
    try:
        yield
    finally:
        if isinstance(loss, nn.Module):
            loss.train()


def _some_rows(task: TaskSpec) -> tuple[Tensor, Tensor]:
    """Random logits and labels of a task, as they come from a model."""
    rows = _PROBED + (task.num_labels == _PROBED)
    logits = torch.randn(rows, task.num_labels, generator=torch.Generator().manual_seed(0), requires_grad=True)
    if task.is_regression:
        return logits, torch.linspace(*(task.score_range or (0.0, 1.0)), rows)
    numbers = torch.arange(rows)
    if task.is_multi_label:
        return logits, ((numbers[:, None] + torch.arange(task.num_labels)) % 2).float()
    return logits, numbers % task.num_labels
