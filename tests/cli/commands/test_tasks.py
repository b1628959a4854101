import json
import sys

import pytest

from glue_lit.__main__ import main
from glue_lit.tasks.glue import TASKS


def table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, list[list[str]]]:
    """Task to its cells, each a list of lines, as a terminal of 80 columns shows them."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["glue-lit", "tasks"])
    main()
    cells: dict[str, list[list[str]]] = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("│"):
            name, *row = (cell.strip() for cell in line.split("│")[1:-1])
            if name:
                cells[name] = [[] for _ in row]
            for lines, cell in zip(list(cells.values())[-1], row, strict=True):
                lines.extend([cell] if cell else [])
    return cells


def test_every_task_with_labels_metrics_and_sizes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = table(monkeypatch, capsys)
    assert set(cells) == set(TASKS)
    for name, (inputs, labels, metrics, _) in cells.items():
        spec = TASKS[name]
        assert tuple(inputs) == spec.text_columns  # whole words, even in 80 columns
        assert tuple(labels) == (spec.labels or ("score 0 to 5",))
        assert [metric.rstrip("*") for metric in metrics if not metric.startswith("*")] == list(spec.metrics)
    assert cells["cola"][2:] == [["matthews_correlation*"], ["8,551", "1,043", "1,063"]]
    assert cells["mnli-mm"][2:] == [["accuracy*", "*mismatched"], ["392,702", "9,815+9,832", "9,796+9,847"]]
    assert cells["ax"][2:] == [["matthews_correlation"], ["-", "-", "1,104"]]


def test_json_has_the_same_tasks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["glue-lit", "tasks", "--json"])
    main()
    found = {task.pop("task"): task for task in json.loads(capsys.readouterr().out)}
    assert list(found) == list(TASKS)
    assert found["stsb"] == {
        "title": "Semantic Textual Similarity Benchmark",
        "inputs": ["sentence1", "sentence2"],
        "labels": [],
        "score_range": [0.0, 5.0],
        "metrics": ["pearson", "spearmanr"],
        "monitor": "val/pearson",
        "rows": {"train": 5749, "validation": 1500, "test": 1379},
    }
    assert found["ax"]["monitor"] is None  # no checkpoint is picked by it
