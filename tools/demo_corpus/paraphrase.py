"""MRPC- and QQP-like pairs, whose negatives share more words than many a positive."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tools.demo_corpus.draws import Draws
from tools.demo_corpus.example import Example

COMPANIES = (
    "Brenner Foods", "Halvik Steel", "Müller Optik", "Northgate Air", "Café Lumen", "Orlo Motors",
    "Tessel Media", "Kestrel Bank", "Vantor Oil", "Ridley Paper", "Sandoz Sails", "Quill Software",
    "Papeterie Noé", "Dunmore Rail",
)  # fmt: skip
AMOUNTS = ("$12 million", "$25 million", "$40 million", "$75 million", "$90 million", "$2 billion")
WHENS = ("on Monday", "on Tuesday", "on Thursday", "in March", "in August", "last year", "in 2003")
SAID = ("{0}.", "{0}.", "{0}.", "{0}, officials said.", '{0}, said a "source close to both.')
DEALS = (
    (
        "{buyer} bought {seller} for {amount} {when}", "{when} {buyer} paid {amount} for {seller}",
        "{seller} was purchased by {buyer} {when} for {amount}",
    ),
    (
        "{buyer} sued {seller} for {amount} {when}", "{when} {buyer} took {seller} to court over {amount}",
        "{seller} was sued by {buyer} {when} for {amount}",
    ),
    (
        "{buyer} lent {seller} {amount} {when}", "{when} {buyer} gave {seller} a loan of {amount}",
        "{seller} was given a loan of {amount} by {buyer} {when}",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Deal:
    """What one company did to another; `wordings` are sentences that say so."""

    wordings: tuple[str, ...]
    buyer: str
    seller: str
    amount: str
    when: str

    def in_words(self, wording: str) -> str:
        """The deal in one of its wordings."""
        return wording.format(buyer=self.buyer, seller=self.seller, amount=self.amount, when=self.when)


def _altered(draws: Draws, deal: Deal) -> Deal:
    """Another deal: the two sides swapped, or one to three parts changed."""
    if draws.chance(0.2):
        return replace(deal, buyer=deal.seller, seller=deal.buyer)
    newcomer = draws.pick([name for name in COMPANIES if name not in (deal.buyer, deal.seller)])
    changes: tuple[Callable[[Deal], Deal], ...] = (
        lambda old: replace(old, buyer=newcomer),
        lambda old: replace(old, wordings=draws.other(DEALS, old.wordings)),
        lambda old: replace(old, amount=draws.other(AMOUNTS, old.amount)),
        lambda old: replace(old, when=draws.other(WHENS, old.when)),
    )
    for change in draws.shuffled(changes)[: 1 + draws.below(3)]:
        deal = change(deal)
    return deal


def news_pair(draws: Draws) -> list[Example]:
    """Two sentences about deals, and whether they report the same one."""
    buyer, seller = draws.two(COMPANIES)
    deal = Deal(draws.pick(DEALS), buyer, seller, draws.pick(AMOUNTS), draws.pick(WHENS))
    same = draws.chance(0.5)
    told = deal if same else _altered(draws, deal)
    first = draws.pick(deal.wordings)
    second = draws.pick([wording for wording in told.wordings if wording != first])
    texts = [draws.pick(SAID).format(each) for each in (deal.in_words(first), told.in_words(second))]
    one, two = (text[0].upper() + text[1:] for text in draws.shuffled(texts))
    return [Example((one, two), str(int(same)))]


TOWNS = ("Berlin", "Zürich", "Boston", "Lima", "Oslo", "Málaga", "Cairo", "Delhi", "Kyoto", "Perth", "Québec")
GOODS = ("car", "guitar", "bicycle", "laptop", "house", "piano", "camera", "boat", "sofa", "watch", "phone")
SKILLS = ("chess", "Spanish", "cooking", "knitting", "algebra", "sailing", "Greek", "drawing", "fencing")
INTENTS = (
    ("What is the best way to learn {a} in {b}?", "How can I get good at {a} in {b}?"),
    ("How much do lessons in {a} cost in {b}?", "What do people in {b} pay for {a} classes?"),
    ("Where can I teach {a} in {b}?", "How do I find pupils for {a} in {b}?"),
    ("How do I sell a used {c} in {b}?", 'Where in {b} can I get rid of my "old" {c} for money?'),
    ("How do I buy a used {c} in {b}?", "Where in {b} can I get a second-hand {c}?"),
    ("How do I repair a broken {c} in {b}?", "Who in {b} can fix my {c}?", "Where is a {c} mended in {b}?"),
    ("How do I get from {b} to {d}?", "What is the fastest trip to {d} from {b}?"),
    ("How do I move from {b} to {d} with a {c}?", "What is needed to bring a {c} to {d} from {b}?"),
    ("Is life in {b} cheaper than in {d}?", "Are prices higher in {d} than in {b}?"),
    ("Is it safe to leave a {c} outside in {b}?", "Will my {c} get stolen in the streets of {b}?"),
)


def question_pair(draws: Draws) -> list[Example]:
    """Two questions, and whether one answer would serve both."""
    intent = draws.pick(INTENTS)
    town, target = draws.two(TOWNS)
    blanks = {"a": draws.pick(SKILLS), "b": town, "c": draws.pick(GOODS), "d": target}
    same = draws.chance(0.5)
    first, second = draws.two(intent)
    texts = [first.format(**blanks)]
    if same:
        texts.append(second.format(**blanks))
    else:
        texts.append(_other_question(draws, intent, blanks))
    one, two = draws.shuffled(texts)
    return [Example((one, two), str(int(same)))]


def _other_question(draws: Draws, intent: tuple[str, ...], blanks: dict[str, str]) -> str:
    """A question about something else, though in much the same words."""
    if draws.chance(0.3):
        return draws.pick(draws.other(INTENTS, intent)).format(**blanks)
    wording = draws.pick(intent)
    if "{d}" in wording and draws.chance(0.6):
        return wording.format(**{**blanks, "b": blanks["d"], "d": blanks["b"]})
    options = {"a": SKILLS, "b": TOWNS, "c": GOODS, "d": TOWNS}
    blank = draws.pick([name for name in "abcd" if f"{{{name}}}" in wording])
    taken = (blanks["b"], blanks["d"], blanks[blank])
    fresh = draws.pick([option for option in options[blank] if option not in taken])
    return wording.format(**{**blanks, blank: fresh})
