"""GLUE from the Hub and from its cache: the same rows as from files."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glue_lit.data.hub import rows_from_dataset
from glue_lit.data.rows import Rows
from glue_lit.data.sources import open_split
from glue_lit.errors import DataError
from glue_lit.tasks.glue import TASKS, TaskSpec, get_task

# ---------------------------------------------------------------- the Hub's format


def hub_dataset(task: TaskSpec, rows: Rows, labels: tuple[str, ...] | None = None) -> Any:
    """The same rows in the format of nyu-mll/glue: its columns, `ClassLabel`s in its order, -1 for hidden labels."""
    from datasets import ClassLabel, Dataset, Features, Value

    names = labels or task.labels
    features = {column: Value("string") for column in task.text_columns}
    features |= {"label": Value("float32") if task.is_regression else ClassLabel(names=list(names))}
    features |= {"idx": Value("int32")}
    hidden = -1.0 if task.is_regression else -1
    numbers = [
        hidden if label is None else label if task.is_regression else names.index(task.labels[int(label)])
        for label in rows.labels
    ]
    texts = [rows.texts_a] if rows.texts_b is None else [rows.texts_a, rows.texts_b]
    columns = dict(zip(task.text_columns, texts, strict=True))
    return Dataset.from_dict({**columns, "label": numbers, "idx": list(range(len(rows)))}, features=Features(features))


def as_float32(rows: Rows) -> Rows:
    """Scores as the Hub stores them."""
    return Rows(rows.texts_a, rows.texts_b, [None if s is None else float(np.float32(s)) for s in rows.labels])


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", [name for name in TASKS if name != "ax"])
def test_the_hub_gives_the_same_rows_as_a_folder(name: str, split: str) -> None:
    task = get_task(name)
    split = split if split in task.files else f"{split}_mismatched"
    rows = open_split(task, "demo", split).read()
    got = rows_from_dataset(task, hub_dataset(task, rows), "here")
    assert got == (as_float32(rows) if task.is_regression else rows)
    assert got.digest(task.file_labels) == rows.digest(task.file_labels)
    assert all(type(label) is (float if task.is_regression else int) for label in got.labels if label is not None)


def test_the_hub_gives_the_same_real_rows(glue_dir: Path) -> None:
    for name in ("mrpc", "stsb", "wnli"):
        task = get_task(name)
        rows = open_split(task, str(glue_dir), "validation").read()
        expected = as_float32(rows) if task.is_regression else rows
        assert rows_from_dataset(task, hub_dataset(task, rows), "here") == expected


@pytest.mark.parametrize("name", ["cola", "stsb", "mnli"])
def test_a_label_of_minus_one_is_hidden(name: str) -> None:
    task = get_task(name)
    texts = ["b"] if len(task.text_columns) > 1 else None
    rows = Rows(["a"], texts, [None])
    assert hub_dataset(task, rows)["label"][0] == -1
    assert rows_from_dataset(task, hub_dataset(task, rows), "here") == rows


def test_classes_are_matched_by_name_not_by_number() -> None:
    # MultiNLI's own release, for example, orders its classes differently.
    task = get_task("mnli")
    rows = Rows(["a", "b", "c", "d"], ["e", "f", "g", "h"], [0, 1, 2, None])
    other = hub_dataset(task, rows, labels=("contradiction", "entailment", "neutral"))
    assert list(other["label"]) == [1, 2, 0, -1]
    assert rows_from_dataset(task, other, "here") == rows


def test_unknown_class_names() -> None:
    data = hub_dataset(get_task("cola"), Rows(["a"], None, [0]), labels=("unacceptable", "acceptable", "unsure"))
    expected = "here: label 'unsure' is not one of task cola: unacceptable, acceptable."
    with pytest.raises(DataError, match=re.escape(expected)):
        rows_from_dataset(get_task("cola"), data, "here")


def test_numbers_without_names_are_the_labels_of_the_task() -> None:
    from datasets import Dataset

    task = get_task("cola")
    data = Dataset.from_dict({"sentence": ["a", "b", "c"], "label": [1, None, 0]})
    assert rows_from_dataset(task, data, "here") == Rows(["a", "b", "c"], None, [1, None, 0])
    data = Dataset.from_dict({"sentence": ["a", "b"], "label": [1, 2]})
    with pytest.raises(DataError, match=re.escape("here, row 2: label 2 is not one of task cola: 0 to 1.")):
        rows_from_dataset(task, data, "here")


@pytest.mark.parametrize("column", ["sentence", "label"])
def test_missing_hub_column(column: str) -> None:
    data = hub_dataset(get_task("cola"), Rows(["a"], None, [0])).remove_columns([column])
    with pytest.raises(DataError, match=re.escape(f"here: no column '{column}'; the columns are ")):
        rows_from_dataset(get_task("cola"), data, "here")


# ---------------------------------------------------------------- the Hub's cache

# What `load_dataset("nyu-mll/glue", "cola")` leaves behind: an arrow stream for each split, and what they are.
# In a process of its own, since `datasets` reads where its cache is when it is imported.
FROM_CACHE = """
import json, shutil, sys
from pathlib import Path
import datasets
from datasets import ClassLabel, DatasetInfo, Features, SplitDict, SplitInfo, Value
from datasets.arrow_writer import ArrowWriter
from glue_lit.data.sources import open_split
from glue_lit.errors import DataError
from glue_lit.tasks.glue import get_task

cache = Path(datasets.config.HF_DATASETS_CACHE)
folder = cache / "nyu-mll___glue/cola/0.0.0/bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
folder.mkdir(parents=True)
names = ["unacceptable", "acceptable"]
features = Features({"sentence": Value("string"), "label": ClassLabel(names=names), "idx": Value("int32")})
contents = {"train": [("He ran.", 1), ("Ran he the.", 0)], "validation": [("So.", 1)], "test": [("She sat.", -1)]}
splits = SplitDict(dataset_name="glue")
for name, rows in contents.items():
    file = folder / f"glue-{name}.arrow"
    with ArrowWriter(features=features, path=str(file)) as writer:
        for idx, (sentence, label) in enumerate(rows):
            writer.write({"sentence": sentence, "label": label, "idx": idx})
        examples, size = writer.finalize()
    splits.add(SplitInfo(name=name, num_bytes=size, num_examples=examples, dataset_name="glue"))
DatasetInfo(
    features=features, splits=splits, builder_name="parquet", dataset_name="glue", config_name="cola", version="0.0.0"
).write_to_directory(str(folder))

def error(task):
    try:
        open_split(get_task(task), "hub", "train")
    except DataError as caught:
        return str(caught)

answer = {}
for name in contents:
    split = open_split(get_task("cola"), "hub", name)
    rows = split.read()
    answer[name] = [rows.texts_a, rows.texts_b, rows.labels, split.origin, split.fingerprint, split.commit]
answer["train again"] = open_split(get_task("cola"), "hub", "train").fingerprint
answer["other task"] = error("sst2")
shutil.rmtree(cache)
answer["no cache"] = error("cola")
print(json.dumps(answer))
"""


def test_the_hub_is_read_from_the_cache_without_a_network(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "home"),
        "HF_DATASETS_CACHE": str(tmp_path / "cache"),
    }
    environment.pop("HF_DATASETS_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-c", FROM_CACHE], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer["train"][:4] == [["He ran.", "Ran he the."], None, [1, 0], "nyu-mll/glue/cola:train"]
    assert answer["train"][5] == "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
    assert answer["validation"][:3] == [["So."], None, [1]]
    assert answer["test"][:3] == [["She sat."], None, [None]]
    # The fingerprint keeps cached tokens apart by split, and finds them again.
    fingerprints = {answer[name][4] for name in ("train", "validation", "test")}
    assert len(fingerprints) == 3
    assert answer["train again"] == answer["train"][4]
    advice = "Check the network (and HF_HUB_OFFLINE), or read the official files with `--data.source FOLDER`"
    for task, case in (("sst2", "other task"), ("cola", "no cache")):
        assert answer[case].startswith(f"data.source hub: could not load nyu-mll/glue ({task}, train): ")
        assert advice in answer[case]
        assert "--data.source demo" in answer[case]
