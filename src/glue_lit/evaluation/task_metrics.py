"""Turn logits into logged scores, for every evaluation split of a task."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from glue_lit.evaluation.formulas import score, score_of_counts
from glue_lit.evaluation.metrics import ClassCounts, MeanLoss, ScorePairs
from glue_lit.tasks.glue import TaskSpec, log_prefix

Loss = Callable[[Tensor, Tensor], Tensor]


class TaskMetrics(nn.Module):
    """A task's metrics and mean loss; each labelled example counts exactly once."""

    def __init__(self, task: TaskSpec) -> None:
        super().__init__()
        self.task = task
        self.loss = MeanLoss()
        self.outcomes: ClassCounts | ScorePairs = ClassCounts(task.num_labels) if task.labels else ScorePairs()

    def add(self, logits: Tensor, labels: Tensor, loss: Loss) -> None:
        """Add the labelled examples of a batch.

        Args:
            logits: ``(batch, labels)``, or ``(batch, 1)`` for regression.
            labels: ``(batch,)``, -1 or NaN where unlabelled.
            loss: Computes the mean loss of the labelled examples from logits and labels.
        """
        self.update(logits.argmax(dim=1) if self.task.labels else logits[:, 0], labels, loss(logits, labels))

    def update(self, preds: Tensor, target: Tensor, loss: Tensor) -> None:
        """Add ``(batch,)`` predictions, their gold labels, and the mean loss of those that are labelled, if any."""
        self.outcomes.update(preds, target)
        self.loss.update(loss, (target >= 0 if self.task.labels else ~target.isnan()).sum())

    def prediction_counts(self) -> dict[str, int]:
        """Number of examples predicted as each label, by name; empty for regression. Collective under DDP."""
        return dict(zip(self.task.labels, self.outcomes.compute()[1].tolist(), strict=True)) if self.task.labels else {}

    def compute(self) -> dict[str, float]:
        """The task's metrics by name, then ``loss``; empty if no example has a label. Collective under DDP."""
        loss, examples = self.loss.compute()
        if not examples:
            return {}
        names, outcomes = self.task.metrics, self.outcomes.compute().double().numpy()
        if self.task.labels:
            gold, predicted, right = outcomes
            scores = {n: float(score_of_counts(n, gold, predicted, right, self.task.positive)) for n in names}
        else:
            gold, predicted = outcomes
            scores = {n: score(n, gold, predicted) for n in names}
        return {**scores, "loss": float(loss)}

    def reset(self) -> None:
        """Forget all examples."""
        self.outcomes.reset()
        self.loss.reset()


class SplitMetrics(nn.ModuleDict):
    """`TaskMetrics` for each validation and test split of a task."""

    def __init__(self, task: TaskSpec) -> None:
        super().__init__({split: TaskMetrics(task) for split in (*task.validation_splits, *task.test_splits)})

    def of(self, split: str) -> TaskMetrics:
        """The metrics of one split."""
        metrics = self[split]
        assert isinstance(metrics, TaskMetrics)
        return metrics

    def compute(self, splits: Iterable[str]) -> tuple[dict[str, float], dict[str, dict[str, int]]]:
        """Return scores by logged name and, for each split, the number of examples predicted as each label; then reset.

        A split without labels appears in neither. Collective under DDP.
        """
        scores: dict[str, float] = {}
        predicted: dict[str, dict[str, int]] = {}
        for split in splits:
            if values := self.of(split).compute():
                scores |= {f"{log_prefix(split)}/{name}": value for name, value in values.items()}
                predicted[split] = self.of(split).prediction_counts()
        self.reset()
        return scores, predicted

    def reset(self) -> None:
        """Forget all examples."""
        for split in self:
            self.of(split).reset()
