"""From logits to the logged scores of every evaluation split of a task."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from glue_lit.evaluation.formulas import score_of_counts
from glue_lit.evaluation.metrics import ClassCounts, MeanLoss, ScorePairs, pearson, spearmanr
from glue_lit.tasks.glue import TaskSpec, log_prefix

Loss = Callable[[Tensor, Tensor], Tensor]


class TaskMetrics(nn.Module):
    """All metrics of a task, and the mean loss, over each labelled example exactly once.

    Args:
        task: Names the metrics.
    """

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
            loss: Gives the mean loss of logits and labels that are all known.
        """
        known = labels >= 0 if self.task.labels else ~labels.isnan()
        seen, gold = logits[known], labels[known]
        self.update(seen.argmax(dim=1) if self.task.labels else seen[:, 0], gold, loss(seen, gold))

    def update(self, preds: Tensor, target: Tensor, loss: Tensor) -> None:
        """Add ``(batch,)`` predictions with their gold labels and their mean loss; the batch may be empty."""
        self.outcomes.update(preds, target)
        self.loss.update(loss, len(preds))

    def predictions(self) -> dict[str, int]:
        """How many examples were given each label, by name; empty for regression. Collective under DDP."""
        return dict(zip(self.task.labels, self.outcomes.compute()[1].tolist(), strict=True)) if self.task.labels else {}

    def compute(self) -> dict[str, float]:
        """The task's metrics by name, then ``loss``; empty if no example had a label. Collective under DDP."""
        loss, examples = self.loss.compute()
        return {**self._scores(), "loss": float(loss)} if examples else {}

    def _scores(self) -> dict[str, float]:
        names = self.task.metrics
        if isinstance(self.outcomes, ScorePairs):
            pairs = self.outcomes.compute()
            return {name: float({"pearson": pearson, "spearmanr": spearmanr}[name](*pairs)) for name in names}
        gold, predicted, right = self.outcomes.compute().cpu().double().numpy()
        return {name: float(score_of_counts(name, gold, predicted, right, self.task.positive)) for name in names}

    def reset(self) -> None:
        """Forget all examples."""
        self.outcomes.reset()
        self.loss.reset()


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
