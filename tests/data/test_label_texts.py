import unicodedata

import pytest

from glue_lit.data.label_texts import (
    are_codes,
    find_look_alikes,
    have_decimal_commas,
    is_number,
    label_text,
    normalize_label,
    parse_number,
)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        ("\u200b\ufeff", None),
        (" a b ", "a b"),
        ("\u00a0a\u3000", "a"),
        ("\ufeffa\u200b", "a"),
        (1, "1"),
        (1.0, "1"),
        ("1.00", "1"),
        ("-2.0", "-2"),
        (2.5, "2.5"),
        ("1.0.0", "1.0.0"),
        ("01", "01"),
        ("\uff11.\uff10", "\uff11.\uff10"),
        (True, "true"),
        ("True", "True"),
    ],
)
def test_a_label_is_the_same_from_every_format(value: str | float | None, label: str | None) -> None:
    assert label_text(value) == label


@pytest.mark.parametrize(
    ("one", "other"),
    [("-0.0", "0.0"), ("-0", 0), (-0.0, 0.0), ("caf\u00e9", "cafe\u0301"), ("\ud55c", unicodedata.normalize("NFD", "\ud55c")),
     ("a\u200bb", "ab"), ("1.0", 1), ("1.000", "1")],
)  # fmt: skip
def test_two_ways_to_write_one_label(one: str | float, other: str | float) -> None:
    assert normalize_label(label_text(one) or "") == normalize_label(label_text(other) or "")


@pytest.mark.parametrize(
    "pair", [("a", "A"), ("01", "1"), ("1", "\uff11"), ("true", "True"), ("a-b", "a b"), ("e", "\u00e9")]
)
def test_ambiguous_labels_stay_two_labels(pair: tuple[str, str]) -> None:
    assert len({normalize_label(label_text(label) or "") for label in pair}) == 2


@pytest.mark.parametrize(
    "label", ["0", "12", "-3", "+3", "2.5", ".5", "5.", "1e-05", "1E+16", "2.5E6", "-1.0e-7", "00.5"]
)
def test_numbers_as_programs_write_them(label: str) -> None:
    assert is_number(label)
    assert parse_number(label) == float(label)


@pytest.mark.parametrize(
    "label", ["2E65", "1e5", "0x1F", "1_000", "inf", ".inf", "NaN", "0o7", "0b1", "12:30:45", "2024-01-01", "3,5", "1e+999",
              "\uff11", "\u0663", "1 000", "", "-", ".", "e5", "1.5.2"],
)  # fmt: skip
def test_codes_are_not_numbers(label: str) -> None:
    assert not is_number(label)


def test_a_regression_that_was_asked_for_takes_every_number() -> None:
    assert parse_number("1e5") == 100_000.0
    assert parse_number("1_000") is parse_number("inf") is parse_number("0x1F") is parse_number("3,5") is None
    assert [parse_number(x, decimal_comma=True) for x in ("3,5", "-0,25", "1.234,5", "7", "2.5")] == [
        3.5,
        -0.25,
        1234.5,
        7,
        2.5,
    ]
    assert parse_number("1,2,3", decimal_comma=True) is None


@pytest.mark.parametrize(
    ("labels", "are"),
    [
        (["01", "02", "10"], True),
        (["007", "123"], True),
        (["0", "1", "10"], False),
        (["0.5", "01"], False),
        (["01", "x"], False),
    ],
)
def test_digits_with_a_zero_before_them_are_codes(labels: list[str], are: bool) -> None:
    assert are_codes(labels) is are


@pytest.mark.parametrize(
    ("labels", "separator", "have"),
    [
        (["3,5", "4", "2,25"], ";", True),
        (["1,234"], ";", True),
        (["3,5", "4"], "\t", True),
        (["1,234", "12,500", "7"], "\t", False),  # thousands
        (["1,234", "12,50"], "\t", True),
        (["3,5", "4"], ",", False),
        (["3,5", "2.5"], ";", False),
        (["3,5", "x"], ";", False),
        (["3", "4"], ";", False),
    ],
)
def test_where_a_comma_is_a_decimal_point(labels: list[str], separator: str, have: bool) -> None:
    assert have_decimal_commas(labels, separator) is have


def test_labels_that_only_look_alike() -> None:
    labels = ["True", "true", "a-b", "a b", "x", "1", "01", "\uff11", "y", "1.50", "1.5", "+", "-"]
    assert find_look_alikes(labels) == [["True", "true"], ["a-b", "a b"], ["1", "01", "\uff11"], ["1.50", "1.5"]]
    assert find_look_alikes(["a", "b", "entailment", "not_entailment", "-1", "1", "c", "c++"]) == []
