import sys

import pytest

from glue_lit.__main__ import main
from glue_lit.tasks import TASKS


def test_every_task_with_labels_metrics_and_sizes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["glue-lit", "tasks"])
    main()
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert set(cells) == set(TASKS)
    assert cells["cola"] == [
        "sentence",
        "unacceptable, acceptable",
        "matthews_correlation*",
        "8,551 / 1,043 / 1,063",
    ]
    assert cells["stsb"][1:3] == ["score 0 to 5", "pearson*, spearmanr"]
    assert cells["mnli-mm"][2:] == ["accuracy* (mismatched)", "392,702 / 9,815 + 9,832 / 9,796 + 9,847"]
    assert cells["ax"][2:] == ["matthews_correlation", "- / - / 1,104"]


def test_words_stay_whole_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["glue-lit", "tasks"])
    main()
    words = set(capsys.readouterr().out.replace("│", " ").replace(",", " ").split())
    assert {"unacceptable", "not_entailment", "contradiction", "matthews_correlation*", "sentence1"} <= words
