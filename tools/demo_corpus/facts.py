"""Small facts about who did what to which thing, and the sentences that state them."""

from dataclasses import dataclass, replace

from tools.demo_corpus.draws import Draws
from tools.demo_corpus.lexicon import COLOURS, COUNTS, TIMES, Action, Deed, Genre, sentence, with_article

DID, DID_NOT, MEANT_TO = "did", "did not", "meant to"
POSITIVE = ("managed to", "was able to")
NEGATIVE = ("did not", "did not", "refused to", "failed to")
OPEN = ("wanted to", "planned to", "hoped to", "promised to")


@dataclass(frozen=True)
class Fact:
    """A deed with its parts; an empty part is left open. `mode` says whether it happened."""

    subject: str
    deed: Deed
    noun: str
    kind: str
    colour: str = ""
    count: str = ""
    place: str = ""
    time: str = ""
    mode: str = DID

    @property
    def thing(self) -> str:
        """The object as a noun phrase."""
        phrase = f"{self.colour} {self.noun}".strip()
        return f"{self.count} {phrase}s" if self.count else with_article(phrase)


def any_fact(draws: Draws, genre: Genre, subject: str = "") -> Fact:
    """A fact of the genre in which about half of the optional parts are filled."""
    kind = draws.pick(tuple(genre.things))
    return Fact(
        subject=subject or f"the {draws.pick(genre.agents)}",
        deed=draws.pick(genre.deeds),
        noun=draws.pick(genre.things[kind]) if draws.chance(0.6) else kind,
        kind=kind,
        colour=draws.pick(COLOURS) if draws.chance(0.4) else "",
        count=draws.pick(COUNTS) if draws.chance(0.3) else "",
        place=draws.pick(genre.places) if draws.chance(0.4) else "",
        time=draws.pick(TIMES) if draws.chance(0.3) else "",
    )


def clause(fact: Fact, verb: Action, passive: bool = False, lead: str = "", front: bool = False) -> str:
    """The fact in words: with one of its verbs, active or passive, time first or last."""
    if passive:
        core = f"{fact.thing} {'were' if fact.count else 'was'} {verb.participle} by {fact.subject}"
    else:
        core = f"{fact.subject} {f'{lead} {verb.base}' if lead else verb.past} {fact.thing}"
    core = f"{core} {fact.place}".strip()
    if not fact.time:
        return core
    return f"{fact.time}, {core}" if front else f"{core} {fact.time}"


def statement(draws: Draws, fact: Fact, plain: bool = False) -> str:
    """A sentence that states the fact in randomly drawn words; a plain one says no more than the fact."""
    verb, front = draws.pick(fact.deed), draws.chance(0.3)
    if fact.mode == DID_NOT:
        lead = "did not" if plain else draws.pick(NEGATIVE)
    elif fact.mode == MEANT_TO:
        lead = draws.pick(OPEN)
    else:
        lead = draws.pick(POSITIVE) if not plain and draws.chance(0.3) else ""
    passive = fact.mode == DID and not lead and draws.chance(0.3)
    return sentence(clause(fact, verb, passive, lead, front))


def narrower(draws: Draws, fact: Fact, genre: Genre) -> Fact:
    """A fact that says at least as much; equal only when nothing can be added or by chance."""
    noun, colour, place, time = fact.noun, fact.colour, fact.place, fact.time
    if noun == fact.kind and draws.chance(0.7):
        noun = draws.pick(genre.things[fact.kind])
    if not colour and draws.chance(0.5):
        colour = draws.pick(COLOURS)
    if not place and draws.chance(0.5):
        place = draws.pick(genre.places)
    if not time and draws.chance(0.5):
        time = draws.pick(TIMES)
    return replace(fact, noun=noun, colour=colour, place=place, time=time)


def broader(draws: Draws, fact: Fact) -> Fact:
    """A fact that says at most as much; equal only when nothing can be left out or by chance."""
    return replace(
        fact,
        noun=fact.kind if draws.chance(0.6) else fact.noun,
        colour="" if draws.chance(0.5) else fact.colour,
        place="" if draws.chance(0.5) else fact.place,
        time="" if draws.chance(0.5) else fact.time,
    )


def recoloured(draws: Draws, fact: Fact) -> Fact:
    """The fact with another colour or number; the fact itself when it has neither."""
    if fact.count and (not fact.colour or draws.chance(0.5)):
        return replace(fact, count=draws.other(COUNTS, fact.count))
    if fact.colour:
        return replace(fact, colour=draws.other(COLOURS, fact.colour))
    return fact


def elsewhere(draws: Draws, fact: Fact, genre: Genre) -> Fact:
    """The fact about another thing, or by another verb."""
    if draws.chance(0.6):
        kind = draws.other(tuple(genre.things), fact.kind)
        return replace(fact, kind=kind, noun=draws.pick(genre.things[kind]))
    return replace(fact, deed=draws.other(genre.deeds, fact.deed))
