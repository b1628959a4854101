"""Long texts are cut before they are tokenised, which does not change their tokens."""

import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from glue_lit.data.long_texts import TextStarts
from glue_lit.data.rows import Rows
from glue_lit.data.tokenizers import load_tokenizer
from glue_lit.data.tokens import tokenise

WORDS = ("good", "badly", "filmed", "a", "the", "unwatchable", "Ünïcode", "\U0001f600", "don't", "x" * 150)


def corpus(seed: int, words: int, space: str = " ") -> str:
    return space.join(random.Random(seed).choices(WORDS, k=words))


TEXTS = [
    corpus(0, 2000),
    corpus(1, 500, "\n\n   "),
    corpus(2, 900, ""),  # no space to cut at
    "好 坏" + "好坏的电影" * 800,
    " " * 5000 + "good",
    f"{'good ' * 150}{'x' * 9000}",
    "good",
    "",
]


def trained(model: Any, trainer: Any, before: Any) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = before
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([corpus(seed, 200) for seed in range(20)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]")


@pytest.fixture(params=["wordpiece", "bpe", "unigram"])
def tokenizer(request: pytest.FixtureRequest, tiny_model: Path) -> Any:
    special = ["[UNK]", "[PAD]"]
    if request.param == "bpe":
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
        return trained(models.BPE(), trainer, pre_tokenizers.ByteLevel())
    if request.param == "unigram":
        unigram = trainers.UnigramTrainer(
            vocab_size=150, special_tokens=special, unk_token="[UNK]", show_progress=False
        )
        return trained(models.Unigram(), unigram, pre_tokenizers.Metaspace())
    return load_tokenizer(str(tiny_model), "main", False)


@pytest.mark.parametrize("max_length", [4, 16, 40])
def test_the_tokens_are_those_of_the_whole_text(tokenizer: Any, max_length: int) -> None:
    texts = [
        text for text in TEXTS if tokenizer(text)["input_ids"]
    ]  # without the empty one, if the tokenizer adds no tokens
    assert len(texts) >= len(TEXTS) - 1
    store = tokenise(Rows(texts, None, [0] * len(texts)), tokenizer, max_length, is_regression=False)
    for number, text in enumerate(texts):
        expected = tokenizer([text], truncation=True, max_length=max_length)["input_ids"][0]
        assert store.input_ids[store.offsets[number] : store.offsets[number + 1]].tolist() == expected, text[:20]


@pytest.mark.parametrize("max_length", [16, 40])
def test_pairs_are_cut_as_the_whole_texts_are(tokenizer: Any, max_length: int) -> None:
    texts, others = TEXTS[:4] + TEXTS[-4:], TEXTS[::-1]
    store = tokenise(Rows(texts, others, [0] * len(texts)), tokenizer, max_length, is_regression=False)
    for number, (text, other) in enumerate(zip(texts, others, strict=True)):
        expected = tokenizer([text], [other], truncation=True, max_length=max_length)["input_ids"][0]
        assert store.input_ids[store.offsets[number] : store.offsets[number + 1]].tolist() == expected, text[:20]


def test_a_pair_of_long_documents_is_tokenised_quickly(tokenizer: Any) -> None:
    # Without cutting it takes minutes and gigabytes, for pairs of all pieces of both texts.
    document = corpus(0, 200_000)
    store = tokenise(Rows([document], [document], [0]), tokenizer, 12, is_regression=False)
    assert store.lengths.tolist() == [12]


def test_short_texts_are_not_cut(tokenizer: Any) -> None:
    text = corpus(0, 2000)
    (start,) = TextStarts(tokenizer, 8).cut([text])
    assert 1000 <= len(start) < 1200
    assert text.startswith(f"{start} ")  # at the end of a word
    short = text[:2000]
    assert TextStarts(tokenizer, 8).cut([short]) == [short]
    tokenizer.truncation_side = "left"
    assert TextStarts(tokenizer, 8).cut([text]) == [text]


def test_a_word_of_thousands_of_letters_is_one_token(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_model), "main", False)
    words = ["x" * 9000, f"good {'x' * 9000} good"]
    for max_length in (4, 12):
        store = tokenise(Rows(words, None, [0, 0]), tokenizer, max_length, is_regression=False)
        for number, text in enumerate(words):
            expected = tokenizer([text], truncation=True, max_length=max_length)["input_ids"][0]
            assert store.input_ids[store.offsets[number] : store.offsets[number + 1]].tolist() == expected


def test_the_given_tokenizer_is_not_changed(tokenizer: Any) -> None:
    tokenizer(["good"], truncation=True, max_length=4)
    before = tokenizer.backend_tokenizer.to_str()
    TextStarts(tokenizer, 8).cut(TEXTS)
    assert tokenizer.backend_tokenizer.to_str() == before
