"""The shipped demo corpus: reproducible, in the right layout, and not solvable from words alone."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import matthews_corrcoef

from glue_lit.data.demo import CORPUS
from tools.demo_corpus.corpus import write_corpus

Rows = list[dict[str, str]]

COLA = ("source", "label", "star", "sentence")
MRPC_STRINGS = ("#1 ID", "#2 ID", "#1 String", "#2 String")
STS = ("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2")
QQP = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
QNLI = ("index", "question", "sentence")
PAIR = ("index", "sentence1", "sentence2")
PARSES = tuple(f"sentence{number}_{kind}" for kind in ("binary_parse", "parse") for number in (1, 2))
MNLI = ("index", "promptID", "pairID", "genre", *PARSES, "sentence1", "sentence2")
MNLI_DEV = (*MNLI, "label1", "label2", "label3", "label4", "label5", "gold_label")

COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "CoLA": {"train": COLA, "dev": COLA, "test": ("index", "sentence")},
    "SST-2": {"train": ("sentence", "label"), "dev": ("sentence", "label"), "test": ("index", "sentence")},
    "MRPC": {
        "train": ("Quality", *MRPC_STRINGS),
        "dev": ("Quality", *MRPC_STRINGS),
        "test": ("index", *MRPC_STRINGS),
    },
    "STS-B": {"train": (*STS, "score"), "dev": (*STS, "score"), "test": STS},
    "QQP": {"train": QQP, "dev": QQP, "test": ("id", "question1", "question2")},
    "QNLI": {"train": (*QNLI, "label"), "dev": (*QNLI, "label"), "test": QNLI},
    "RTE": {"train": (*PAIR, "label"), "dev": (*PAIR, "label"), "test": PAIR},
    "WNLI": {"train": (*PAIR, "label"), "dev": (*PAIR, "label"), "test": PAIR},
    "MNLI": {
        "train": (*MNLI, "label1", "gold_label"),
        "dev_matched": MNLI_DEV,
        "dev_mismatched": MNLI_DEV,
        "test_matched": MNLI,
        "test_mismatched": MNLI,
    },
    "AX": {"AX": PAIR},
}
FILES = [(task, split) for task, splits in COLUMNS.items() for split in splits]
LABEL = {"CoLA": "label", "SST-2": "label", "MRPC": "Quality", "QQP": "is_duplicate", "MNLI": "gold_label"}
LABEL |= dict.fromkeys(("QNLI", "RTE", "WNLI"), "label")
CLASSES = {task: {"0", "1"} for task in ("CoLA", "SST-2", "MRPC", "QQP", "WNLI")}
CLASSES |= {task: {"entailment", "not_entailment"} for task in ("QNLI", "RTE")}
CLASSES["MNLI"] = {"entailment", "neutral", "contradiction"}
TEXTS: dict[str, tuple[str, ...]] = {"CoLA": ("sentence",), "SST-2": ("sentence",)}
TEXTS |= {"MRPC": ("#1 String", "#2 String")}
TEXTS |= {"QQP": ("question1", "question2"), "QNLI": ("question", "sentence")}
TEXTS |= dict.fromkeys(("STS-B", "RTE", "WNLI", "MNLI", "AX"), ("sentence1", "sentence2"))
SECOND_TEXT = [(task, texts[1]) for task, texts in TEXTS.items() if len(texts) == 2 and task in LABEL]


def read(task: str, split: str) -> Rows:
    columns = COLUMNS[task][split]
    lines = (CORPUS / task / f"{split}.tsv").read_bytes().decode("utf-8-sig").removesuffix("\n").split("\n")
    fields = [line.split("\t") for line in lines]
    if columns is not COLA:
        assert tuple(fields.pop(0)) == columns
    assert {len(row) for row in fields} == {len(columns)}
    return [dict(zip(columns, row, strict=True)) for row in fields]


def texts_of(rows: Rows, column: str) -> list[str]:
    return [row[column] for row in rows]


def bag_of_words_guesses(task: str, column: str, dev: str) -> tuple[list[str], list[str]]:
    """Guesses for the dev split from the words of one column, and the labels."""
    train, held_out = read(task, "train"), read(task, dev)
    words = CountVectorizer(token_pattern=r"(?u)\b\w+\b")
    model = LogisticRegression(max_iter=1000).fit(
        words.fit_transform(texts_of(train, column)), texts_of(train, LABEL[task])
    )
    return list(model.predict(words.transform(texts_of(held_out, column)))), texts_of(held_out, LABEL[task])


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_regenerating_gives_the_shipped_bytes(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    written, shipped = contents(tmp_path), contents(CORPUS)
    assert sorted(written) == sorted(shipped)
    assert [name for name in shipped if written[name] != shipped[name]] == []


def test_another_seed_gives_another_corpus(tmp_path: Path) -> None:
    write_corpus(tmp_path, seed=1)
    written, shipped = contents(tmp_path), contents(CORPUS)
    assert sorted(written) == sorted(shipped)
    assert [name for name in shipped if written[name] == shipped[name]] == []


def test_corpus_holds_these_files_and_is_small() -> None:
    shipped = contents(CORPUS)
    assert sorted(shipped) == sorted(f"{task}/{split}.tsv" for task, split in FILES)
    assert sum(map(len, shipped.values())) < 2_000_000


@pytest.mark.parametrize(("task", "split"), FILES)
def test_columns_and_row_counts(task: str, split: str) -> None:
    rows = read(task, split)
    assert len(rows) >= 70
    for name in ("index", "id"):
        if name in rows[0]:
            assert texts_of(rows, name) == [str(number) for number in range(len(rows))]
    if "star" in rows[0]:
        assert all(row["star"] == ("" if row["label"] == "1" else "*") for row in rows)
    raw = (CORPUS / task / f"{split}.tsv").read_bytes()
    assert b"\r" not in raw
    assert raw.startswith("\ufeff".encode()) is (task == "MRPC")


@pytest.mark.parametrize("task", list(LABEL))
def test_labels_are_roughly_balanced(task: str) -> None:
    for split in COLUMNS[task]:
        if split.startswith("test"):
            continue
        counts = Counter(texts_of(read(task, split), LABEL[task]))
        assert set(counts) == CLASSES[task]
        assert max(counts.values()) <= 1.2 * counts.total() / len(counts)


def test_scores_cover_the_scale() -> None:
    for split in ("train", "dev"):
        scores = [float(score) for score in texts_of(read("STS-B", split), "score")]
        assert all(0 <= score <= 5 for score in scores)
        assert np.histogram(scores, bins=5)[0].min() >= len(scores) / 12


@pytest.mark.parametrize("task", list(TEXTS))
def test_splits_share_no_text(task: str) -> None:
    used: set[str] = set()
    for split in COLUMNS[task]:
        rows = read(task, split)
        own = [text for column in TEXTS[task] for text in texts_of(rows, column)]
        assert used.isdisjoint(own)
        used.update(own)
        whole = Counter(tuple(row[column] for column in TEXTS[task]) for row in rows)
        assert whole.most_common(1)[0][1] == 1


def test_quotes_and_accents_occur() -> None:
    for task in ("SST-2", "MRPC", "QQP", "QNLI", "RTE"):
        text = "".join(row[column] for row in read(task, "train") for column in TEXTS[task])
        assert '"' in text
        assert any(letter in text for letter in "éèü")


def test_words_alone_do_not_tell_acceptability() -> None:
    guesses, labels = bag_of_words_guesses("CoLA", "sentence", "dev")
    assert matthews_corrcoef(labels, guesses) < 0.3


@pytest.mark.parametrize(("task", "column"), SECOND_TEXT)
def test_second_text_alone_does_not_tell(task: str, column: str) -> None:
    guesses, labels = bag_of_words_guesses(task, column, "dev_matched" if task == "MNLI" else "dev")
    right = np.mean([guess == label for guess, label in zip(guesses, labels, strict=True)])
    majority = max(Counter(labels).values()) / len(labels)
    assert right < majority + 0.12


def test_second_text_alone_does_not_tell_similarity() -> None:
    train, dev = read("STS-B", "train"), read("STS-B", "dev")
    words = CountVectorizer()
    model = Ridge(10.0).fit(
        words.fit_transform(texts_of(train, "sentence2")), np.array(texts_of(train, "score"), float)
    )
    guesses = model.predict(words.transform(texts_of(dev, "sentence2")))
    assert np.corrcoef(guesses, np.array(texts_of(dev, "score"), float))[0, 1] < 0.25
