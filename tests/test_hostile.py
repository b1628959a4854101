"""What a stranger may have written: a message, never a traceback, a hang or a wrong row. By hand: `hostile.py`."""

import csv
import io
import random
from pathlib import Path
from typing import Any

import pytest
from hostile import SAMPLES, TARGETS, attempt, changed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glue_lit.data.sources import open_split
from glue_lit.data.texts_to_predict import file_texts
from glue_lit.tasks.glue import get_task

QUICK: Any = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture], "derandomize": True}


@pytest.mark.parametrize("name", TARGETS)
def test_changed_samples_end_with_a_message_or_well(name: str, tmp_path: Path) -> None:
    rng = random.Random(1)
    for _ in range(150):
        attempt(name, changed(rng.choice(SAMPLES[name]), rng), tmp_path)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=25, **QUICK)
@given(data=st.one_of(st.binary(max_size=400), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
def test_any_bytes_end_with_a_message_or_well(name: str, tmp_path: Path, data: bytes) -> None:
    attempt(name, data, tmp_path)


@pytest.mark.parametrize("name", TARGETS)
def test_unchanged_samples_are_read(name: str, tmp_path: Path) -> None:
    # Else the attacks would never get past the first check.
    if name not in ("events", "checkpoint", "predictions", "submission", "task_block"):
        for sample in SAMPLES[name][:1]:
            TARGETS[name](sample, tmp_path)


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=150, **QUICK)
@given(texts=st.lists(CELL.filter(str.strip), min_size=1, max_size=5))
def test_a_csv_file_gives_back_its_cells(tmp_path: Path, texts: list[str]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("text", "label"), *((text, "1") for text in texts)])
    (tmp_path / "x.csv").write_text(file.getvalue(), encoding="utf-8", newline="")
    found = [row.texts[0] for row in file_texts(tmp_path / "x.csv", ["text"], get_task("sst2"))]
    assert found == texts


@settings(max_examples=150, **QUICK)
@given(rows=st.lists(st.tuples(st.sampled_from("01"), PLAIN), min_size=1, max_size=6))
def test_a_tsv_file_gives_back_its_rows(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    (tmp_path / "CoLA").mkdir(exist_ok=True)
    lines = "".join(f"x\t{label}\t\t{text}\n" for label, text in rows)
    (tmp_path / "CoLA" / "dev.tsv").write_text(lines, encoding="utf-8", newline="")
    found = open_split(get_task("cola"), str(tmp_path), "validation").read()
    assert [(str(label), text) for label, text in zip(found.labels, found.texts_a, strict=True)] == rows
