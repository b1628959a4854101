"""WNLI-like pairs: the second sentence reads the pronoun of the first, rightly or wrongly.

What each reason fits to is fixed by the grammar: the one who pays had the debt, the one who is
paid had done the work.
"""

from typing import NamedTuple

from tools.demo_corpus.draws import Draws
from tools.demo_corpus.example import Example
from tools.demo_corpus.lexicon import MEN, WOMEN


class Scene(NamedTuple):
    """What `first` does to `second`, with reasons that fit only the one or only the other."""

    event: str
    fits_first: tuple[str, ...]
    fits_second: tuple[str, ...]


PERSONS = (
    Scene(
        "{0} paid {1} because",
        ("had a debt to settle",),
        ("had done the work", "was owed the rent"),
    ),
    Scene(
        "{0} could not hear {1} because",
        ("was wearing earplugs",),
        ("was whispering", "was too far away"),
    ),
    Scene(
        "{0} carried {1} home because",
        ("was still strong enough",),
        ("had hurt a foot", "was tired out"),
    ),
    Scene("{0} lent {1} a ladder because", ("had two of them",), ("needed one", "had asked for one")),
    Scene("{0} followed {1} because", ("had lost the way",), ("knew the way", "had the map")),
    Scene("{0} apologized to {1} because", ("had come late", "had been rude"), ("had been kept waiting",)),
    Scene("{0} envied {1} because", ("had won nothing",), ("had won first prize", "had become famous")),
    Scene("{0} asked {1} for advice because", ("did not know what to do",), ("had a lot of experience",)),
    Scene(
        "{0} hid from {1} because",
        ("was afraid of being found",),
        ("looked dangerous", "was out for revenge"),
    ),
    Scene("{0} woke {1} because", ("had heard a noise",), ("had slept for too long", "was snoring")),
    Scene("{0} fed {1} because", ("had cooked a meal",), ("was hungry", "had not eaten all day")),
    Scene("{0} warned {1} because", ("had seen the danger",), ("was about to fall", "had not seen it")),
)
OBJECTS = ("statue", "box", "vase", "lamp", "clock", "mirror", "basket", "globe", "radio", "plant", "trunk")
THINGS = (
    Scene("The {0} stood in front of the {1}, so", ("was in full view",), ("was out of sight",)),
    Scene("The {0} fell on the {1}, and", ("had been standing too high",), ("was crushed from above",)),
    Scene("The {0} lay on top of the {1}, so", ("had to be taken off first",), ("had to bear the weight",)),
    Scene(
        "The {0} replaced the {1} because",
        ("was newer", "worked better"),
        ("was worn out", "was broken"),
    ),
)


def pronoun_pair(draws: Draws) -> list[Example]:
    """One scene with both readings of its pronoun: label 1 for the one that makes sense."""
    if draws.chance(0.75):
        scene, article = draws.pick(PERSONS), ""
        pronoun, people = draws.pick((("she", WOMEN), ("he", MEN)))
        names = draws.two(people)
    else:
        scene, article, pronoun = draws.pick(THINGS), "The ", "it"
        names = draws.two(OBJECTS)
    fitting = draws.below(2)
    reason = draws.pick((scene.fits_first, scene.fits_second)[fitting])
    text = f"{scene.event.format(*names)} {pronoun} {reason}."
    return [
        Example((text, f"{article}{names[reader]} {reason}."), str(int(reader == fitting)))
        for reader in draws.shuffled((0, 1))
    ]
