"""The corpus of `grammar.py`: sentences of the GLUE files, and corrupted copies of them."""

import csv
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MOST_WORDS = 16
COLA_TIMES = 3  # corrupted copies of a CoLA sentence, since these are the kind to be judged; others get one

# The kinds of corruption, and their weights.
WAYS = {"drop": 3.0, "swap": 2.0, "move": 2.0, "put in": 2.0, "double": 0.5, "exchange": 1.5, "its kind": 4.0,
        "ending": 4.0, "follows": 3.0, "any": 2.0}  # fmt: skip

# Words that are confused with one another.
KINDS = [kind.split() for kind in (
    "is are am", "was were", "has have had", "does do did", "be been being", "will would can could may should",
    "he him his himself", "she her hers herself", "they them their themselves", "I me my myself", "we us our",
    "who whom which what that", "in on at to of for from with by about into", "a an the", "this these", "that those",
    "much many", "any some every all", "and or but", "if whether that", "not no never", "there it", "than as",
    "is has", "is was", "did was", "more very", "because although", "where when why how",
)]  # fmt: skip
REPLACEMENTS: dict[str, list[str]] = {}
for kind in KINDS:
    for word in kind:
        REPLACEMENTS.setdefault(word.lower(), []).extend(other for other in kind if other != word)
INSERTED = ("the", "a", "of", "to", "that", "is", "was", "it", "he", "who", "in", "not", "be", "been", "for", "have",
            "him", "what", "which", "there", "do", "did")  # fmt: skip
IRREGULAR = {"went": "go", "go": "gone", "ate": "eaten", "eat": "ate", "saw": "seen", "seen": "saw", "gave": "given",
             "given": "gave", "took": "taken", "taken": "took", "said": "say", "say": "saying", "made": "make",
             "make": "made", "knew": "know", "know": "known", "think": "thought", "thought": "think",
             "wrote": "written", "written": "wrote", "left": "leave", "kept": "keep", "come": "came", "told": "tell",
             "men": "man", "man": "men", "women": "woman", "woman": "women", "children": "child"}  # fmt: skip


def sentences(glue: Path) -> Counter[str]:
    """The sentences of the training files, and how many corrupted copies each gets."""
    counts: Counter[str] = Counter()
    for _, label, _, text in rows(glue / "CoLA"):
        if label == "1":
            counts[text.strip()] = COLA_TIMES
    pairs = [*((r[3], r[4]) for r in rows(glue / "MRPC")), *((r[7], r[8]) for r in rows(glue / "STS-B"))]
    pairs += [(r[1], r[2]) for task in ("RTE", "WNLI") for r in rows(glue / task)]
    for text in (text for pair in pairs for text in pair):
        for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
            counts.setdefault(sentence, 1)
    return Counter({text: times for text, times in counts.items() if 3 <= len(text.split()) <= MOST_WORDS})


def rows(folder: Path) -> Iterator[list[str]]:
    """Read the rows of a training file, without its header."""
    with (folder / "train.tsv").open(encoding="utf-8-sig", newline="") as file:
        table = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if folder.name != "CoLA":  # the only file without a header
            next(table)
        yield from table


class Token(NamedTuple):
    """A word or sign, and whether it is wrong."""

    text: str
    wrong: bool = False


class Corruption:
    """Corrupts sentences at random.

    Args:
        counts: The sentences; their words replace one another.
        rng: The random numbers for it.
    """

    def __init__(self, counts: Counter[str], rng: random.Random) -> None:
        self.rng = rng
        self.words: list[str] = []
        self.after: dict[str, list[str]] = defaultdict(list)
        for sentence in counts:
            tokens = split(sentence)
            for before, word in zip(["", *tokens], tokens, strict=False):
                if word[0].isalnum():
                    self.words.append(word)
                    self.after[before.lower()].append(word)

    def __call__(self, sentence: str) -> list[Token] | None:
        """Corrupt a sentence once, or sometimes twice; ``None`` if it is too short or remains the same."""
        before = split(sentence)
        tokens = [Token(text) for text in before]
        for _ in range(1 if self.rng.random() < 0.7 else 2):
            words = [index for index, token in enumerate(tokens) if token.text[0].isalnum()]
            if len(words) < 3:
                return None
            self._once(tokens, words)
        return tokens if [token.text.lower() for token in tokens] != [text.lower() for text in before] else None

    def _once(self, tokens: list[Token], words: list[int]) -> None:
        rng = self.rng
        known = [index for index in words if tokens[index].text.lower() in REPLACEMENTS]
        way = rng.choices(list(WAYS), list(WAYS.values()))[0]
        index = rng.choice(words)
        if way == "drop":
            index = rng.choice(known) if known and rng.random() < 0.5 else index
            del tokens[index]
            mark_after_gap(tokens, index)
        elif way == "swap":
            number = rng.randrange(len(words) - 1)
            exchange(tokens, words[number], words[number + 1])
        elif way == "exchange":
            exchange(tokens, *rng.sample(words, 2))
        elif way == "move":
            token = tokens.pop(index)
            mark_after_gap(tokens, index)
            tokens.insert(rng.choice([other for other in range(len(tokens) + 1) if other != index]),
                          Token(token.text, wrong=True))  # fmt: skip
        elif way == "put in":
            tokens.insert(index, Token(rng.choice(INSERTED), wrong=True))
        elif way == "double":
            tokens.insert(index, Token(tokens[index].text, wrong=True))
        else:
            index, text = self._replacement(way, tokens, words, known, index)
            tokens[index] = Token(text, wrong=True)

    def _replacement(
        self, way: str, tokens: list[Token], words: list[int], known: list[int], index: int
    ) -> tuple[int, str]:
        """Choose the word to replace, and its replacement."""
        rng = self.rng
        if way == "its kind" and known:
            index = rng.choice(known)
            return index, rng.choice(REPLACEMENTS[tokens[index].text.lower()])
        if way == "any":
            return index, rng.choice(self.words)
        if way == "follows":
            following = self.after.get(tokens[index - 1].text.lower() if index else "")
            return index, rng.choice(following or self.words)
        content = [p for p in words if p not in known and tokens[p].text.islower() and len(tokens[p].text) > 2]
        index = rng.choice(content or words)
        return index, inflect(tokens[index].text, rng)


def mark_after_gap(tokens: list[Token], index: int) -> None:
    """Mark the token before which one is missing."""
    if index < len(tokens):
        tokens[index] = Token(tokens[index].text, wrong=True)


def exchange(tokens: list[Token], one: int, two: int) -> None:
    """Exchange two tokens, and mark both."""
    first, second = tokens[one].text, tokens[two].text
    tokens[one], tokens[two] = Token(second, wrong=True), Token(first, wrong=True)


def inflect(word: str, rng: random.Random) -> str:
    """Give a word another ending."""
    if word.lower() in IRREGULAR:
        return IRREGULAR[word.lower()]
    for ending, others in (("ing", ("", "ed", "s")), ("ed", ("", "ing", "s")), ("s", ("",))):
        if word.endswith(ending) and len(word) > len(ending) + 2 and not word.endswith("ss"):
            return word.removesuffix(ending) + rng.choice(others)
    return word + rng.choice(("s", "s", "ed", "ing"))


def split(sentence: str) -> list[str]:
    """Split a sentence into words and signs."""
    return re.findall(r"[\w'\u2019-]+|[^\w\s]", sentence)
