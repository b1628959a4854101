"""The words the grammars share: names, deeds, and things grouped by genre."""

from typing import NamedTuple

WOMEN = ("Anna", "Clara", "Zoé", "Maria", "Ruth", "Helen", "Inès", "Laura", "Sophie", "Vera", "Nora")
MEN = ("Boris", "Jürgen", "Peter", "André", "Oscar", "David", "Tom", "Karl", "Simon", "Victor", "Hugo")
NAMES = WOMEN + MEN
SURNAMES = (
    "Keller", "Marlow", "Brandt", "Ortega", "Lindqvist", "Novak", "Hale", "Dupré", "Moretti", "Tanner",
    "Okafor", "Weiss", "Sandoval", "Grün", "Petrov", "Whitlock", "Castel", "Yamada", "Fenwick", "Aldous",
)  # fmt: skip
COLOURS = ("red", "blue", "green", "yellow", "white", "black")
COUNTS = ("two", "three", "four", "five")
TIMES = ("on Monday", "on Friday", "in April", "in October", "last week", "at noon", "at dawn", "in 1998")


class Action(NamedTuple):
    """The forms of one verb."""

    base: str
    past: str
    participle: str


Deed = tuple[Action, Action]
"""Two verbs that mean the same."""


def _regular(base: str) -> Action:
    past = base + ("d" if base.endswith("e") else "ed")
    return Action(base, past, past)


BUY = (Action("buy", "bought", "bought"), _regular("purchase"))
FIND = (Action("find", "found", "found"), _regular("discover"))
INSPECT = (_regular("inspect"), _regular("examine"))
MOVE = (_regular("move"), _regular("shift"))
CHOOSE = (Action("choose", "chose", "chosen"), _regular("select"))
LOSE = (Action("lose", "lost", "lost"), _regular("misplace"))
REPAIR = (_regular("repair"), _regular("fix"))
DRAW = (Action("draw", "drew", "drawn"), _regular("sketch"))
TEST = (_regular("test"), _regular("check"))
HIDE = (Action("hide", "hid", "hidden"), _regular("conceal"))
CLEAN = (_regular("clean"), _regular("wash"))
NOTICE = (_regular("notice"), Action("spot", "spotted", "spotted"))
RUIN = (_regular("ruin"), _regular("destroy"))
GUARD = (_regular("guard"), _regular("protect"))
LIFT = (_regular("lift"), _regular("raise"))
SHOW = (_regular("display"), _regular("exhibit"))
PRAISE = (_regular("praise"), _regular("commend"))


class Genre(NamedTuple):
    """One small world: who acts there, what they do, with what, and where."""

    name: str
    agents: tuple[str, ...]
    deeds: tuple[Deed, ...]
    things: dict[str, tuple[str, ...]]
    places: tuple[str, ...]


FARM = Genre(
    "farm",
    ("farmer", "shepherd", "miller", "gardener", "beekeeper", "rider"),
    (BUY, FIND, INSPECT, MOVE, CLEAN),
    {"animal": ("horse", "goat", "pig", "donkey"), "tool": ("hammer", "saw", "shovel", "rake")},
    ("near the barn", "behind the mill", "at the market", "in the orchard", "by the pond"),
)
CITY = Genre(
    "city",
    ("courier", "banker", "tailor", "barber", "lawyer", "waiter"),
    (CHOOSE, LOSE, REPAIR, BUY, NOTICE),
    {"vehicle": ("van", "bicycle", "scooter", "truck"), "garment": ("jacket", "coat", "shirt", "hat")},
    ("at the station", "near the bridge", "outside the bank", "at the café", "on the boulevard"),
)
SCHOOL = Genre(
    "school",
    ("teacher", "pupil", "librarian", "painter", "poet", "trainer"),
    (DRAW, TEST, HIDE, FIND, MOVE),
    {"instrument": ("violin", "flute", "trumpet", "drum"), "seat": ("chair", "armchair", "stool", "sofa")},
    ("in the library", "in the gym", "near the gate", "on the stage", "in the corridor"),
)
HOME = Genre(
    "home",
    ("uncle", "neighbor", "cook", "plumber", "babysitter", "aunt"),
    (CLEAN, NOTICE, RUIN, HIDE, CHOOSE),
    {"toy": ("doll", "kite", "puzzle", "balloon"), "container": ("kettle", "bowl", "jar", "bucket")},
    ("in the kitchen", "in the cellar", "on the balcony", "under the stairs", "in the garden"),
)
HARBOR = Genre(
    "harbor",
    ("sailor", "captain", "diver", "pirate", "smuggler", "mate"),
    (GUARD, LIFT, INSPECT, LOSE, REPAIR),
    {"boat": ("ferry boat", "barge", "canoe", "yacht"), "light": ("lantern", "candle", "beacon", "lamp")},
    ("on the pier", "near the lighthouse", "in the bay", "at the dock", "behind the breakwater"),
)
MUSEUM = Genre(
    "museum",
    ("curator", "sculptor", "archaeologist", "visitor", "collector", "historian"),
    (SHOW, PRAISE, DRAW, GUARD, MOVE),
    {
        "artwork": ("statue", "portrait", "mosaic", "fresco"),
        "weapon": ("sword", "dagger", "spear", "crossbow"),
    },
    ("in the gallery", "in the vault", "beside the staircase", "under the dome", "at the entrance"),
)
GENRES = (FARM, CITY, SCHOOL, HOME)
"""The genres of the training splits."""
OTHER_GENRES = (HARBOR, MUSEUM)
"""Genres that training splits never show."""


def with_article(phrase: str) -> str:
    """The phrase with the indefinite article its first letter asks for."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def sentence(text: str, mark: str = ".") -> str:
    """The text as a sentence: first letter raised, closing mark added."""
    return text[0].upper() + text[1:] + mark
