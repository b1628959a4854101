"""The configurations that glue-lit ships, which ``--config`` takes by name."""

from pathlib import Path

from glue_lit.errors import did_you_mean

_FOLDER = Path(__file__).resolve().parents[1] / "configs"  # a link to the repository's `configs`; copied into the wheel
_PREFIX = "configs/"


def find_config(name: str) -> str:
    """The file that ``--config`` means: the one it names, else the configuration of that name that glue-lit ships.

    Args:
        name: A file; or the path of a shipped configuration without its ending (``cola``, ``tune/default``). Where
            there is no folder ``configs``, ``configs/cola.yaml`` means the shipped one, too, so that commands of the
            documentation work everywhere.

    Returns:
        The file; ``name`` itself if there is none.
    """
    if Path(name).is_file():
        return name
    if name.startswith(_PREFIX) and not Path(_PREFIX).is_dir():
        name = name.removeprefix(_PREFIX).removesuffix(".yaml")
    return str(_FOLDER / f"{name}.yaml") if name in shipped_configs() else name


def shipped_name(file: str) -> str:
    """The name of a shipped configuration whose file is given, for a machine where glue-lit lies elsewhere.

    Args:
        file: A path; any other text is returned as it is.
    """
    path = Path(file)
    for folder in (_FOLDER, _FOLDER.resolve()):
        if path.suffix == ".yaml" and path.is_relative_to(folder):
            return path.relative_to(folder).with_suffix("").as_posix()
    return file


def shipped_configs() -> list[str]:
    """Names of the shipped configurations."""
    return sorted(path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.rglob("*.yaml"))


def list_shipped(near: str) -> str:
    """The shipped configurations beside a name that does not exist, and the folders of others, for a message."""
    names, (parent, _, _) = shipped_configs(), near.removeprefix(_PREFIX).rpartition("/")
    start = f"{parent}/" if any(name.startswith(f"{parent}/") for name in names) else ""
    rest = [name.removeprefix(start).partition("/") for name in names if name.startswith(start)]
    listed = dict.fromkeys(f"{start}{first}{slash}" for first, slash, _ in rest)
    return f"{did_you_mean(near, names)} glue-lit ships {', '.join(listed)}."
