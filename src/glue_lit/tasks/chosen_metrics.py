"""`Metric`: a metric as a task is scored by it, with its parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glue_lit.tasks.metrics import METRICS, Average, MetricSpec, Needs
from glue_lit.tasks.torchmetrics_class import build_torchmetric, compares_labels


@dataclass(frozen=True)
class Metric:
    """A metric with its parameters.

    Attributes:
        name: Its name in the registry, or the last part of the class's path.
        logged: The name that its scores are logged under, after the split.
        positive: Number of the positive label; ``None`` where there is none.
        average: How the labels are averaged; ``None`` for that of the positive label.
        beta: The weight of recall in F-beta.
        k: Number of labels that count as a hit in top-k accuracy.
        class_path: The class of a torchmetrics metric; empty for one of the registry.
        init_args: Its arguments.
        mode: ``max`` or ``min`` if the user says which of its values is best.
        names_label: Whether the user has named the positive label for this metric.
        cut_points: Lowest score of each label but the first, where a label is predicted by a score (``ordinal``).
    """

    name: str
    logged: str
    positive: int | None = None
    average: Average | None = None
    beta: float = 1.0
    k: int = 2
    class_path: str = ""
    init_args: Mapping[str, Any] = field(default_factory=dict)
    mode: str | None = None
    names_label: bool = False
    cut_points: tuple[float, ...] = ()

    @property
    def is_of_default_label(self) -> bool:
        """Whether it describes the positive label of the task."""
        return self.spec.is_of_positive and self.average is None and not self.names_label

    @property
    def spec(self) -> MetricSpec:
        """Its description; that of a class says only what it needs."""
        return METRICS[self.name] if not self.class_path else _OF_CLASS

    @property
    def cuts_scores(self) -> bool:
        """Whether it compares labels, not scores, where scores tell the labels."""
        return compares_labels(self.class_path) if self.class_path else self.spec.needs in ("counts", "distances")

    @property
    def needs(self) -> Needs:
        """What it is computed from; the average over samples is that of a value of each row."""
        return "rows" if self.average == "samples" else self.spec.needs

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value is better; of a class, as the user or else torchmetrics says."""
        if self.class_path and self.mode is None:
            return build_torchmetric(self.class_path, self.init_args).higher_is_better is False
        return self.mode == "min" or self.spec.lower_is_better

    def title(self, labels: Sequence[str] = ()) -> str:
        """Its name in reports, with its parameters.

        Args:
            labels: The task's labels.
        """
        if self.class_path:
            return self.logged
        words = self.spec.title
        if "beta" in self.spec.parameters:
            words = f"F{self.beta:g}"
        if "k" in self.spec.parameters:
            words = f"Top-{self.k} accuracy"
        if self.average is not None:
            words = f"{self.average.capitalize()} {words if words.startswith('F') else words.lower()}"
        if self.average is None and self.positive is not None and "positive" in self.spec.parameters and labels:
            label = labels[self.positive]
            words += f" of {label if len(label) <= 40 else label[:39] + '…'}"
        return words


_OF_CLASS = MetricSpec(
    "", "", "", needs="ranking", low=None, high=None, undefined="torchmetrics gives no number for it"
)
