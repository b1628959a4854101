"""CoLA-like minimal pairs: a good sentence and its violation, made so that words alone do not tell.

A violation either keeps the very words of its good twin in another order, or crosses two good
patterns (this hat, these hats / *this hats, *these hat), so each word is as frequent in both.
"""

from tools.demo_corpus.draws import Draws
from tools.demo_corpus.example import Example
from tools.demo_corpus.lexicon import GENRES, MEN, NAMES, WOMEN

Pair = tuple[str, str]

AGENTS = tuple(agent for genre in GENRES for agent in genre.agents)
THINGS = tuple(thing for genre in GENRES for things in genre.things.values() for thing in things)
ADJECTIVES = ("old", "new", "small", "heavy", "clean", "strange", "cheap", "famous")
INTRANSITIVES = ("sleep", "swim", "laugh", "smile", "arrive", "work", "wait", "sing", "dance", "complain")
ADVERBS = ("here", "outside", "upstairs", "again", "quietly", "every day", "in Málaga", "at night")
TAKERS = ("found", "bought", "opened", "repaired", "lost", "noticed", "painted", "carried")
OBJECT_SEEKERS = ("found", "repaired", "carried", "fetched", "grabbed", "borrowed", "destroyed", "mended")
LONERS = ("sneezed", "slept", "arrived", "vanished", "yawned", "fainted", "smiled", "fell")
VERB_FORMS = (
    ("sing", "sung", "singing"), ("write", "written", "writing"), ("drive", "driven", "driving"),
    ("speak", "spoken", "speaking"), ("swim", "swum", "swimming"), ("draw", "drawn", "drawing"),
    ("eat", "eaten", "eating"), ("fall", "fallen", "falling"),
)  # fmt: skip
AUXILIARIES = (("can", "will", "must"), ("has",), ("is",))


def _noun(draws: Draws, plural: bool) -> str:
    return draws.pick(AGENTS) + ("s" if plural else "")


def _anyone(draws: Draws) -> str:
    return draws.pick(NAMES) if draws.chance(0.5) else f"the {draws.pick(AGENTS)}"


def agreement(draws: Draws) -> Pair:
    """The verb agrees with its subject."""
    plural = draws.chance(0.5)
    subject = f"the {_noun(draws, plural)}"
    if draws.chance(0.4):
        rest = draws.pick(ADJECTIVES)
        right, wrong = draws.pick((("is", "are"), ("was", "were")))
    else:
        rest = draws.pick(ADVERBS)
        stem = draws.pick(INTRANSITIVES)
        right, wrong = stem + "s", stem
    if plural:
        right, wrong = wrong, right
    return f"{subject} {right} {rest}", f"{subject} {wrong} {rest}"


def distant_agreement(draws: Draws) -> Pair:
    """The verb agrees with its subject, not with a noun in between."""
    plural = draws.chance(0.5)
    between = _noun(draws, draws.chance(0.5))
    subject = f"the {_noun(draws, plural)} {draws.pick(('near', 'behind', 'with'))} the {between}"
    right, wrong = draws.pick((("is", "are"), ("was", "were")))
    if plural:
        right, wrong = wrong, right
    rest = draws.pick(ADJECTIVES)
    return f"{subject} {right} {rest}", f"{subject} {wrong} {rest}"


def determiner_number(draws: Draws) -> Pair:
    """The determiner agrees with its noun."""
    plural = draws.chance(0.5)
    right, wrong = draws.pick((("this", "these"), ("that", "those"), ("every", "several")))
    if plural:
        right, wrong = wrong, right
    thing = draws.pick(THINGS) + ("s" if plural else "")
    start = f"{_anyone(draws)} {draws.pick(TAKERS)}"
    return f"{start} {right} {thing}", f"{start} {wrong} {thing}"


def verb_form(draws: Draws) -> Pair:
    """A modal takes the base form, *has* the participle, *is* the -ing form."""
    kind = draws.below(3)
    forms = draws.pick(VERB_FORMS)
    start = f"{_anyone(draws)} {draws.pick(AUXILIARIES[kind])}"
    rest = draws.pick(ADVERBS)
    # Going round in a circle keeps each form as frequent in both, and avoids the passive (is eaten).
    wrong = forms[(kind + 1) % 3]
    return f"{start} {forms[kind]} {rest}", f"{start} {wrong} {rest}"


def word_order(draws: Draws) -> Pair:
    """Subject, verb, determiner, adjective, noun: in that order."""
    subject, verb = _anyone(draws), draws.pick(TAKERS)
    adjective, thing = draws.pick(ADJECTIVES), draws.pick(THINGS)
    good = f"{subject} {verb} the {adjective} {thing}"
    scrambled = (
        f"{subject} the {adjective} {thing} {verb}",
        f"{subject} {verb} the {thing} {adjective}",
        f"{subject} {verb} {adjective} the {thing}",
        f"{verb} the {adjective} {thing} {subject}",
        f"{subject} {verb} {adjective} {thing} the",
    )
    return good, draws.pick(scrambled)


def doubled_word(draws: Draws) -> Pair:
    """Each noun has one determiner, rather than one of them two and the other none."""
    subject, verb, thing = draws.pick(AGENTS), draws.pick(TAKERS), draws.pick(THINGS)
    wrong = (f"the the {subject} {verb} {thing}", f"{subject} {verb} the the {thing}")
    return f"the {subject} {verb} the {thing}", draws.pick(wrong)


def reflexive(draws: Draws) -> Pair:
    """A reflexive agrees with its antecedent."""
    people = (
        ("himself", (*MEN, "the king", "the boy", "the father", "the uncle")),
        ("herself", (*WOMEN, "the queen", "the girl", "the mother", "the aunt")),
        ("themselves", ("the kings", "the girls", "the mothers", "the uncles", "the boys", "the aunts")),
    )
    (right, antecedents), (wrong, _) = draws.two(people)
    verb = draws.pick(("hurt", "praised", "blamed", "surprised", "washed", "saw"))
    start = f"{draws.pick(antecedents)} {verb}"
    rest = draws.pick(("", " again", " yesterday", " in the mirror"))
    return f"{start} {right}{rest}", f"{start} {wrong}{rest}"


def argument_structure(draws: Draws) -> Pair:
    """Some verbs need an object and some cannot have one."""
    subject, rest = _anyone(draws), draws.pick(("yesterday", "again", "on Monday", "in Málaga"))
    thing = f"the {draws.pick(THINGS)} "
    if draws.chance(0.5):
        start = f"{subject} {draws.pick(OBJECT_SEEKERS)} "
        return start + thing + rest, start + rest
    start = f"{subject} {draws.pick(LONERS)} "
    return start + rest, start + thing + rest


def question(draws: Draws) -> Pair:
    """In a question the auxiliary stands before the subject."""
    subject, verb = _anyone(draws), draws.pick(INTRANSITIVES)
    where = draws.pick(("where", "when", "why", "how"))
    auxiliary = draws.pick(("did", "can", "will", "should"))
    wrong = (f"{where} {subject} {auxiliary} {verb}?", f"{where} {auxiliary} {verb} {subject}?")
    return f"{where} {auxiliary} {subject} {verb}?", draws.pick(wrong)


def complement(draws: Draws) -> Pair:
    """Some verbs take an infinitive and some a gerund."""
    base, _, gerund = draws.pick(VERB_FORMS)
    infinitive, rest = f"to {base}", draws.pick(ADVERBS)
    if draws.chance(0.5):
        start = f"{_anyone(draws)} {draws.pick(('wants', 'hopes', 'decided', 'refused', 'promised'))}"
        return f"{start} {infinitive} {rest}", f"{start} {gerund} {rest}"
    start = f"{_anyone(draws)} {draws.pick(('enjoys', 'avoids', 'finished', 'dislikes', 'suggested'))}"
    return f"{start} {gerund} {rest}", f"{start} {infinitive} {rest}"


def pronoun_case(draws: Draws) -> Pair:
    """A pronoun has the case its place asks for."""
    subject, other = draws.two((("she", "her"), ("he", "him"), ("they", "them"), ("I", "me")))
    verb, rest = draws.pick(("saw", "helped", "called", "followed", "met")), draws.pick(ADVERBS)
    return f"{subject[0]} {verb} {other[1]} {rest}", f"{other[1]} {verb} {subject[0]} {rest}"


def comparison(draws: Draws) -> Pair:
    """*as tall as*, *taller than*."""
    first, second = draws.two(NAMES) if draws.chance(0.5) else draws.two([f"the {agent}" for agent in AGENTS])
    adjective = draws.pick(("tall", "young", "quick", "strong", "kind", "loud", "short", "proud"))
    if draws.chance(0.5):
        return f"{first} is as {adjective} as {second}", f"{first} is as {adjective} than {second}"
    return f"{first} is {adjective}er than {second}", f"{first} is {adjective}er as {second}"


PHENOMENA = (
    agreement, distant_agreement, determiner_number, verb_form, word_order, doubled_word,
    reflexive, argument_structure, question, complement, pronoun_case, comparison,
)  # fmt: skip


def minimal_pair(draws: Draws) -> list[Example]:
    """A sentence (label 1) and its violation (label 0)."""
    phenomenon = draws.pick(PHENOMENA)
    examples = []
    for label, text in zip("10", phenomenon(draws), strict=True):
        closed = text if text.endswith("?") else text + "."
        examples.append(Example((closed[0].upper() + closed[1:],), label, phenomenon.__name__))
    return examples
