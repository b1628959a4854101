from dataclasses import replace

import numpy as np

from glue_lit.data.rows import Places
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.report.examples import SHOWN, mistakes, uncertain
from glue_lit.evaluation.report.texts import Texts
from glue_lit.tasks.glue import get_task

SST2 = get_task("sst2")


def predicted(positive: list[float], gold: list[int]) -> Predictions:
    of = np.array([[1 - p, p] for p in positive])
    return Predictions(np.arange(10, 10 + len(gold)), np.array(gold), of.argmax(axis=1), of)


def test_the_most_confident_mistakes_come_first() -> None:
    rows = predicted([0.9, 0.2, 0.6, 0.99, 0.7], [0, 1, 0, 1, 1])
    texts = Texts([(name,) for name in "abcde"])
    found = mistakes(SST2, rows, texts)
    assert [(row.idx, row.texts, row.gold, row.predicted) for row in found] == [
        (10, ("a",), "negative", "positive"),
        (11, ("b",), "positive", "negative"),
        (12, ("c",), "negative", "positive"),
    ]
    assert [row.certainty for row in found] == [0.9, 0.8, 0.6]


def test_the_least_certain_rows_come_first() -> None:
    rows = predicted([0.9, 0.2, 0.6, 0.99, 0.45], [0, 1, 0, 1, 1])
    assert [row.idx for row in uncertain(SST2, rows, Texts())] == [14, 12, 11, 10, 13]


def test_the_number_of_examples_and_their_length_are_limited() -> None:
    rows = predicted([0.9] * 100, [0] * 100)
    found = mistakes(SST2, rows, Texts([("word " * 10_000,)] * 100))
    assert len(found) == SHOWN
    assert len(found[0].texts[0]) <= 600
    assert found[0].texts[0].endswith("word…")


def test_examples_of_regression_are_the_largest_errors() -> None:
    rows = Predictions(np.arange(3), np.array([1.0, 2.0, 3.0]), np.array([1.5, 5.0, 1.0]), None)
    found = mistakes(get_task("stsb"), rows, Texts())
    assert [(row.idx, row.gold, row.predicted, row.certainty) for row in found[:2]] == [
        (1, "2.00", "5.00", None),
        (2, "3.00", "1.00", None),
    ]
    assert uncertain(get_task("stsb"), rows, Texts()) == []


def test_without_probabilities_mistakes_are_in_the_order_of_the_rows() -> None:
    rows = Predictions(np.arange(3), np.array([1, 0, 1]), np.array([0, 0, 0]), None)
    assert [row.idx for row in mistakes(SST2, rows, Texts())] == [0, 2]
    assert uncertain(SST2, rows, Texts()) == []


def test_a_row_is_named_by_its_line_and_id_where_they_are_known() -> None:
    rows = predicted([0.9, 0.2], [0, 1])
    assert [(row.unit, row.at, row.id) for row in mistakes(SST2, rows, Texts())] == [
        ("idx", 10, None),
        ("idx", 11, None),
    ]
    placed = replace(rows, places=Places("reviews.csv", "line", [7, 12], ["a", ""]))
    assert [(row.unit, row.at, row.id) for row in mistakes(SST2, placed, Texts())] == [
        ("line", 7, "a"),
        ("line", 12, None),
    ]
