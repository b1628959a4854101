"""Fitting tokenizers to models, for all architectures of transformers that classify texts."""

import inspect
import json
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import CONFIG_MAPPING, AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.data.model_inputs import (
    LONGEST,
    POSITIONS_AFTER_PADDING,
    adapt_tokenizer,
    describe_padding,
    longest_input,
    missing_padding_id,
    needs_equal_lengths,
    takes_segments,
)
from glue_lit.data.sources import open_split
from glue_lit.data.tokenizers import load_tokenizer, pack, unpack
from glue_lit.errors import ModelError
from glue_lit.tasks.glue import get_task

# Their token types mean something else: a word embedding for each, the place of an image, cells of a table.
OTHER_TYPES = {
    "ctrl", "flaubert", "gpt-sw3", "gpt2", "gpt_bigcode", "gpt_neo", "gptj", "openai-gpt", "xlm", "gemma3", "tapas",
}  # fmt: skip
OF_OTHER_DATA = {"layoutlmv2", "layoutlmv3", "tapas"}  # their tokenizers need boxes or tables beside the texts


def architectures() -> Iterator[tuple[str, Any, Any]]:
    """Each model type that classifies texts, with its class and a configuration."""
    for kind, name in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.items():
        found = getattr(transformers, name, None)
        if found is not None and kind in CONFIG_MAPPING:
            yield kind, found, found.config_class()


def with_segments() -> list[str]:
    """Model types that tell the texts of a pair apart."""
    return [
        kind for kind, found, config in architectures()
        if "token_type_ids" in inspect.signature(found.forward).parameters and kind not in OTHER_TYPES
        and getattr(config, "type_vocab_size", 2) > 1
    ]  # fmt: skip


@pytest.fixture
def plain(tiny_model: Path) -> Callable[..., Any]:
    """A tokenizer of no architecture, which can give token types for pairs although its class does not list them."""

    def make(**options: Any) -> Any:
        file = str(tiny_model / "tokenizer.json")
        special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        given = {"model_input_names": ["input_ids", "attention_mask"]} | special | options
        return PreTrainedTokenizerFast(tokenizer_file=file, **{k: v for k, v in given.items() if v is not None})

    return make


def values(kind: str, **others: Any) -> dict[str, Any]:
    return {**CONFIG_MAPPING[kind]().to_dict(), "model_type": kind, **others}


def test_every_architecture_with_segments_is_known() -> None:
    wanted = set(with_segments())
    assert {"albert", "xlnet", "funnel", "big_bird", "rembert", "bert"} <= wanted
    for kind, found, config in architectures():
        takes = takes_segments(config.to_dict() | {"model_type": kind})
        assert (takes is True) == (kind in wanted), kind
        if takes is not None:  # else the tokenizer decides
            assert "token_type_ids" in inspect.signature(found.forward).parameters, kind


def test_a_pair_has_its_segments_in_the_batches_of_every_architecture(
    plain: Callable[..., Any], tmp_path: Path
) -> None:
    rows = open_split(get_task("rte"), "demo", "validation").read()
    assert rows.texts_b is not None
    for kind in sorted(set(with_segments()) - OF_OTHER_DATA):
        folder = tmp_path / kind
        plain().save_pretrained(folder)
        (folder / "config.json").write_text(json.dumps(values(kind, pad_token_id=0, architectures=None), default=str))
        data = GLUEDataModule("rte", str(folder), "demo", max_length=40, cache_dir=str(tmp_path))
        batch = data.dataset("validation")[range(4)]
        expected = plain(padding_side=data.tokenizer.padding_side)(
            rows.texts_a[:4], rows.texts_b[:4], return_token_type_ids=True, padding=True, truncation=True,
            max_length=40, return_tensors="pt",
        )  # fmt: skip
        for name in ("input_ids", "token_type_ids", "attention_mask"):
            assert torch.equal(batch[name], expected[name]), (kind, name)
        assert batch["token_type_ids"].unique().tolist() == [0, 1]
        data.tokenizer.save_pretrained(folder / "exported")  # to be read by transformers alone
        assert "token_type_ids" in AutoTokenizer.from_pretrained(folder / "exported")(["a"], ["b"]), kind
        assert "token_type_ids" in unpack(pack(data.tokenizer), kind).model_input_names


WORDS = [(word, 0.0) for word in ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<sep>", "<cls>")]
PIECES = [*WORDS, ("\u2581", -1.0), *((letter, -2.0) for letter in string.ascii_lowercase)]


@pytest.mark.parametrize(
    ("kind", "name", "segments"),
    [("albert", "AlbertTokenizer", [0, 0, 0, 0, 0, 1, 1, 1]), ("big_bird", "BigBirdTokenizer", [0, 0, 0, 0, 0, 1, 1, 1]),
     ("xlnet", "XLNetTokenizer", [0, 0, 0, 0, 1, 1, 1, 2])],
)  # fmt: skip
def test_segments_of_the_architectures_own_tokenizers(
    kind: str, name: str, segments: list[int], tmp_path: Path
) -> None:
    getattr(transformers, name)(vocab=PIECES).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    tokenizer = adapt_tokenizer(load_tokenizer(str(tmp_path), "main", False), values(kind))
    assert type(tokenizer).__name__ == name
    for found in (tokenizer, unpack(pack(tokenizer), kind)):
        assert found(["ab"], ["c"])["token_type_ids"] == [segments]
    assert tokenizer.padding_side == ("left" if kind == "xlnet" else "right")


def test_token_types_without_embeddings_are_left_out(plain: Callable[..., Any]) -> None:
    names = ["input_ids", "token_type_ids", "attention_mask"]
    for kind, rows, kept in (("roberta", 1, False), ("deberta-v2", 0, False), ("roberta", 2, True)):
        tokenizer = adapt_tokenizer(plain(model_input_names=names), values(kind, type_vocab_size=rows))
        assert ("token_type_ids" in tokenizer(["a"], ["b"])) is kept
        assert ("token_type_ids" in unpack(pack(tokenizer), kind)(["a"], ["b"])) is kept


def test_a_configuration_without_token_types_keeps_those_of_the_tokenizer(plain: Callable[..., Any]) -> None:
    names = ["input_ids", "token_type_ids", "attention_mask"]
    for given in (names, names[::2]):
        for kind in ("distilbert", "gpt2"):
            assert adapt_tokenizer(plain(model_input_names=given), values(kind)).model_input_names == given


# ---------------------------------------------------------------- padding


@pytest.mark.parametrize(
    ("special", "config", "token"),
    [
        ({}, {"pad_token_id": None}, "[PAD]"),
        ({"pad_token": None, "eos_token": "[SEP]"}, {"pad_token_id": None}, "[SEP]"),
        ({"pad_token": None, "eos_token": "[SEP]"}, {"pad_token_id": 4, "vocab_size": 80}, "[MASK]"),  # the model's padding id
        ({"pad_token": None, "eos_token": "[SEP]"}, {"pad_token_id": 30}, "[SEP]"),  # 30 is an ordinary word
        ({"pad_token": None}, {"pad_token_id": None}, "[UNK]"),  # as in GPT-1 and CTRL
        ({"pad_token": "[NEW]", "eos_token": "[SEP]"}, {"pad_token_id": None, "vocab_size": 100}, "[SEP]"),
    ],
)  # fmt: skip
def test_choice_of_the_padding_token(
    special: dict[str, Any], config: dict[str, Any], token: str, plain: Callable[..., Any]
) -> None:
    tokenizer = plain(**special, padding_side="left")
    if special.get("pad_token") == "[NEW]":  # a token that was added without an embedding in the model
        tokenizer.add_special_tokens({"pad_token": "[NEW]"})
    given = values("llama", vocab_size=200) | config
    if special.get("pad_token") == "[NEW]":
        given["vocab_size"] = tokenizer.pad_token_id
    words = len(tokenizer)
    adapt_tokenizer(tokenizer, given)
    number = tokenizer.convert_tokens_to_ids(token)
    again = unpack(pack(tokenizer), "llama")
    for found in (tokenizer, again):
        assert (found.pad_token, found.pad_token_id, found.padding_side) == (token, number, "right")
        assert len(found) == words
    if config["pad_token_id"] == number:
        assert missing_padding_id(tokenizer, given) is describe_padding(tokenizer, given) is None
    else:
        assert missing_padding_id(tokenizer, given) == number
        assert f"Padding with {token!r} ({number}): the model's configuration names" in str(
            describe_padding(tokenizer, given)
        )
    assert missing_padding_id(tokenizer, given | {"pad_token_id": number}) is None


def test_a_tokenizer_without_a_token_for_padding_is_refused(plain: Callable[..., Any]) -> None:
    tokenizer = plain(pad_token=None, unk_token=None)
    with pytest.raises(ModelError, match="the tokenizer has no token to pad batches with: no padding token, no"):
        adapt_tokenizer(tokenizer, values("llama"))


def test_a_padding_id_that_positions_depend_on_is_kept(plain: Callable[..., Any]) -> None:
    given = values("roberta", pad_token_id=1)
    tokenizer = adapt_tokenizer(plain(), given)
    assert tokenizer.pad_token_id == 0
    assert missing_padding_id(tokenizer, given) is describe_padding(tokenizer, given) is None
    assert missing_padding_id(tokenizer, values("esm", pad_token_id=None)) == 0
    assert longest_input(tokenizer, given | {"max_position_embeddings": 42}, None) == 40


def test_every_architecture_whose_positions_depend_on_the_padding_id_is_known() -> None:
    for kind, found, _ in architectures():
        source = Path(inspect.getfile(found)).read_text(encoding="utf-8")
        counts = "create_position_ids_from_input_ids(" in source
        assert counts == (kind in POSITIONS_AFTER_PADDING), kind


def test_a_multimodal_model_has_the_padding_of_its_text_part(plain: Callable[..., Any]) -> None:
    given = values("gemma3")
    given["text_config"]["pad_token_id"] = 7
    assert missing_padding_id(adapt_tokenizer(plain(), given), given) == 0
    given["text_config"]["pad_token_id"] = 0
    assert missing_padding_id(adapt_tokenizer(plain(), given), given) is None


# ---------------------------------------------------------------- lengths


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        ({"model_type": "gpt2", "n_positions": 20, "n_ctx": 10}, 20),
        ({"model_type": "ctrl", "n_positions": 20}, 20),
        ({"model_type": "gptj", "n_positions": 20}, 20),
        ({"model_type": "mpt", "max_seq_len": 20}, 20),
        ({"model_type": "xlnet"}, LONGEST),
        ({"model_type": "t5", "n_positions": 512}, LONGEST),  # published configurations have it, without a meaning
        ({"model_type": "bloom", "seq_length": 2048}, LONGEST),
        ({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "max_position_embeddings": 20},
          "vision_config": {"model_type": "siglip_vision_model", "max_position_embeddings": 5}}, 20),
        ({"model_type": "t5gemma", "encoder": {"model_type": "t5_gemma_module", "max_position_embeddings": 20}}, 20),
        ({"model_type": "own", "n_ctx": 20}, 20),
        ({"model_type": "bert", "max_position_embeddings": -1}, LONGEST),
    ],
    ids=lambda given: given["model_type"] if isinstance(given, dict) else str(given),
)  # fmt: skip
def test_longest_input(config: dict[str, Any], longest: int, plain: Callable[..., Any]) -> None:
    tokenizer = plain()  # its own limit is 1e30
    assert longest_input(tokenizer, config, None) == longest
    assert longest_input(tokenizer, config, 8) == 8
    assert len(tokenizer(["a " * 30], truncation=True, max_length=longest)["input_ids"][0]) == min(32, longest)


@pytest.mark.parametrize("kind", [None, [], {}, 7, "nothing"])
def test_made_up_values_of_a_configuration_are_ignored(kind: Any, plain: Callable[..., Any]) -> None:
    config = {"model_type": kind, "type_vocab_size": "2", "vocab_size": [], "pad_token_id": {}, "n_ctx": True,
              "text_config": [], "encoder": {"model_type": [], "n_positions": 20}}  # fmt: skip
    tokenizer = adapt_tokenizer(plain(), config)
    assert not needs_equal_lengths(config)
    assert missing_padding_id(tokenizer, config) == 0
    assert longest_input(tokenizer, {**config, "n_ctx": None}, None) == 20
