"""Sentences and what becomes of them when a word goes wrong: a corpus to start CoLA from.

    python examples/corrupted.py path/to/glue corrupted.csv
    glue-lit suite --config configs/suite/all-minilm-l6-v2.yaml --data.source path/to/glue

A model that was trained to embed what sentences mean has lost what makes them English. Here every sentence of the
training files of CoLA (those that are acceptable), MRPC, STS-B, RTE and WNLI stands beside itself with a word dropped,
doubled, moved, exchanged with its neighbour, replaced by another of its kind (he for him, who for which, in for on),
put in, or with another ending. No label but CoLA's is read, and no row of a dev or test file. That telling such pairs
apart teaches grammar: Warstadt et al. 2019 ("Neural Network Acceptability Judgments", the encoders trained to tell real
sentences from fakes).
"""

import csv
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

MOST_WORDS = 16
COLA_TIMES = 3  # its sentences are of the kind that is asked for: each with so many corruptions

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


def corrupt(sentence: str, rng: random.Random) -> str | None:
    """The sentence with something wrong in it; ``None`` where that cannot be."""
    tokens = split(sentence)
    words = [place for place, token in enumerate(tokens) if token[0].isalnum()]
    known = [place for place in words if tokens[place].lower() in REPLACEMENTS]
    if len(words) < 3:
        return None
    way = rng.choices(("drop", "swap", "move", "put in", "replace", "inflect", "double", "exchange"),
                      (3, 2, 2, 2, 4, 4, 0.5, 1.5))[0]  # fmt: skip
    place = rng.choice(words)
    if way == "drop":
        del tokens[rng.choice(known) if known and rng.random() < 0.5 else place]
    elif way == "swap":
        first = rng.randrange(len(words) - 1)
        one, two = words[first], words[first + 1]
        tokens[one], tokens[two] = tokens[two], tokens[one]
    elif way == "move":
        word = tokens.pop(place)
        tokens.insert(rng.choice([other for other in range(len(tokens) + 1) if other != place]), word)
    elif way == "put in":
        tokens.insert(place, rng.choice(INSERTED))
    elif way == "replace" and known:
        place = rng.choice(known)
        tokens[place] = rng.choice(REPLACEMENTS[tokens[place].lower()])
    elif way == "double":
        tokens.insert(place, tokens[place])
    elif way == "exchange":
        one, two = rng.sample(words, 2)
        tokens[one], tokens[two] = tokens[two], tokens[one]
    else:
        content = [p for p in words if p not in known and tokens[p].islower() and len(tokens[p]) > 2]
        place = rng.choice(content or words)
        tokens[place] = inflect(tokens[place], rng)
    return join(tokens)


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


def join(tokens: list[str]) -> str:
    """Tokens as a sentence; both sides are written so, that the writing tells nothing."""
    text = re.sub(r" ([.,!?;:%)])", r"\1", " ".join(tokens))
    return text[:1].upper() + text[1:]


def main() -> None:
    """Write the corpus."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python examples/corrupted.py GLUE_FOLDER OUTPUT.csv")
    rng = random.Random(0)
    pairs = []
    try:
        found = sentences(Path(sys.argv[1]))
    except FileNotFoundError as error:
        raise SystemExit(f"{error.filename} is not there: name the folder of the official GLUE files.") from None
    for sentence, times in found.items():
        good = join(split(sentence))
        for _ in range(times):
            bad = corrupt(sentence, rng)
            if bad is not None and bad.lower() != good.lower():
                pairs += [(good, 1), (bad, 0)]
    rng.shuffle(pairs)
    with Path(sys.argv[2]).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("sentence", "label"), *pairs])
    print(f"{sys.argv[2]}: {len(pairs):,} sentences, half of them as they were")


if __name__ == "__main__":
    main()
