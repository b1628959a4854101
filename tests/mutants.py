"""Mutation testing: which small changes to the code its tests notice, each in a fork of its own.

    python tests/mutants.py tasks.glue evaluation.metrics data.sampling runs.run

Run by hand, not in the suite: it takes some minutes per module. A change inside a function replaces the function's code
once the tests have been collected; after any other, the module and its tests are imported anew. Mutants are the usual ones: another comparison, operator,
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
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import pytest
from _pytest.main import pytest_runtestloop as run_tests

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "glue_lit"
# Which tests look at a module, the quick ones first.
LOOKED_AT_BY = {
    "tasks.spec": [
        "tasks/test_glue.py", "tasks/test_custom.py", "tasks/test_metric_entries.py", "data/test_custom_labels.py",
        "data/test_shots.py", "outputs/test_reported_rows.py", "training/callbacks/test_checkpoints.py",
        "cli/commands/test_tasks.py",
    ],
    "tasks.glue": ["tasks/test_glue.py", "tasks/test_custom.py", "data/test_glue_files.py", "cli/commands/test_tasks.py"],
    "evaluation.formulas": [
        "evaluation/test_formulas.py", "evaluation/test_resampling.py", "evaluation/test_metrics.py",
        "evaluation/test_chosen_metrics.py",
    ],
    "evaluation.probability_formulas": ["evaluation/test_chosen_metrics.py"],
    "evaluation.score_formulas": [
        "evaluation/test_score_formulas.py", "evaluation/test_formulas.py", "evaluation/test_chosen_metrics.py",
    ],
    "evaluation.metrics": ["evaluation/test_metrics.py", "evaluation/test_chosen_metrics.py"],
    "evaluation.task_metrics": [
        "evaluation/test_metrics.py", "evaluation/test_chosen_metrics.py", "training/test_classifier.py",
    ],
    "tasks.metric_entries": ["tasks/test_metric_entries.py", "evaluation/test_chosen_metrics.py"],
    "data.sampling": ["data/test_sampling.py", "data/test_batches.py"],
    "data.mixed_batches": ["data/test_sampling.py"],
    "data.length_buckets": ["data/test_length_buckets.py"],
    "encoder.packing": ["encoder/test_packing.py"],
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


class Mutant(NamedTuple):
    """A changed module.

    Attributes:
        line: Where it was changed.
        change: What was changed.
        inside: Class and name, or name, of the function whose body was changed; empty for a change outside of functions.
        tree: The changed module.
    """

    line: int
    change: str
    inside: tuple[str, ...]
    tree: ast.Module


def mutants(tree: ast.Module) -> Iterator[Mutant]:
    """Every mutant of a module."""
    inside = {id(node): name for name, body in bodies(tree) for node in body}
    for number, node in enumerate(ast.walk(tree)):
        for kind in range(2):
            changed = copy.deepcopy(tree)
            at = next(other for place, other in enumerate(ast.walk(changed)) if place == number)
            if left_alone(tree, node) or not (becomes := mutate(changed, at, kind)):
                break
            change = f"{ast.unparse(node)[:70]} -> {becomes[:70]}"
            yield Mutant(node.lineno, change, inside.get(id(node), ()), ast.fix_missing_locations(changed))


def bodies(tree: ast.Module) -> Iterator[tuple[tuple[str, ...], Iterator[ast.AST]]]:
    """Each function and method of a module, with all nodes of its body."""
    for outer in tree.body:
        within = outer.body if isinstance(outer, ast.ClassDef) else [outer]
        for each in within:
            if isinstance(each, ast.FunctionDef):
                name = (outer.name, each.name) if isinstance(outer, ast.ClassDef) else (each.name,)
                yield name, (node for statement in each.body for node in ast.walk(statement))


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


class InPlace:
    """A pytest plugin that runs the collected tests once for each mutant whose change is inside a function.

    Args:
        module: The module's name.
        changed: The mutants.
        limit: Seconds after which a mutant counts as noticed.
        report: Descriptor to which it writes a line for each mutant: whether it was noticed.
    """

    def __init__(self, module: str, changed: Sequence[Mutant], limit: float, report: int) -> None:
        self.module, self.changed, self.limit, self.report = module, changed, limit, report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for mutant in self.changed:
            found = fails(lambda mutant=mutant: self._fails(session, mutant), self.limit)  # type: ignore[misc]
            os.write(self.report, b"noticed\n" if found else b"alive\n")
        return True

    def _fails(self, session: pytest.Session, mutant: Mutant) -> bool:
        replace_code(sys.modules[self.module], mutant)
        run_tests(session)
        return session.testsfailed > 0


def replace_code(module: ModuleType, mutant: Mutant) -> None:
    """Give the function that a mutant changes its new code."""
    code = compile(mutant.tree, str(module.__file__), "exec")
    found: Any = module
    for name in mutant.inside:
        code = next(part for part in code.co_consts if isinstance(part, CodeType) and part.co_name == name)
        found = vars(found)[name]
    found = found.fget if isinstance(found, property) else found
    inspect.unwrap(found).__code__ = code


def fails(look: Callable[[], bool], limit: float) -> bool:
    """Call a function in a fork; returns whether it returns true, raises or takes longer than ``limit`` seconds."""
    child = os.fork()
    if child == 0:
        os.setsid()
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(silence, stream)
        code = 1
        with contextlib.suppress(BaseException):
            code = int(look())
        os._exit(code)
    until = time.monotonic() + limit
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status != 0
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def run_pytest(tests: Sequence[str], *plugins: object) -> int:
    """Run the quick tests of some files up to the first failure."""
    early = "ignore::pytest.PytestAssertRewriteWarning"  # the heavy libraries have been imported
    options = ("-x", "-n0", "-p", "no:cacheprovider", "-m", "not slow and not gpu", "-W", early)
    return int(pytest.main([*(str(TESTS / test) for test in tests), *options], [*plugins]))


def survivors(name: str, path: Path, tests: Sequence[str], limit: float) -> tuple[list[Mutant], int]:
    """The mutants of a module that no test notices, and the number of all."""
    alive, inside, total = [], [], 0
    for mutant in mutants(ast.parse(path.read_text(encoding="utf-8"))):
        total += 1
        if mutant.inside:
            inside.append(mutant)
        elif not fails(partial(run_changed, name, path, mutant.tree, tests), limit):
            alive.append(mutant)
    reading, writing = os.pipe()
    everything = limit * (1 + len(inside))
    fails(lambda: bool(run_pytest(tests, InPlace(name, inside, limit, writing))), everything)
    os.close(writing)
    with os.fdopen(reading) as report:
        lines = report.read().split()
    assert len(lines) == len(inside), f"{len(lines)} results of {len(inside)} mutants"
    for mutant, said in zip(inside, lines, strict=True):  # a function that ran while its module was imported, too
        if said == "alive" and not fails(partial(run_changed, name, path, mutant.tree, tests), limit):
            alive.append(mutant)
    return alive, total


def run_changed(name: str, path: Path, tree: ast.Module, tests: Sequence[str]) -> bool:
    """Whether a test fails with a changed module, which is imported here."""
    sys.meta_path.insert(0, Mutated(name, path, tree))
    return run_pytest(tests) != 0


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
        tests = LOOKED_AT_BY[module]
        begun = time.monotonic()
        if fails(lambda tests=tests: run_pytest(tests) != 0, 600):  # type: ignore[misc]
            parser.error(f"the tests of {module} fail as it is: {', '.join(tests)}")
        alive, total = survivors(f"glue_lit.{module}", path, tests, 10 + 4 * (time.monotonic() - begun))
        for mutant in alive:
            print(f"alive: {path.name}:{mutant.line}: {mutant.change}".replace("\n", " "), flush=True)
        print(f"{module}: {total - len(alive)} of {total} mutants noticed ({1 - len(alive) / total:.1%})", flush=True)
        bad = bad or len(alive) > 0.15 * total
    sys.exit(bad)


if __name__ == "__main__":
    main()
