"""The commands of ``glue-lit``. A new one is a module in ``cli/commands`` and a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Command:
    """A command by name, without its imports.

    Attributes:
        help: What it does, in a line of ``glue-lit --help``.
        function: Where it lives, as ``module:function``; it reads ``sys.argv``.
        needs_torch: Whether its module imports torch, which takes seconds.
    """

    help: str
    function: str
    needs_torch: bool = False

    def load(self) -> Callable[[], None]:
        """Import the function."""
        module, _, name = self.function.partition(":")
        function: Callable[[], None] = getattr(import_module(module), name)
        return function


_TRAINER = "glue_lit.cli.trainer_commands:run"
_COMMANDS = "glue_lit.cli.commands"

COMMANDS = {
    "fit": Command("fine-tune a model on a task", _TRAINER, True),
    "validate": Command("score a checkpoint on the validation rows", _TRAINER, True),
    "test": Command("score or predict the test rows with a checkpoint", _TRAINER, True),
    "predict": Command(
        "predict a split, a file, a text or standard input with a checkpoint", f"{_COMMANDS}.predict:main", True
    ),
    "export": Command("write a run's model for others: a folder, ONNX, the Hub", f"{_COMMANDS}.export:main", True),
    "submit": Command("write or check the zip for the GLUE leaderboard", f"{_COMMANDS}.submit:main"),
    "tune": Command("search hyperparameters: many short trainings, then the best settings", f"{_COMMANDS}.tune:main"),
    "suite": Command("train all tasks over several seeds: means, spreads, the GLUE average", f"{_COMMANDS}.suite:main"),
    "runs": Command("list the runs, best first; compare or delete some of them", f"{_COMMANDS}.runs:main"),
    "report": Command("write a page and figures on a run, or on several side by side", f"{_COMMANDS}.report:main"),
    "tasks": Command("list the tasks", f"{_COMMANDS}.tasks:main"),
    "metrics": Command("list the metrics that a task may have", f"{_COMMANDS}.metrics:main"),
    "show": Command("print random examples of a task", f"{_COMMANDS}.show:main"),
    "completion": Command("print a script for tab completion: bash, zsh, tcsh", f"{_COMMANDS}.completion:main", True),
}
