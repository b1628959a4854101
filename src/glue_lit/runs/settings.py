"""What a setting is besides its type, default and help: the values it may have, and where it is shown.

A setting is an argument of `SequenceClassifier`, `GLUEDataModule` or `BestCheckpoint`, or of a class built on them. Its
type, default and docstring make the flag and its help; a `Setting` in its annotation describes the rest::

    @described
    def __init__(self, learning_rate: Annotated[float, Setting(at_least(0), card="always")] = 2e-5) -> None: ...

An argument without one may have any value; model card, report and TensorBoard show it where it is not the default.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from glue_lit.errors import UsageError

_Init = TypeVar("_Init", bound=Callable[..., None])
Shown = Literal["always", "changed", "never"]  # changed: where the value is not the default
LARGEST_COUNT = 2**31 - 1  # of what counts rows and batches


@dataclass(frozen=True)
class Allowed:
    """Values that a setting may have.

    Attributes:
        words: How a message names them.
        test: Whether a value of the right type is one of them.
    """

    words: str
    test: Callable[[Any], bool]

    def holds(self, value: object) -> bool:
        """Whether a value is one of them; a text is not, where numbers are allowed."""
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
    """A setting, besides its type and help.

    Attributes:
        allowed: Its values; ``None`` for all of its type.
        label: What model card and report call it; by default its name in words.
        row: Its place on model card and report, lowest first: the model from 100, its optimizer from 200, the loss from
            300, batches from 400, length from 500, checkpoints from 600, computation from 700, data from 800.
        card: When model card and report show it.
        hparams: When TensorBoard's page HParams shows it.
        in_words: Its value as model card and report show it; `glue_lit.runs.recipe.in_words` by default.
        restored: Whether a checkpoint outside any run brings it to the next command: not what belongs to the machine,
            nor the permission to run code.
        default: Its default, which `settings_of` takes from the signature.
    """

    allowed: Allowed | None = None
    label: str = ""
    row: int = 999
    card: Shown = "changed"
    hparams: Shown = "changed"
    in_words: Callable[[Any], str] | None = None
    restored: bool = True
    default: Any = None


# Set by the program itself, or a matter of the machine.
INTERNAL = Setting(card="never", hparams="never", restored=False)


def described(init: _Init) -> _Init:
    """Keep the `Setting` of each argument for `settings_of`; the annotation keeps the type, which the help shows."""
    annotations: dict[str, Any] = init.__annotations__
    hints = {name: hint for name, hint in annotations.items() if get_origin(hint) is Annotated}
    init.settings = {name: hint.__metadata__[0] for name, hint in hints.items()}  # type: ignore[attr-defined]
    annotations.update({name: get_args(hint)[0] for name, hint in hints.items()})
    return init


_REST = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def settings_of(owner: type) -> dict[str, Setting]:
    """The settings of a class by name, with those of its base classes that its ``**kwargs`` are passed on to."""
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
        section: Where the settings stand in a configuration: ``model``, ``data``.
        allowed: The values that each may have, by name.
        values: Those given; ``None`` leaves the choice to the program.

    Raises:
        UsageError: There is one.
    """
    for name, range_ in allowed.items():
        if range_ is not None and values.get(name) is not None and not range_.holds(values[name]):
            raise UsageError(f"{section}.{name}: got {values[name]}, allowed: {range_.words}.")


def check_settings(section: str, owner: type, values: Mapping[str, Any]) -> None:
    """Refuse a value that a class's own description of the setting does not allow.

    Raises:
        UsageError: There is one.
    """
    check_values(section, {name: setting.allowed for name, setting in settings_of(owner).items()}, values)
