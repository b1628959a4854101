"""A suite as jobs: tasks x seeds x models, the longest first, those that start from another one after it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from glue_lit.engine.job import Job
from glue_lit.errors import UsageError, did_you_mean
from glue_lit.runs.config_values import read_config
from glue_lit.runs.run import LOGS
from glue_lit.tasks.glue import get_task


@dataclass(frozen=True)
class PlannedJob:
    """A job of a suite.

    Attributes:
        job: The training.
        model: Its model, as the user named it; empty for that of the configuration.
        task: Its task; of a start that is not in the suite, the name of its configuration.
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
    """All trainings of a suite, in the order in which they are begun.

    Args:
        folder: The suite's own.
        tasks: Names of the tasks.
        seeds: Seeds of each.
        models: Names of the models; none for that of the configuration.
        init_from: By task the task whose encoder it starts from, of the same model and seed; or the configuration
            (a YAML file) of a training that comes before; or the folder of a run or a model that is there already, for
            all seeds.
        arguments: Those of `fit` for all.
        recipes: File of each task's recipe, with ``{task}`` and ``{model}`` (in lower case) in its name; left out where
            there is none.

    Raises:
        UsageError: A task is none, or starts from one that is not in the suite, or from a file that cannot be used.
    """
    _check(tasks, init_from)
    found: list[PlannedJob] = []
    for model, of_model in (model_names(models) or {"": ""}).items():
        found += _starts(folder, model, of_model, seeds, init_from.values(), arguments)
        for task in sorted(tasks, key=lambda name: -_cost(name, tasks, init_from)):
            for seed in seeds:
                start, from_start = _starting_point(folder, of_model, init_from.get(task), seed, tasks)
                of_task = (*_recipe(recipes, task, _without_owner(model)), *arguments, "--data.task", task)
                flags = (*of_task, *_common(model, seed), *from_start)
                job = Job(_name(of_model, task, seed), _place(folder, of_model, task, seed), flags)
                found.append(PlannedJob(job, model, task, seed, start))
    return found


def model_names(models: Sequence[str]) -> dict[str, str]:
    """What each model is called in the names of folders and trainings: without its owner, if that is enough."""
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


def _name(model: str, task: str, seed: int) -> str:
    return " ".join(part for part in (model, task, f"seed {seed}") if part)


def _place(folder: Path, model: str, task: str, seed: int) -> Path:
    return folder / (model or "model") / task / f"seed_{seed}"


def _common(model: str, seed: int) -> list[str]:
    named = ["--model.name_or_path", model] if model else []
    return [*named, "--seed_everything", str(seed), "--trainer.enable_progress_bar", "false"]


def _starts(
    folder: Path,
    model: str,
    of_model: str,
    seeds: Sequence[int],
    starts: Iterable[str],
    arguments: Sequence[str],
) -> Iterator[PlannedJob]:
    """Trainings that tasks start from and that are none of the suite's tasks: others wait for them."""
    for file in dict.fromkeys(start for start in starts if _is_file(start)):
        for seed in seeds:
            # After the settings of all, which are for the tasks: it has data of its own. The encoder is theirs.
            flags = (*arguments, "--config", str(Path(file).resolve()), *_model_in(arguments), *_common(model, seed))
            job = Job(_name(of_model, _label(file), seed), _place(folder, of_model, _label(file), seed), flags)
            yield PlannedJob(job, model, _label(file), seed)


def _model_in(arguments: Sequence[str]) -> list[str]:
    """The model's name as the command line gives it, if it does: a file of settings that comes later has another."""
    flag, found = "--model.name_or_path", []
    for place, argument in enumerate(arguments):
        if argument == flag:
            found = list(arguments[place : place + 2])
        elif argument.startswith(f"{flag}="):
            found = [argument]
    return found


def _starting_point(
    folder: Path, model: str, first: str | None, seed: int, tasks: Sequence[str]
) -> tuple[str | None, list[str]]:
    """The job that a training waits for, if any, and the arguments by which it starts from there."""
    if first is None:
        return None, []
    if _is_folder(first, tasks):
        return None, _from_folder(first)
    return _name(model, _label(first), seed), _from_run(_run(folder, model, first, seed))


def _is_folder(start: str, tasks: Sequence[str]) -> bool:
    """Whether it is the folder of a run or a model, and not a task that happens to be called like a folder here."""
    return start not in tasks and Path(start).is_dir()


def _from_folder(start: str) -> list[str]:
    """The arguments that start from a run or a model; it may lie below the folder where the command was given."""
    place = Path(start).resolve()
    return ["--model.name_or_path", str(place)] if (place / "config.json").is_file() else _from_run(place)


def _from_run(run: Path) -> list[str]:
    return ["--model.init_from", str(run)]


def _is_file(start: str) -> bool:
    return start.endswith((".yaml", ".yml"))


def _label(start: str) -> str:
    """What a start is called: the task's name, or the file's."""
    return Path(start).stem if _is_file(start) else start


def _run(folder: Path, model: str, start: str, seed: int) -> Path:
    """The run that the process of a start will make: the first below its folder."""
    task = _task_in(start) if _is_file(start) else start
    return _place(folder, model, _label(start), seed) / LOGS / task / "version_0"


def _task_in(file: str) -> str:
    """The task that a configuration names."""
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
    files = {first for first in init_from.values() if _is_file(first)}
    for file in files:
        _task_in(file)  # said now, not when the others have been trained
        if _label(file) in tasks or any(_label(other) == _label(file) for other in files - {file}):
            raise UsageError(f"suite.init_from: {file} is called like another of the suite; give it a name of its own.")
    for task, first in init_from.items():
        for name in (task, *(() if _is_file(first) or _is_folder(first, tasks) else (first,))):
            if name not in tasks:
                other = "" if name == task else ", and no folder of a run or model"
                near = did_you_mean(name, tasks)
                raise UsageError(f"suite.init_from: {name!r} is not in suite.tasks ({', '.join(tasks)}){other}.{near}")
        if _depth(task, init_from) > len(tasks):
            raise UsageError(f"suite.init_from: {task} starts from itself.")


def _depth(task: str, init_from: Mapping[str, str]) -> int:
    depth = 0
    while task in init_from and depth <= len(init_from):
        task, depth = init_from[task], depth + 1
    return depth if task not in init_from else len(init_from) + 10_000


def _cost(task: str, tasks: Sequence[str], init_from: Mapping[str, str]) -> int:
    """Training rows of a task and of those that wait for it: what begins late ends late."""
    waiting = [other for other in tasks if init_from.get(other) == task]
    return get_task(task).files["train"].rows + max((_cost(other, tasks, init_from) for other in waiting), default=0)


def _recipe(pattern: str | None, task: str, model: str) -> list[str]:
    path = _file(pattern, task, model) if pattern is not None else None
    return ["--config", str(path.resolve())] if path is not None and path.is_file() else []


def _file(pattern: str, task: str, model: str) -> Path:
    return Path(pattern.replace("{task}", task).replace("{model}", model.lower()))


def missing_recipes(pattern: str | None, tasks: Sequence[str], models: Sequence[str]) -> list[str]:
    """The files of recipes that are not there."""
    names = [_without_owner(model) for model in models] or [""]
    files = [_file(pattern, task, name) for name in names for task in tasks] if pattern is not None else []
    return [str(file) for file in files if not file.is_file()]
