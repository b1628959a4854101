"""The examples: what they write is what they say."""

import csv
import importlib.util
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
ROWS = {
    "CoLA": ("", ["x\t1\t\tThe cat has slept on the mat.", "x\t0\t*\tCat the slept has."]),
    "MRPC": ("Quality\t1\t2\t3\t4", ["1\ta\tb\tHe gave them the old book.\tThey were given that old book by him."]),
    "STS-B": ("h", ["0\tg\tf\ty\to\ts\ts\tA man is playing a guitar.\tTwo women are eating apples today.\t2.5"]),
    "RTE": ("h", ["0\tIt rained on Monday. The match was played on Tuesday.\tThe match was played.\tentailment"]),
    "WNLI": ("h", ["0\tThe trophy does not fit.\tIt is too big to fit.\t1"]),
}


@pytest.fixture(scope="module")
def corrupted() -> ModuleType:
    spec = importlib.util.spec_from_file_location("corrupted", EXAMPLES / "corrupted.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    for task, (header, rows) in ROWS.items():
        (tmp_path / task).mkdir()
        lines = [header, *rows] if header else rows
        (tmp_path / task / "train.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tmp_path


def test_each_sentence_stands_beside_itself_with_something_wrong(glue: Path) -> None:
    output = glue / "corrupted.csv"
    command = [sys.executable, str(EXAMPLES / "corrupted.py"), str(glue), str(output)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    with output.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    good = [row["sentence"] for row in rows if row["label"] == "1"]
    bad = [row["sentence"] for row in rows if row["label"] == "0"]
    assert len(good) == len(bad) == len(rows) // 2
    assert f"{len(rows):,} sentences" in said
    assert not set(good) & set(bad)
    assert set(good) == {
        "The cat has slept on the mat.", "He gave them the old book.", "They were given that old book by him.",
        "A man is playing a guitar.", "Two women are eating apples today.", "It rained on Monday.",
        "The match was played on Tuesday.", "The match was played.", "The trophy does not fit.", "It is too big to fit.",
    }  # fmt: skip
    assert 1 < good.count("The cat has slept on the mat.") <= 3


def test_any_sentence_can_be_corrupted(corrupted: ModuleType) -> None:
    rng = random.Random(0)
    words = ["he", "the", "cats", "running", "x", "walked", "is", ",", ".", "went", "class", "b"]
    for _ in range(3000):
        sentence = " ".join(rng.choices(words, k=rng.randint(1, 6)))
        found = corrupted.corrupt(sentence, rng)
        letters = sum(token.isalnum() for token in corrupted.split(sentence))
        assert (found is None) is (letters < 3)


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "corrupted.py"), str(tmp_path), str(tmp_path / "x.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "CoLA/train.tsv is not there: name the folder of the official GLUE files." in done.stderr
    assert "Traceback" not in done.stderr
