"""QNLI-like pairs: a question, and a sentence that may or may not hold its answer."""

from typing import NamedTuple

from tools.demo_corpus.draws import Draws
from tools.demo_corpus.example import Example
from tools.demo_corpus.lexicon import NAMES, SURNAMES, sentence

BUILDINGS = ("Bridge", "Tower", "Museum", "Theatre", "Library", "Station", "Castle", "Mill", "Chapel", "Hall")
RIVERS = ("Aare", "Tweed", "Dordogne", "Weser", "Tagus", "Oder")
STONES = ("granite", "red brick", "marble", "oak", "sandstone", "concrete")


class Property(NamedTuple):
    """One thing to know about a building: how to ask for it and how to tell it."""

    questions: tuple[str, ...]
    tellings: tuple[str, ...]


PROPERTIES = (
    Property(
        ("When was {it} built?", "In what year was {it} completed?"),
        ("dates from {year}", "was finished in {year}", "opened its doors in {year}"),
    ),
    Property(
        ("Who designed {it}?", "Which architect planned {it}?"),
        ("was the work of {person}", "was drawn up by {person}", 'is "the masterpiece of {person}'),
    ),
    Property(
        ("What is {it} made of?", "Which material was used for {it}?"),
        ("consists of {stone}", "has walls of {stone}", "was put up in {stone}"),
    ),
    Property(
        ("How tall is {it}?", "What is the height of {it}?"),
        ("rises {metres} metres above the ground", "measures {metres} metres from foot to top"),
    ),
    Property(
        ("Where is {it}?", "By which river does {it} stand?"),
        ("looks down on the {river}", "lies on the bank of the {river}"),
    ),
    Property(
        ("How many people visit {it}?", "What number of guests comes to {it} each year?"),
        ("draws {crowd},000 visitors a year", "welcomes {crowd},000 tourists every year"),
    ),
)


def _telling(draws: Draws, known: Property) -> str:
    return draws.pick(known.tellings).format(
        year=1500 + draws.below(480),
        person=f"{draws.pick(NAMES)} {draws.pick(SURNAMES)}",
        stone=draws.pick(STONES),
        metres=12 + draws.below(80),
        river=draws.pick(RIVERS),
        crowd=3 + draws.below(90),
    )


def _building(draws: Draws) -> str:
    return f"{draws.pick(SURNAMES)} {draws.pick(BUILDINGS)}"


def answer_pair(draws: Draws) -> list[Example]:
    """A question and a sentence that answers it, answers another one, or is about another building."""
    name = _building(draws)
    told = draws.two(PROPERTIES)
    first, second = (_telling(draws, known) for known in told)
    text = sentence(f"the {name} {first} and {second}")
    answered = draws.chance(0.5)
    asked, about = draws.pick(told), name
    if not answered and draws.chance(0.25):
        about = draws.pick([building for building in BUILDINGS if not name.endswith(building)])
        about = f"{draws.pick(SURNAMES)} {about}"
    elif not answered:
        asked = draws.pick([known for known in PROPERTIES if known not in told])
    question = draws.pick(asked.questions).format(it=f"the {about}")
    return [Example((question, text), "entailment" if answered else "not_entailment")]
