"""Search spaces: distributions of the settings of `fit`, by dotted key."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from inspect import Parameter, signature
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from glue_lit.errors import UsageError, did_you_mean
from glue_lit.runs.config_values import dump_config

# The space of transformers' Trainer without the seed, since a lucky seed would look like the best recipe.
DEFAULT_SPACE: dict[str, dict[str, Any]] = {
    "model.learning_rate": {"type": "float", "low": 1e-5, "high": 2e-4, "log": True},
    "data.batch_size": {"type": "categorical", "choices": [8, 16, 32, 64]},
    "trainer.max_epochs": {"type": "int", "low": 2, "high": 5},
}
_KINDS: dict[Any, Callable[..., BaseDistribution]] = {
    "float": FloatDistribution, "int": IntDistribution, "categorical": CategoricalDistribution,
}  # fmt: skip


def parse_space(space: Mapping[str, Any], known: Sequence[str]) -> dict[str, BaseDistribution]:
    """Parse a search space into Optuna's distributions.

    Args:
        space: For each dotted key, ``type`` (float, int, categorical) with ``low`` and ``high``, or ``choices``.
        known: Dotted keys of the settings of `fit`.

    Raises:
        UsageError: A key is unknown, or its distribution is not valid.
    """
    if not space:
        raise UsageError("tune.space: it is empty; name at least one setting to search.")
    return {key: _parse_distribution(key, values, known) for key, values in space.items()}


def _parse_distribution(key: str, values: Any, known: Sequence[str]) -> BaseDistribution:
    where = f"tune.space: {key}"
    if key not in known:
        raise UsageError(f"{where}: `fit` has no such setting.{did_you_mean(key, known)}")
    kind = values.get("type") if isinstance(values, Mapping) else None
    if kind not in _KINDS:
        raise UsageError(
            f"{where}: got {values!r}, allowed: {{type: float or int, low: A, high: B, log: true}} or "
            "{type: categorical, choices: [A, B]}."
        )
    parameters = signature(_KINDS[kind]).parameters
    needed = [name for name, parameter in parameters.items() if parameter.default is Parameter.empty]
    given = {name: value for name, value in values.items() if name != "type"}
    for name in given:
        if name not in parameters:
            near = did_you_mean(name, parameters)
            raise UsageError(f"{where}: {kind} has no {name!r}.{near} It has {', '.join(parameters)}.")
    if missing := [name for name in needed if name not in given]:
        raise UsageError(f"{where}: {kind} needs {' and '.join(missing)}.")
    for name in [name for name in ("low", "high", "step") if name in given]:
        given[name] = _number_if_text(given[name])
        if isinstance(given[name], str):
            raise UsageError(f"{where}: {name} is {given[name]!r}, allowed: a number.")
    if kind == "categorical":
        if not isinstance(given["choices"], list) or not given["choices"]:
            raise UsageError(f"{where}: choices is {given['choices']!r}, allowed: a list of values.")
        given["choices"] = [_number_if_text(choice) for choice in given["choices"]]
    try:
        return _KINDS[kind](**given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: {' '.join(str(error).split())}") from error


def _number_if_text(value: Any) -> Any:
    """Convert text like ``1e-5``, which YAML does not read as a number; return any other value unchanged."""
    with suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return value


def nest_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nest dotted keys into sections, as in a configuration file."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return nested


def dotted_keys(values: Any, prefix: str = "") -> list[str]:
    """All dotted keys of a configuration, including those of sections."""
    if not isinstance(values, Mapping):
        return []
    keys = []
    for name, value in values.items():
        keys += [f"{prefix}{name}", *dotted_keys(value, f"{prefix}{name}.")]
    return keys


def settings_to_yaml(values: Mapping[str, Any]) -> str:
    """Format settings by dotted key as a configuration file."""
    return dump_config(nest_keys(values))
