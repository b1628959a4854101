"""MNLI-, RTE- and AX-like pairs: does the second sentence follow from the first?

The hypothesis is drawn first and the label after it, so the hypothesis alone tells nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tools.demo_corpus.draws import Draws
from tools.demo_corpus.example import Example
from tools.demo_corpus.facts import (
    DID,
    DID_NOT,
    MEANT_TO,
    Fact,
    any_fact,
    broader,
    elsewhere,
    narrower,
    recoloured,
    statement,
)
from tools.demo_corpus.lexicon import GENRES, NAMES, OTHER_GENRES, SURNAMES, Genre, with_article

ENTAILMENT, NEUTRAL, CONTRADICTION = "entailment", "neutral", "contradiction"
NOT_ENTAILMENT = "not_entailment"


def _hypothesis(draws: Draws, genre: Genre, subject: str = "") -> Fact:
    return replace(any_fact(draws, genre, subject), mode=DID_NOT if draws.chance(0.35) else DID)


def _entailing(draws: Draws, fact: Fact, genre: Genre) -> Fact:
    """Who bought a red horse bought an animal; who bought no animal bought no red horse."""
    return narrower(draws, fact, genre) if fact.mode == DID else broader(draws, fact)


def _contradicting(draws: Draws, fact: Fact, genre: Genre) -> Fact:
    if fact.mode == DID_NOT:
        return replace(narrower(draws, fact, genre), mode=DID)
    changed = recoloured(draws, fact)
    if changed != fact and draws.chance(0.5):
        return narrower(draws, changed, genre)
    return replace(broader(draws, fact), mode=DID_NOT)


def _undecided(draws: Draws, fact: Fact, genre: Genre) -> Fact:
    """A premise that leaves the fact open: too little said, or a mere intention."""
    if draws.chance(0.7):
        for _ in range(8):
            weaker = broader(draws, fact) if fact.mode == DID else narrower(draws, fact, genre)
            if weaker != fact:
                return weaker
    return replace(draws.pick((broader(draws, fact), narrower(draws, fact, genre))), mode=MEANT_TO)


PREMISES: dict[str, Callable[[Draws, Fact, Genre], Fact]] = {
    ENTAILMENT: _entailing, NEUTRAL: _undecided, CONTRADICTION: _contradicting,
}  # fmt: skip


def inference(genres: Sequence[Genre]) -> Callable[[Draws], list[Example]]:
    """A grammar of three-way pairs over the given genres."""

    def pair(draws: Draws) -> list[Example]:
        genre = draws.pick(genres)
        fact = _hypothesis(draws, genre)
        # Plain, because who did not buy has not thereby refused to.
        hypothesis = statement(draws, fact, plain=True)
        label = draws.pick(tuple(PREMISES))
        premise = hypothesis
        while premise == hypothesis:
            premise = statement(draws, PREMISES[label](draws, fact, genre))
        return [Example((premise, hypothesis), label, genre.name)]

    return pair


def _aside(draws: Draws, premise: str) -> str:
    """The premise among other news, so that it has to be found first."""
    town = draws.pick(("Lüneburg", "Marwick", "Saint-Rémy", "Oldtown", "Carrow"))
    frames = (
        f"{premise} The news came from {town}.",
        f'"{premise}" said the mayor of {town}.',
        f"The papers in {town} had little to report. {premise}",
        premise,
    )
    return draws.pick(frames)


def recognition(draws: Draws) -> list[Example]:
    """A two-way pair with a named subject and some words around the premise."""
    genre = draws.pick(GENRES)
    name = f"{draws.pick(NAMES)} {draws.pick(SURNAMES)}"
    fact = _hypothesis(draws, genre, name)
    hypothesis = statement(draws, fact, plain=True)
    entailed = draws.chance(0.5)
    if entailed:
        told = _entailing(draws, fact, genre)
    elif draws.chance(0.3):
        told = elsewhere(draws, _entailing(draws, fact, genre), genre)
    else:
        told = draws.pick((_undecided, _contradicting))(draws, fact, genre)
    if draws.chance(0.4):
        agent = draws.pick(genre.agents)
        told = replace(told, subject=f"{name}, {draws.pick((with_article(agent), f'the local {agent}'))},")
    premise = _aside(draws, statement(draws, told).replace(",.", "."))
    return [Example((premise, hypothesis), ENTAILMENT if entailed else NOT_ENTAILMENT, genre.name)]


def diagnostic(draws: Draws) -> list[Example]:
    """A pair over any genre, in either direction, for which no label is written."""
    (example,) = inference(GENRES + OTHER_GENRES)(draws)
    premise, hypothesis = example.texts
    return [example, Example((hypothesis, premise), "", example.source)]
