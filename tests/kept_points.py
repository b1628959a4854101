"""A logger that keeps its points."""

from typing import Any

from lightning.pytorch.loggers import Logger


class Points(Logger):
    """Keeps every logged point.

    Attributes:
        points: Step and values of each point, in order.
    """

    name = "points"
    version = 0

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int, dict[str, float]]] = []

    def log_hyperparams(self, *_: Any, **__: Any) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.points.append((step or 0, metrics))
