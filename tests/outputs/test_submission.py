"""The leaderboard's zip, against an independent description of its format."""

import json
import random
import re
from pathlib import Path

import pytest

from glue_lit.errors import DataError
from glue_lit.outputs.submission import ENTRIES, entry_text, filled_text

# As the benchmark says, written down by hand: file, rows, what a prediction may be.
FORMAT = {
    "CoLA.tsv": (1063, {"0", "1"}),
    "SST-2.tsv": (1821, {"0", "1"}),
    "MRPC.tsv": (1725, {"0", "1"}),
    "STS-B.tsv": (1379, None),
    "MNLI-m.tsv": (9796, {"entailment", "neutral", "contradiction"}),
    "MNLI-mm.tsv": (9847, {"entailment", "neutral", "contradiction"}),
    "QNLI.tsv": (5463, {"entailment", "not_entailment"}),
    "QQP.tsv": (390965, {"0", "1"}),
    "RTE.tsv": (3000, {"entailment", "not_entailment"}),
    "WNLI.tsv": (146, {"0", "1"}),
    "AX.tsv": (1104, {"entailment", "neutral", "contradiction"}),
}
# A label's name and how the file has it; classes are numbered in the order of the Hub.
WRITTEN = {
    "CoLA.tsv": {"unacceptable": "0", "acceptable": "1"},
    "SST-2.tsv": {"negative": "0", "positive": "1"},
    "MRPC.tsv": {"not_equivalent": "0", "equivalent": "1"},
    "QQP.tsv": {"not_duplicate": "0", "duplicate": "1"},
    "WNLI.tsv": {"not_entailment": "0", "entailment": "1"},
    "RTE.tsv": {"not_entailment": "not_entailment", "entailment": "entailment"},
    "AX.tsv": {name: name for name in ("contradiction", "neutral", "entailment")},
}


TEXTS = {name: filled_text(entry) for name, entry in ENTRIES.items()}


def test_the_format_is_the_servers() -> None:
    assert {name: entry.rows for name, entry in ENTRIES.items()} == {name: rows for name, (rows, _) in FORMAT.items()}
    for name, (rows, allowed) in FORMAT.items():
        lines = TEXTS[name].splitlines()
        assert lines[0] == "index\tprediction"
        assert [line.split("\t")[0] for line in lines[1:]] == [str(n) for n in range(rows)]
        predictions = {line.split("\t")[1] for line in lines[1:]}
        assert len(predictions) == 1
        assert predictions <= allowed if allowed else float(predictions.pop()) == pytest.approx(2.7, abs=0.01)
        assert TEXTS[name].endswith("\n")


@pytest.mark.parametrize("name", WRITTEN)
def test_labels_are_matched_by_name(name: str, tmp_path: Path) -> None:
    entry, written = ENTRIES[name], WRITTEN[name]
    generator = random.Random(0)
    gold = [generator.choice(list(written)) for _ in range(entry.rows)]
    path = tmp_path / "test.jsonl"
    # The order of the probabilities is that of some model, and says nothing.
    path.write_text(
        "".join(json.dumps({"idx": n, "label": label, "probabilities": {}}) + "\n" for n, label in enumerate(gold))
    )
    lines = entry_text(entry, path).splitlines()
    assert lines[1:] == [f"{n}\t{written[label]}" for n, label in enumerate(gold)]


def test_scores_have_three_decimals_and_stay_in_range(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    scores = [-0.2, 0.0004, 2.71828, 4.9996, 7, -0.0, 3, 10**400, float("-inf")] + [1.0] * 1370
    path.write_text("".join(json.dumps({"idx": n, "score": score}) + "\n" for n, score in enumerate(scores)))
    lines = entry_text(ENTRIES["STS-B.tsv"], path).splitlines()
    assert [line.split("\t")[1] for line in lines[1:10]] == [
        "0.000", "0.000", "2.718", "5.000", "5.000", "0.000", "3.000", "5.000", "0.000",
    ]  # fmt: skip


def lines_of(rows: int, **changes: object) -> list[dict[str, object]]:
    return [{"idx": row, "label": "positive"} | (changes if row == 2 else {}) for row in range(rows)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (lines_of(9), "9 rows, SST-2.tsv needs 1,821."),
        ([], "0 rows, SST-2.tsv needs 1,821."),
        (lines_of(1822), "1,822 rows, SST-2.tsv needs 1,821."),
        (lines_of(1821, label="maybe"), "line 3: label 'maybe', allowed: negative, positive."),
        (lines_of(1821, label=["positive"]), "line 3: label \"['positive']\", allowed: negative, positive."),
        (lines_of(1821, label=None), "line 3: label 'None', allowed: negative, positive."),
        (lines_of(1821, idx=1), "line 3: idx 1 where 2 is needed: a row is missing, duplicated or out of order."),
        (lines_of(1821, idx=3), "line 3: idx 3 where 2 is needed"),
        (lines_of(1821, idx="2"), "line 3: idx 2 where 2 is needed"),
        ([[], *lines_of(1820)], "line 1: '[]' is not a prediction."),
    ],
)
def test_predictions_that_are_not_of_the_test_rows(lines: list[object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match=re.escape(message)) as error:
        entry_text(ENTRIES["SST-2.tsv"], path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    "line", [b"no json", b"\xff", b"[" * 100_000, b'{"idx": 0, "score": NaN}', b'{"idx": 0, "score": "3"}', b'{"idx": 0}',
             b'{"idx": 0, "score": true}']
)  # fmt: skip
def test_scores_that_are_no_numbers_are_refused(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_bytes(line + b"\n" + b'{"idx": 1, "score": 1.0}\n' * 1378)
    with pytest.raises(DataError, match=r"test\.jsonl, line 1: "):
        entry_text(ENTRIES["STS-B.tsv"], path)


def test_missing_predictions_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        entry_text(ENTRIES["STS-B.tsv"], tmp_path / "test.jsonl")
