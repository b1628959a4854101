"""From logits to the logged scores of every evaluation split of a task."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn
from torchmetrics import MetricCollection

from glue_lit.evaluation.metrics import METRICS, MeanLoss, PredictedClasses
from glue_lit.tasks.glue import TaskSpec, log_prefix

Loss = Callable[[Tensor, Tensor], Tensor]


class TaskMetrics(nn.Module):
    """All metrics of a task, and the mean loss, over each labelled example exactly once.

    Args:
        task: Names the metrics.
    """

    def __init__(self, task: TaskSpec) -> None:
        super().__init__()
        # Groups would share states between metrics after the first update, which breaks lists being extended.
        self.scores = MetricCollection({name: METRICS[name](task) for name in task.metrics}, compute_groups=False)
        self.loss = MeanLoss()
        self.predicted = PredictedClasses(task.num_labels)
        self.labels = task.labels

    def add(self, logits: Tensor, labels: Tensor, loss: Loss) -> None:
        """Add a batch, as far as it is labelled.

        Args:
            logits: ``(batch, labels)``, or ``(batch, 1)`` for regression.
            labels: ``(batch,)``, -1 or NaN where unlabelled.
            loss: Gives the mean loss of logits and labels that are all known.
        """
        known = labels >= 0 if self.labels else ~labels.isnan()
        seen, gold = logits[known], labels[known]
        self.update(seen.argmax(dim=1) if self.labels else seen[:, 0], gold, loss(seen, gold))

    def update(self, preds: Tensor, target: Tensor, loss: Tensor) -> None:
        """Add ``(batch,)`` predictions with their gold labels and their mean loss; an empty batch is fine."""
        self.scores.update(preds, target)
        self.loss.update(loss, len(preds))
        if self.labels:
            self.predicted.update(preds)

    def predictions(self) -> dict[str, int]:
        """How many examples were given each label, by name; nothing for regression. Collective under DDP."""
        return dict(zip(self.labels, self.predicted.compute().tolist(), strict=True)) if self.labels else {}

    def compute(self) -> dict[str, float]:
        """The task's metrics by name, then ``loss``; nothing if no example had a label. Collective under DDP."""
        loss, examples = self.loss.compute()
        if not examples:
            return {}
        return {name: float(value) for name, value in self.scores.compute().items()} | {"loss": float(loss)}

    def reset(self) -> None:
        """Forget all examples."""
        self.scores.reset()
        self.loss.reset()
        self.predicted.reset()


class SplitMetrics(nn.ModuleDict):
    """The task's metrics, for each of its validation and test splits.

    Args:
        task: Names the splits and the metrics.
    """

    def __init__(self, task: TaskSpec) -> None:
        super().__init__({split: TaskMetrics(task) for split in (*task.validation_splits, *task.test_splits)})

    def of(self, split: str) -> TaskMetrics:
        """The metrics of one split."""
        metrics = self[split]
        assert isinstance(metrics, TaskMetrics)
        return metrics

    def compute(self, splits: Iterable[str]) -> tuple[dict[str, float], dict[str, dict[str, int]]]:
        """Scores by their logged names, and by split how many examples were given each label; then begin anew.

        A split without labels has neither. Collective under DDP.
        """
        scores: dict[str, float] = {}
        predicted: dict[str, dict[str, int]] = {}
        for split in splits:
            values = self.of(split).compute()
            scores |= {f"{log_prefix(split)}/{name}": value for name, value in values.items()}
            if values:
                predicted[split] = self.of(split).predictions()
        self.reset()
        return scores, predicted

    def reset(self) -> None:
        """Forget all examples."""
        for split in self:
            self.of(split).reset()
