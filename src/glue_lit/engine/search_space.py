"""Search spaces as settings: a dotted key of `fit` and how its values are drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from glue_lit.errors import UsageError, did_you_mean
from glue_lit.runs.config_values import dump_config

# The notebook's space is that of the Trainer: learning rate, epochs, batch size and seed. Our seed is not searched:
# the luckiest one would be taken for the best recipe.
DEFAULT_SPACE: dict[str, dict[str, Any]] = {
    "model.learning_rate": {"type": "float", "low": 1e-5, "high": 2e-4, "log": True},
    "data.batch_size": {"type": "categorical", "choices": [8, 16, 32, 64]},
    "trainer.max_epochs": {"type": "int", "low": 2, "high": 5},
}
_KINDS: dict[str, tuple[Any, tuple[str, ...], tuple[str, ...]]] = {
    "float": (FloatDistribution, ("low", "high"), ("log", "step")),
    "int": (IntDistribution, ("low", "high"), ("log", "step")),
    "categorical": (CategoricalDistribution, ("choices",), ()),
}


def parse_space(space: Mapping[str, Any], known: Sequence[str]) -> dict[str, BaseDistribution]:
    """The space as Optuna takes it.

    Args:
        space: For each key its ``type`` (float, int, categorical) with ``low`` and ``high``, or ``choices``.
        known: Keys that there are.

    Raises:
        UsageError: A key or a setting is none, or no value fits.
    """
    if not space:
        raise UsageError("tune.space: it is empty; name at least one setting to search.")
    return {key: _distribution(key, values, known) for key, values in space.items()}


def _distribution(key: str, values: Any, known: Sequence[str]) -> BaseDistribution:
    where = f"tune.space: {key}"
    if key not in known:
        raise UsageError(f"{where}: `fit` has no such setting.{did_you_mean(key, known)}")
    kind = values.get("type") if isinstance(values, Mapping) else None
    if kind not in _KINDS:
        raise UsageError(
            f"{where}: got {values!r}, allowed: {{type: float or int, low: A, high: B, log: true}} or "
            "{type: categorical, choices: [A, B]}."
        )
    make, needed, others = _KINDS[kind]
    given = {name: value for name, value in values.items() if name != "type"}
    for name in given:
        if name not in (*needed, *others):
            allowed = (*needed, *others)
            raise UsageError(
                f"{where}: {kind} has no {name!r}.{did_you_mean(name, allowed)} It has {', '.join(allowed)}."
            )
    if missing := [name for name in needed if name not in given]:
        raise UsageError(f"{where}: {kind} needs {' and '.join(missing)}.")
    for name in ("low", "high", "step"):
        if isinstance(given.get(name), str):  # 1e-5 is a text to YAML
            given[name] = _number(where, name, given[name])
    if kind == "categorical":
        if not isinstance(given["choices"], list) or not given["choices"]:
            raise UsageError(f"{where}: choices is {given['choices']!r}, allowed: a list of values.")
        given["choices"] = [_plain_number(choice) for choice in given["choices"]]
    try:
        found: BaseDistribution = make(**given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: {' '.join(str(error).split())}") from error
    return found


def _number(where: str, name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{where}: {name} is {text!r}, allowed: a number.") from None


def _plain_number(value: Any) -> Any:
    """A choice as Optuna can keep it: a text like 1e-5 is the number that is meant."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def nest_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as sections, as a configuration file has them."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = found
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return found


def dotted_keys(values: Any, prefix: str = "") -> list[str]:
    """Every key of a configuration, dotted, sections included."""
    if not isinstance(values, Mapping):
        return []
    found = []
    for name, value in values.items():
        key = f"{prefix}{name}"
        found += [key, *dotted_keys(value, f"{key}.")]
    return found


def settings_to_yaml(values: Mapping[str, Any]) -> str:
    """Settings as a configuration file."""
    return dump_config(nest_keys(values))
