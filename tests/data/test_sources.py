"""Rows from files and from the Hub: the official layouts with all their quirks, and what is said of bad ones."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glue_lit.data.hub import rows_from_dataset
from glue_lit.data.sources import Rows, open_split
from glue_lit.errors import DataError
from glue_lit.tasks.glue import TASKS, TaskSpec, get_task

Write = Callable[..., Path]


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    """A GLUE folder to be filled."""
    folder = tmp_path / "glue"
    folder.mkdir()
    return folder


@pytest.fixture
def write(glue: Path) -> Write:
    """Write a file of the GLUE folder from its lines, each a list of fields."""

    def write_file(path: str, *lines: list[str], mark: bool = False) -> Path:
        file = glue / path
        file.parent.mkdir(exist_ok=True)
        text = "".join("\t".join(line) + "\n" for line in lines)
        file.write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode())
        return file

    return write_file


def read(task: str, folder: Path, split: str) -> Rows:
    return open_split(get_task(task), str(folder), split).read()


def test_cola_has_a_header_in_its_test_file_only(glue: Path, write: Write) -> None:
    write("CoLA/train.tsv", ["gj04", "1", "", "He ran."], ["gj04", "0", "*", 'Ran "he.'])
    write("CoLA/dev.tsv", ["gj04", "0", "*", "sentence"])
    write("CoLA/test.tsv", ["index", "sentence"], ["0", "She sat."])
    assert read("cola", glue, "train") == Rows(["He ran.", 'Ran "he.'], None, [1, 0])
    assert read("cola", glue, "validation") == Rows(["sentence"], None, [0])
    assert read("cola", glue, "test") == Rows(["She sat."], None, [None])


@pytest.mark.parametrize("mark", [True, False])
def test_mrpc_with_and_without_its_byte_order_mark(glue: Path, write: Write, mark: bool) -> None:
    columns = ["#1 ID", "#2 ID", "#1 String", "#2 String"]
    write("MRPC/train.tsv", ["Quality", *columns], ["1", "5", "6", "One.", "Two."], mark=mark)
    write("MRPC/test.tsv", ["index", *columns], ["0", "5", "6", "Three.", "Four."], mark=mark)
    assert read("mrpc", glue, "train") == Rows(["One."], ["Two."], [1])
    assert read("mrpc", glue, "test") == Rows(["Three."], ["Four."], [None])


def test_stsb_scores_are_numbers_in_the_last_column(glue: Path, write: Write) -> None:
    columns = ["index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2"]
    fields = ["0", "main-news", "MSRvid", "2012", "1", "none", "none", "A plane.", "A kite."]
    write("STS-B/train.tsv", [*columns, "score"], [*fields, "5.000"], [*fields, "0"], [*fields, "2.75"])
    write("STS-B/test.tsv", columns, fields)
    assert read("stsb", glue, "train") == Rows(["A plane."] * 3, ["A kite."] * 3, [5.0, 0.0, 2.75])
    assert read("stsb", glue, "test").labels == [None]


@pytest.mark.parametrize(
    ("task", "folder", "texts", "written", "numbers"),
    [
        ("rte", "RTE", ["sentence1", "sentence2"], ["entailment", "not_entailment"], [0, 1]),
        ("qnli", "QNLI", ["question", "sentence"], ["not_entailment", "entailment"], [1, 0]),
        ("wnli", "WNLI", ["sentence1", "sentence2"], ["1", "0"], [1, 0]),
    ],
)
def test_labels_in_words_and_in_numbers(
    glue: Path, write: Write, task: str, folder: str, texts: list[str], written: list[str], numbers: list[int]
) -> None:
    rows = [[str(index), f"a{index}", f"b{index}", label] for index, label in enumerate(written)]
    write(f"{folder}/train.tsv", ["index", *texts, "label"], *rows)
    assert read(task, glue, "train") == Rows(["a0", "a1"], ["b0", "b1"], numbers)


def test_sst2_test_has_its_text_in_another_column(glue: Path, write: Write) -> None:
    write("SST-2/dev.tsv", ["sentence", "label"], ["fine . ", "1"])
    write("SST-2/test.tsv", ["index", "sentence"], ["0", "dull"])
    assert read("sst2", glue, "validation") == Rows(["fine . "], None, [1])
    assert read("sst2", glue, "test") == Rows(["dull"], None, [None])


def test_labels_of_a_test_split_are_taken_if_there_are_any(glue: Path, write: Write) -> None:
    # The diagnostic set comes with and without them; then its Matthews correlation can be computed.
    write("AX/AX.tsv", ["index", "sentence1", "sentence2"], ["0", "a", "b"])
    assert read("ax", glue, "test").labels == [None]
    write("AX/AX.tsv", ["index", "sentence1", "sentence2", "label"], ["0", "a", "b", "neutral"])
    assert read("ax", glue, "test").labels == [1]


QQP = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]


def test_rows_of_qqp_that_a_line_break_cut_are_left_out(glue: Path, write: Write) -> None:
    whole = ["1", "2", "3", "Why?", "How?", "1"]
    write("QQP/train.tsv", QQP, whole, ["4", "5", "6", "Cut he"], ["re?", "What?", "0"], whole)
    assert read("qqp", glue, "train") == Rows(["Why?"] * 2, ["How?"] * 2, [1, 1])


def test_qqp_test_rows_must_be_whole(glue: Path, write: Write) -> None:
    # One prediction is due for each: a row left out would shift all that follow it.
    file = write("QQP/test.tsv", ["id", "question1", "question2"], ["0", "a", "b"], ["1", "a"])
    with pytest.raises(DataError, match=re.escape(f"{file}, line 3: 2 column(s), at least 3 are needed")):
        read("qqp", glue, "test")


def test_a_bad_label_after_a_cut_row_is_found_on_its_line(glue: Path, write: Write) -> None:
    file = write("QQP/train.tsv", QQP, ["4", "5", "6", "Cut"], ["1", "2", "3", "Why?", "How?", "7"])
    with pytest.raises(DataError, match=re.escape(f"{file}, line 3: label '7'")):
        read("qqp", glue, "train")


def test_a_file_of_cut_rows_only_is_an_error(glue: Path, write: Write) -> None:
    write("QQP/train.tsv", QQP, ["4", "5", "6", "Cut"])
    with pytest.raises(DataError, match=r"QQP.train\.tsv"):
        read("qqp", glue, "train")


MNLI = ["index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse",
        "sentence2_parse", "sentence1", "sentence2"]  # fmt: skip


@pytest.mark.parametrize("task", ["mnli", "mnli-mm"])
def test_mnli_has_two_of_each_evaluation_split(glue: Path, write: Write, task: str) -> None:
    header, fields = [*MNLI, "label1", "gold_label"], ["0", "1", "1", "fiction", "(", ")", "(", ")"]
    for number, side in enumerate(("matched", "mismatched")):
        # Annotators may disagree with the gold label, which is the one that counts.
        row = [*fields, f"a {side}", f"b {side}", "entailment", ("contradiction", "neutral")[number]]
        write(f"MNLI/dev_{side}.tsv", header, row)
        write(f"MNLI/test_{side}.tsv", MNLI, row[: len(MNLI)])
    assert read(task, glue, "validation_matched") == Rows(["a matched"], ["b matched"], [2])
    assert read(task, glue, "validation_mismatched") == Rows(["a mismatched"], ["b mismatched"], [1])
    assert read(task, glue, "test_mismatched") == Rows(["a mismatched"], ["b mismatched"], [None])


def test_columns_may_stand_in_any_order(glue: Path, write: Write) -> None:
    write("RTE/train.tsv", ["label", "sentence2", "index", "sentence1"], ["entailment", "b", "0", "a"])
    assert read("rte", glue, "train") == Rows(["a"], ["b"], [0])


# ---------------------------------------------------------------- the real files

REAL = [(task.name, split) for task in TASKS.values() for split in task.files]


@pytest.mark.parametrize(("name", "split"), REAL, ids=[f"{name}-{split}" for name, split in REAL])
def test_all_real_rows_equal_the_csv_modules(glue_dir: Path, name: str, split: str) -> None:
    task, file = get_task(name), get_task(name).files[split]
    path = glue_dir / file.path
    if not path.is_file():
        pytest.skip(f"{file.path} is not in GLUE_DIR")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        table = list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    header = table.pop(0) if isinstance(file.texts[0], str) else [str(n) for n in range(len(table[0]))]
    columns = dict(zip(header, zip(*table, strict=True), strict=True))
    rows = read(name, glue_dir, split)
    assert rows.texts_a == list(columns[str(file.texts[0])])
    assert rows.texts_b == (list(columns[str(file.texts[1])]) if len(file.texts) > 1 else None)
    written = columns.get(str(file.label))
    if written is None:
        assert rows.labels == [None] * len(table)
    elif task.is_regression:
        assert rows.labels == [float(score) for score in written]
    else:
        assert [task.file_labels[int(label or 0)] for label in rows.labels] == list(written)
    assert len(rows) == len(table)


# ---------------------------------------------------------------- what is said of bad files


def fails(task: str, folder: Path | str, split: str, message: str) -> None:
    """Opening or reading must fail with a message that contains this text."""
    with pytest.raises(DataError, match=re.escape(message)):
        open_split(get_task(task), str(folder), split).read()


def test_unknown_split(glue: Path) -> None:
    fails("mnli", glue, "validation", "Task mnli has no split 'validation'. Did you mean")
    fails("cola", glue, "tset", "no split 'tset'. Did you mean 'test'? Its splits are: train, validation, test.")
    fails("ax", glue, "train", "Task ax has no split 'train'. Its splits are: test.")


def test_missing_folder(glue: Path) -> None:
    missing = glue / "nowhere"
    fails("cola", missing, "train", f"there is no folder '{missing}'. Allowed: hub, demo, or a GLUE folder.")


@pytest.mark.parametrize(("typo", "meant"), [("hubb", "hub"), ("dmeo", "demo")])
def test_a_misspelt_source_is_a_folder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typo: str, meant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    fails("cola", typo, "train", f"data.source: there is no folder '{typo}'. Did you mean '{meant}'? Allowed:")


def test_missing_task_folder(glue: Path) -> None:
    fails("cola", glue, "train", f"{glue} has no folder CoLA for task cola; it holds no folder.")
    (glue / "cola").mkdir()
    (glue / "MRPC").mkdir()
    if not (glue / "CoLA").exists():  # a file system that tells the cases apart
        fails("cola", glue, "train", "it holds MRPC, cola. The official layout is GLUE_FOLDER/<Task>/train.tsv.")


def test_missing_file(glue: Path, write: Write) -> None:
    write("QNLI/dev.tsv", ["index", "question", "sentence", "label"], ["0", "a", "b", "entailment"])
    expected = f"{glue}/QNLI/train.tsv is missing, so task qnli has no train split here; {glue}/QNLI holds dev.tsv."
    fails("qnli", glue, "train", expected)
    (glue / "QNLI/dev.tsv").unlink()
    fails("qnli", glue, "train", f"{glue}/QNLI holds no TSV file.")


def test_missing_column_names_the_nearest(glue: Path, write: Write) -> None:
    file = write("RTE/train.tsv", ["index", "sentence1", "sentence_2", "label"], ["0", "a", "b", "entailment"])
    fails(
        "rte",
        glue,
        "train",
        f"{file}, line 1: there is no column 'sentence2'. Did you mean 'sentence_2'? "
        "The columns are: 'index', 'sentence1', 'sentence_2', 'label'.",
    )


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_label_may_be_missing_in_test_only(glue: Path, write: Write, split: str) -> None:
    write("RTE/train.tsv", ["index", "sentence1", "sentence2"], ["0", "a", "b"])
    write("RTE/dev.tsv", ["index", "sentence1", "sentence2"], ["0", "a", "b"])
    fails("rte", glue, split, "line 1: there is no column 'label'. The columns are: 'index', 'sentence1', 'sentence2'.")


def test_row_with_too_few_columns(glue: Path, write: Write) -> None:
    columns = ["index", "sentence1", "sentence2", "label"]
    file = write("RTE/train.tsv", columns, ["0", "a", "b", "entailment"], ["1", "a", "b entailment"])
    fails("rte", glue, "train", f"{file}, line 3: 3 column(s), at least 4 are needed (columns are separated by tabs).")
    file = write("CoLA/train.tsv", ["gj04", "1", "", "He ran."], [""])
    fails("cola", glue, "train", f"{file}, line 2: 1 column(s), at least 4 are needed")


def test_unknown_label(glue: Path, write: Write) -> None:
    file = write("CoLA/train.tsv", ["x", "1", "", "a"], ["x", "2", "", "b"])
    fails("cola", glue, "train", f"{file}, line 2: label '2' is not a label of task cola. Allowed: 0, 1.")
    columns = ["index", "sentence1", "sentence2", "label"]
    file = write("RTE/train.tsv", columns, ["0", "a", "b", "0"])
    fails("rte", glue, "train", f"{file}, line 2: label '0' is not a label of task rte. Allowed: entailment, not_")
    write("WNLI/train.tsv", columns, ["0", "a", "b", ""])
    fails("wnli", glue, "train", "line 2: label '' is not a label of task wnli. Allowed: 0, 1.")


@pytest.mark.parametrize("written", ["high", "", "nan", "-nan", "inf", "-0.001", "5.01", "1e9", "2,5"])
def test_a_score_must_be_a_number_in_range(glue: Path, write: Write, written: str) -> None:
    columns = ["sentence1", "sentence2", "score"]
    file = write("STS-B/dev.tsv", columns, ["a", "b", "5"], ["a", "b", written])
    expected = f"{file}, line 3: {written!r} is not a score of task stsb. Allowed: a number from 0 to 5."
    fails("stsb", glue, "validation", expected)


def test_unreadable_bytes_name_their_line(glue: Path) -> None:
    (glue / "CoLA").mkdir()
    (glue / "CoLA/train.tsv").write_bytes(b"x\t1\t\tfine\nx\t1\t\tcaf\xe9\n")
    fails("cola", glue, "train", "train.tsv, line 2: byte 0xe9 is not UTF-8.")


def test_opening_does_not_read_and_the_fingerprint_follows_the_content(glue: Path, write: Write) -> None:
    write("CoLA/train.tsv", ["x", "9", "", "bad label"])
    first = open_split(get_task("cola"), str(glue), "train")  # no error: rows are read only if they are needed
    again = open_split(get_task("cola"), str(glue), "train")
    write("CoLA/train.tsv", ["x", "1", "", "good label"])
    changed = open_split(get_task("cola"), str(glue), "train")
    assert first.fingerprint == again.fingerprint != changed.fingerprint
    assert (changed.name, changed.origin) == ("train", str(glue / "CoLA/train.tsv"))


# ---------------------------------------------------------------- the Hub's format


def hub_dataset(task: TaskSpec, rows: Rows, labels: tuple[str, ...] | None = None) -> Any:
    """The same rows as nyu-mll/glue has them: its columns, `ClassLabel`s in its order, -1 where hidden."""
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
        rows = read(name, glue_dir, "validation")
        expected = as_float32(rows) if task.is_regression else rows
        assert rows_from_dataset(task, hub_dataset(task, rows), "here") == expected


@pytest.mark.parametrize("name", ["cola", "stsb", "mnli"])
def test_a_label_of_minus_one_is_hidden(name: str) -> None:
    task = get_task(name)
    texts = ["b"] if len(task.text_columns) > 1 else None
    rows = Rows(["a"], texts, [None])
    assert hub_dataset(task, rows)["label"][0] == -1
    assert rows_from_dataset(task, hub_dataset(task, rows), "here") == rows


def test_classes_are_told_by_name_not_by_number() -> None:
    # MultiNLI's own release, for one, has its classes in another order than GLUE.
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
