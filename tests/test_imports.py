import ast
import re
from collections.abc import Iterator
from pathlib import Path

import glue_lit

SOURCE = Path(glue_lit.__file__).parent
REPOSITORY = Path(__file__).resolve().parents[1]
# From the ground up; a room imports from those below it, and rooms of one floor not from each other.
FLOORS = (
    ("errors",),
    ("system", "tasks"),
    ("runs", "encoder"),
    ("data",),
    ("evaluation",),
    ("training",),
    ("engine",),
    ("outputs", "__init__"),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> Iterator[tuple[str, Path]]:
    """The room of each module, and its file."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).parts[0].removesuffix(".py"), path


def rooms_imported(path: Path) -> set[str]:
    """Rooms that a module imports from, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "glue_lit":
            parts = (node.module or "").split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            found.update(name if name in FLOOR else "__init__" for name in names)
        if isinstance(node, ast.Import):
            parts = [alias.name.split(".") for alias in node.names if alias.name.split(".")[0] == "glue_lit"]
            found.update((*part, "__init__")[1] for part in parts)
    return found


def test_every_module_is_in_a_room() -> None:
    assert {room for room, _ in modules()} == set(FLOOR)


def test_imports_go_down() -> None:
    for room, path in modules():
        if room == "__init__":
            continue  # the package's face, which imports a name when it is asked for
        upward = {other for other in rooms_imported(path) - {room} if FLOOR[other] >= FLOOR[room]}
        assert not upward, f"{path.relative_to(SOURCE)} imports from {sorted(upward)}, which is no lower floor"


def test_no_module_but_the_registry_asks_for_a_task_by_name() -> None:
    names = set(glue_lit.TASKS)
    for _, path in modules():
        if path == SOURCE / "tasks" / "glue.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                constants = {c.value for part in ast.walk(node) if isinstance(c := part, ast.Constant)}
                assert not constants & names, f"{path}:{node.lineno} compares with a task's name"


def test_the_files_that_contributing_names_exist() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:\w+/)+\w+\.(?:py|md|yaml|json))[`:]", text)
    assert len(named) > 20
    for name in named:
        places = [REPOSITORY / name, SOURCE / name, REPOSITORY / "benchmarks" / name]
        assert any(place.is_file() for place in places), f"CONTRIBUTING.md names {name}, which is not there"


def test_a_module_has_at_most_250_lines_and_a_function_40() -> None:
    """Without the function's signature, and the module's if it is a list of settings (``@described``)."""
    for _, path in modules():
        text = path.read_text(encoding="utf-8")
        lines = len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.body[0].lineno < 40, f"{path.relative_to(SOURCE)}: {node.name}"
                if any(isinstance(name, ast.Name) and name.id == "described" for name in node.decorator_list):
                    lines -= node.body[0].lineno - node.lineno
        assert lines <= 250, path.relative_to(SOURCE)
