"""Groups of rows that a model may find easy or hard: plain features of the texts, labels, columns of the data.

Overlap of words and negation are what models of sentence pairs are known to lean on in place of meaning: McCoy et al.
2019 (https://arxiv.org/abs/1902.01007) and Gururangan et al. 2018 (https://arxiv.org/abs/1803.02324).
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from glue_lit.evaluation.formulas import score
from glue_lit.evaluation.predictions import Floats, Predictions
from glue_lit.evaluation.reliability import share
from glue_lit.evaluation.report.texts import Texts
from glue_lit.evaluation.resampling import LEVEL, Score
from glue_lit.tasks.glue import TaskSpec

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
# SST-2 and others part "does" and "n't" by a space, so what precedes "n't" does not matter
_NEGATION = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|nowhere|neither|nor|cannot|without)\b|n['\u2019]t\b", re.IGNORECASE
)
SHARED_WORDS = "Shared words"
_MOST_GROUPS = 20  # of one column; the rest is put together
_BANDS = 4
Groups = Iterator[tuple[str, NDArray[np.bool_]]]


@dataclass(frozen=True)
class Slice:
    """Rows that have something in common.

    Attributes:
        feature: What they are grouped by.
        group: What these have.
        rows: How many.
        value: Accuracy, or mean absolute error for regression, with its interval.
        metrics: The task's metrics on these rows alone.
    """

    feature: str
    group: str
    rows: int
    value: Score
    metrics: dict[str, float]


def slices(task: TaskSpec, predicted: Predictions, texts: Texts) -> list[Slice]:
    """Score all groups; a feature that all rows share is left out."""
    found = []
    for feature, groups in _features(task, predicted, texts):
        kept = [(name, here) for name, here in groups if here.any()]
        if len(kept) > 1:
            found += [_slice(task, predicted, feature, name, here) for name, here in kept]
    return found


def _slice(task: TaskSpec, predicted: Predictions, feature: str, name: str, here: NDArray[np.bool_]) -> Slice:
    gold, values = predicted.gold[here], predicted.values[here]
    value = _mean_error(np.abs(gold - values)) if task.is_regression else share(int((gold == values).sum()), len(gold))
    scores = {metric: score(metric, gold, values, task.positive) for metric in task.metrics}
    return Slice(feature, name, len(gold), value, scores)


def _mean_error(errors: Floats) -> Score:
    """A mean with Student's interval."""
    mean, error = float(errors.mean()), float(errors.std(ddof=1) / math.sqrt(len(errors))) if len(errors) > 1 else 0.0
    if not error:
        return Score(mean, math.nan, math.nan) if len(errors) < 2 else Score(mean, mean, mean)
    low, high = stats.t.interval(LEVEL, len(errors) - 1, loc=mean, scale=error)
    return Score(mean, max(0.0, float(low)), float(high))


def _features(task: TaskSpec, predicted: Predictions, texts: Texts) -> Iterator[tuple[str, Groups]]:
    if task.is_regression:
        yield "Gold score", _bands(predicted.gold.astype(np.float64), even=True)
    else:
        yield "Gold label", ((name, predicted.gold == number) for number, name in enumerate(task.labels[:_MOST_GROUPS]))
    if texts.texts:
        yield "Words", _bands(np.array([float(sum(len(words(text)) for text in row)) for row in texts.texts]))
        if len(texts.texts[0]) > 1:
            yield SHARED_WORDS, _overlap(texts.texts)
        yield "Negation", _where(texts.texts, lambda text: bool(_NEGATION.search(text)))
        yield "Question mark", _where(texts.texts, lambda text: "?" in text)
        yield "Digits", _where(texts.texts, lambda text: any(letter.isdigit() for letter in text))
    for name, values in texts.columns.items():
        yield _title(name), _column(values)


def _title(column: str) -> str:
    return column[:1].upper() + column[1:]


def words(text: str) -> list[str]:
    """The words of a text, lower case."""
    return _WORD.findall(text.lower())


def _bands(values: Floats, even: bool = False) -> Groups:
    """Bands of about as many rows each, or of the same width where ``even``."""
    if even:
        edges = np.linspace(values.min(), values.max(), _BANDS + 1)
        edges = np.round(edges, 1) if edges[-1] - edges[0] > 1 else edges
        for number, (low, high) in enumerate(pairwise(edges)):
            above = values >= low if number else np.ones(len(values), dtype=bool)
            below = values < high if number < _BANDS - 1 else np.ones(len(values), dtype=bool)
            yield f"{low:.3g} to {high:.3g}", above & below
        return
    inner = np.unique(np.quantile(values, np.arange(1, _BANDS) / _BANDS, method="lower"))
    edges = np.unique([values.min() - 1, *inner, values.max()])
    for low, high in pairwise(edges):
        here = (values > low) & (values <= high)
        first, last = (int(values[here].min()), int(values[here].max())) if here.any() else (0, 0)
        yield f"{first}" if first == last else f"{first} to {last}", here


def _overlap(rows: Sequence[tuple[str, ...]]) -> Groups:
    """Rows by the share of the second text's words that the first has, too."""
    shares = []
    for first, second in rows:
        there, those = set(words(first)), set(words(second))
        shares.append(len(there & those) / len(those) if those else 0.0)
    values = np.array(shares)
    for low, high in ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)):
        yield f"{100 * low:.0f} to {100 * high:.0f} %", (values >= low) & ((values < high) | (high == 1.0))


def _where(rows: Sequence[tuple[str, ...]], has: Callable[[str], bool]) -> Groups:
    """Rows by the texts that have something."""
    there: NDArray[np.bool_] = np.array([[has(text) for text in row] for row in rows])
    if there.shape[1] == 1:
        yield "yes", there[:, 0]
        yield "no", ~there[:, 0]
        return
    yield "in both texts", there[:, 0] & there[:, 1]
    yield "in the first only", there[:, 0] & ~there[:, 1]
    yield "in the second only", there[:, 1] & ~there[:, 0]
    yield "in neither", ~there[:, 0] & ~there[:, 1]


def _column(values: Sequence[str]) -> Groups:
    """Rows by what a column says; AX's cells name several things, separated by semicolons."""
    cells = [{part.strip() for part in value.split(";") if part.strip()} or {"(none)"} for value in values]
    counts = Counter(part for cell in cells for part in cell)
    most = [part for part, _ in counts.most_common(_MOST_GROUPS)]
    for part in most:
        yield part, np.array([part in cell for cell in cells])
    if len(counts) > len(most):
        yield f"(any of {len(counts) - len(most)} more)", np.array([not cell <= set(most) for cell in cells])
