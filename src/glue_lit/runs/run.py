"""Run directories: ``lightning_logs/<task>/version_N/`` with config, metrics, checkpoints and curves."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from glue_lit.errors import RULE_OF_PATHS, RunError, did_you_mean
from glue_lit.runs.config_file import find_key
from glue_lit.runs.shipped_configs import shipped_configs

LOGS = "lightning_logs"
CONFIG = "config.yaml"
_PREFIX = "version_"


@dataclass(frozen=True)
class Run:
    """A run, by its directory."""

    path: Path

    @property
    def config(self) -> Path:
        """File with its full configuration."""
        return self.path / CONFIG

    @property
    def metrics(self) -> Path:
        """File with its final metrics, versions, device, data and configuration."""
        return self.path / "metrics.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of ``best.ckpt`` and ``last.ckpt``."""
        return self.path / "checkpoints"

    @property
    def predictions(self) -> Path:
        """Folder of the predictions of ``test`` and ``predict``."""
        return self.path / "predictions"

    @property
    def job(self) -> Path:
        """File that names the SLURM job that last trained it; the same job, when requeued, resumes it."""
        return self.path / "slurm_job"

    def setting(self, key: str) -> str | None:
        """The text of a setting by dotted key, e.g. ``data.task``; ``None`` without one."""
        found = find_key(str(self.config), key)
        return found[1] if found is not None and isinstance(found[1], str) else None

    def prefix(self, task: str) -> str:
        """File name prefix for predictions of ``task``: empty for the run's own task, else the task's name."""
        return "" if self.setting("data.task") == task else f"{task}-"

    def checkpoint(self, name: str) -> Path:
        """Path of the checkpoint ``best`` or ``last``.

        Raises:
            RunError: The run has no such checkpoint.
        """
        path = self.checkpoints / f"{name}.ckpt"
        if path.is_file():
            return path
        found = ", ".join(sorted(p.name for p in self.checkpoints.glob("*.ckpt"))) or "none"
        others = [
            run
            for run in find_runs(self.path.parent.parent, self.path.parent.name)
            if (run.checkpoints / path.name).is_file()
        ]
        other = f" The newest run that has one is `--run {others[-1].path}`." if others else ""
        raise RunError(
            f"Run {self.path} has no checkpoint {path.name}; it has {found}. The first is written at the end of "
            f"the first epoch.{other or ' Name another run with `--run DIR`.'}"
        )


def open_run(path: Path, flag: str = "--run") -> Run:
    """Open the run in a directory that a flag names.

    Raises:
        RunError: It does not exist or is not a run.
    """
    run = Run(path)
    if not path.is_dir():
        near = did_you_mean(str(path), (str(other.path) for other in find_runs(Path(LOGS))))
        raise RunError(f"{flag}: there is no directory {str(path)!r}.{near} Runs are in {LOGS}/<task>/version_N.")
    if not run.config.is_file():
        raise RunError(f"{flag}: {path} is not a run, it has no config.yaml. Runs are in {LOGS}/<task>/version_N.")
    return run


def best_checkpoint(name: str) -> Path:
    """The best checkpoint of the run in a directory, or ``name`` itself if it is a file.

    Raises:
        RunError: It is neither, or the run has no best checkpoint.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    run = Run(path)
    if not run.config.is_file():
        near = did_you_mean(name, (str(other.path) for other in find_runs(Path(LOGS))))
        raise RunError(
            f"model.init_from: {name!r} is neither a run directory ({LOGS}/<task>/version_N) nor a checkpoint.{near} "
            f"{RULE_OF_PATHS}"
        )
    return run.checkpoint("best")


def run_of_checkpoint(checkpoint: Path) -> Run | None:
    """The run that a checkpoint file belongs to, ``None`` for a file outside a run."""
    checkpoint = checkpoint.absolute()
    run = Run(checkpoint.parent.parent)
    return run if checkpoint.parent.name == "checkpoints" and run.config.is_file() else None


def find_runs(root: Path, task: str | None = None) -> list[Run]:
    """Runs below ``root``, of all tasks or one, sorted by when they were last started or resumed."""
    folders = [root / task] if task else root.glob("*")  # no glob for a task, whose name may have special characters
    found = [Run(path.parent) for folder in folders for path in folder.glob(f"{_PREFIX}*/config.yaml")]
    return sorted(found, key=lambda run: (run.config.stat().st_mtime_ns, version_of(run.path)))


def newest_run(root: Path, task: str | None = None) -> Run:
    """The run below ``root`` that was last started or resumed.

    Raises:
        RunError: There is no run.
    """
    runs = find_runs(root, task)
    if not runs:
        of_task = f" of task {task}" if task else ""
        others = sorted({run.path.parent.name for run in find_runs(root)})
        have = f" There are runs of {', '.join(others)}." if others else ""
        name = task or "cola"
        example = f", e.g. `glue-lit fit --config {name}`" if name in shipped_configs() else ""
        raise RunError(f"There is no run{of_task} in {root}.{have} Train one first{example}, or name one: `--run DIR`.")
    return runs[-1]


def run_of_slurm_job(root: Path, job: str, command: list[str]) -> Run | None:
    """The run below ``root`` that a SLURM job started with ``command``, if it has a checkpoint to resume from.

    One job may start several runs; the command tells them apart.
    """
    started = {"job": job, "command": command}
    for run in reversed(find_runs(root)):
        try:
            if json.loads(run.job.read_text(encoding="utf-8")) == started and (run.checkpoints / "last.ckpt").is_file():
                return run
        except (OSError, ValueError):
            continue
    return None


def version_of(path: Path) -> int:
    """``N`` of a directory called ``version_N``; -1 for any other name."""
    match = re.fullmatch(_PREFIX + "([0-9]+)", path.name)
    return int(match[1]) if match else -1


def is_version(path: Path) -> bool:
    """Whether a directory is named like a run; text may follow the number."""
    return path.name.startswith(_PREFIX)


def claim_version(folder: Path) -> int:
    """Create the next free ``version_N`` in ``folder`` and return ``N``; no two processes get the same one.

    Raises:
        RunError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        version = max((version_of(path) for path in folder.iterdir()), default=-1) + 1
        while True:
            try:
                (folder / f"{_PREFIX}{version}").mkdir()
                return version
            except FileExistsError:
                version += 1
    except OSError as error:
        raise RunError(
            f"Cannot make a run directory in {folder} ({error.strerror}). "
            "Choose another place with `--trainer.default_root_dir DIR`."
        ) from None
