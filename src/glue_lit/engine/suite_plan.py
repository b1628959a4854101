"""The plan of a suite: tasks x seeds x models as jobs, the longest first, each after the one that it starts from."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path

import yaml

from glue_lit.engine.job import Job
from glue_lit.engine.suite_files import is_file, is_folder, recipe_file, without_owner
from glue_lit.errors import RULE_OF_PATHS, UsageError, did_you_mean
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.config_values import read_config
from glue_lit.system.environment import setting_variable
from glue_lit.tasks.custom import NO_TASK, resolve_task
from glue_lit.tasks.glue import TASKS


@dataclass(frozen=True)
class PlannedJob:
    """A job of a suite.

    Attributes:
        job: The job.
        model: Its model, as the user named it; empty for that of the configuration.
        task: Its task; for a training on other data, which tasks start from, the name of its configuration.
        seed: Its seed.
        start: Name of the job whose encoder it starts from, if any.
    """

    job: Job
    model: str
    task: str
    seed: int
    start: str | None = None


def plan_suite(
    folder: Path,
    tasks: Sequence[str],
    seeds: Sequence[int],
    models: Sequence[str],
    init_from: Mapping[str, str],
    arguments: Sequence[str],
    recipes: str | None,
) -> list[PlannedJob]:
    """Plan all trainings of a suite, in the order in which they start.

    Args:
        folder: Folder of the suite.
        tasks: Names of the tasks.
        seeds: Seeds of each task and model.
        models: Names of the models; empty for that of the configuration.
        init_from: For a task, what its encoder starts from: a task of the suite, with the same model and seed; the
            configuration (a YAML file) of a training on other data; or the folder of an earlier run or a model. GLUE's
            tasks outside the suite are ignored.
        arguments: Arguments of `fit` for all trainings.
        recipes: File with each task's recipe, with ``{task}`` and ``{model}`` (in lower case) in its name; a missing
            file is ignored.

    Raises:
        UsageError: A task is unknown, or starts from a task outside the suite or a file that cannot be used.
    """
    suite = _Suite(folder, tasks, seeds, _starts_of(tasks, init_from), arguments, recipes)
    _check_tasks(tasks, lambda task: any(suite.describes_own_task(task, model) for model in models or [""]))
    _check_starts(tasks, suite.init_from)
    names = model_names(models) or {"": ""}
    plans = (chain(suite.starts(model, short), suite.jobs(model, short)) for model, short in names.items())
    return list(chain.from_iterable(plans))


@dataclass(frozen=True)
class _Suite:
    """The arguments of `plan_suite`; ``model`` is a model as the user named it, ``short`` its name in folders."""

    folder: Path
    tasks: Sequence[str]
    seeds: Sequence[int]
    init_from: Mapping[str, str]
    arguments: Sequence[str]
    recipes: str | None

    def starts(self, model: str, short: str) -> Iterator[PlannedJob]:
        """Plan the trainings on other data that tasks start from."""
        given = [each.words for each in CommandLine(self.arguments).arguments if each.flag == "--model.name_or_path"]
        encoder = given[-1][:2] if given else []
        for start in dict.fromkeys(filter(is_file, self.init_from.values())):
            for seed in self.seeds:
                # Its file comes after the arguments, since it names other data; the encoder is that of the tasks.
                file = ("--config", str(Path(start).resolve()))
                flags = (*self.arguments, *file, *encoder, *_common_flags(model, seed))
                job = self._job(short, _label(start), seed, _task_of_file(start), flags)
                yield PlannedJob(job, model, _label(start), seed)

    def jobs(self, model: str, short: str) -> Iterator[PlannedJob]:
        """Plan the trainings of the tasks."""
        for task in sorted(self.tasks, key=lambda name: -self._training_rows(name)):
            for seed in self.seeds:
                start, start_flags = self._starting_point(short, self.init_from.get(task), seed)
                of_task = (*self._recipe(task, model), *self.arguments, "--data.task", task)
                flags = (*of_task, *_common_flags(model, seed), *start_flags)
                yield PlannedJob(self._job(short, task, seed, task, flags), model, task, seed, start)

    def describes_own_task(self, task: str, model: str) -> bool:
        """Whether a task's recipe or the arguments for all trainings describe a task of the user's own."""
        return describes_own_task([*self._recipe(task, model), *self.arguments])

    def _recipe(self, task: str, model: str) -> list[str]:
        """The flags that name a task's recipe, if it has one."""
        recipe = recipe_file(self.recipes, task, model)
        return ["--config", str(recipe.resolve())] if recipe is not None and recipe.is_file() else []

    def _training_rows(self, task: str) -> int:
        """Training rows of a task of GLUE and of the longest chain of tasks that wait for it."""
        waiting = [other for other in self.tasks if self.init_from.get(other) == task]
        rows = TASKS[task].files["train"].rows if task in TASKS else 0
        return rows + max(map(self._training_rows, waiting), default=0)

    def _starting_point(self, short: str, start: str | None, seed: int) -> tuple[str | None, list[str]]:
        """The job that a training waits for, if any, and the flags that name its encoder."""
        if start is None:
            return None, []
        if is_folder(start, self.tasks):
            path = Path(start).resolve()  # the job may run in another working directory
            flag = "--model.name_or_path" if (path / "config.json").is_file() else "--model.init_from"
            return None, [flag, str(path)]
        job = self._job(short, _label(start), seed, _task_of_file(start) if is_file(start) else start)
        return job.name, ["--model.init_from", str(job.run_path)]

    def _job(self, short: str, label: str, seed: int, task: str, flags: Sequence[str] = ()) -> Job:
        name = " ".join(part for part in (short, label, f"seed {seed}") if part)
        return Job(name, self.folder / (short or "model") / label / f"seed_{seed}", tuple(flags), task)


def model_names(models: Sequence[str]) -> dict[str, str]:
    """Name of each model in folders and jobs: without its owner, unless two models would get the same name.

    Raises:
        UsageError: Two models still have the same name.
    """
    count = Counter(map(without_owner, models))
    names = {
        model: short if count[short := without_owner(model)] == 1 else model.strip("./").replace("/", "--")
        for model in models
    }
    if len(set(names.values())) < len(names):
        raise UsageError(f"suite.models: two of {', '.join(names)} are the same, or would have the same folder.")
    return names


def _common_flags(model: str, seed: int) -> list[str]:
    named = ["--model.name_or_path", model] if model else []
    return [*named, "--seed_everything", str(seed), "--trainer.enable_progress_bar", "false"]


def _label(start: str) -> str:
    return Path(start).stem if is_file(start) else start


def _task_of_file(file: str) -> str:
    try:
        settings = read_config(Path(file).read_text(encoding="utf-8"))
        return str(settings["data"]["task"])
    except OSError as error:
        raise UsageError(f"suite.init_from: {file} cannot be read ({error.strerror}). {RULE_OF_PATHS}") from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise UsageError(f"suite.init_from: {file} has no `data: {{task: ...}}`, which a training needs.") from None


def describes_own_task(arguments: Sequence[str]) -> bool:
    """Whether arguments of `fit`, its variables included, describe a task of the user's own."""
    line, key = CommandLine(arguments, "fit"), "data.custom.text"
    return line.has("--data.custom") or line.where_set(key) != key or setting_variable("fit", key) in os.environ


def _starts_of(tasks: Sequence[str], init_from: Mapping[str, str]) -> dict[str, str]:
    """What the tasks of the suite start from, without GLUE's other tasks, which a configuration may name, too."""
    for task in init_from:
        if task not in (*tasks, *TASKS):
            raise UsageError(
                f"suite.init_from: {task!r} is not in suite.tasks ({', '.join(tasks)}).{did_you_mean(task, tasks)}"
            )
    return {task: start for task, start in init_from.items() if task in tasks}


def _check_tasks(tasks: Sequence[str], is_own: Callable[[str], bool]) -> None:
    if not tasks:
        raise UsageError("suite.tasks: it is empty; name at least one task.")
    for task in tasks:
        if task not in TASKS and is_own(task):
            continue
        spec = resolve_task(task, NO_TASK)
        if spec.trained_as is not None or spec.monitored_split is None:
            raise UsageError(f"suite.tasks: {task} has no training rows. Use {spec.trained_as}, which predicts it.")


def _check_starts(tasks: Sequence[str], init_from: Mapping[str, str]) -> None:
    files = {start for start in init_from.values() if is_file(start)}
    for file in files:
        _task_of_file(file)  # an error now rather than after the other trainings
        if _label(file) in tasks or any(_label(other) == _label(file) for other in files - {file}):
            raise UsageError(f"suite.init_from: {file} has the name of another training of the suite; rename it.")
    for task, start in init_from.items():
        if not is_file(start) and not is_folder(start, tasks) and start not in tasks:
            near, other = did_you_mean(start, tasks), f"`--suite.init_from '{{{task}: RUN}}'`"
            what_to_do = f"Add it, or start {task} from a run: {other}." if start in TASKS else RULE_OF_PATHS
            raise UsageError(
                f"suite.init_from: {start!r} is not in suite.tasks ({', '.join(tasks)}), and no folder of a run or "
                f"model.{near} {what_to_do}"
            )
    try:
        TopologicalSorter({task: [start] for task, start in init_from.items()}).prepare()
    except CycleError as error:
        raise UsageError(f"suite.init_from: {error.args[1][0]} starts from itself.") from None
