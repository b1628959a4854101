"""SST-2-like review phrases, where negation and contrast turn the meaning of single words."""

from tools.demo_corpus.draws import Draws
from tools.demo_corpus.example import Example
from tools.demo_corpus.lexicon import with_article

GOOD = (
    "charming", "gripping", "tender", "witty", "fresh", "clever", "moving", "graceful", "vivid", "honest",
    "rewarding", "lively", "inventive", "touching", "elegant", "funny", "thrilling", "sincere",
)  # fmt: skip
BAD = (
    "dull", "clumsy", "shallow", "stale", "tedious", "messy", "bland", "lifeless", "pointless", "hollow",
    "dreary", "sloppy", "forced", "tiresome", "flat", "silly", "murky", "grating",
)  # fmt: skip
ASPECTS = (
    "film", "script", "story", "acting", "ending", "music", "dialogue", "plot", "first half", "last act",
    "humor", "camera work", "cast", "direction", "mise en scène", "love story", "comedy", "documentary",
)  # fmt: skip
DEGREES = ("", "", "very ", "quite ", "truly ", "often ", "surprisingly ")
NEGATORS = ("not at all", "never", "hardly", "anything but", "by no means", "far from")
CONTRASTS = (" , but", " , yet", " ; still ,")
FIRST_SIDES = ("although", "even if", "while")
GOOD_CLOSERS = ("and worth every minute", "and i was sorry when it ended", "and stays with you for days")
BAD_CLOSERS = ("and i wanted my money back", "and feels twice as long as it is", "and is soon forgotten")


def _opinion(draws: Draws, positive: bool) -> str:
    """A predicate of the given sentiment; two in five get there by negating its opposite."""
    if draws.chance(0.4):
        return f"{draws.pick(NEGATORS)} {draws.pick(BAD if positive else GOOD)}"
    return draws.pick(DEGREES) + draws.pick(GOOD if positive else BAD)


def _single(draws: Draws, positive: bool) -> str:
    closer = f" {draws.pick(GOOD_CLOSERS if positive else BAD_CLOSERS)}" if draws.chance(0.2) else ""
    return f"the {draws.pick(ASPECTS)} is {_opinion(draws, positive)}{closer}"


def _contrast(draws: Draws, positive: bool) -> str:
    """Two opposed opinions, of which the main clause, or the one after *but*, counts."""
    lesser, greater = draws.two(ASPECTS)
    against = f"the {lesser} is {_opinion(draws, not positive)}"
    counted = f"the {greater} is {_opinion(draws, positive)}"
    if draws.chance(0.5):
        return f"{against}{draws.pick(CONTRASTS)} {counted}"
    side = draws.pick(FIRST_SIDES)
    return f"{side} {against} , {counted}" if draws.chance(0.5) else f"{counted} , {side} {against}"


def _fragment(draws: Draws, positive: bool) -> str:
    words = GOOD if positive else BAD
    first, second = draws.two(words)
    thing = draws.pick(ASPECTS)
    part = f'" {draws.pick(("hero", "twist", "joke", "lesson"))} "'
    start = with_article(first)
    named = f"{start} {thing} with {second} {part}"
    return draws.pick((f"{start} , {second} {thing}", f"{first} and {second}", named))


def review(draws: Draws) -> list[Example]:
    """A phrase in the lower-cased, spaced-out spelling of review snippets, and its sentiment."""
    positive = draws.chance(0.5)
    text = draws.pick((_single, _contrast, _contrast, _fragment))(draws, positive)
    return [Example((text + draws.pick((" .", "", " ,", " !")),), str(int(positive)))]
