"""Mutation testing: which small changes to the code its tests notice, each in a process of its own.

    python tests/mutants.py tasks.glue evaluation.metrics data.sampling runs.run

Run by hand, not in the suite: it takes some minutes per module. Mutants are the usual ones: another comparison, operator,
number, string or boolean; a negated condition; nothing returned; a statement left out. Docstrings, annotations,
the words of f-strings and `__all__` are left alone. Prints the survivors; exits with 1 if more than
15 % of a module's live.
"""

import argparse
import ast
import contextlib
import copy
import gc
import importlib
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "glue_lit"
# Which tests look at a module, the quick ones first.
LOOKED_AT_BY = {
    "tasks.spec": ["tasks/test_glue.py", "tasks/test_custom.py", "data/test_sources.py", "cli/commands/test_tasks.py"],
    "tasks.glue": ["tasks/test_glue.py", "tasks/test_custom.py", "data/test_sources.py", "cli/commands/test_tasks.py"],
    "evaluation.formulas": ["evaluation/test_formulas.py", "evaluation/test_resampling.py", "evaluation/test_metrics.py"],
    "evaluation.metrics": ["evaluation/test_metrics.py"],
    "evaluation.task_metrics": ["evaluation/test_metrics.py", "training/test_classifier.py"],
    "data.sampling": ["data/test_sampling.py", "data/test_batches.py"],
    "runs.locks": ["runs/test_run.py"],
    "runs.run": [
        "runs/test_run.py", "training/callbacks/test_run_directory.py", "cli/test_run_arguments.py",
        "cli/commands/test_runs.py",
    ],
}  # fmt: skip
HEAVY = ("torch", "lightning.pytorch", "torchmetrics", "transformers", "datasets", "scipy.stats", "sklearn.metrics")
OTHERS: dict[type, type] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


def mutants(tree: ast.Module) -> Iterator[tuple[int, str, ast.Module]]:
    """Every mutant: its line, what was changed, and the changed module."""
    for number, node in enumerate(ast.walk(tree)):
        for kind in range(2):
            changed = copy.deepcopy(tree)
            at = next(other for place, other in enumerate(ast.walk(changed)) if place == number)
            if left_alone(tree, node) or not (becomes := mutate(changed, at, kind)):
                break
            was = ast.unparse(node)
            yield node.lineno, f"{was[:70]} -> {becomes[:70]}", ast.fix_missing_locations(changed)


def left_alone(tree: ast.Module, node: ast.AST) -> bool:
    """Whether a node has no effect on behaviour: an annotation, a docstring, a part of an f-string."""
    if not hasattr(node, "lineno"):
        return True
    for parent in ast.walk(tree):
        quiet: list[ast.AST | None] = []
        if isinstance(parent, ast.AnnAssign | ast.arg):
            quiet = [parent.annotation]
        elif isinstance(parent, ast.FunctionDef):
            quiet = [parent.returns]
        elif isinstance(parent, ast.JoinedStr):
            quiet = [value for value in parent.values if isinstance(value, ast.Constant)]
        elif isinstance(parent, ast.Expr) and isinstance(parent.value, ast.Constant):
            quiet = [parent]
        elif isinstance(parent, ast.Assign) and ast.unparse(parent.targets[0]) == "__all__":  # mypy checks it
            quiet = [parent.value]
        if any(each is not None and any(node is part for part in ast.walk(each)) for each in quiet):
            return True
    return False


def mutate(tree: ast.Module, node: ast.AST, kind: int) -> str:
    """Change one node in place; returns its new code, or an empty text if there is no such change."""
    match node, kind:
        case ast.Compare(ops=[operator]), 0:
            node.ops = [OTHERS[type(operator)]()]
        case ((ast.BoolOp() | ast.BinOp() | ast.AugAssign()), 0) if type(node.op) in OTHERS:
            node.op = OTHERS[type(node.op)]()
        case ast.Constant(value=bool()), 0:
            node.value = not node.value
        case ast.Constant(value=int() | float()), 0:
            node.value += 1
        case ast.Constant(value=str()), 0:
            node.value = f"XX{node.value}"
        case ((ast.If() | ast.While() | ast.IfExp() | ast.Assert()), 0):
            node.test = ast.UnaryOp(ast.Not(), node.test)
            return f"not {ast.unparse(node.test.operand)}"
        case ast.Return(value=ast.expr() as value), 0 if not (isinstance(value, ast.Constant) and value.value is None):
            node.value = ast.Constant(None)
        case ((ast.Continue() | ast.Break()), 0):
            other = ast.Break() if isinstance(node, ast.Continue) else ast.Continue()
            replace(tree, node, other)
            return ast.unparse(other)
        case ((ast.Expr() | ast.Raise()), 0):
            replace(tree, node, ast.Pass())
            return "pass"
        case ast.AugAssign(), 1:
            replace(tree, node, ast.Pass())
            return "pass"
        case _:
            return ""
    return ast.unparse(node)


def replace(tree: ast.Module, node: ast.AST, other: ast.stmt) -> None:
    """Replace one statement by another."""
    for parent in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(parent, name, None)
            if isinstance(block, list):
                setattr(parent, name, [other if each is node else each for each in block])


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads a changed module instead of the one on disk."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        return (
            importlib.util.spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None
        )

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


def noticed(name: str, path: Path, tree: ast.Module, tests: Sequence[str], limit: float = 600) -> bool:
    """Whether a test fails with the changed module, or runs on for ``limit`` seconds."""
    child = os.fork()
    if child == 0:
        os.setsid()
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(silence, stream)
        sys.meta_path.insert(0, Mutated(name, path, tree))
        code = 3
        with contextlib.suppress(BaseException):
            import pytest

            files = [str(TESTS / test) for test in tests]
            early = "ignore::pytest.PytestAssertRewriteWarning"  # the heavy libraries have been imported
            options = ("-x", "-n0", "-p", "no:cacheprovider", "-m", "not slow and not gpu", "-W", early)
            code = int(pytest.main([*files, *options]))
        os._exit(code)
    until = time.monotonic() + limit
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status != 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", choices=list(LOOKED_AT_BY), default=list(LOOKED_AT_BY))
    bad = False
    os.environ["HF_HUB_OFFLINE"] = "1"  # read at import, which is before conftest.py sets it
    for library in HEAVY:
        importlib.import_module(library)
    gc.freeze()  # forks need not scan these objects again
    for module in parser.parse_args().modules:
        path = SOURCE.joinpath(*module.split(".")).with_suffix(".py")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = f"glue_lit.{module}"
        begun = time.monotonic()
        if noticed(name, path, tree, LOOKED_AT_BY[module]):
            parser.error(f"the tests of {module} fail as it is: {', '.join(LOOKED_AT_BY[module])}")
        limit = 10 + 4 * (time.monotonic() - begun)
        alive = total = 0
        for line, change, changed in mutants(tree):
            total += 1
            if not noticed(name, path, changed, LOOKED_AT_BY[module], limit):
                alive += 1
                print(f"alive: {path.name}:{line}: {change}".replace("\n", " "), flush=True)
        print(f"{module}: {total - alive} of {total} mutants noticed ({1 - alive / total:.1%})", flush=True)
        bad = bad or alive > 0.15 * total
    sys.exit(bad)


if __name__ == "__main__":
    main()
