import re
from typing import Any

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from glue_lit.engine.search_space import DEFAULT_SPACE, dotted_keys, nest_keys, parse_space, settings_to_yaml
from glue_lit.errors import UsageError

KNOWN = ("model", "model.learning_rate", "data.batch_size", "trainer.max_epochs", "model.schedule")


def test_every_kind_of_distribution_is_parsed() -> None:
    text = """
      model.learning_rate: {type: float, low: 1e-5, high: 1e-4, log: true}
      trainer.max_epochs: {type: int, low: 1, high: 5}
      data.batch_size: {type: categorical, choices: [8, 16]}
      model.schedule: {type: categorical, choices: [linear, cosine]}
    """
    assert parse_space(yaml.safe_load(text), KNOWN) == {
        "model.learning_rate": FloatDistribution(1e-5, 1e-4, log=True),  # YAML reads these as texts
        "trainer.max_epochs": IntDistribution(1, 5),
        "data.batch_size": CategoricalDistribution([8, 16]),
        "model.schedule": CategoricalDistribution(["linear", "cosine"]),
    }
    assert set(parse_space(DEFAULT_SPACE, KNOWN)) == set(DEFAULT_SPACE)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "tune.space: it is empty"),
        ({"model.learning_rat": {"type": "float"}}, "`fit` has no such setting. Did you mean 'model.learning_rate'?"),
        ({"model.learning_rate": 3}, "model.learning_rate: got 3, allowed: {type: float or int"),
        ({"model.learning_rate": {"type": "flot"}}, "got {'type': 'flot'}, allowed"),
        ({"model.learning_rate": {"type": "float", "low": 1}}, "model.learning_rate: float needs high."),
        ({"model.learning_rate": {"type": "float", "lo": 1}}, "float has no 'lo'. Did you mean 'low'?"),
        ({"model.learning_rate": {"type": "float", "low": "x", "high": 1}}, "low is 'x', allowed: a number"),
        ({"model.learning_rate": {"type": "float", "low": 2, "high": 1}}, "model.learning_rate: "),
        ({"model.learning_rate": {"type": "float", "low": 0, "high": 1, "log": True}}, "model.learning_rate: "),
        ({"data.batch_size": {"type": "categorical", "choices": []}}, "choices is [], allowed: a list"),
        ({"data.batch_size": {"type": "categorical", "choices": 8}}, "choices is 8, allowed: a list"),
    ],
)
def test_bad_input_is_one_message(space: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_space(space, KNOWN)


def test_dotted_keys_and_sections() -> None:
    values = {"model.learning_rate": 3e-05, "model.peft.init_args.r": 8, "seed_everything": 1}
    sections = {"model": {"learning_rate": 3e-05, "peft": {"init_args": {"r": 8}}}, "seed_everything": 1}
    assert nest_keys(values) == sections
    assert set(values) < set(dotted_keys(sections))
    assert yaml.safe_load(settings_to_yaml(values)) == sections
