import ast
from pathlib import Path

import glue_lit

SOURCE = Path(glue_lit.__file__).parent
# Lower layers first; a module imports from its own layer or from those before it.
LAYERS = (
    (
        "__init__",
        "errors",
        "locales",
        "printable",
        "refusals",
        "run_log",
        "task_spec",
        "tasks",
        "custom",
        "demo",
        "whole_files",
    ),
    (
        "config_values",
        "configs",
        "runs",
        "run_facts",
        "run_files",
        "run_locks",
        "run_comparison",
        "predictions",
        "recipe",
        "submission",
        "submission_zip",
        "console",
        "quiet",
        "pretrained",
    ),
    (
        "accumulation",
        "arguments",
        "checkpoints",
        "parse_errors",
        "metrics",
        "processes",
        "calibration",
        "machine",
        "precisions",
        "optim",
        "refused_callbacks",
        "reformer",
        "rows",
        "data",
        "adapters",
        "architectures",
        "averaging",
        "building",
        "heads",
        "hyperparameters",
        "trainer_settings",
        "layers",
        "losses",
        "merging",
        "model_summary",
        "model_limits",
        "monitors",
        "divergence",
        "dropout",
        "signals",
        "sparse_attention",
        "unused_parameters",
        "watch",
    ),
    ("position", "resume", "scoring", "engine", "reporting", "tracking"),
    ("task_model",),
    ("optimized_model",),
    ("fit_loop",),
    ("model",),
    (
        "callbacks",
        "progress",
        "speed",
        "stopping",
        "keepers",
        "provenance",
        "run_directory",
        "inference",
        "model_card",
        "job_progress",
    ),
    ("summary", "parsing", "exporting"),
    ("onnx_format",),
    ("configured",),
    ("cli",),
    ("commands",),
    ("__main__",),
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}


def imports(path: Path) -> set[str]:
    """Top-level modules of glue_lit that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "glue_lit":
            parts = (node.module or "").split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            found.update(name if name in LAYER else "__init__" for name in names)
    return found


def test_every_module_has_a_layer() -> None:
    modules = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py")}
    assert modules == set(LAYER)


def test_imports_go_one_way() -> None:
    for path in SOURCE.rglob("*.py"):
        module = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if module == "__init__":
            continue  # the lazy front door, which leads everywhere
        upward = {name for name in imports(path) if LAYER[name] > LAYER[module]}
        assert not upward, f"{path.name} imports {upward} from a higher layer"


def test_no_module_but_tasks_asks_for_a_task_by_name() -> None:
    names = set(glue_lit.TASKS)
    for path in SOURCE.rglob("*.py"):
        if path.name == "tasks.py" or "demo" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                constants = {c.value for part in ast.walk(node) if isinstance(c := part, ast.Constant)}
                assert not constants & names, f"{path}:{node.lineno} compares with a task's name"
