"""The result of a hyperparameter search as plain values, usable without Optuna."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TrialResult:
    """A trial of a search.

    Attributes:
        number: Its number, from 0.
        state: ``complete``, ``pruned``, ``fail``, ``running`` or ``waiting``.
        value: The value that it is judged by, once it is complete.
        settings: The settings that it tried, by dotted key.
        seconds: How long it took.
        error: What went wrong, if it failed.
        run: Its run directory, once it has started.
    """

    number: int
    state: str
    value: float | None
    settings: dict[str, Any]
    seconds: float | None
    error: str
    run: Path | None


@dataclass(frozen=True)
class RefitResult:
    """A training on all rows with the best settings of a search.

    Attributes:
        run: Its run directory.
        value: The value that trials are judged by; 0 if it is undefined.
    """

    run: Path | None
    value: float


@dataclass(frozen=True)
class TuneResult:
    """The result of a hyperparameter search.

    Attributes:
        folder: Folder of the search.
        monitor: Name of the value that trials are judged by, e.g. ``val/accuracy``.
        trials: All trials, by number.
        ranked: The complete trials, best first.
        refits: The trainings on all rows with the best settings, one per seed.
    """

    folder: Path
    monitor: str
    trials: tuple[TrialResult, ...]
    ranked: tuple[TrialResult, ...]
    refits: tuple[RefitResult, ...] = ()

    @property
    def best(self) -> TrialResult | None:
        """The best trial; ``None`` if none is complete."""
        return self.ranked[0] if self.ranked else None

    @property
    def config(self) -> Path:
        """Configuration file with the best settings, for `fit`."""
        return self.folder / "best.yaml"
