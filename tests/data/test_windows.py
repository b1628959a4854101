"""Windows of long documents: the tokens that transformers' tokenizers give, without copies."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from glue_lit import GLUEDataModule
from glue_lit.data.batches import TokenDataset
from glue_lit.data.rows import Rows
from glue_lit.data.tokens import tokenise
from glue_lit.data.window_settings import Windows, parse_windows, special_ends
from glue_lit.data.windows import WHOLE, WindowDataset
from glue_lit.errors import ModelError, UsageError

TEXTS = ["", "fine", "a" * 13, "b" * 14, "the room was cold " * 3, "abc " * 40, "x y z " * 51]


def bert(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def without_special_tokens(folder: Path) -> Any:
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "abc": 2, "x": 3, "y": 4, "fine": 5}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")


def special_tokens_last(folder: Path) -> Any:
    """As XLNet's: padded left, and both special tokens, with a type of their own, at the end."""
    tokenizer = without_special_tokens(folder)
    tokenizer.add_special_tokens({"sep_token": "<sep>", "cls_token": "<cls>"})
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A:0 <sep>:0 <cls>:2",
        special_tokens=[("<sep>", tokenizer.sep_token_id), ("<cls>", tokenizer.cls_token_id)],
    )
    tokenizer.padding_side = "left"
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def dataset(
    tokenizer: Any, texts: list[str], length: int, stride: int, most: int | None = None, is_packed: bool = False
) -> WindowDataset:
    store = tokenise(Rows(texts, None, [0] * len(texts)), tokenizer, WHOLE, False)
    rows = TokenDataset(store, torch.arange(len(texts)), tokenizer, is_packed=is_packed)
    return WindowDataset(rows, special_ends(tokenizer), Windows(length, stride), length, most)


@pytest.mark.parametrize("make", [bert, without_special_tokens, special_tokens_last])
@pytest.mark.parametrize(("length", "stride"), [(16, 4), (16, 0), (16, 13), (7, 2), (64, 32)])
def test_windows_are_those_of_transformers(tiny_model: Path, make: Any, length: int, stride: int) -> None:
    tokenizer = make(tiny_model)
    texts = TEXTS if special_ends(tokenizer) != (0, 0) else TEXTS[1:]
    expected = make(tiny_model)(
        texts, truncation=True, max_length=length, stride=stride, return_overflowing_tokens=True, padding=True,
        return_tensors="pt",
    )  # fmt: skip
    windows = dataset(tokenizer, texts, length, stride)
    assert windows.documents.tolist() == expected["overflow_to_sample_mapping"].tolist()
    assert windows.counts.tolist() == expected["overflow_to_sample_mapping"].bincount().tolist()
    assert windows.lengths.tolist() == expected["attention_mask"].sum(dim=1).tolist()
    batch = windows[list(range(len(windows)))]
    for name in {"input_ids", "attention_mask", "token_type_ids"} & set(batch):
        assert torch.equal(batch[name], expected[name]), name
    assert batch["window"].tolist() == list(range(len(windows)))
    assert batch["idx"].tolist() == windows.documents.tolist()


def test_padding_free_batches_hold_the_same_windows(tiny_model: Path) -> None:
    sets = [dataset(bert(tiny_model), TEXTS, 16, 4, is_packed=packed) for packed in (False, True)]
    padded, packed = (each[[5, 1, 9, 3]] for each in sets)
    assert packed["input_ids"][0].tolist() == padded["input_ids"][padded["attention_mask"].bool()].tolist()
    assert torch.equal(packed["window"], padded["window"])


def test_a_filler_is_no_window_of_any_document(tiny_model: Path) -> None:
    batch = dataset(bert(tiny_model), TEXTS, 16, 4)[[3, -1]]
    assert batch["window"].tolist() == [3, -1]
    assert (batch["idx"] < 0).tolist() == (batch["labels"] < 0).tolist() == [False, True]


@pytest.mark.parametrize("most", [1, 2, 3, 1000])
def test_training_takes_some_windows_of_a_document_evenly(tiny_model: Path, most: int) -> None:
    every, some = (dataset(bert(tiny_model), TEXTS, 16, 4, limit) for limit in (None, most))
    rows = [tuple(row["input_ids"][0].tolist()) for row in (every[at] for at in range(len(every)))]
    for document, count in enumerate(every.counts.tolist()):
        all_of_it = [rows[at] for at in range(len(every)) if every.documents[at] == document]
        kept = [some[at]["input_ids"][0].tolist() for at in range(len(some)) if some.documents[at] == document]
        least = min(most, count)
        assert kept == [list(all_of_it[number * count // least]) for number in range(least)]


def test_overlapping_windows_take_no_memory_of_their_own(tiny_model: Path) -> None:
    text = "abcdefghij " * 1000
    apart, shared = (dataset(bert(tiny_model), [text], 64, stride) for stride in (0, 61))
    assert len(shared) > 50 * len(apart)
    assert torch.equal(apart.store.input_ids, shared.store.input_ids)
    assert len(shared.store.input_ids) == 10_002


def test_few_long_documents_are_tokenised_at_once(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a tokenizer holds 150 bytes for each character of a call: the first hundred documents would take gigabytes
    tokenizer, sizes = bert(tiny_model), []

    class Watched(type(tokenizer)):  # type: ignore[misc]
        def __call__(self, *texts: Any, **options: Any) -> Any:
            sizes.append(sum(map(len, texts[0])))
            return super().__call__(*texts, **options)

    tokenizer.__class__ = Watched
    monkeypatch.setattr("glue_lit.data.token_encoder._CHARACTERS", 5000)
    store = tokenise(Rows(["abcd " * 400] * 50, None, [0] * 50), tokenizer, WHOLE, False)
    assert store.lengths.tolist() == [1602] * 50
    assert sizes == [4000]


def data(tiny_model: Path, **settings: Any) -> GLUEDataModule:
    fixed: dict[str, Any] = {"task": "cola", "source": "demo", "batch_size": 3}
    return GLUEDataModule(tokenizer=str(tiny_model), **fixed | settings)


def test_batches_in_one_window_are_those_without_windows(tiny_model: Path) -> None:
    whole, windows = data(tiny_model), data(tiny_model, windows={"length": 64, "stride": 8})
    for one, other in zip(whole.train_dataloader(), windows.train_dataloader(), strict=True):
        del other["window"]
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_limits_and_shots_count_documents(tiny_model: Path) -> None:
    module = data(tiny_model, windows={"length": 16, "stride": 4}, train_limit=9, validation_limit=5)
    train, validation = module.dataset("train"), module.dataset("validation")
    assert len(train) > len(train.examples) == 9 == module.splits.training_rows
    assert len(validation) > len(validation.examples) == 5
    shots = data(tiny_model, windows={"length": 16, "stride": 4, "train_windows": 1}, shots=4).dataset("train")
    assert len(shots) == len(shots.examples) == 8


def test_only_training_takes_some_windows(tiny_model: Path) -> None:
    module = data(tiny_model, windows={"length": 16, "stride": 4, "train_windows": 1})
    train, scored = module.dataset("train"), module.dataset("train", "predict")
    assert len(train) == len(train.examples) == len(scored.examples) < len(scored)
    assert module.dataset("validation").documents.bincount().max() > 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"windows": {"length": 64, "stride": 64}},
            r"data\.windows\.stride: got 64, allowed: below 64\. It is the num",
        ),
        ({"windows": {"stride": -1}}, r"data\.windows\.stride: got -1, allowed: a whole number of tokens from 0 up"),
        ({"windows": {"stride": 0.5}}, r"data\.windows\.stride: got 0\.5, allowed: a whole number"),
        ({"windows": {"length": 3, "stride": 0}}, r"data\.windows\.length: got 3, allowed: a whole number from 4 up"),
        ({"windows": {"train_windows": 0}}, r"data\.windows\.train_windows: got 0, allowed: a whole number from 1 up"),
        ({"windows": {"pooling": "sum"}}, r"data\.windows\.pooling: got 'sum', allowed: mean, max"),
        ({"windows": {"lenght": 64}}, r"data\.windows: there is no 'lenght'\. Did you mean 'length'\?"),
        ({"windows": 64}, r"data\.windows: got 64, allowed: keys of length, stride"),
        ({"task": "mrpc", "windows": {}}, r"data\.windows: an example has the texts sentence1 and sentence2"),
        (
            {"windows": {}, "truncation": "head_tail"},
            r"data\.truncation: got head_tail, but data\.windows cuts no text",
        ),
        ({"windows": {"length": 64, "stride": 8}, "max_length": 32}, r"data\.max_length: got 32, .* Give one of them"),
    ],
)
def test_what_cannot_be_is_refused_before_data_are_read(
    tiny_model: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        data(tiny_model, **settings)


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (
            {"length": 65, "stride": 8},
            r"data\.windows\.length: got 65, allowed: 4 to 64, the most that this model takes",
        ),
        ({"length": 64, "stride": 62}, r"stride: got 62, allowed: below 62\. .* has 64 tokens, of which 2 are special"),
        ({}, r"data\.windows\.stride: got 128, allowed: below 62"),
    ],
)
def test_what_the_model_cannot_take_is_refused(tiny_model: Path, windows: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        data(tiny_model, windows=windows).setup("fit")


def test_a_tokenizer_that_changes_the_text_is_refused() -> None:
    def strange(text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [1, 7, 2] if add_special_tokens else [5, 6]}

    with pytest.raises(ModelError, match="the tokenizer of this model changes a text's tokens"):
        special_ends(strange)


def test_settings_are_read_from_plain_values() -> None:
    assert parse_windows(None) is None
    assert parse_windows({"length": 512}) == Windows(512, 128, "mean", None) == parse_windows(Windows(512))
