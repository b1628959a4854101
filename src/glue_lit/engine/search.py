"""A search as a queue of trials; an Optuna study suggests their settings and stores their values."""

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
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from glue_lit.engine.job import Job, Outcome, Progress
from glue_lit.engine.search_space import settings_to_yaml
from glue_lit.engine.search_storage import open_study
from glue_lit.errors import RunError, UsageError
from glue_lit.system.console import count_of
from glue_lit.system.files import write_text
from glue_lit.tasks.metrics import METRICS

_STATES = {"finished": TrialState.COMPLETE, "failed": TrialState.FAIL, "pruned": TrialState.PRUNED}
_FOLDER, _ERROR, _SETTINGS = "glue_lit_folder", "glue_lit_error", "glue_lit_settings"


class Search:
    """The trials of a search, as a queue.

    An interrupted trial is resumed under its own number, so that no trial runs twice.

    Args:
        folder: Folder of the search, with the trials in ``trials/NNNN``.
        base: Configuration file of all trials.
        task: The task of that configuration.
        space: Distributions of the searched settings, by dotted key.
        trials: Number of trials, including those of earlier calls.
        monitor: Logged name of the metric that ranks trials.
        higher_is_better: Whether a higher value is better.
        extra: Further arguments of `fit` for every trial.
        sampler: Suggests settings; ``None`` for TPE.
        pruner: Stops trials that do not look good; ``None`` for the median rule.
        storage: URL of a database; ``None`` for a file in the folder.
        seed: Seed of the default sampler.
        keep: Keep the checkpoints of all trials, not only of the best.

    Raises:
        RunError: The database cannot be used, or its trials were lost.
        UsageError: A search of this name has other settings, or a database driver is not installed.
    """

    def __init__(
        self,
        folder: Path,
        base: Path,
        task: str,
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
        self.folder, self.base, self.task, self.space, self.trials = folder, base, task, dict(space), trials
        self.monitor, self.extra, self.keep = monitor, extra, keep
        self._is_shared = storage is not None
        self.study = open_study(folder, higher_is_better, storage)
        count = len(self.all_trials())
        if not count:
            _check_no_trials(folder)
        # With the same seed, a resumed search and the drivers of a shared one would suggest the same settings again.
        seed += count
        if self._is_shared:
            seed = zlib.crc32(f"{platform.node()} {folder} {seed}".encode())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # constant_liar in optuna 4
            self.study.sampler = sampler or optuna.samplers.TPESampler(
                seed=seed, constant_liar=True, n_startup_trials=min(10, max(4, trials // 4))
            )
        self.study.pruner = pruner or optuna.pruners.MedianPruner(n_startup_trials=4)
        self._check_same_settings()
        self._interrupted = self._find_interrupted()

    def _check_same_settings(self) -> None:
        """Refuse settings that differ from those of an earlier search of this name: the trials are not comparable."""
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
        if changed := [
            name for name in settings if without_root_dir(before.get(name)) != without_root_dir(settings[name])
        ]:
            what = {"base": "configuration", "space": "space", "monitor": "metric", "extra": "train_fraction"}
            raise UsageError(
                f"--tune.name: there is a search {self.folder.name!r} with another {what[changed[0]]}, whose trials "
                f"are not comparable. Give this one another name (`--tune.name NAME`), or remove {self.folder}."
            )

    def _find_interrupted(self) -> list[FrozenTrial]:
        """Trials of this folder to resume. For trials that ended after their driver was killed, record the outcome."""
        interrupted = []
        for trial in self.all_trials(TrialState.RUNNING):
            # The folder is compared only in a shared database: a database file moves with its folder.
            if self._is_shared and trial.user_attrs.get(_FOLDER) != str(self.folder):
                continue  # it is another driver's, which may not have set its folder yet
            job = self.job(trial)
            outcome = job.read_outcome()
            if outcome is not None and outcome.state in ("finished", "pruned"):
                self.record_outcome(job, outcome)
            else:
                interrupted.append(trial)
        return interrupted

    def job(self, trial: FrozenTrial) -> Job:
        """The job of a trial."""
        folder = self.folder / "trials" / f"{trial.number:04d}"
        arguments = ("--config", str(self.base), "--config", str(folder / "trial.yaml"), *self.extra)
        task = str(trial.params.get("data.task", self.task))
        return Job(f"{trial.number}", folder, (*arguments, "--trainer.enable_progress_bar", "false"), task)

    def next_job(self) -> Job | None:
        """The next trial: an interrupted one, else a new one."""
        if self._interrupted:
            trial = self._interrupted.pop(0)
        elif len(self.all_trials()) < self.trials:
            asked = self.study.ask(fixed_distributions=self.space)
            asked.set_user_attr(_FOLDER, str(self.folder))
            trial = self.trial(asked.number)
        else:
            return None
        job = self.job(trial)
        write_text(job.folder / "trial.yaml", settings_to_yaml(trial.params))
        return job

    def record_progress(self, job: Job, progress: Progress) -> bool:
        """Report new values to the study; return whether the pruner stops the trial."""
        frozen = self.trial(int(job.name))
        trial = Trial(self.study, frozen._trial_id)
        for number, value in progress.values:
            if number not in frozen.intermediate_values and math.isfinite(value):
                trial.report(value, number)
        return bool(trial.should_prune())

    def record_outcome(self, job: Job, outcome: Outcome) -> None:
        """Record the outcome in the study, and remove all checkpoints but the best trial's.

        A stopped trial stays RUNNING in the study, to be resumed.
        """
        if outcome.state == "stopped":
            return
        number, value = int(job.name), None
        if outcome.state == "finished":
            value = (job.result or {}).get("metrics", {}).get(self.monitor)
            if value is None:
                spec = METRICS.get(self.monitor.rpartition("/")[2])
                why = (spec and spec.undefined) or "the model gives all rows the same"
                outcome = Outcome("failed", f"{self.monitor} is undefined: {why}")
        if outcome.state == "failed":
            Trial(self.study, self.trial(number)._trial_id).set_user_attr(_ERROR, outcome.error)
        self.study.tell(number, value, state=_STATES[outcome.state])
        if outcome.state == "failed" or self.keep:
            return
        best = self.best
        for trial in self.all_trials(TrialState.COMPLETE, TrialState.PRUNED):
            self.job(trial).remove_checkpoints(keep_best=best is not None and trial.number == best.number)

    def all_trials(self, *states: TrialState) -> list[FrozenTrial]:
        """All trials by number, or those in the given states."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def trial(self, number: int) -> FrozenTrial:
        """The trial with a number, which may differ from its index if several drivers share the study."""
        return next(trial for trial in self.all_trials() if trial.number == number)

    @property
    def best(self) -> FrozenTrial | None:
        """The best trial; ``None`` before one has finished."""
        ranked = self.ranked_trials()
        return ranked[0] if ranked else None

    def ranked_trials(self) -> list[FrozenTrial]:
        """The finished trials, best first."""
        is_maximized = self.study.direction == StudyDirection.MAXIMIZE
        finished = self.all_trials(TrialState.COMPLETE)
        return sorted(finished, key=lambda trial: float(trial.value or 0), reverse=is_maximized)

    def error_of(self, trial: FrozenTrial) -> str:
        """The error of a failed trial; empty for any other."""
        return str(trial.user_attrs.get(_ERROR, ""))


def without_root_dir(setting: Any) -> Any:
    """A configuration without ``default_root_dir``, which differs between drivers that share a database.

    The run's name is left out, too: older searches have none.
    """
    return re.sub(r"(?m)^(  default_root_dir|name):.*\n", "", setting) if isinstance(setting, str) else setting


def _check_no_trials(folder: Path) -> None:
    """Refuse a folder with trials that its new study does not know, since new trials would overwrite them."""
    if trials := list((folder / "trials").glob("*")):
        raise RunError(
            f"{folder} holds {count_of(len(trials), 'trial')}, but its database has none: study.db was lost or "
            "replaced. Restore it, or start a search with another name (`--tune.name NAME`)."
        )
