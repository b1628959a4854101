"""STS-B-like pairs: how close two sentences are, from the parts in which their facts agree."""

from dataclasses import replace

from tools.demo_corpus.draws import Draws
from tools.demo_corpus.example import Example
from tools.demo_corpus.facts import Fact, any_fact, clause
from tools.demo_corpus.lexicon import GENRES, TIMES, Genre, sentence

WEIGHTS = {"subject": 1.2, "deed": 1.2, "noun": 1.4, "place": 0.7, "time": 0.5}
"""What each part counts for; together 5, the score of two sentences that mean the same."""
SAME_KIND = 0.5
NOISE = 0.15


def _full_fact(draws: Draws, genre: Genre) -> Fact:
    fact = any_fact(draws, genre)
    noun, place = draws.pick(genre.things[fact.kind]), draws.pick(genre.places)
    return replace(fact, noun=noun, place=place, time=draws.pick(TIMES), colour="", count="")


def _closeness(first: Fact, second: Fact) -> float:
    score = sum(weight for part, weight in WEIGHTS.items() if getattr(first, part) == getattr(second, part))
    if first.noun != second.noun and first.kind == second.kind:
        score += SAME_KIND * WEIGHTS["noun"]
    return score


def _in_words(draws: Draws, fact: Fact) -> str:
    return sentence(clause(fact, draws.pick(fact.deed), draws.chance(0.3), front=draws.chance(0.3)))


def graded_pair(draws: Draws) -> list[Example]:
    """Two sentences and a score from 0 to 5, in steps as fine as raters' averages."""
    genre = draws.pick(GENRES)
    first = _full_fact(draws, genre)
    # One pair in six is unrelated: parts of another world never agree.
    if draws.chance(1 / 6):
        second = _full_fact(draws, draws.other(GENRES, genre))
    else:
        second = _full_fact(draws, genre)
        parts = draws.shuffled(tuple(WEIGHTS))
        for part in parts[: draws.below(len(parts) + 1)]:
            # The kind goes with its noun.
            for name in ("noun", "kind") if part == "noun" else (part,):
                second = replace(second, **{name: getattr(first, name)})
    score = min(5.0, max(0.0, _closeness(first, second) + draws.spread(NOISE)))
    return [Example((_in_words(draws, first), _in_words(draws, second)), f"{score:.3f}", genre.name)]
