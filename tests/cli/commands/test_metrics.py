"""`glue-lit metrics`: every metric with its range, direction, parameters and reference."""

import json

import pytest
from command_line import glue_lit

from glue_lit.tasks.metrics import METRICS, Kind, metrics_for


def test_every_metric_with_what_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert glue_lit(monkeypatch, "metrics") == 0
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    names = [row[1].strip() for row in rows if row[1].startswith(" ") and not row[1].startswith("   ")]
    kinds: tuple[Kind, ...] = ("classification", "ordinal", "multi_label", "regression")
    assert [name for name in names if name] == [name for kind in kinds for name in metrics_for(kind)]
    at = [row[1].strip() for row in rows].index("log_loss")
    assert (rows[at][3].strip(), rows[at + 1][3].strip()) == ("0 and up", "lower is better")


def test_json_has_the_registry(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert glue_lit(monkeypatch, "metrics", "--json") == 0
    found = {row["metric"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(found) == set(METRICS)
    assert found["fbeta"]["parameters"] == ["beta", "positive", "average"]
    assert (found["r2"]["low"], found["r2"]["kinds"], found["r2"]["lower_is_better"]) == (
        None,
        ["regression", "ordinal"],
        False,
    )
