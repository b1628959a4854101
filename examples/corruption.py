"""Sentences of the GLUE files, and what goes wrong in them: the corpus of `grammar.py`."""

import csv
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MOST_WORDS = 16
COLA_TIMES = 3  # its sentences are of the kind that is asked for: each with so many corruptions

# What goes wrong, and how often.
WAYS = {"drop": 3.0, "swap": 2.0, "move": 2.0, "put in": 2.0, "double": 0.5, "exchange": 1.5, "its kind": 4.0,
        "ending": 4.0, "follows": 3.0, "any": 2.0}  # fmt: skip

# Words that stand for one another, and so go wrong for one another.
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
    """Sentences of the training files, and how many corruptions each gets."""
    found: Counter[str] = Counter()
    for _, label, _, text in rows(glue / "CoLA"):
        if label == "1":
            found[text.strip()] = COLA_TIMES
    pairs = [*((r[3], r[4]) for r in rows(glue / "MRPC")), *((r[7], r[8]) for r in rows(glue / "STS-B"))]
    pairs += [(r[1], r[2]) for task in ("RTE", "WNLI") for r in rows(glue / task)]
    for text in (text for pair in pairs for text in pair):
        for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
            found.setdefault(sentence, 1)
    return Counter({text: times for text, times in found.items() if 3 <= len(text.split()) <= MOST_WORDS})


def rows(folder: Path) -> Iterator[list[str]]:
    """The rows of a training file, without its header."""
    with (folder / "train.tsv").open(encoding="utf-8-sig", newline="") as file:
        table = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if folder.name != "CoLA":  # the one without
            next(table)
        yield from table


class Token(NamedTuple):
    """A word or sign, and whether it is at fault."""

    text: str
    wrong: bool = False


class Corruption:
    """What goes wrong in sentences, drawn anew each time.

    Args:
        found: The sentences, whose words replace one another.
        rng: Draws.
    """

    def __init__(self, found: Counter[str], rng: random.Random) -> None:
        self.rng = rng
        self.words: list[str] = []
        self.after: dict[str, list[str]] = defaultdict(list)
        for sentence in found:
            tokens = split(sentence)
            for before, word in zip(["", *tokens], tokens, strict=False):
                if word[0].isalnum():
                    self.words.append(word)
                    self.after[before.lower()].append(word)

    def __call__(self, sentence: str) -> list[Token] | None:
        """The sentence with one thing wrong, or sometimes two; ``None`` where it is too short or stays what it was."""
        before = split(sentence)
        tokens = [Token(text) for text in before]
        for _ in range(1 if self.rng.random() < 0.7 else 2):
            words = [place for place, token in enumerate(tokens) if token.text[0].isalnum()]
            if len(words) < 3:
                return None
            self._once(tokens, words)
        return tokens if [token.text.lower() for token in tokens] != [text.lower() for text in before] else None

    def _once(self, tokens: list[Token], words: list[int]) -> None:
        rng = self.rng
        known = [place for place in words if tokens[place].text.lower() in REPLACEMENTS]
        way = rng.choices(list(WAYS), list(WAYS.values()))[0]
        place = rng.choice(words)
        if way == "drop":
            place = rng.choice(known) if known and rng.random() < 0.5 else place
            del tokens[place]
            blame(tokens, place)
        elif way == "swap":
            number = rng.randrange(len(words) - 1)
            exchange(tokens, words[number], words[number + 1])
        elif way == "exchange":
            exchange(tokens, *rng.sample(words, 2))
        elif way == "move":
            token = tokens.pop(place)
            blame(tokens, place)
            tokens.insert(rng.choice([other for other in range(len(tokens) + 1) if other != place]),
                          Token(token.text, wrong=True))  # fmt: skip
        elif way == "put in":
            tokens.insert(place, Token(rng.choice(INSERTED), wrong=True))
        elif way == "double":
            tokens.insert(place, Token(tokens[place].text, wrong=True))
        else:
            place, text = self._replacement(way, tokens, words, known, place)
            tokens[place] = Token(text, wrong=True)

    def _replacement(
        self, way: str, tokens: list[Token], words: list[int], known: list[int], place: int
    ) -> tuple[int, str]:
        """Which word is replaced, and by what."""
        rng = self.rng
        if way == "its kind" and known:
            place = rng.choice(known)
            return place, rng.choice(REPLACEMENTS[tokens[place].text.lower()])
        if way == "any":
            return place, rng.choice(self.words)
        if way == "follows":
            following = self.after.get(tokens[place - 1].text.lower() if place else "")
            return place, rng.choice(following or self.words)
        content = [p for p in words if p not in known and tokens[p].text.islower() and len(tokens[p].text) > 2]
        place = rng.choice(content or words)
        return place, inflect(tokens[place].text, rng)


def blame(tokens: list[Token], place: int) -> None:
    """Mark the token before which one is missing."""
    if place < len(tokens):
        tokens[place] = Token(tokens[place].text, wrong=True)


def exchange(tokens: list[Token], one: int, two: int) -> None:
    """Let two tokens change places."""
    first, second = tokens[one].text, tokens[two].text
    tokens[one], tokens[two] = Token(second, wrong=True), Token(first, wrong=True)


def inflect(word: str, rng: random.Random) -> str:
    """A word with another ending."""
    if word.lower() in IRREGULAR:
        return IRREGULAR[word.lower()]
    for ending, others in (("ing", ("", "ed", "s")), ("ed", ("", "ing", "s")), ("s", ("",))):
        if word.endswith(ending) and len(word) > len(ending) + 2 and not word.endswith("ss"):
            return word.removesuffix(ending) + rng.choice(others)
    return word + rng.choice(("s", "s", "ed", "ing"))


def split(sentence: str) -> list[str]:
    """Words and signs."""
    return re.findall(r"[\w'\u2019-]+|[^\w\s]", sentence)
