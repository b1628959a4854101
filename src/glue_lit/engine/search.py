"""A search as a queue: an Optuna study says what to try, and is told what came of it."""

import math
import platform
import re
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from glue_lit.engine.job import Job, Outcome, Progress
from glue_lit.engine.search_space import settings_to_yaml
from glue_lit.engine.search_storage import open_study
from glue_lit.errors import RunError, UsageError
from glue_lit.system.files import write_text

_STATES = {"finished": TrialState.COMPLETE, "failed": TrialState.FAIL, "pruned": TrialState.PRUNED}
_HOME, _ERROR, _SETTINGS = "glue_lit_folder", "glue_lit_error", "glue_lit_settings"


def _elsewhere(setting: Any) -> Any:
    """A setting as it would be in whatever folder: drivers that share a database have each its own."""
    return re.sub(r"(?m)^  default_root_dir:.*\n", "", setting) if isinstance(setting, str) else setting


class Search:
    """The trials of one search.

    A trial that was begun and not ended goes on under its own number: none is run twice.

    Args:
        folder: The search's own; trials are in ``trials/NNNN``.
        base: Configuration file that all trials begin with.
        space: What is searched.
        trials: How many trials there will be, those of earlier calls included.
        monitor: Logged name of the value to be judged by.
        higher_is_better: Whether a higher one is better.
        extra: Further arguments of `fit` for every trial.
        sampler: Chooses what to try; ``None`` for TPE.
        pruner: Gives up what does not look good; ``None`` for the median rule.
        storage: URL of a database; ``None`` for a file in the folder.
        seed: Of the sampler.
        keep: Keep the checkpoints of all trials, not only those of the best.

    Raises:
        UsageError: There is a search of this name with other settings, or the storage cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        base: Path,
        space: Mapping[str, BaseDistribution],
        trials: int,
        monitor: str,
        higher_is_better: bool,
        extra: tuple[str, ...] = (),
        sampler: BaseSampler | None = None,
        pruner: BasePruner | None = None,
        storage: str | None = None,
        seed: int = 0,
        keep: bool = False,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder, self.base, self.space, self.trials = folder, base, dict(space), trials
        self.monitor, self.higher_is_better, self.extra, self.keep = monitor, higher_is_better, extra, keep
        self._shared = storage is not None
        self.study = open_study(folder, higher_is_better, storage)
        done = len(self.study.get_trials(deepcopy=False))
        if not done:
            _check_nothing_lost(folder)
        # Seeded by how many there are: begun again with the same numbers, it would try the same once more.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # constant_liar, in optuna 4
            self.study.sampler = sampler or optuna.samplers.TPESampler(
                seed=self._own_seed(seed + done), constant_liar=True, n_startup_trials=min(10, max(4, trials // 4))
            )
        self.study.pruner = pruner or optuna.pruners.MedianPruner(n_startup_trials=4)
        self._check_settings()
        self._waiting = self._orphans()

    def _check_settings(self) -> None:
        """Stop where an earlier search of this name was another one: its trials say nothing about this."""
        settings = {
            "base": self.base.read_text(encoding="utf-8"),
            "space": {key: optuna.distributions.distribution_to_json(d) for key, d in sorted(self.space.items())},
            "monitor": self.monitor,
            "extra": list(self.extra),
        }
        before = self.study.user_attrs.get(_SETTINGS)
        if before is None:
            self.study.set_user_attr(_SETTINGS, settings)
            return
        if changed := [name for name in settings if _elsewhere(before.get(name)) != _elsewhere(settings[name])]:
            what = {"base": "configuration", "space": "space", "monitor": "metric", "extra": "train_fraction"}
            raise UsageError(
                f"--tune.name: there is a search {self.folder.name!r} with another {what[changed[0]]}, whose trials "
                f"say nothing about this one. Give it a name of its own (`--tune.name NAME`), or remove {self.folder}."
            )

    def _own_seed(self, seed: int) -> int:
        """Another one for each driver of a shared search: drivers that start together would try the same."""
        return zlib.crc32(f"{platform.node()} {self.folder} {seed}".encode()) if self._shared else seed

    def _orphans(self) -> list[FrozenTrial]:
        """Trials of this folder that were begun and not ended; what has ended meanwhile is told."""
        found = []
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            # In a shared database one without a home is being begun by another driver at this moment.
            if self._shared and trial.user_attrs.get(_HOME) != str(self.folder):
                continue  # another driver's; a folder's own database goes where the folder goes
            job = self.job(trial)
            outcome = job.outcome
            if outcome is not None and outcome.state in ("finished", "pruned"):
                self.ended(job, outcome)
            else:
                found.append(trial)
        return found

    def job(self, trial: FrozenTrial) -> Job:
        """The training of a trial."""
        folder = self.folder / "trials" / f"{trial.number:04d}"
        arguments = ("--config", str(self.base), "--config", str(folder / "trial.yaml"), *self.extra)
        return Job(f"{trial.number}", folder, (*arguments, "--trainer.enable_progress_bar", "false"))

    # ---------------------------------------------------------------- the queue

    def next(self) -> Job | None:
        """The next trial: one that was interrupted, else a new one."""
        if self._waiting:
            frozen = self._waiting.pop(0)
        elif len(self.study.get_trials(deepcopy=False)) < self.trials:
            trial = self.study.ask(fixed_distributions=self.space)
            trial.set_user_attr(_HOME, str(self.folder))
            frozen = self.trial(trial.number)
        else:
            return None
        job = self.job(frozen)
        write_text(job.folder / "trial.yaml", settings_to_yaml(frozen.params))
        return job

    def report(self, job: Job, progress: Progress) -> bool:
        """Tell the study the values so far; whether the pruner gives the trial up."""
        trial = Trial(self.study, self.trial(int(job.name))._trial_id)
        known = self.trial(int(job.name)).intermediate_values
        for number, value in progress.values:
            if number not in known and math.isfinite(value):
                trial.report(value, number)
        return bool(trial.should_prune())

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Tell the study; a trial that was stopped stays begun, to go on later."""
        if outcome.state == "stopped":
            return
        number, value = int(job.name), None
        if outcome.state == "finished":
            value = (job.result or {}).get("metrics", {}).get(self.monitor)
            if value is None:
                outcome = Outcome("failed", f"{self.monitor} is undefined: the model gives all rows the same")
        if outcome.state == "failed":
            trial = Trial(self.study, self.trial(int(job.name))._trial_id)
            trial.set_user_attr(_ERROR, outcome.error)
        self.study.tell(number, value, state=_STATES[outcome.state])
        self._thin_out(job, outcome)

    def _thin_out(self, job: Job, outcome: Outcome) -> None:
        """Keep the checkpoint of the best trial alone."""
        if self.keep or outcome.state == "failed":
            return
        best = self.best
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
            if trial.number != (best.number if best is not None else -1):
                self.job(trial).thin_out(keep_best=False)
        if best is not None:
            self.job(best).thin_out(keep_best=True)

    def trial(self, number: int) -> FrozenTrial:
        """The trial with a number; not always at that place of the list, where several drivers add to it."""
        return next(trial for trial in self.study.get_trials(deepcopy=False) if trial.number == number)

    # ---------------------------------------------------------------- results

    @property
    def best(self) -> FrozenTrial | None:
        """The best trial, if one has finished."""
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        sign = 1 if self.higher_is_better else -1
        return max(done, key=lambda trial: sign * float(trial.value or 0.0), default=None)

    def error_of(self, trial: FrozenTrial) -> str:
        """What went wrong in a trial."""
        return str(trial.user_attrs.get(_ERROR, ""))

    def all(self) -> list[FrozenTrial]:
        """All trials, in their order."""
        return self.study.get_trials(deepcopy=False)


def _check_nothing_lost(folder: Path) -> None:
    """Stop where trials lie that a new study knows nothing of.

    Its own trials would get their folders: finished runs would be removed, others go on with their old settings.

    Raises:
        RunError: There are some.
    """
    if begun := sorted(path.name for path in (folder / "trials").glob("*")):
        raise RunError(
            f"{folder} holds {len(begun)} trial(s), but its database knows none: study.db was lost or replaced. Put it "
            "back, or begin anew under another name (`--tune.name NAME`)."
        )
