"""The leaderboard's zip, against an independent description of its format."""

import io
import json
import os
import random
import re
import zipfile
from pathlib import Path

import pytest

from glue_lit.errors import DataError, RunError
from glue_lit.submission import ENTRIES, check_zip, entry_text, filled_text, write_zip

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


def texts() -> dict[str, str]:
    return {name: filled_text(entry) for name, entry in ENTRIES.items()}


TEXTS = texts()


def zipped(files: dict[str, str | bytes]) -> io.BytesIO:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content


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
    assert check_zip(zipped(dict(TEXTS))) == []


@pytest.mark.parametrize("name", WRITTEN)
def test_labels_go_by_name(name: str, tmp_path: Path) -> None:
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
    assert check_zip(zipped(TEXTS | {name: entry_text(entry, path)})) == []


def test_scores_have_three_decimals_and_stay_in_range(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    scores = [-0.2, 0.0004, 2.71828, 4.9996, 7] + [1.0] * 1374
    path.write_text("".join(json.dumps({"idx": n, "score": score}) + "\n" for n, score in enumerate(scores)))
    lines = entry_text(ENTRIES["STS-B.tsv"], path).splitlines()
    assert [line.split("\t")[1] for line in lines[1:6]] == ["0.000", "0.000", "2.718", "5.000", "5.000"]


def changed(name: str, old: str, new: str, count: int = 1) -> dict[str, str | bytes]:
    assert old in TEXTS[name]
    return {**TEXTS, name: TEXTS[name].replace(old, new, count)}


WRONG: list[tuple[dict[str, str | bytes], list[str]]] = [
    ({k: v for k, v in TEXTS.items() if k != "AX.tsv"}, ["AX.tsv: missing"]),
    (TEXTS | {"readme.txt": "x"}, ["readme.txt: no file of a submission."]),
    ({k.replace("CoLA", "COLA"): v for k, v in TEXTS.items()}, ["COLA.tsv: no file of a submission. Did you mean 'CoLA.tsv'?", "CoLA.tsv: missing"]),
    ({k.replace("AX", "sub/AX"): v for k, v in TEXTS.items()}, ["sub/AX.tsv: no file of a submission. It must not lie in a folder.", "AX.tsv: missing"]),
    (changed("RTE.tsv", "index\tprediction\n", ""), ["RTE.tsv: line 1: 'index\\tprediction' is needed, got '0\\tentailment'", "RTE.tsv: line 2: index 1, 0 is needed here"]),
    (changed("WNLI.tsv", "7\t0\n", ""), ["WNLI.tsv: line 9: index 8, 7 is needed here"]),
    (changed("WNLI.tsv", "\n7\t0\n", "\n7\t0\n7\t0\n"), ["WNLI.tsv: line 10: index 7 is there twice, first on line 9", "WNLI.tsv: line 11: index 8, 9 is needed here"]),
    (changed("WNLI.tsv", "145\t0\n", ""), ["WNLI.tsv: 145 rows, 146 are needed"]),
    (changed("SST-2.tsv", "1820\t1", "1820\tpositive"), ["SST-2.tsv: line 1822: prediction 'positive', allowed: 0, 1"]),
    (changed("AX.tsv", "3\tcontradiction", "3\tno"), ["AX.tsv: line 5: prediction 'no', allowed: entailment, neutral, contradiction"]),
    (changed("STS-B.tsv", "9\t2.701", "9\tnan"), ["STS-B.tsv: line 11: prediction 'nan', allowed: a number from 0 to 5"]),
    (changed("STS-B.tsv", "9\t2.701", "9\t5.5"), ["STS-B.tsv: line 11: prediction '5.5', allowed"]),
    (changed("STS-B.tsv", "9\t2.701", "x\t2"), ["STS-B.tsv: line 11: index 'x' is no number"]),
    (changed("STS-B.tsv", "9\t2.701", "9 2"), ["STS-B.tsv: line 11: 1 columns, 2 are needed"]),
    (TEXTS | {"CoLA.tsv": "\ufeff" + TEXTS["CoLA.tsv"]}, ["CoLA.tsv: line 1: 'index\\tprediction' is needed, got a byte order mark"]),
    (TEXTS | {"CoLA.tsv": TEXTS["CoLA.tsv"].encode()[:50] + b"\xff"}, ["CoLA.tsv: line 10: not UTF-8"]),
    (TEXTS | {"CoLA.tsv": ""}, ["CoLA.tsv: line 1: ", "CoLA.tsv: 0 rows, 1,063 are needed"]),
]  # fmt: skip


@pytest.mark.parametrize(("files", "problems"), WRONG)
def test_what_is_wrong_is_said_line_by_line(files: dict[str, str | bytes], problems: list[str]) -> None:
    found = check_zip(zipped(files))
    assert found[: len(problems)] == [
        line for line, start in zip(found, problems, strict=False) if line.startswith(start)
    ]
    assert len(found) >= len(problems)
    assert len(found) <= 6


def test_line_ends_of_windows_are_fine() -> None:
    assert check_zip(zipped({k: v.replace("\n", "\r\n") for k, v in TEXTS.items()})) == []


def test_a_doubled_file() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in TEXTS.items():
            archive.writestr(name, text)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("AX.tsv", TEXTS["AX.tsv"])
    assert check_zip(content) == ["AX.tsv: there are 2 files of this name"]


def test_no_zip(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("PK no zip")
    with pytest.raises(DataError, match="not a zip file"):
        check_zip(tmp_path / "a.zip")
    with pytest.raises(DataError, match="cannot be read"):
        check_zip(tmp_path / "b.zip")


def test_a_damaged_file_and_one_that_would_fill_the_memory(tmp_path: Path) -> None:
    content = bytearray(zipped(dict(TEXTS)).getvalue())
    at = content.index(b"index\tprediction", content.index(b"RTE.tsv"))
    content[at + 100] ^= 0xFF
    assert [p for p in check_zip(io.BytesIO(bytes(content))) if "damaged" in p] == [
        "RTE.tsv: is damaged (Bad CRC-32 for file 'RTE.tsv')"
    ]
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("AX.tsv", b"0" * (101 << 20))
    assert "AX.tsv: has 105,906,176 bytes, more than any file of a submission" in check_zip(bomb)


def test_written_whole_and_always_the_same(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "submission.zip"
    write_zip(path, TEXTS)
    first = path.read_bytes()
    write_zip(path, dict(reversed(TEXTS.items())))
    assert path.read_bytes() == first
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == sorted(FORMAT)
        assert archive.testzip() is None
    with pytest.raises(DataError, match=re.escape("AX.tsv: missing")):
        write_zip(path, {k: v for k, v in TEXTS.items() if k != "AX.tsv"})
    assert path.read_bytes() == first
    assert os.listdir(path.parent) == ["submission.zip"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_place_that_cannot_be_written() -> None:
    with pytest.raises(RunError, match="Cannot write"):
        write_zip(Path("/dev/full/submission.zip"), TEXTS)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"idx": 0, "label": "maybe"}], "line 1: a prediction with idx 0 and one of negative, positive is needed"),
        ([{"idx": 0, "label": "positive"}, {"idx": 2, "label": "positive"}], "line 2: a prediction with idx 1"),
        ([{"idx": 0, "label": "positive"}] * 2, "line 2: a prediction with idx 1"),
        ([{"idx": 0, "label": "positive"}], "1 rows, SST-2.tsv has 1,821"),
        ([], "0 rows, SST-2.tsv has 1,821"),
        ([[]], "line 1: a prediction"),
        ([{"idx": 0, "score": 1.0}], "line 1: a prediction"),
    ],
)
def test_predictions_that_are_not_of_the_test_rows(lines: list[object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match=re.escape(message)):
        entry_text(ENTRIES["SST-2.tsv"], path)
