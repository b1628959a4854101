"""The plan of a suite: tasks x seeds x models as jobs, the longest first, each after the one that it starts from."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import yaml

from glue_lit.engine.job import Job
from glue_lit.errors import UsageError, did_you_mean
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.config_values import read_config
from glue_lit.tasks.glue import get_task


@dataclass(frozen=True)
class PlannedJob:
    """A job of a suite.

    Attributes:
        job: The job.
        model: Its model, as the user named it; empty for that of the configuration.
        task: Its task; for a training on other data that tasks start from, the name of its configuration.
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
        models: Names of the models; none for that of the configuration.
        init_from: By task, what its encoder starts from: a task of the suite, with the same model and seed; the
            configuration (a YAML file) of a training on other data; or the folder of an earlier run or a model.
        arguments: Arguments of `fit` for all.
        recipes: File with each task's recipe, with ``{task}`` and ``{model}`` (in lower case) in its name; a missing
            file is left out.

    Raises:
        UsageError: A task is unknown, or starts from a task outside the suite or a file that cannot be used.
    """
    _check(tasks, init_from)
    plan: list[PlannedJob] = []
    for model, short in (model_names(models) or {"": ""}).items():
        plan += _plan_starts(folder, model, short, seeds, init_from, arguments)
        for task in sorted(tasks, key=lambda name: -_training_rows(name, tasks, init_from)):
            for seed in seeds:
                start, start_flags = _starting_point(folder, short, init_from.get(task), seed, tasks)
                recipe_flags = _recipe_flags(recipes, task, _without_owner(model))
                flags = (*recipe_flags, *arguments, "--data.task", task, *_common_flags(model, seed), *start_flags)
                plan.append(PlannedJob(_job(folder, short, task, seed, task, flags), model, task, seed, start))
    return plan


def model_names(models: Sequence[str]) -> dict[str, str]:
    """Name of each model in folders and job names: without its owner, unless two models would get the same name.

    Raises:
        UsageError: Two models still have the same name.
    """
    count = Counter(map(_without_owner, models))
    names = {
        model: short if count[short := _without_owner(model)] == 1 else model.strip("./").replace("/", "--")
        for model in models
    }
    if len(set(names.values())) < len(names):
        raise UsageError(f"suite.models: two of {', '.join(names)} are the same, or would have the same folder.")
    return names


def _without_owner(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]


def _job(folder: Path, model: str, label: str, seed: int, task: str, flags: Sequence[str] = ()) -> Job:
    name = " ".join(part for part in (model, label, f"seed {seed}") if part)
    return Job(name, folder / (model or "model") / label / f"seed_{seed}", tuple(flags), task)


def _common_flags(model: str, seed: int) -> list[str]:
    named = ["--model.name_or_path", model] if model else []
    return [*named, "--seed_everything", str(seed), "--trainer.enable_progress_bar", "false"]


def _plan_starts(
    folder: Path,
    model: str,
    short: str,
    seeds: Sequence[int],
    init_from: Mapping[str, str],
    arguments: Sequence[str],
) -> Iterator[PlannedJob]:
    """Plan the trainings on other data that tasks start from."""
    given = [each.words for each in CommandLine(arguments).arguments if each.flag == "--model.name_or_path"]
    encoder = given[-1][:2] if given else []
    for start in dict.fromkeys(start for start in init_from.values() if _is_file(start)):
        for seed in seeds:
            # Its file comes after the arguments, since it has data of its own; the encoder is that of the tasks.
            file = ("--config", str(Path(start).resolve()))
            flags = (*arguments, *file, *encoder, *_common_flags(model, seed))
            job = _job(folder, short, _label(start), seed, _task_of_file(start), flags)
            yield PlannedJob(job, model, _label(start), seed)


def _starting_point(
    folder: Path, model: str, start: str | None, seed: int, tasks: Sequence[str]
) -> tuple[str | None, list[str]]:
    """The job that a training waits for, if any, and the flags that name its encoder."""
    if start is None:
        return None, []
    if _is_folder(start, tasks):
        path = Path(start).resolve()  # the job may run in another working directory
        flag = "--model.name_or_path" if (path / "config.json").is_file() else "--model.init_from"
        return None, [flag, str(path)]
    job = _job(folder, model, _label(start), seed, _task_of_file(start) if _is_file(start) else start)
    return job.name, ["--model.init_from", str(job.run_path)]


def _is_folder(start: str, tasks: Sequence[str]) -> bool:
    """Whether a start is the folder of a run or model; a task wins over a folder of its name."""
    return start not in tasks and Path(start).is_dir()


def _is_file(start: str) -> bool:
    return start.endswith((".yaml", ".yml"))


def _label(start: str) -> str:
    return Path(start).stem if _is_file(start) else start


def _task_of_file(file: str) -> str:
    try:
        settings = read_config(Path(file).read_text(encoding="utf-8"))
        return str(settings["data"]["task"])
    except OSError as error:
        raise UsageError(f"suite.init_from: {file} cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise UsageError(f"suite.init_from: {file} names no `data: {{task: ...}}`, as a training has to.") from None


def _check(tasks: Sequence[str], init_from: Mapping[str, str]) -> None:
    if not tasks:
        raise UsageError("suite.tasks: it is empty; name at least one task.")
    for task in tasks:
        spec = get_task(task)
        if spec.trained_as is not None or spec.monitored_split is None:
            raise UsageError(f"suite.tasks: {task} has no training rows; {spec.trained_as} is what is trained for it.")
    files = {start for start in init_from.values() if _is_file(start)}
    for file in files:
        _task_of_file(file)  # an error now rather than after the other trainings
        if _label(file) in tasks or any(_label(other) == _label(file) for other in files - {file}):
            raise UsageError(f"suite.init_from: {file} is called like another of the suite; give it a name of its own.")
    for task, start in init_from.items():
        for name in (task, *(() if _is_file(start) or _is_folder(start, tasks) else (start,))):
            if name not in tasks:
                other = "" if name == task else ", and no folder of a run or model"
                near = did_you_mean(name, tasks)
                raise UsageError(f"suite.init_from: {name!r} is not in suite.tasks ({', '.join(tasks)}){other}.{near}")
    try:
        TopologicalSorter({task: [start] for task, start in init_from.items()}).prepare()
    except CycleError as error:
        raise UsageError(f"suite.init_from: {error.args[1][0]} starts from itself.") from None


def _training_rows(task: str, tasks: Sequence[str], init_from: Mapping[str, str]) -> int:
    """Training rows of a task and of the longest chain of tasks that wait for it."""
    waiting = [other for other in tasks if init_from.get(other) == task]
    rows = get_task(task).files["train"].rows
    return rows + max((_training_rows(other, tasks, init_from) for other in waiting), default=0)


def _recipe_flags(pattern: str | None, task: str, model: str) -> list[str]:
    file = None if pattern is None else _recipe_file(pattern, task, model)
    return ["--config", str(file.resolve())] if file is not None and file.is_file() else []


def _recipe_file(pattern: str, task: str, model: str) -> Path:
    return Path(pattern.replace("{task}", task).replace("{model}", model.lower()))


def missing_recipes(pattern: str | None, tasks: Sequence[str], models: Sequence[str]) -> list[str]:
    """Files of recipes that do not exist."""
    names = [_without_owner(model) for model in models] or [""]
    files = [_recipe_file(pattern, task, name) for name in names for task in tasks] if pattern is not None else []
    return [str(file) for file in files if not file.is_file()]
