"""The registry of sources: each value of data.source names one, and a new one is a new entry."""

import re
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.data.custom_task import complete_task
from glue_lit.data.rows import Rows, Split
from glue_lit.data.source import Source
from glue_lit.data.sources import SOURCES, find_source, open_split
from glue_lit.data.table import Table
from glue_lit.data.tables import open_table
from glue_lit.errors import DataError
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import get_task
from glue_lit.tasks.spec import TaskSpec


class MemorySource(Source):
    """Made-up rows for GLUE tasks, and a table for custom tasks."""

    glue = "memory"
    custom = "memory"

    def __init__(self, table: Path) -> None:
        self.table = table

    def matches(self, location: str, is_custom: bool) -> bool:
        return location == "memory"

    def open_split(self, task: TaskSpec, location: str, split: str) -> Split:
        texts = [f"text {n}" for n in range(6)]
        rows = Rows(texts, None, [None if split == "test" else n % 2 for n in range(6)])
        return Split(split, "memory", f"made up {split}", lambda: rows)

    def open_tables(self, location: str) -> dict[str, Table]:
        return {"train": open_table(self.table)}


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemorySource:
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["text,label", *(f"text {n},{'ab'[n % 2]}" for n in range(20))]))
    source = MemorySource(table)
    monkeypatch.setitem(SOURCES, "memory", source)
    return source


def test_a_source_that_is_added_is_trained_on(memory: MemorySource, tiny_model: Path, tmp_path: Path) -> None:
    filter_warnings()
    data = GLUEDataModule("cola", str(tiny_model), source="memory", batch_size=3, cache_dir=str(tmp_path / "cache"))
    model = SequenceClassifier("cola", str(tiny_model))
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data)
    assert trainer.global_step == 2
    assert "val/matthews_correlation" in model.scores


def test_a_source_that_is_added_has_tables_for_a_custom_task(memory: MemorySource) -> None:
    custom = complete_task("mine", CustomTask(text="text"), "memory")
    task = resolve_task("mine", custom)
    assert task.labels == ("a", "b")
    assert len(open_split(task, "memory", "train", custom).read()) == 18


def test_a_source_that_is_added_is_among_those_allowed(memory: MemorySource) -> None:
    with pytest.raises(DataError, match=r"'memoryy'\. Did you mean 'memory'\? Allowed: hub, demo, .*, memory\."):
        open_split(get_task("cola"), "memoryy", "train")


def test_the_help_lists_every_source() -> None:
    text = " ".join((GLUEDataModule.__doc__ or "").split())
    for source in SOURCES.values():
        for words in filter(None, (source.glue, source.custom)):
            assert words in text


@pytest.mark.parametrize(
    ("location", "is_custom", "name"),
    [
        ("hub", False, "hub"), ("demo", False, "demo"), ("there", False, "folder"),
        ("there", True, "folder"), ("there/one.csv", True, "file"), ("imdb", True, "hub"),
        ("owner/name:plain", True, "hub"),
    ],
)  # fmt: skip
def test_each_value_names_a_source(
    location: str, is_custom: bool, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there/one.csv").touch()
    assert find_source(location, is_custom) is SOURCES[name]


@pytest.mark.parametrize("name", ["hub", "demo"])
def test_a_folder_may_have_the_name_of_a_source(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    assert find_source(name, is_custom=False) is SOURCES[name]
    assert find_source(name, is_custom=True) is SOURCES["folder"]


def test_a_file_holds_no_task_of_glue(tmp_path: Path) -> None:
    file = tmp_path / "cola.tsv"
    file.touch()
    with pytest.raises(DataError, match=re.escape(f"data.source: {file} is a file. Allowed: hub, demo, a GLUE folder")):
        open_split(get_task("cola"), str(file), "train")
