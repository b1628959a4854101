from pathlib import Path
from typing import Any

import pytest

from glue_lit.data import cut_texts
from glue_lit.data.cut_texts import CutCounter, CutTexts
from glue_lit.data.rows import Rows
from glue_lit.data.tokenizers import load_tokenizer
from glue_lit.data.tokens import tokenise


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    """A letter is a token."""
    return load_tokenizer(str(tiny_model), "main", False)


def count(rows: Rows, tokenizer: Any, max_length: int) -> CutTexts | None:
    before = tokenise(rows, tokenizer, max_length, is_regression=False)
    counter = CutCounter(max_length)
    counter.add(rows, before.lengths.numpy())
    found = counter.count(list, tokenizer).tolist()
    after = tokenise(rows, tokenizer, max_length, is_regression=False)
    assert after.input_ids.tolist() == before.input_ids.tolist()  # the tokenizer cuts as before
    return CutTexts(*found) if found else None


def test_small_data_are_counted_exactly(tokenizer: Any) -> None:
    rows = Rows(["x" * size for size in (1, 18, 19, 40, 5)], None, [0] * 5)
    assert count(rows, tokenizer, 20) == CutTexts(rows=2, tokens=1 + 22, longest=3, length=42, is_exact=1)
    assert count(rows, tokenizer, 42) is None


def test_pairs(tokenizer: Any) -> None:
    rows = Rows(["x" * 9, "x" * 9, "x"], ["y" * 8, "y" * 9, "y" * 30], [0] * 3)
    assert count(rows, tokenizer, 20) == CutTexts(rows=2, tokens=1 + 14, longest=2, length=34, is_exact=1)


def test_large_data_are_estimated_from_a_share(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def counted(columns: list[list[str]], own: Any) -> list[int]:
        read.extend(columns[0])
        return original(columns, own)

    original = cut_texts._count_tokens
    monkeypatch.setattr(cut_texts, "_count_tokens", counted)
    rows = Rows(["x" * (10 + n % 50) for n in range(20_000)], None, [0] * 20_000)
    found = count(rows, tokenizer, 20)
    assert found is not None
    assert not found.is_exact
    assert sum(map(len, read)) < 1.1 * cut_texts._BUDGET
    assert found.rows == pytest.approx(20_000 * 41 / 50, rel=0.05)
    assert found.tokens == pytest.approx(400 * sum(range(42)), rel=0.1)


def test_a_book_is_not_tokenised_whole(tokenizer: Any) -> None:
    found = count(Rows(["word " * 1_000_000, "a"], None, [0, 1]), tokenizer, 20)
    assert found is not None
    assert not found.is_exact
    assert found.length == pytest.approx(4_000_000, rel=0.01)
