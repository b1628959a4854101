import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from glue_lit.data.class_labels import name_class, names_in_schema
from glue_lit.data.custom_task import complete_task
from glue_lit.data.sources import open_split
from glue_lit.errors import DataError
from glue_lit.tasks.custom import CustomTask, resolve_task

NAMES = ["not_equivalent", "equivalent", "unsure"]  # neither sorted nor all used


def of_datasets(folder: Path, **splits: list[int]) -> Path:
    """Parquet files as `datasets` writes them."""
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)}
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    for split, labels in splits.items():
        texts = [f"text {n}" for n in range(len(labels))]
        data = datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)
        data.to_parquet(folder / f"{split}.parquet")
    return folder


def labels_of(source: Path | str, split: str, custom: CustomTask) -> tuple[CustomTask, list[Any]]:
    custom = complete_task("pairs", custom, str(source))
    return custom, open_split(resolve_task("pairs", custom), str(source), split, custom).read().labels


def test_parquet_keeps_the_order_of_the_classes(tmp_path: Path) -> None:
    source = of_datasets(tmp_path / "data", train=[1, 0, 1, 0] * 5, validation=[0, 1, 1], test=[-1, -1])
    custom, labels = labels_of(source, "train", CustomTask(text="text"))
    assert (custom.kind, custom.labels, custom.positive) == (
        "classification",
        ["not_equivalent", "equivalent"],
        "equivalent",
    )
    assert resolve_task("pairs", custom).positive_label == "equivalent"
    assert labels == [1, 0, 1, 0] * 5
    assert labels_of(source, "validation", custom)[1] == [0, 1, 1]
    assert labels_of(source, "test", custom)[1] == [None, None]


def test_the_hub_keeps_the_order_of_the_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)}
    )  # fmt: skip
    data = datasets.Dataset.from_dict({"text": ["a"] * 10, "label": [1, 0] * 5}, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, **_: datasets.DatasetDict({"train": data}))
    custom, _ = labels_of("nyu-mll/glue:mrpc", "train", CustomTask(text="text"))
    assert (custom.labels, custom.positive) == (["not_equivalent", "equivalent"], "equivalent")


def test_class_labels_make_a_classification_whatever_their_names(tmp_path: Path) -> None:
    names = [f"{n}.5" for n in range(30)]
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )  # fmt: skip
    data = datasets.Dataset.from_dict({"text": ["a"] * 60, "label": [*range(30)] * 2}, features=features)
    data.to_parquet(tmp_path / "rows.parquet")
    custom, _ = labels_of(tmp_path / "rows.parquet", "train", CustomTask(text="text"))
    assert (custom.kind, custom.labels) == ("classification", names)


def test_an_older_run_keeps_numbers_as_labels(tmp_path: Path) -> None:
    source = of_datasets(tmp_path / "data", train=[1, 0, 1, 0] * 5, validation=[0, 1, 1])
    before = CustomTask(text="text", kind="classification", labels=["0", "1"], metrics=["accuracy", "f1"])
    custom, labels = labels_of(source, "validation", before)
    assert custom.labels == ["0", "1"]
    assert labels == [0, 1, 1]


def test_a_class_number_without_a_name_is_no_hidden_label(tmp_path: Path) -> None:
    schema = pyarrow.schema([("text", pyarrow.string()), ("label", pyarrow.int64())])
    features = {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    for split, labels in (("train", [0, 1] * 5), ("validation", [0, 7])):
        table = pyarrow.table({"text": ["a"] * len(labels), "label": labels}, schema=schema)
        pyarrow.parquet.write_table(table, tmp_path / f"{split}.parquet")
    with pytest.raises(DataError, match=r"validation.parquet, row 2: label '7' is not one of the task's.*: no, yes"):
        labels_of(tmp_path, "validation", CustomTask(text="text"))


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {b"huggingface": b"{"}, {b"huggingface": b"[]"}, {b"huggingface": b"\xff"}, {b"huggingface": b"[" * 100_000},
     {b"huggingface": b'{"info": {"features": {"label": {"_type": "ClassLabel"}}}}'},
     {b"huggingface": b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": [1, 2]}}}}'},
     {b"huggingface": b'{"info": {"features": {"label": null}}}'}, {b"huggingface": b'{"info": null}'}],
)  # fmt: skip
def test_odd_parquet_metadata_is_ignored(metadata: dict[bytes, bytes] | None) -> None:
    assert names_in_schema(metadata) == {}


def test_only_class_numbers_get_names() -> None:
    assert [name_class(value, ["a", "b"]) for value in (0, 1, -1, 2, None, True, "0", 1.0)] == [
        "a", "b", None, 2, None, True, "0", 1.0
    ]  # fmt: skip
    assert name_class(0, None) == 0
