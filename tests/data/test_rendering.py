"""Texts made of columns, from every format, with missing values, and what does not fit the data."""

import json
from pathlib import Path
from typing import Any

import datasets
import pandas
import pytest

from glue_lit.data.custom_task import complete_task, describe_task
from glue_lit.data.rows import Rows
from glue_lit.data.sources import open_split
from glue_lit.errors import DataError, GlueLitError
from glue_lit.tasks.custom import parse_custom_task, resolve_task

FRAME = pandas.DataFrame(
    {"a title": ["x", "y", None, "z"], "n": [1, 2, 3, 4], "share": [0.5, 1.5, 2.0, 0.25], "label": ["p", "q", "p", "q"]}
)


def rows_of(source: Path | str, text: Any, split: str = "train", **more: Any) -> Rows:
    custom = parse_custom_task({"text": text, "validation_file": str(source), **more})
    custom = complete_task("goods", custom, str(source))
    return open_split(resolve_task("goods", custom), str(source), split, custom).read()


def write(frame: pandas.DataFrame, path: Path) -> Path:
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_texts(tmp_path: Path, suffix: str) -> None:
    source = write(FRAME, tmp_path / f"goods.{suffix}")
    found = rows_of(source, "No. {n}: {a title}")
    assert found.texts_a == ["No. 1: x", "No. 2: y", "No. 3: ", "No. 4: z"]
    assert found.texts_b is None
    joined = rows_of(source, ["a title", "n"], text_separator=" | ")
    assert joined.texts_a == ["x | 1", "y | 2", "3", "z | 4"]
    pair = rows_of(source, ["{n}", "{a title} of {n}"])
    assert (pair.texts_a, pair.texts_b) == (["1", "2", "3", "4"], ["x of 1", "y of 2", " of 3", "z of 4"])


def test_three_columns_are_joined_by_a_blank_and_a_line_says_so(tmp_path: Path) -> None:
    source = write(FRAME, tmp_path / "goods.jsonl")
    assert rows_of(source, ["a title", "n", "share"]).texts_a == ["x 1 0.5", "y 2 1.5", "3 2", "z 4 0.25"]
    custom = complete_task("goods", parse_custom_task({"text": ["a title", "n", "share"]}), str(source))
    assert custom.text_separator == " "
    assert "a title, n and share are one text, joined by ' ' (data.custom.text_separator), without empty ones" in list(
        describe_task(custom, str(source))
    )


def test_names_of_classes_and_booleans_are_written_as_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features(
        {"kind": datasets.ClassLabel(names=["plain", "fancy"]), "sold": datasets.Value("bool"),
         "label": datasets.ClassLabel(names=["no", "yes"])}
    )  # fmt: skip
    values = {"kind": [0, 1, 1], "sold": [True, False, None], "label": [0, 1, 0]}
    data = datasets.Dataset.from_dict(values, features=features)
    both = datasets.DatasetDict({"train": data, "validation": data})
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, revision: both)
    custom = complete_task("goods", parse_custom_task({"text": "{kind}, sold: {sold}"}), "me/goods")
    rows = open_split(resolve_task("goods", custom), "me/goods", "train", custom).read()
    assert rows.texts_a == ["plain, sold: true", "fancy, sold: false", "fancy, sold: "]


@pytest.mark.parametrize(
    ("values", "settings", "words"),
    [
        ({"a": "x", "label": 1}, {"text": "{b}"}, "data.custom.text: got '{b}', but {file} has no column 'b'."),
        ({"title": "x", "label": 1}, {"text": "{titel}: {title}"}, "Did you mean 'title'? The columns are: 'title', 'label'."),
        ({"a": "x", "label": 1}, {"text": ["a", "b", "c"]}, "got 'b', but {file} has no column 'b'."),
        ({"{a}": "x", "a": "y", "label": 1}, {"text": "{a}"}, "got '{a}', a template, but a column of {file} is called so. Write '{{a}}'"),
        ({"sep": "x", "a": "y", "label": 1}, {"text": "{a} {sep}"}, "{sep} is the tokenizer's separator, but {file} also has a column 'sep'"),
        ({"a": "x", "label": 1}, {"text": "{a}", "sep_token": "</s>"}, "data.custom.sep_token: got '</s>', but there is no {sep}"),
        ({"a": "x", "label": 1}, {"text": "{a} {label}"}, "so that the text would tell the label"),
        ({"a": " ", "b": None, "label": 1}, {"text": "{a} {b}"}, "{file}, line 1: columns 'a', 'b' are all empty. Write something"),
        ({"a": "x", "b": None, "label": 1}, {"text": ["{a}", "{b}"]}, "{file}, line 1: column 'b' is empty. Write something"),
        ({"a": 5, "label": 1}, {"text": "a"}, "{file}, line 1: column 'a' is 5, not a text"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_data_is_refused(
    tmp_path: Path, values: dict[str, Any], settings: dict[str, Any], words: str
) -> None:
    source = tmp_path / "goods.jsonl"
    source.write_text(json.dumps(values) + "\n" + json.dumps({**values, "label": 2}) + "\n")
    with pytest.raises(GlueLitError) as caught:
        rows_of(source, **settings)
    assert words.replace("{file}", str(source)) in str(caught.value)


def test_a_column_with_braces_in_its_name_is_read(tmp_path: Path) -> None:
    source = write(FRAME.rename(columns={"n": "{n}"}), tmp_path / "goods.csv")
    assert rows_of(source, ["{{n}}", "share"], text_separator="-").texts_a == ["1-0.5", "2-1.5", "3-2.0", "4-0.25"]
    with pytest.raises(DataError, match="no column 'n'"):
        rows_of(source, "{{{n}}}")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_list_is_written_with_commas(tmp_path: Path, suffix: str) -> None:
    frame = pandas.DataFrame({"t": ["x", "y"], "tags": [["red", "blue"], []], "label": ["p", "q"]})
    source = write(frame, tmp_path / f"goods.{suffix}")
    assert rows_of(source, "{t}: {tags}").texts_a == ["x: red, blue", "y: "]
    assert rows_of(source, ["t", "tags"], text_separator=" - ").texts_a == ["x - red, blue", "y"]
    with pytest.raises(DataError, match="column 'tags' holds a list; a text or a number is needed"):
        rows_of(source, ["t", "tags"])
