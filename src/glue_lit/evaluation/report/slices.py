"""Scores of groups of rows: by plain features of the texts, by label, by columns of the data.

Models of sentence pairs are known to use word overlap and negation as shortcuts: McCoy et al. 2019
(https://arxiv.org/abs/1902.01007) and Gururangan et al. 2018 (https://arxiv.org/abs/1803.02324).
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
from glue_lit.evaluation.report.texts import Texts
from glue_lit.evaluation.resampling import LEVEL, Score, share
from glue_lit.tasks.glue import TaskSpec
from glue_lit.tasks.metrics import Kind

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
# SST-2 and others write "does n't" with a space, so anything may precede "n't"
_NEGATION = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|nowhere|neither|nor|cannot|without)\b|n['\u2019]t\b", re.IGNORECASE
)
SHARED_WORDS = "Shared words"
MEASURES: dict[Kind, str] = {
    "classification": "accuracy", "multi_label": "subset accuracy", "regression": "mean absolute error",
}  # fmt: skip
_MOST_GROUPS = 20  # of one column; the rest become one group
_BANDS = 4
Groups = Iterator[tuple[str, NDArray[np.bool_]]]


@dataclass(frozen=True)
class Slice:
    """Scores of a group of rows."""

    feature: str  # what rows are grouped by, e.g. `Negation`
    group: str  # what this group has, e.g. `in both texts`
    rows: int  # size of the group
    value: Score  # accuracy, which for a multi-label task is that of the whole set; for regression mean absolute error
    metrics: dict[str, float]  # the task's metrics of the group


def slices(task: TaskSpec, predicted: Predictions, texts: Texts) -> list[Slice]:
    """Score all groups; a feature that is the same for all rows is left out."""
    found = []
    for feature, groups in _features(task, predicted, texts):
        kept = [(name, mask) for name, mask in groups if mask.any()]
        if len(kept) > 1:
            found += [_slice(task, predicted, feature, name, mask) for name, mask in kept]
    return found


def _slice(task: TaskSpec, predicted: Predictions, feature: str, name: str, mask: NDArray[np.bool_]) -> Slice:
    gold, values = predicted.gold[mask], predicted.values[mask]
    right = int(predicted.is_right[mask].sum())
    value = _mean_error(np.abs(gold - values)) if task.is_regression else share(right, len(gold))
    probabilities = None if predicted.probabilities is None else predicted.probabilities[mask]
    scores = {one.logged: score(one, gold, values, probabilities=probabilities) for one in task.scoring}
    return Slice(feature, name, len(gold), value, scores)


def _mean_error(errors: Floats) -> Score:
    """A mean with Student's interval."""
    mean, error = float(errors.mean()), float(errors.std(ddof=1) / math.sqrt(len(errors))) if len(errors) > 1 else 0.0
    if not error:
        return Score(mean, math.nan, math.nan)  # no interval, since the errors do not vary
    low, high = stats.t.interval(LEVEL, len(errors) - 1, loc=mean, scale=error)
    return Score(mean, max(0.0, float(low)), float(high))


def _features(task: TaskSpec, predicted: Predictions, texts: Texts) -> Iterator[tuple[str, Groups]]:
    if task.levels:
        yield "Gold label", ((name, predicted.gold == number) for number, name in enumerate(task.levels[:_MOST_GROUPS]))
    elif task.is_regression:
        yield "Gold score", _equal_widths(predicted.gold.astype(np.float64))
    elif task.is_multi_label:
        yield "Number of gold labels", _equal_sizes(predicted.gold.sum(axis=1, dtype=np.float64))
        yield "Gold label", _gold_labels(task, predicted)
    else:
        yield "Gold label", ((name, predicted.gold == number) for number, name in enumerate(task.labels[:_MOST_GROUPS]))
    if texts.texts:
        yield "Words", _equal_sizes(np.array([float(sum(len(words(text)) for text in row)) for row in texts.texts]))
        if len(texts.texts[0]) > 1:
            yield SHARED_WORDS, _overlap(texts.texts)
        yield "Negation", _where(texts.texts, lambda text: bool(_NEGATION.search(text)))
        yield "Question mark", _where(texts.texts, lambda text: "?" in text)
        yield "Digits", _where(texts.texts, lambda text: any(letter.isdigit() for letter in text))
    for name, values in texts.columns.items():
        yield name[:1].upper() + name[1:], _column(values)


def _gold_labels(task: TaskSpec, predicted: Predictions) -> Groups:
    """The rows of each of the most frequent labels; a row is in the group of each of its labels."""
    often = np.argsort(-predicted.gold.sum(axis=0, dtype=np.int64), kind="stable")[:_MOST_GROUPS]
    for at in sorted(often.tolist()):
        yield task.labels[at], predicted.gold[:, at] > 0


def words(text: str) -> list[str]:
    """Words of a text in lower case."""
    return _WORD.findall(text.lower())


def _equal_widths(values: Floats) -> Groups:
    """Bands of equal width; their edges have one decimal if the values span more than 1."""
    edges = np.linspace(values.min(), values.max(), _BANDS + 1)
    edges = np.round(edges, 1) if edges[-1] - edges[0] > 1 else edges
    band = np.searchsorted(edges[1:-1], values, side="right")
    for number, (low, high) in enumerate(pairwise(edges)):
        yield f"{low:.3g} to {high:.3g}", band == number


def _equal_sizes(values: Floats) -> Groups:
    """Bands with about the same number of rows."""
    edges = np.unique(np.quantile(values, np.arange(1, _BANDS) / _BANDS, method="lower"))
    band = np.searchsorted(edges, values)
    for number in np.unique(band):
        mask = band == number
        first, last = int(values[mask].min()), int(values[mask].max())
        yield f"{first}" if first == last else f"{first} to {last}", mask


def _overlap(rows: Sequence[tuple[str, ...]]) -> Groups:
    """Rows by the share of the second text's words that the first contains."""
    pairs = [(set(words(first)), set(words(second))) for first, second in rows]
    shares = [len(first & second) / max(1, len(second)) for first, second in pairs]
    band = np.minimum(np.array(shares) * _BANDS, _BANDS - 1).astype(int)
    for number in range(_BANDS):
        yield f"{number * 100 // _BANDS} to {(number + 1) * 100 // _BANDS} %", band == number


def _where(rows: Sequence[tuple[str, ...]], matches: Callable[[str], bool]) -> Groups:
    """Rows by which of their texts match."""
    there: NDArray[np.bool_] = np.array([[matches(text) for text in row] for row in rows])
    if there.shape[1] == 1:
        yield "yes", there[:, 0]
        yield "no", ~there[:, 0]
        return
    yield "in both texts", there[:, 0] & there[:, 1]
    yield "in the first only", there[:, 0] & ~there[:, 1]
    yield "in the second only", there[:, 1] & ~there[:, 0]
    yield "in neither", ~there[:, 0] & ~there[:, 1]


def _column(values: Sequence[str]) -> Groups:
    """Rows by the value of a column; cells of AX hold several values, separated by semicolons."""
    cells = [{part.strip() for part in value.split(";") if part.strip()} or {"(none)"} for value in values]
    counts = Counter(part for cell in cells for part in cell)
    commonest = [part for part, _ in counts.most_common(_MOST_GROUPS)]
    for part in commonest:
        yield part, np.array([part in cell for cell in cells])
    if (rest := len(counts) - len(commonest)) > 0:
        yield f"(any of {rest} more)", np.array([not cell <= set(commonest) for cell in cells])
