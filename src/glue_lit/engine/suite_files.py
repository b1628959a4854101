"""Files of a suite: the recipes of its tasks, and what they start from."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from glue_lit.runs.config_paths import find_beside
from glue_lit.runs.shipped_configs import find_config
from glue_lit.tasks.glue import TASKS


def is_folder(start: str, tasks: Sequence[str]) -> bool:
    """Whether a start is the folder of a run or model; a task takes precedence over a folder of the same name."""
    return start not in tasks and Path(start).is_dir()


def is_file(start: str) -> bool:
    """Whether a start is the configuration of a training on other data."""
    return start.endswith((".yaml", ".yml"))


def find_starts(init_from: Mapping[str, str], tasks: Sequence[str], folder: Path | None) -> dict[str, str]:
    """What each task starts from, with paths that exist.

    Args:
        init_from: The starts as they are given.
        tasks: Names of the tasks of the suite, which are no paths.
        folder: Folder of the configuration file that names them; ``None`` without one.
    """

    def find(start: str) -> str:
        if start in (*tasks, *TASKS):
            return start
        found = start if folder is None else find_beside(start, folder)
        return find_config(found) if is_file(found) else found

    return {task: find(start) for task, start in init_from.items()}


def find_recipes(pattern: str | None, tasks: Sequence[str], models: Sequence[str], folder: Path | None) -> str | None:
    """The pattern of the recipes' files: as it is given, or beside the configuration file that gives it.

    Args:
        pattern: As for `recipe_file`.
        tasks: Names of the tasks.
        models: Names of the models; empty for that of the configuration.
        folder: Folder of the configuration file; ``None`` without one.
    """
    if pattern is None or folder is None:
        return pattern
    patterns = (pattern, str(folder.absolute() / pattern))
    return next((one for one in patterns if any(map(Path.is_file, _recipe_files(one, tasks, models)))), pattern)


def recipe_file(pattern: str | None, task: str, model: str) -> Path | None:
    """The file of a task's recipe, which may not exist.

    Args:
        pattern: File with ``{task}`` and ``{model}`` (in lower case) in its name; ``None`` for no recipes.
        task: Name of the task.
        model: Name of the model.
    """
    if pattern is None:
        return None
    return Path(find_config(pattern.replace("{task}", task).replace("{model}", without_owner(model).lower())))


def missing_recipes(pattern: str | None, tasks: Sequence[str], models: Sequence[str]) -> list[str]:
    """Recipe files that do not exist."""
    return [str(file) for file in _recipe_files(pattern, tasks, models) if not file.is_file()]


def _recipe_files(pattern: str | None, tasks: Sequence[str], models: Sequence[str]) -> list[Path]:
    files = [recipe_file(pattern, task, model) for model in models or [""] for task in tasks]
    return [file for file in files if file is not None]


def without_owner(model: str) -> str:
    """A model's name on the Hub without its owner."""
    return model.rstrip("/").rpartition("/")[2]
