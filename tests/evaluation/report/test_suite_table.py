"""Reports on suites show the scores in their files, beside the published scores in the recipes."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ledger_page import published
from glue_lit.__main__ import main
from glue_lit.evaluation.report.published_scores import PUBLISHED, published_for
from glue_lit.evaluation.report.suite_figure import suite_drawing
from glue_lit.evaluation.report.suite_page import suite_page
from glue_lit.evaluation.report.suite_table import suite_report, table

RECIPES = Path(__file__).resolve().parents[3] / "configs" / "recipes"


def model_results(scale: float = 1.0, **other: Any) -> dict[str, Any]:
    def figure(name: str, mean: float) -> dict[str, Any]:
        return {"name": name, "mean": scale * mean, "deviation": 1.5, "count": 3}

    return {
        "tasks": {
            "stsb": [figure("pearson", 86.0), figure("spearmanr", 85.0)],
            "cola": [figure("matthews_correlation", 35.0)],
            "mnli": [figure("val_matched/accuracy", 80.0), figure("val_mismatched/accuracy", 81.0)],
        },
        "majority": {"wnli": 56.34}, "left_out": [], "average": None, "wall_seconds": {"stsb": 100.0, "cola": 20.5},
    } | other  # fmt: skip


def write_results(folder: Path, **models: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    record = {"suite": folder.name, "seeds": [0, 1, 2], "models": models or {"org/BERT-base-cased": model_results()}}
    (folder / "results.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["glue-lit", "report", *map(str, arguments)])
    main()


class Text(HTMLParser):
    """Words and tag names of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_table_has_all_scores_in_the_order_of_tasks(tmp_path: Path) -> None:
    report = suite_report([write_results(tmp_path / "one")])
    columns, rows = table(report)
    assert columns == ["task", "metric", "BERT-base-cased", "bert-base-cased, published"]
    assert [tuple(row) for row in rows] == [
        ("cola", "Matthews correlation", "35.00 ± 1.50 (n 3)", "56.53"),
        ("stsb", "Pearson correlation", "86.00 ± 1.50 (n 3)", "88.64"),
        ("stsb", "Spearman correlation", "85.00 ± 1.50 (n 3)", "88.48"),
        ("mnli", "Accuracy, matched", "80.00 ± 1.50 (n 3)", "83.91"),
        ("mnli", "Accuracy, mismatched", "81.00 ± 1.50 (n 3)", "84.10"),
        ("wnli", "Accuracy", "56.34 (most frequent label)", "56.34"),
    ]


def test_the_figure_shows_mean_and_spread(tmp_path: Path) -> None:
    report = suite_report([write_results(tmp_path / "one", a=model_results(), b=model_results(0.5))])
    drawing = suite_drawing(report)
    assert "a: stsb Pearson correlation 86.00 ± 1.50" in drawing.text
    assert "b: stsb Pearson correlation 43.00 ± 1.50" in drawing.text
    assert drawing.png.startswith(b"\x89PNG")
    assert len(drawing.png) < 200_000
    words = "".join(Text(drawing.svg).words)
    for word in ("cola  Matthews correlation", "bert-base-cased, published"):
        assert " ".join(word.split()) in " ".join(words.split())


def test_names_are_escaped(tmp_path: Path) -> None:
    report = suite_report(
        [write_results(tmp_path / "<script>x", **{"<img src=x onerror=alert(1)>$a$": model_results()})]
    )
    page = Text(suite_page(report, suite_drawing(report)))
    assert not {"script", "img"} & set(page.tags)
    assert "<img src=x onerror=alert(1)>$a$" in "".join(page.words)


def test_published_scores_are_those_of_the_recipes() -> None:
    reported = {(found["model"], found["task"]): found["reported"] for found in published(RECIPES)}
    shown = set()
    for model, found in PUBLISHED.items():
        for (task, _), value in found.items():
            assert value in [float(number) for number in re.findall(r"\d+\.\d+", reported[model, task])], (model, task)
            shown.add((model, task))
    # All except those whose source does not name the metric.
    assert set(reported) - shown == {("modernbert-base", task) for task in ("mnli", "mrpc", "qqp", "stsb")}


def test_published_scores_are_of_the_same_model_or_of_bert() -> None:
    assert published_for(["answerdotai/ModernBERT-base", "x"]) == ["modernbert-base"]
    assert published_for(["mine"]) == ["bert-base-cased"]


def test_a_suite_is_reported_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_results(tmp_path / "one")
    run(monkeypatch, one)
    assert "Suite one, times 100" in capsys.readouterr().out
    assert (one / "report" / "suite.png").is_file()
    assert "Matthews correlation" in (one / "report" / "report.html").read_text(encoding="utf-8")
    two = write_results(tmp_path / "two", mine=model_results(0.9))
    run(monkeypatch, one, two, "--json", "--output", tmp_path / "both")
    found = json.loads(capsys.readouterr().out)
    assert list(found["models"]) == ["one: BERT-base-cased", "two: mine"]
    assert found["models"]["two: mine"]["scores"]["stsb"]["pearson"] == {"mean": 86.0 * 0.9, "std": 1.5, "seeds": 3}
    assert found["models"]["two: mine"]["majority"] == {"wnli": {"accuracy": 56.34}}
    assert found["published"]["bert-base-cased"]["cola"] == {"matthews_correlation": 56.53}
    assert (tmp_path / "both" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one", "gone"], "report: gone is no suite with results. Name only runs, or only suites."),
        (["one", "--split", "x"], "--split: a suite's report has scores, not rows."),
        (["one", "--data.task", "ax"], "--data.task: a suite's report has scores"),
        (["one", "--output", "one/results.json"], "--output: one/results.json names a file."),
        (["many"], "report: got 7 models, allowed: at most 6 side by side."),
    ],
)
def test_bad_input_is_one_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_results(Path("one"))
    write_results(Path("many"), **{str(number): model_results() for number in range(7)})
    with pytest.raises(SystemExit):
        run(monkeypatch, *arguments)
    assert message in capsys.readouterr().err
    assert not Path("one/report").exists()


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"models": 3}', '{"models": {"a": 3}}', '{"models": {"a": {"tasks": {}}}}', "[" * 100_000,
        json.dumps({"models": {"a": model_results(tasks={"a b": [{"name": "x", "mean": 1, "deviation": 0, "count": 1}]})}}),
        json.dumps({"models": {"a": model_results(float("nan"))}}),
        json.dumps({"models": {"a": model_results(wall_seconds=None)}}),
    ],
)  # fmt: skip
def test_damaged_results_are_one_message(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path)
    said = capsys.readouterr().err
    assert "run the suite again to write it" in said
    assert "Traceback" not in said


def test_a_suite_without_a_finished_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path, a=model_results(tasks={}, majority={}))
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path)
    assert "no training of the suite has ended" in capsys.readouterr().err
