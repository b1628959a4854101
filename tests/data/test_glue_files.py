"""Rows of the official files with all their quirks, and errors for bad ones."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from glue_lit.data.rows import Rows
from glue_lit.data.sources import open_split
from glue_lit.errors import DataError
from glue_lit.tasks.glue import TASKS, get_task

Write = Callable[..., Path]


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    """An empty GLUE folder."""
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
    # The diagnostic set comes with and without labels; with them its Matthews correlation is computed.
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
    # GLUE expects a prediction for each row, in order.
    file = write("QQP/test.tsv", ["id", "question1", "question2"], ["0", "a", "b"], ["1", "a"])
    with pytest.raises(DataError, match=re.escape(f"{file}, line 3: 2 column(s), at least 3 are needed")):
        read("qqp", glue, "test")


def test_a_bad_label_after_a_cut_row_is_found_on_its_line(glue: Path, write: Write) -> None:
    file = write("QQP/train.tsv", QQP, ["4", "5", "6", "Cut"], ["1", "2", "3", "Why?", "How?", "7"])
    with pytest.raises(DataError, match=re.escape(f"{file}, line 3: '7' is not a label")):
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
        # The gold label counts, even if an annotator disagrees.
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
    fails(
        "cola",
        missing,
        "train",
        f"there is no file or folder '{missing}'. Allowed: hub, demo, a GLUE folder in the official layout",
    )


@pytest.mark.parametrize(("typo", "meant"), [("hubb", "hub"), ("dmeo", "demo")])
def test_a_misspelt_source_is_a_folder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typo: str, meant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    fails("cola", typo, "train", f"data.source: there is no file or folder '{typo}'. Did you mean '{meant}'? Allowed:")


def test_missing_task_folder(glue: Path) -> None:
    fails("cola", glue, "train", f"{glue} has no folder CoLA for task cola; it holds no folder.")
    (glue / "cola").mkdir()
    (glue / "MRPC").mkdir()
    if not (glue / "CoLA").exists():  # a case-sensitive file system
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
    fails("cola", glue, "train", f"{file}, line 2: '2' is not a label of task cola. Allowed: 0, 1.")
    columns = ["index", "sentence1", "sentence2", "label"]
    file = write("RTE/train.tsv", columns, ["0", "a", "b", "0"])
    fails("rte", glue, "train", f"{file}, line 2: '0' is not a label of task rte. Allowed: entailment, not_")
    write("WNLI/train.tsv", columns, ["0", "a", "b", ""])
    fails("wnli", glue, "train", "line 2: '' is not a label of task wnli. Allowed: 0, 1.")


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
    first = open_split(get_task("cola"), str(glue), "train")  # no error, because rows are not read yet
    again = open_split(get_task("cola"), str(glue), "train")
    write("CoLA/train.tsv", ["x", "1", "", "good label"])
    changed = open_split(get_task("cola"), str(glue), "train")
    assert first.fingerprint == again.fingerprint != changed.fingerprint
    assert (changed.name, changed.origin) == ("train", str(glue / "CoLA/train.tsv"))
