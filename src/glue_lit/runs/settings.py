"""What a setting is beside its type, default and help: the values it may have, and where it is shown.

A setting is an argument of `SequenceClassifier`, `GLUEDataModule` or `BestCheckpoint`. Its type, default and docstring
make the flag and its help; a `Setting` in its annotation says the rest::

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
        """Whether a value is one of them; a text where numbers are allowed is none."""
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


def one_of(*values: str) -> Allowed:
    """These words."""
    return Allowed(", ".join(values), lambda value: value in values)


SHARE = Allowed("from 0 up, below 1", lambda value: 0 <= value < 1)
FACTOR = Allowed("above 0, up to 1", lambda value: 0 < value <= 1)


@dataclass(frozen=True)
class Setting:
    """A setting, beside its type and help.

    Attributes:
        allowed: Its values; ``None`` for all of its type.
        label: What model card and report call it; by default its name in words.
        card: When model card and report show it.
        hparams: When TensorBoard's page HParams shows it.
        default: Its default, which `settings_of` takes from the signature.
    """

    allowed: Allowed | None = None
    label: str = ""
    card: Shown = "changed"
    hparams: Shown = "changed"
    default: Any = None


NOT_SHOWN = Setting(card="never", hparams="never")


def described(init: _Init) -> _Init:
    """Keep the `Setting` of each argument for `settings_of`; what stays is the type, which the help shows."""
    annotations: dict[str, Any] = init.__annotations__
    hints = {name: hint for name, hint in annotations.items() if get_origin(hint) is Annotated}
    init.settings = {name: hint.__metadata__[0] for name, hint in hints.items()}  # type: ignore[attr-defined]
    annotations.update({name: get_args(hint)[0] for name, hint in hints.items()})
    return init


def settings_of(owner: type) -> dict[str, Setting]:
    """The settings of a class by name; also those of its base classes that its ``**kwargs`` hand on."""
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


_REST = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def check_values(section: str, allowed: Mapping[str, Allowed | None], values: Mapping[str, Any]) -> None:
    """Stop at a value that is not allowed.

    Args:
        section: Where the settings stand in a configuration: ``model``, ``data``.
        allowed: The values that each may have, by name.
        values: Those given; ``None`` stands for a choice of the program.

    Raises:
        UsageError: There is one.
    """
    for name, range_ in allowed.items():
        if range_ is not None and values.get(name) is not None and not range_.holds(values[name]):
            raise UsageError(f"{section}.{name}: got {values[name]}, allowed: {range_.words}.")


def check_settings(section: str, owner: type, values: Mapping[str, Any]) -> None:
    """Stop at a setting of a class whose value is not allowed.

    Raises:
        UsageError: There is one.
    """
    check_values(section, {name: setting.allowed for name, setting in settings_of(owner).items()}, values)
