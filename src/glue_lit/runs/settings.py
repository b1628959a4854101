"""The allowed values of settings, and where they are shown.

A setting is an argument of `SequenceClassifier`, `GLUEDataModule` or `BestCheckpoint`, or of a class built on them. Its
type, default and docstring make the flag and its help; a `Setting` in its annotation describes the rest::

    @described
    def __init__(self, learning_rate: Annotated[float, Setting(at_least(0), card="always")] = 2e-5) -> None: ...

An argument without a `Setting` may have any value of its type; model card, report and TensorBoard show the value if it
is not the default.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from glue_lit.errors import UsageError

_Init = TypeVar("_Init", bound=Callable[..., None])
Shown = Literal["always", "changed", "never"]  # changed: if the value is not the default
LARGEST_COUNT = 2**31 - 1  # of rows or batches


@dataclass(frozen=True)
class Allowed:
    """Values that a setting may have.

    Attributes:
        words: How an error message describes them.
        test: Whether a value of the right type is one of them.
    """

    words: str
    test: Callable[[Any], bool]

    def holds(self, value: object) -> bool:
        """Whether a value is one of them; text in place of a number is not."""
        try:
            return self.test(value)
        except TypeError:
            return False


def at_least(least: float) -> Allowed:
    """Finite numbers from ``least`` up."""
    return Allowed(f"a number from {least} up", lambda value: least <= value < math.inf)


def above(bound: float) -> Allowed:
    """Finite numbers above ``bound``."""
    return Allowed(f"a number above {bound}", lambda value: bound < value < math.inf)


def count(least: int, most: int = LARGEST_COUNT) -> Allowed:
    """Whole numbers from ``least`` to ``most``."""
    return Allowed(f"{least} to {most}", lambda value: least <= value <= most and value % 1 == 0)


def one_of(literal: Any) -> Allowed:
    """The values of a `Literal`."""
    values = get_args(literal)
    return Allowed(", ".join(values), lambda value: value in values)


SHARE = Allowed("from 0 up, below 1", lambda value: 0 <= value < 1)
FACTOR = Allowed("above 0, up to 1", lambda value: 0 < value <= 1)


@dataclass(frozen=True)
class Setting:
    """Description of a setting beyond its type and help.

    Attributes:
        allowed: Its allowed values; ``None`` for all of its type.
        label: Its name on model card and report; by default the argument's name in words.
        row: Its position on model card and report, lowest first: the model from 100, its optimizer from 200, the loss
            from 300, batches from 400, length from 500, checkpoints from 600, computation from 700, data from 800.
        card: When model card and report show it.
        hparams: When TensorBoard's HParams page shows it.
        in_words: Formats its value for model card and report; `glue_lit.runs.recipe.in_words` by default.
        restored: Whether a command restores it from a checkpoint outside any run; ``False`` for settings of the
            machine and for permission to run code.
        default: Its default, which `settings_of` reads from the signature.
    """

    allowed: Allowed | None = None
    label: str = ""
    row: int = 999
    card: Shown = "changed"
    hparams: Shown = "changed"
    in_words: Callable[[Any], str] | None = None
    restored: bool = True
    default: Any = None


# Set by the program itself, or specific to the machine.
INTERNAL = Setting(card="never", hparams="never", restored=False)


def described(init: _Init) -> _Init:
    """Store each argument's `Setting` for `settings_of`, and leave only the type in its annotation, for the help."""
    annotations: dict[str, Any] = init.__annotations__
    hints = {name: hint for name, hint in annotations.items() if get_origin(hint) is Annotated}
    init.settings = {name: hint.__metadata__[0] for name, hint in hints.items()}  # type: ignore[attr-defined]
    annotations.update({name: get_args(hint)[0] for name, hint in hints.items()})
    return init


_REST = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def settings_of(owner: type) -> dict[str, Setting]:
    """The settings of a class by name, including those of the base classes that receive its ``**kwargs``."""
    found: dict[str, Setting] = {}
    for part in owner.__mro__:
        if (init := vars(part).get("__init__")) is None:
            continue
        own = getattr(init, "settings", {})
        parameters = [*signature(init).parameters.values()][1:]  # without self
        for name, default in ((each.name, each.default) for each in parameters if each.kind not in _REST):
            setting = own.get(name, Setting())
            label = setting.label or name.replace("_", " ").capitalize()
            found.setdefault(name, replace(setting, label=label, default=default))
        if not any(each.kind is Parameter.VAR_KEYWORD for each in parameters):
            break
    return found


def check_values(section: str, allowed: Mapping[str, Allowed | None], values: Mapping[str, Any]) -> None:
    """Refuse a value that is not allowed.

    Args:
        section: Section of the configuration: ``model`` or ``data``.
        allowed: The allowed values of each setting, by name.
        values: The given values; ``None`` leaves the choice to the program.

    Raises:
        UsageError: A value is not allowed.
    """
    for name, range_ in allowed.items():
        if range_ is not None and values.get(name) is not None and not range_.holds(values[name]):
            raise UsageError(f"{section}.{name}: got {values[name]}, allowed: {range_.words}.")


def check_settings(section: str, owner: type, values: Mapping[str, Any]) -> None:
    """Refuse a value that the class's `Setting` does not allow.

    Raises:
        UsageError: A value is not allowed.
    """
    check_values(section, {name: setting.allowed for name, setting in settings_of(owner).items()}, values)
