"""The layout of the corpus: which grammar fills which split, and how a split's file looks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tools.demo_corpus.acceptability import minimal_pair
from tools.demo_corpus.answers import answer_pair
from tools.demo_corpus.draws import Draws
from tools.demo_corpus.example import Example
from tools.demo_corpus.inference import diagnostic, inference, recognition
from tools.demo_corpus.lexicon import GENRES, OTHER_GENRES
from tools.demo_corpus.paraphrase import news_pair, question_pair
from tools.demo_corpus.pronouns import pronoun_pair
from tools.demo_corpus.sentiment import review
from tools.demo_corpus.similarity import graded_pair

Grammar = Callable[[Draws], list[Example]]
Row = Callable[[int, Example], Sequence[str]]
BYTE_ORDER_MARK = "\ufeff"


class Split(NamedTuple):
    """One file: its header (empty for none), how an example becomes a row, and how many rows."""

    name: str
    rows: int
    header: str
    row: Row
    grammar: Grammar


class Task(NamedTuple):
    """One task folder."""

    folder: str
    splits: tuple[Split, ...]


def _indexed(index: int, example: Example) -> Sequence[str]:
    return (str(index), *example.texts)


def _indexed_label(index: int, example: Example) -> Sequence[str]:
    return (str(index), *example.texts, example.label)


def _text_label(index: int, example: Example) -> Sequence[str]:
    return (*example.texts, example.label)


def _cola(index: int, example: Example) -> Sequence[str]:
    return (example.source, example.label, "" if example.label == "1" else "*", *example.texts)


def _mrpc(index: int, example: Example) -> Sequence[str]:
    return (example.label, str(2 * index), str(2 * index + 1), *example.texts)


def _mrpc_test(index: int, example: Example) -> Sequence[str]:
    return (str(index), str(2 * index), str(2 * index + 1), *example.texts)


def _sts(index: int, example: Example) -> Sequence[str]:
    return (str(index), "demo", example.source, "2000", str(index), "none", "none", *example.texts)


def _sts_label(index: int, example: Example) -> Sequence[str]:
    return (*_sts(index, example), example.label)


def _qqp(index: int, example: Example) -> Sequence[str]:
    return (str(index), str(2 * index), str(2 * index + 1), *example.texts, example.label)


def _mnli(raters: int) -> Row:
    def row(index: int, example: Example) -> Sequence[str]:
        pair = f"{index}{example.label[0]}" if raters else str(index)
        labels = [example.label] * (raters + 1) if raters else []
        return (str(index), str(index), pair, example.source, "-", "-", "-", "-", *example.texts, *labels)

    return row


def _labelled(folder: str, sizes: tuple[int, int, int], columns: str, label: str, grammar: Grammar) -> Task:
    """A task whose rows are an index, the texts and, but for the test split, a label."""
    train, dev, test = sizes
    header = f"{columns} {label}"
    return Task(
        folder,
        (
            Split("train", train, header, _indexed_label, grammar),
            Split("dev", dev, header, _indexed_label, grammar),
            Split("test", test, columns, _indexed, grammar),
        ),
    )


MNLI = (
    "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse"
    " sentence1_parse sentence2_parse sentence1 sentence2"
)
MNLI_DEV = f"{MNLI} label1 label2 label3 label4 label5 gold_label"
STS = "index genre filename year old_index source1 source2 sentence1 sentence2"
QQP = "id qid1 qid2 question1 question2 is_duplicate"
MRPC = f"{BYTE_ORDER_MARK}Quality|#1 ID|#2 ID|#1 String|#2 String"
MRPC_TEST = f"{BYTE_ORDER_MARK}index|#1 ID|#2 ID|#1 String|#2 String"
MATCHED, MISMATCHED = inference(GENRES), inference(OTHER_GENRES)

TASKS = (
    Task(
        "CoLA",
        (
            Split("train", 3000, "", _cola, minimal_pair),
            Split("dev", 600, "", _cola, minimal_pair),
            Split("test", 400, "index sentence", _indexed, minimal_pair),
        ),
    ),
    Task(
        "SST-2",
        (
            Split("train", 1600, "sentence label", _text_label, review),
            Split("dev", 300, "sentence label", _text_label, review),
            Split("test", 200, "index sentence", _indexed, review),
        ),
    ),
    Task(
        "MRPC",
        (
            Split("train", 1000, MRPC, _mrpc, news_pair),
            Split("dev", 250, MRPC, _mrpc, news_pair),
            Split("test", 150, MRPC_TEST, _mrpc_test, news_pair),
        ),
    ),
    Task(
        "STS-B",
        (
            Split("train", 1000, f"{STS} score", _sts_label, graded_pair),
            Split("dev", 250, f"{STS} score", _sts_label, graded_pair),
            Split("test", 150, STS, _sts, graded_pair),
        ),
    ),
    Task(
        "QQP",
        (
            Split("train", 1200, QQP, _qqp, question_pair),
            Split("dev", 250, QQP, _qqp, question_pair),
            Split("test", 150, "id question1 question2", _indexed, question_pair),
        ),
    ),
    _labelled("QNLI", (1000, 250, 150), "index question sentence", "label", answer_pair),
    _labelled("RTE", (1200, 250, 150), "index sentence1 sentence2", "label", recognition),
    _labelled("WNLI", (600, 72, 146), "index sentence1 sentence2", "label", pronoun_pair),
    Task(
        "MNLI",
        (
            Split("train", 1500, f"{MNLI} label1 gold_label", _mnli(1), MATCHED),
            Split("dev_matched", 250, MNLI_DEV, _mnli(5), MATCHED),
            Split("dev_mismatched", 250, MNLI_DEV, _mnli(5), MISMATCHED),
            Split("test_matched", 150, MNLI, _mnli(0), MATCHED),
            Split("test_mismatched", 150, MNLI, _mnli(0), MISMATCHED),
        ),
    ),
    Task("AX", (Split("AX", 200, "index sentence1 sentence2", _indexed, diagnostic),)),
)


def _columns(header: str) -> list[str]:
    return header.split("|" if "|" in header else " ")


def _examples(split: Split, draws: Draws, used: set[str]) -> list[Example]:
    """As many new examples as the split has rows; no text of another split comes back in this one."""
    fresh: list[Example] = []
    own: set[tuple[str, ...]] = set()
    while len(fresh) < split.rows:
        batch = split.grammar(draws)
        if any(example.texts in own or used.intersection(example.texts) for example in batch):
            continue
        own.update(example.texts for example in batch)
        fresh.extend(batch)
    for example in fresh:
        used.update(example.texts)
    return draws.shuffled(fresh[: split.rows])


def write_corpus(folder: Path, seed: int = 0) -> None:
    """Write every file of the demo corpus under `folder`; the same seed gives the same bytes."""
    for task in TASKS:
        target = folder / task.folder
        target.mkdir(parents=True, exist_ok=True)
        used: set[str] = set()
        for split in task.splits:
            draws = Draws(f"{seed}/{task.folder}/{split.name}")
            examples = _examples(split, draws, used)
            rows = [split.row(index, example) for index, example in enumerate(examples)]
            if split.header:
                rows.insert(0, _columns(split.header))
            with (target / f"{split.name}.tsv").open("w", encoding="utf-8", newline="\n") as file:
                file.writelines("\t".join(row) + "\n" for row in rows)
