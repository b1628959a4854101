"""Thresholds of the labels of a multi-label task: the probability from which on a label is predicted.

A threshold is compared as a logit in float32, so that training, predictions and exported models agree about every row.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glue_lit.evaluation.predictions import Floats, Values
from glue_lit.tasks.spec import TaskSpec

_LISTED = 10
_FURTHEST = 30.0  # logits; beyond, float64 probabilities run out of digits


def cut_logits(thresholds: Sequence[float] | Floats) -> NDArray[np.float32]:
    """The logits at the thresholds, ``(labels,)``: a label is predicted where its logit is at least as high."""
    share = np.asarray(thresholds, dtype=np.float64)
    cuts: NDArray[np.float32] = np.log(share / (1 - share)).astype(np.float32)
    return cuts


def scaled_thresholds(thresholds: Sequence[float], temperature: float) -> list[float]:
    """The thresholds of probabilities whose logits are divided by a temperature; the predicted labels stay the same."""
    if temperature == 1:
        return list(thresholds)
    share = np.asarray(thresholds, dtype=np.float64)
    found: list[float] = _sigmoid(np.log(share / (1 - share)) / temperature).tolist()
    return [old if old == 0.5 else new for old, new in zip(thresholds, found, strict=True)]


def describe_thresholds(task: TaskSpec, thresholds: Sequence[float]) -> str:
    """Where the thresholds come from, and those of the first labels; empty if all have the one that the user chose."""
    if not task.tunes_thresholds:
        return ""
    listed = [f"{label} {value:.3g}" for label, value in zip(task.labels, thresholds, strict=True)][:_LISTED]
    more = f" and those of {len(thresholds) - _LISTED:,} more" if len(thresholds) > _LISTED else ""
    return (
        f"Thresholds are fitted on the rows of {task.monitored_split}, which makes its scores too good by some: "
        f"{', '.join(listed)}{more}."
    )


def fit_thresholds(logits: NDArray[np.float32], gold: Values) -> list[float]:
    """The threshold with the highest F1 for each label.

    It lies halfway between two logits. Of several that are equally good, the one nearest 0.5 is taken (0.5 itself if it
    is among them, else the higher of two); a label without positive rows keeps 0.5. The order of the rows does not
    matter.

    Args:
        logits: ``(rows, labels)``.
        gold: 1 where a row has a label, else 0, ``(rows, labels)``.
    """
    cuts = [_best_cut(logits[:, label].astype(np.float64), gold[:, label] > 0) for label in range(logits.shape[1])]
    found: list[float] = _sigmoid(np.clip(cuts, -_FURTHEST, _FURTHEST)).tolist()
    return found


def _best_cut(scores: Floats, is_positive: NDArray[np.bool_]) -> float:
    positives = int(is_positive.sum())
    if not positives or np.isnan(scores).any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(is_positive[order])
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # equal scores are on one side of a cut
    f1 = 2 * hits[ends] / (ends + 1 + positives)
    best = np.flatnonzero(f1 == f1.max())
    lowest_in, highest_out = ordered[ends[best]], np.append(ordered, ordered[-1] - 2)[ends[best] + 1]
    if ((highest_out < 0) & (lowest_in >= 0)).any():
        return 0.0
    middles = (lowest_in + highest_out) / 2
    nearest: float = max(middles.tolist(), key=lambda cut: (-abs(cut), cut))
    return nearest


def _sigmoid(logits: NDArray[np.floating]) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.asarray(logits, dtype=np.float64)))
    return found
