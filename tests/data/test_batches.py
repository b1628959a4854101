"""Batches equal those that the tokenizer itself pads."""

from pathlib import Path
from typing import Any

import pytest
import torch

from glue_lit.data.batches import TokenDataset
from glue_lit.data.loaders import identity_collate
from glue_lit.data.rows import Rows
from glue_lit.data.tokens import tokenise

TEXTS = ["a", "some longer text", "", "the longest text of them all", "b c"]
ROWS = Rows(TEXTS, list(reversed(TEXTS)), [0, 1, None, 1, 0])
BATCHES = [[0], [3], [2, 0], [0, 1, 2, 3, 4], [4, 4, 1], [2, 2]]


@pytest.fixture(params=["right", "left"])
def tokenizer(request: pytest.FixtureRequest, tiny_model: Path) -> Any:
    from transformers import BertTokenizerFast

    return BertTokenizerFast.from_pretrained(tiny_model, padding_side=request.param)


def dataset(tokenizer: Any, rows: Rows = ROWS, examples: list[int] | None = None, regression: bool = False) -> Any:
    store = tokenise(rows, tokenizer, 40, regression)
    return TokenDataset(store, torch.tensor(range(len(rows)) if examples is None else examples), tokenizer)


@pytest.mark.parametrize("batch", BATCHES, ids=str)
@pytest.mark.parametrize("rows", [ROWS, Rows(TEXTS, None, ROWS.labels)], ids=["pairs", "single"])
def test_equals_the_tokenizers_padding(tokenizer: Any, rows: Rows, batch: list[int]) -> None:
    texts = [[column[i] for i in batch] for column in (rows.texts_a, rows.texts_b) if column is not None]
    expected = tokenizer(*texts, truncation=True, max_length=40, padding="longest", return_tensors="pt")
    got = dataset(tokenizer, rows).__getitems__(batch)
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert torch.equal(got[name], expected[name]), name
        assert got[name].dtype == torch.int64
    assert got.keys() == {*expected, "labels", "idx"}


@pytest.mark.parametrize("batch", [*BATCHES, [-1]], ids=str)
def test_a_batch_without_padding_holds_the_tokens_of_the_padded_one(tokenizer: Any, batch: list[int]) -> None:
    padded = dataset(tokenizer)
    packed = TokenDataset(padded.store, padded.examples, tokenizer, is_packed=True)
    expected, got = padded.__getitems__(batch), packed.__getitems__(batch)
    mask = expected["attention_mask"].bool()
    for name in ("input_ids", "token_type_ids"):
        assert torch.equal(got[name], expected[name][mask][None]), name
    lengths = mask.sum(1)
    assert got["cu_seq_lens"].tolist() == [0, *lengths.cumsum(0).tolist()]
    assert got["cu_seq_lens"].dtype == torch.int32
    assert got["position_ids"][0].tolist() == [place for length in lengths for place in range(length)]
    assert torch.equal(got["attention_mask"].sum(1), lengths)
    for name in ("labels", "idx"):
        assert torch.equal(got[name], expected[name])
    assert got.keys() == {*expected, "cu_seq_lens", "position_ids"}


def test_padding_ids_other_than_zero(tokenizer: Any) -> None:
    # RoBERTa's padding id is 1, and XLNet has a token type for padding; 0 would be a word.
    tokenizer.pad_token = "x"
    tokenizer._pad_token_type_id = 3  # as such tokenizers do
    expected = tokenizer.pad(tokenizer(TEXTS, ROWS.texts_b, truncation=True, max_length=40), return_tensors="pt")
    got = dataset(tokenizer).__getitems__(range(5))
    assert tokenizer.pad_token_id != 0
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert torch.equal(got[name], expected[name]), name


def test_a_tokenizer_without_token_types(tokenizer: Any) -> None:
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    got = dataset(tokenizer).__getitems__([0, 3])
    assert got.keys() == {"input_ids", "attention_mask", "labels", "idx"}


def test_one_example_is_a_batch_of_one_without_padding(tokenizer: Any) -> None:
    got = dataset(tokenizer)[1]
    assert got["input_ids"].tolist() == [tokenizer(TEXTS[1], TEXTS[3])["input_ids"]]
    assert got["attention_mask"].all()
    assert (got["labels"].tolist(), got["idx"].tolist()) == ([1], [1])


def test_labels_and_positions_follow_the_rows(tokenizer: Any) -> None:
    got = dataset(tokenizer).__getitems__([3, 2, 0])
    assert got["labels"].tolist() == [1, -1, 0]
    assert got["idx"].tolist() == [3, 2, 0]


def test_a_limited_dataset_keeps_positions_in_the_split(tokenizer: Any) -> None:
    # Predictions are written by idx, the position in the whole split.
    some = dataset(tokenizer, examples=[1, 3])
    assert len(some) == 2
    got = some.__getitems__([1, 0])
    assert (got["idx"].tolist(), got["labels"].tolist()) == ([3, 1], [1, 1])
    assert got["input_ids"].tolist()[0] == dataset(tokenizer)[3]["input_ids"].tolist()[0]


@pytest.mark.parametrize("regression", [False, True])
def test_a_filler_has_no_position_and_no_label(tokenizer: Any, regression: bool) -> None:
    rows = Rows(TEXTS, None, [2.5] * 5 if regression else [1] * 5)
    got = dataset(tokenizer, rows, examples=[2, 4], regression=regression).__getitems__([-1])
    assert got["idx"].tolist() == [-1]
    if regression:
        assert got["labels"].isnan().tolist() == [True]
    else:
        assert got["labels"].tolist() == [-1]
    assert got["input_ids"].shape == got["attention_mask"].shape
    assert got["attention_mask"].any()  # an input on which a model can run


def test_a_filler_beside_examples_changes_nothing_about_them(tokenizer: Any) -> None:
    data = dataset(tokenizer)
    got = data.__getitems__([3, -1, 1])
    assert got["idx"].tolist() == [3, -1, 1]
    assert got["labels"].tolist() == [1, -1, 1]
    assert torch.equal(got["input_ids"][[0, 2]], data.__getitems__([3, 1])["input_ids"])


def test_cutting_a_batch_does_not_change_the_store(tokenizer: Any) -> None:
    data = dataset(tokenizer)
    before = data.store.labels.clone()
    data.__getitems__([-1, 0])["labels"].fill_(7)
    data.__getitems__([1])["input_ids"].zero_()
    assert torch.equal(data.store.labels, before)
    assert data[1]["input_ids"].any()


def test_a_loader_does_not_change_batches(tokenizer: Any) -> None:
    from torch.utils.data import DataLoader

    loader = DataLoader(dataset(tokenizer), batch_size=2, collate_fn=identity_collate)
    assert [batch["idx"].tolist() for batch in loader] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("multiple", [1, 4, 8, 100])
def test_padding_to_a_multiple_is_the_tokenizers_and_ends_at_the_longest_input(tokenizer: Any, multiple: int) -> None:
    store = tokenise(ROWS, tokenizer, 40, is_regression=False)
    got = TokenDataset(store, torch.arange(5), tokenizer, multiple, 40)
    tokens = tokenizer(ROWS.texts_a, ROWS.texts_b, truncation=True, max_length=40)
    expected = tokenizer.pad(tokens, pad_to_multiple_of=multiple, return_tensors="pt")["input_ids"]
    batch, width = got.__getitems__(range(5)), min(expected.shape[1], 40)
    kept = expected[:, -width:] if tokenizer.padding_side == "left" else expected[:, :width]
    assert torch.equal(batch["input_ids"], kept)
    assert torch.equal(batch["attention_mask"].sum(1), store.lengths)
    assert [got[row]["input_ids"].shape[1] for row in range(5)] == got.lengths.tolist()
