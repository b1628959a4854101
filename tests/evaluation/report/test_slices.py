import numpy as np
import pytest
from scipy import stats

from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.report.slices import slices, words
from glue_lit.evaluation.report.texts import Texts
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import get_task

PAIRS = [
    ("A man sleeps.", "Nobody sleeps."),
    ("He does n't sleep.", "He isn\u2019t awake."),
    ("Is it 5?", "It is five."),
    ("It knots a note.", "It knots a note."),
]


def slice_scores(
    task: str, gold: list[float], values: list[float], texts: Texts
) -> dict[str, dict[str, tuple[int, float]]]:
    spec = get_task(task)
    kind = np.float64 if spec.is_regression else np.int64
    predicted = Predictions(np.arange(len(gold)), np.array(gold, dtype=kind), np.array(values, dtype=kind), None)
    found: dict[str, dict[str, tuple[int, float]]] = {}
    for part in slices(spec, predicted, texts):
        found.setdefault(part.feature, {})[part.group] = (part.rows, part.value.value)
    return found


def test_slices_of_text_pairs() -> None:
    found = slice_scores("rte", [0, 1, 0, 1], [0, 1, 1, 0], Texts(PAIRS))
    assert found["Gold label"] == {"entailment": (2, 0.5), "not_entailment": (2, 0.5)}
    assert found["Negation"] == {"in both texts": (1, 1.0), "in the second only": (1, 1.0), "in neither": (2, 0.0)}
    assert found["Question mark"] == {"in the first only": (1, 0.0), "in neither": (3, 2 / 3)}
    assert found["Digits"] == {"in the first only": (1, 0.0), "in neither": (3, 2 / 3)}
    assert found["Shared words"] == {"25 to 50 %": (1, 1.0), "50 to 75 %": (2, 0.5), "75 to 100 %": (1, 0.0)}


def test_slices_of_single_texts_leave_out_features_that_all_share() -> None:
    texts = Texts([(text,) for text in ("One two.", "One two three.", "No one.", "One")])
    found = slice_scores("cola", [1, 1, 0, 0], [1, 1, 0, 1], texts)
    assert found["Negation"] == {"yes": (1, 1.0), "no": (3, 2 / 3)}
    assert found["Words"] == {"1": (1, 0.0), "2": (2, 1.0), "3": (1, 1.0)}
    assert set(found) == {"Gold label", "Words", "Negation"}  # no row has a digit or a question mark


def test_bands_of_words_hold_every_row_once() -> None:
    texts = Texts([("word " * (1 + number % 37),) for number in range(1000)])
    found = slice_scores("sst2", [0, 1] * 500, [0, 0] * 500, texts)
    assert sum(rows for rows, _ in found["Words"].values()) == 1000
    assert len(found["Words"]) == 4
    assert max(rows for rows, _ in found["Words"].values()) < 300


def test_slices_by_columns_of_the_data() -> None:
    columns = {"genre": ["fiction", "travel", "fiction", ""], "Logic": ["Negation;Conjunction", "", "Negation", ""]}
    found = slice_scores("rte", [0, 1, 0, 1], [0, 1, 1, 0], Texts(PAIRS, columns))
    assert found["Genre"] == {"fiction": (2, 0.5), "travel": (1, 1.0), "(none)": (1, 0.0)}
    assert found["Logic"] == {"Negation": (2, 0.5), "(none)": (2, 0.5), "Conjunction": (1, 1.0)}


def test_rare_values_of_a_column_share_a_group() -> None:
    values = [str(number % 30) for number in range(100)]
    found = slice_scores("sst2", [0] * 100, [0] * 100, Texts([("a",)] * 100, {"id": values}))["Id"]
    assert len(found) == 21
    assert found["(any of 10 more)"][0] == 30


def test_regression_has_errors_with_students_interval() -> None:
    draw = np.random.default_rng(0)
    gold, values = draw.random((2, 50)) * 5
    predicted = Predictions(np.arange(50), gold, values, None)
    found = slices(get_task("stsb"), predicted, Texts())
    assert {part.feature for part in found} == {"Gold score"}
    assert sum(part.rows for part in found) == 50
    part = found[0]
    errors = np.abs(gold - values)[gold < float(part.group.split(" to ")[1])]
    theirs = stats.ttest_1samp(errors, 0).confidence_interval()
    assert (part.value.value, part.value.low, part.value.high) == pytest.approx((errors.mean(), *theirs))


def test_ratings_are_grouped_by_label() -> None:
    task = resolve_task(
        "ratings", CustomTask(text="text", kind="ordinal", labels=["poor", "fair", "good"], metrics=["accuracy"])
    )
    gold, scores = np.array([0.0, 1, 1, 2, 2, 2]), np.array([0.5, 1, 2, 2, 1, 3])
    found = slices(task, Predictions(np.arange(6), gold, scores, None), Texts())
    assert [(part.feature, part.group, part.rows) for part in found] == [
        ("Gold label", "poor", 1), ("Gold label", "fair", 2), ("Gold label", "good", 3),
    ]  # fmt: skip
    assert [part.value.value for part in found] == pytest.approx([0.5, 0.5, 2 / 3])


def test_slices_without_texts_are_by_label() -> None:
    assert set(slice_scores("rte", [0, 1], [0, 1], Texts())) == {"Gold label"}


def test_words_are_split_at_punctuation() -> None:
    assert words("Don't stop, it\u2019s 3.5 o'clock!") == ["don't", "stop", "it\u2019s", "3", "5", "o'clock"]
