"""Losses chosen by name: the same training as the task's own where they are the same, exact resumes, clear refusals."""

import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_fit import CutError, Fit, SaveAndCut
from torch import Tensor, nn

from glue_lit import SequenceClassifier
from glue_lit.errors import RunError, UsageError
from glue_lit.evaluation.multi_label_metrics import MultiLabelMetrics
from glue_lit.evaluation.task_metrics import TaskMetrics
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import TaskSpec, get_task
from glue_lit.training.batch_parts import BatchParts
from glue_lit.training.chosen_loss import ChosenLoss
from glue_lit.training.loss_choice import check_same_loss, plain_loss
from glue_lit.training.losses import TaskLoss

PER_ROW = {"class_path": "torch.nn.CrossEntropyLoss", "init_args": {"reduction": "none"}}
MARGIN = {"class_path": "torch.nn.MultiMarginLoss", "init_args": {"margin": 0.5}}
CUBE = f"{__name__}.cube"


def cube(logits: Tensor, labels: Tensor) -> Tensor:
    """A loss of the user's own, of each row."""
    assert (labels >= 0).all()
    return (logits.softmax(dim=1).gather(1, labels[:, None])[:, 0] - 1).abs() ** 3


def whole(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.square()


def constant(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.ones(())


def number(logits: Tensor, labels: Tensor) -> float:
    return float(logits.sum())


def labels_of(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.argmax(dim=1)


def undefined(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.sum(dim=1) * 0).log().mean()


def drawn(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.mean() * random.random()


class Trained(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


class Moving(nn.Module):
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        self.mean += 1
        return F.cross_entropy(logits, labels)


class Fixed(nn.Module):
    """A loss with tensors of its own, which stay as they are."""

    factors: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factors", torch.tensor([0.7, 3.3]))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, weight=self.factors.to(logits.dtype))


def fit(folder: Path, tiny_model: Path, loss: Any, *callbacks: Any, **settings: Any) -> Fit:
    filter_warnings()
    model = {"loss": loss, **settings.pop("model", {})}
    options = {"max_epochs": 1, "limit_train_batches": 4, **settings}
    return Fit(folder, tiny_model, *callbacks, model=model, **options)


def weights_of(done: Fit) -> dict[str, Tensor]:
    return dict(done.model.state_dict())


def test_cross_entropy_by_its_class_trains_as_the_tasks_own_loss(tmp_path: Path, tiny_model: Path) -> None:
    ours = fit(tmp_path, tiny_model, None).run()
    for loss in (nn.CrossEntropyLoss, F.cross_entropy):
        theirs = fit(tmp_path, tiny_model, loss).run()
        assert all(torch.equal(value, weights_of(ours)[name]) for name, value in weights_of(theirs).items())
        assert theirs.model.scores["val/loss"] == pytest.approx(ours.model.scores["val/loss"], rel=1e-6)
    assert ours.history.points != fit(tmp_path, tiny_model, "focal").run().history.points


@pytest.mark.parametrize("loss", ["focal", CUBE, MARGIN], ids=str)
def test_a_resumed_fit_is_exact(tmp_path: Path, tiny_model: Path, loss: Any) -> None:
    """Within an epoch, through a checkpoint that is read as plain data; with R-Drop beside the loss."""
    settings: dict[str, Any] = {"model": {"r_drop": 0.5}}
    done, cut = fit(tmp_path / "whole", tiny_model, loss, **settings).run(), tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        fit(tmp_path / "cut", tiny_model, loss, SaveAndCut("on_train_batch_end", 2, cut), **settings).run()
    saved = read_checkpoint(cut)
    assert saved["hyper_parameters"]["loss"] == loss
    assert {name.partition(".")[0] for name in saved["state_dict"]} == {"model"}
    resumed = fit(tmp_path / "resumed", tiny_model, loss, **settings).run(cut)
    assert all(torch.equal(value, weights_of(done)[name]) for name, value in weights_of(resumed).items())
    assert resumed.model.scores == done.model.scores


def test_a_fit_is_resumed_with_its_own_loss() -> None:
    for before, now in (("focal", None), (None, "focal"), (MARGIN, PER_ROW), ("focal", "torch.nn.functional.nll_loss")):
        with pytest.raises(RunError, match=r"training with .*, and model\.loss is .* now"):
            check_same_loss({"loss": before}, {"loss": now})
    for before, now in ((MARGIN, MARGIN | {"init_args": {}}), (None, None), ("focal", "focal")):
        check_same_loss({"loss": before}, {"loss": now})
    check_same_loss({}, {"loss": None})  # an older checkpoint


def chosen(choice: Any, *weights: float) -> TaskLoss:
    custom = CustomTask(
        text="text", kind="classification", labels=["a", "b"], metrics=["accuracy"], class_weights=[*weights] or None
    )
    loss = TaskLoss(resolve_task("reviews", custom), 0.0, plain_loss(choice))
    loss.load()
    return loss


def test_rows_count_the_same_in_batches_of_any_size() -> None:
    """The parts of a batch that does not fit into the memory have unequal sizes; means are weighted by their rows."""
    logits, labels = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)), torch.arange(7) % 2
    layer = nn.Linear(2, 2)
    batch: Any = {"input_ids": torch.zeros(7, 4), "logits": logits, "labels": labels}
    for choice in (PER_ROW, MARGIN, CUBE, "focal"):
        loss, parts, found = chosen(choice), BatchParts(), list[Tensor]()
        for parts.tokens in (None, 3 * 4):
            value = parts.loss(layer, lambda part, loss=loss: loss(layer(part["logits"]), part["labels"]), batch, True)
            found += [value.detach(), *torch.autograd.grad(value, [*layer.parameters()])]
        for one, other in zip(found[:3], found[3:], strict=True):
            torch.testing.assert_close(one, other)


def test_class_weights_are_for_losses_of_rows() -> None:
    logits, labels = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)), torch.arange(7) % 2
    each = F.cross_entropy(logits, labels, reduction="none") * torch.tensor([0.5, 2.0])[labels]
    torch.testing.assert_close(chosen(PER_ROW, 0.5, 2.0)(logits, labels), each.mean())
    with pytest.raises(UsageError, match=r"MultiMarginLoss returns a mean, and data\.custom\.class_weights"):
        chosen(MARGIN, 0.5, 2.0)


def batch_spread(logits: Tensor, labels: Tensor) -> Tensor:
    """A loss of a batch that is no mean over its rows."""
    return F.cross_entropy(logits, labels) + logits.std()


def test_a_loss_of_a_whole_batch_is_refused_where_batches_are_computed_in_parts() -> None:
    task = get_task("cola")
    for choice in (PER_ROW, MARGIN, CUBE):
        ChosenLoss(choice, task).load(in_parts=True)
    ChosenLoss(f"{__name__}.batch_spread", task).load()
    with pytest.raises(UsageError, match=r"model\.split_batches: got true, allowed with model\.loss \S+: false, since"):
        ChosenLoss(f"{__name__}.batch_spread", task).load(in_parts=True)


def test_a_loss_that_cannot_tell_ratings_apart_is_refused() -> None:
    levels = ("1", "2", "3", "4", "5")
    task = TaskSpec("x", "", "", ("text",), (), (), {}, {}, levels=levels, cut_points=(0.5, 1.5, 2.5, 3.5))
    for name in ("HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss", "PoissonNLLLoss"):
        ChosenLoss({"class_path": f"torch.nn.{name}", "init_args": {}}, task).load()
    bce = {"class_path": "torch.nn.BCEWithLogitsLoss", "init_args": {}}
    with pytest.raises(UsageError, match=r"is lowest at the score 8 for rating 1 and at 8 for rating 2 \(of 0 to 4\)"):
        ChosenLoss(bce, task).load()
    two = TaskSpec("x", "", "", ("text",), (), (), {}, {}, levels=("bad", "good"), cut_points=(0.5,))
    ChosenLoss(bce, two).load()  # of two ratings it is logistic regression


def test_any_number_of_labels() -> None:
    """Binary cross-entropy by its class, of each label, is the task's own loss; a mean cannot be weighted."""
    task = TaskSpec(
        "x", "", "", ("text",), ("a", "b", "c"), (), {}, {}, class_weights=(0.5, 1.0, 3.0), is_multi_label=True
    )
    draw = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(5, 3, generator=draw), torch.randint(2, (5, 3), generator=draw).float()
    each = {"class_path": "torch.nn.BCEWithLogitsLoss", "init_args": {"reduction": "none"}}
    loss = TaskLoss(task, 0.0, each)
    loss.load()
    torch.testing.assert_close(loss(logits, labels), TaskLoss(task)(logits, labels))
    for path in ("torch.nn.BCEWithLogitsLoss", "torch.nn.MultiLabelSoftMarginLoss"):
        with pytest.raises(UsageError, match=r"class_weights needs the loss of each row and label"):
            TaskLoss(task, 0.0, {"class_path": path, "init_args": {}}).load()
    seen: list[Tensor] = []
    metrics = MultiLabelMetrics(task, lambda *given: seen.extend(given) or 0.25)
    hidden = labels.where(torch.arange(5)[:, None] != 2, -1)
    for row in range(5):  # each row alone
        metrics.add(logits[[row]], hidden[[row]], lambda *_: torch.zeros(()))
    assert metrics.compute()["loss"] == 0.25
    assert all(torch.equal(found, given[[0, 1, 3, 4]]) for found, given in zip(seen, (logits, labels), strict=True))


@pytest.mark.parametrize("name", ["cola", "stsb"])
def test_an_evaluation_gives_it_labelled_rows_only_and_all_at_once(name: str) -> None:
    """So that its mean is that of the rows, however they were batched."""
    task, draw = get_task(name), torch.Generator().manual_seed(0)
    seen: list[tuple[Tensor, Tensor]] = []

    def mean(logits: Tensor, labels: Tensor) -> float:
        seen.append((logits, labels))
        return 0.25

    logits = torch.randn(9, task.num_labels, generator=draw)
    labels = torch.linspace(0, 5, 9) if task.is_regression else torch.arange(9) % 2
    some = torch.arange(9) % 3 != 0
    hidden = labels.where(some, torch.nan if task.is_regression else -1)
    metrics = TaskMetrics(task, mean)
    for part in (slice(0, 4), slice(4, 9)):
        metrics.add(logits[part], hidden[part], lambda *_: torch.zeros(()))
    assert metrics.compute()["loss"] == 0.25
    ((given, gold),) = seen
    assert torch.equal(given, logits[some])
    assert torch.equal(gold, labels[some])
    metrics.reset()
    metrics.add(logits, torch.full_like(labels, torch.nan if task.is_regression else -1), lambda *_: torch.zeros(()))
    assert metrics.compute() == {}


def test_the_loss_of_an_evaluation_is_the_mean_over_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)), torch.arange(7) % 2
    monkeypatch.setattr("glue_lit.training.chosen_loss._AT_ONCE", 3)
    for choice in (PER_ROW, nn.CrossEntropyLoss):
        loss = chosen(choice, *([0.5, 2.0] if choice is PER_ROW else [])).chosen
        assert loss is not None
        assert loss.mean(logits, labels) == pytest.approx(float(F.cross_entropy(logits, labels)))


def test_scores_are_given_as_numbers() -> None:
    task, logits = get_task("stsb"), torch.randn(5, 1, generator=torch.Generator().manual_seed(0))
    loss = TaskLoss(task, 0.0, plain_loss(partial(nn.HuberLoss, delta=0.5)))
    gold = torch.linspace(0, 5, 5)
    torch.testing.assert_close(loss(logits, gold), F.huber_loss(logits[:, 0], gold, delta=0.5))


def test_its_tensors_follow_the_model_and_keep_their_digits() -> None:
    loss = chosen(f"{__name__}.Fixed")
    for precision in (torch.bfloat16, torch.float64):
        loss.to(precision)
        assert torch.isfinite(loss(torch.randn(4, 2, dtype=torch.float64), torch.arange(4) % 2))
    assert loss.chosen is not None
    assert torch.equal(loss.chosen._compute.factors.float(), torch.tensor([0.7, 3.3]))  # type: ignore[union-attr]
    assert not loss.state_dict()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("fokal", r"got 'fokal'\. Did you mean 'focal'\? Allowed: focal, a class such as torch\.nn\.CrossEntropyLoss"),
        ("CrossEntropyLoss", r"Did you mean 'torch\.nn\.CrossEntropyLoss'"),
        ("no_such.loss", r"no class or function no_such\.loss .*`pip install no_such`"),
        ("os.system", "os.system is neither a subclass of torch.nn.Module nor a function"),
        ("subprocess.Popen", "subprocess.Popen is neither a subclass"),
        ({"class_path": "subprocess.call", "init_args": {"args": ["ls"]}}, "is a function, which takes no settings"),
        ({"class_path": "torch.nn.Linear", "init_args": {}}, "Linear refuses its settings: .*missing 2 required"),
        ({"class_path": "torch.nn.HuberLoss", "init_args": {"delta": 0}}, "refuses its settings: .*|raises"),
        (nn.L1Loss, r"L1Loss raises RuntimeError for logits \(6, 2\) and labels \(6,\): The size of tensor"),
        (partial(nn.CrossEntropyLoss, reduction="sum"), "CrossEntropyLoss sums over the rows of a batch, allowed: their m"),
        (whole, r"whole returns a tensor of shape \(6, 2\) for .* allowed: \(\), the mean, or \(6,\), the loss of each row"),
        (constant, "constant has no gradient with respect to the logits"),
        (number, "number returns a float, allowed: a tensor of floating-point numbers"),
        (labels_of, "labels_of returns a tensor of torch.int64"),
        (undefined, "gives a loss or a gradient that is not finite"),
        (drawn, "gives the same rows another loss each time"),
        (Trained, r"Trained has weights of its own \(scale\)"),
        (Moving, "Moving changes tensors of its own with each batch"),
        (lambda logits, labels: logits.mean(), "<lambda>, which cannot be imported. Define it at the top of a module"),
        (nn.CrossEntropyLoss(), r"got CrossEntropyLoss\(\)\. Allowed: focal, a class"),
        (partial(nn.CrossEntropyLoss, weight=torch.ones(2)), "has a setting that is no number, text, list or mapping"),
    ],
)  # fmt: skip
def test_what_cannot_train_is_refused(choice: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chosen(choice)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"focal_gamma": 1.0}, r"model\.focal_gamma: got 1, .*`--model\.loss focal`"),
        ({"focal_gamma": -1.0, "loss": "focal"}, r"model\.focal_gamma: got -1\.0, allowed: a number from 0 up"),
        ({"loss": "focal", "label_smoothing": 0.1}, r"model\.label_smoothing: got 0\.1, allowed with model\.loss: 0"),
        ({"loss": MARGIN, "label_smoothing": 0.1}, "A class may have such a setting of its own"),
        ({"loss": "focal", "task": "stsb"}, "got focal, which is for labels, and stsb has scores"),
    ],
)  # fmt: skip
def test_settings_that_exclude_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SequenceClassifier(**settings)


def test_a_loss_that_fails_later_is_explained() -> None:
    loss = ChosenLoss(PER_ROW, get_task("cola"))
    with pytest.raises(UsageError, match=r"CrossEntropyLoss raises IndexError for logits \(3, 2\) and labels \(3,\)"):
        loss(torch.zeros(3, 2), torch.tensor([0, 1, 7]))


def test_a_classifier_predicts_without_the_module_of_its_loss() -> None:
    """Another machine may not have it; nor is it imported for predictions."""
    assert SequenceClassifier(loss="no_such.loss").loss.chosen is not None
