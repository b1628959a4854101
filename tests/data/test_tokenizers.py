"""The tokenizer in a checkpoint gives the same ids, and cannot run code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from glue_lit.data.model_inputs import longest_input
from glue_lit.data.tokenizers import load_tokenizer, pack, tokenizer_fingerprint, unpack
from glue_lit.errors import ModelError

TEXTS = ["The cat sat.", "Ünïcode \U0001f600 [SEP] x", "", "a quick brown fox jumps over the lazy dog"]


def packed(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(str(tiny_model), "main", False)


def byte_level(folder: Path) -> Any:
    """A tokenizer like RoBERTa's, trained on a sentence."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaTokenizerFast

    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    words = ["the cat sat on the mat"]
    trained.train_from_iterator(words, vocab_size=300, special_tokens=special, show_progress=False)
    RobertaTokenizerFast(tokenizer_object=trained._tokenizer, model_max_length=40).save_pretrained(folder)
    return load_tokenizer(str(folder), "main", False)


def assert_alike(first: Any, second: Any) -> None:
    assert tokenizer_fingerprint(second) == tokenizer_fingerprint(first)
    for texts in ([TEXTS], [TEXTS, TEXTS[::-1]]):
        assert (
            second(*texts, truncation=True, max_length=24)["input_ids"]
            == (first(*texts, truncation=True, max_length=24)["input_ids"])
        )
    assert second.pad_token_id == first.pad_token_id
    assert second.model_max_length == first.model_max_length
    assert second.model_input_names == first.model_input_names


def test_a_packed_tokenizer_is_unpacked_unchanged(tokenizer: Any) -> None:
    assert_alike(tokenizer, unpack(pack(tokenizer), "bert"))


def test_a_byte_level_tokenizer_is_unpacked_unchanged(tmp_path: Path) -> None:
    tokenizer = byte_level(tmp_path)
    assert_alike(tokenizer, unpack(pack(tokenizer), "roberta"))


def test_a_tokenizer_written_in_python_is_unpacked_unchanged(tmp_path: Path) -> None:
    from transformers import ByT5Tokenizer, T5Config

    T5Config().save_pretrained(tmp_path)
    ByT5Tokenizer().save_pretrained(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path), "main", False)
    assert not tokenizer.is_fast
    assert_alike(tokenizer, unpack(pack(tokenizer), "t5"))


def test_a_settings_file_is_fingerprinted_by_its_content(tmp_path: Path) -> None:
    from transformers import ByT5Tokenizer

    def fingerprint(folder: str, content: str) -> str:
        path = tmp_path / folder / "merges.txt"
        path.parent.mkdir()
        path.write_text(content, encoding="utf-8")
        tokenizer = ByT5Tokenizer()
        tokenizer.init_kwargs["merges_file"] = str(path)
        return tokenizer_fingerprint(tokenizer)

    first, again, other = fingerprint("a", "b c"), fingerprint("b", "b c"), fingerprint("c", "c b")
    assert first == again != other


@pytest.mark.parametrize("name", ["mpt", "t5", "gpt2", "roberta"])
def test_the_class_of_a_tokenizer_is_not_guessed_from_the_name_of_a_folder(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / name))
    assert_alike(tokenizer, unpack(pack(tokenizer), "bert"))


def test_added_words_and_settings_are_kept(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.add_tokens(["quick", "[NEW]"])
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "truncation_side": "left"}))
    tokenizer = load_tokenizer(str(tmp_path), "main", False)
    again = unpack(pack(tokenizer), "bert")
    assert_alike(tokenizer, again)
    assert again.convert_tokens_to_ids("quick") == len(tokenizer) - 2
    assert again.truncation_side == "left"


def test_using_a_tokenizer_does_not_change_its_packed_files(tokenizer: Any) -> None:
    before = tokenizer_fingerprint(unpack(pack(tokenizer), "bert"))
    tokenizer(TEXTS, truncation=True, max_length=8, padding=True)
    assert tokenizer_fingerprint(unpack(pack(tokenizer), "bert")) == before


def test_a_packed_tokenizer_survives_a_checkpoint(tokenizer: Any, tmp_path: Path) -> None:
    torch.save(pack(tokenizer), tmp_path / "x.ckpt")
    assert_alike(tokenizer, unpack(torch.load(tmp_path / "x.ckpt", weights_only=True), "bert"))


# ---------------------------------------------------------------- nothing that could run


def test_a_tokenizer_with_code_is_not_packed(tokenizer: Any) -> None:
    tokenizer.init_kwargs["auto_map"] = {"AutoTokenizer": ["some/repo--code.Tokenizer", None]}
    assert pack(tokenizer) == {}


@pytest.mark.parametrize("name", ["../x.json", "a/b.json", "/tmp/x.json", ".", "vocab.txt/", "code.py", "__init__.py"])
def test_unsafe_file_names_are_refused(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    expected = f"The checkpoint's tokenizer has a file {name!r}, which is not data. It is not used."
    with pytest.raises(ModelError, match=re.escape(expected)):
        unpack({name: packed(b"import os"), **pack(tokenizer)}, "bert")
    assert list(tmp_path.iterdir()) == []  # neither a file outside the temporary folder, nor that folder


@pytest.mark.parametrize("file", ["tokenizer_config.json", "config.json"])
def test_a_pointer_to_code_is_refused(tokenizer: Any, file: str) -> None:
    settings = json.dumps({"auto_map": {"AutoTokenizer": ["some/repo--code.Tokenizer", None]}})
    with pytest.raises(ModelError, match=re.escape(f"has a file {file!r}, which is not data. It is not used.")):
        unpack({**pack(tokenizer), file: packed(settings.encode())}, "bert")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"version": "1.0"}'])
def test_files_that_make_no_tokenizer_are_refused(tokenizer: Any, content: bytes) -> None:
    with pytest.raises(
        ModelError, match=r"The checkpoint's tokenizer (cannot be read|has a file 'tokenizer.json', which is not data)"
    ):
        unpack({**pack(tokenizer), "tokenizer.json": packed(content)}, "bert")


# ---------------------------------------------------------------- loading


def test_a_tokenizer_of_the_hub_needs_a_network() -> None:
    with pytest.raises(ModelError, match=r"could not load the tokenizer of 'no-such-model'\. HF_HUB_OFFLINE is set"):
        load_tokenizer("no-such-model", "main", False)


def test_the_code_of_a_tokenizer_is_not_run(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    del settings["tokenizer_class"]
    settings["auto_map"] = {"AutoTokenizer": ["code.Tokenizer", None]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"It runs code of its own; if you trust its author, pass `--model\.trust_rem"):
        load_tokenizer(str(tmp_path), "main", False)
    assert not (tmp_path / "ran").exists()


def test_code_under_an_escaped_name_is_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = pack(load_tokenizer(str(tiny_model), "main", False))
    settings = json.loads(files["tokenizer_config.json"].numpy().tobytes())
    del settings["tokenizer_class"]
    settings["auto_map"] = {"AutoTokenizer": ["some/repo--code.Evil", None]}
    text = json.dumps(settings).replace("auto_map", "\\u0061uto_map").encode()
    asked: list[object] = []
    monkeypatch.setattr("builtins.input", lambda *words: asked.append(words) or "n")
    with pytest.raises(ModelError, match="which is not data"):
        unpack({**files, "tokenizer_config.json": torch.frombuffer(bytearray(text), dtype=torch.uint8)}, "bert")
    assert asked == []


@pytest.mark.parametrize("name", ["..", "", "a\0b", "code.PY"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="which is not data"):
        unpack({name: torch.zeros(3, dtype=torch.uint8)}, "bert")


@pytest.mark.parametrize("config", [{"max_position_embeddings": 2}, {"max_position_embeddings": 3}])
def test_a_model_too_short_for_any_text_is_refused(config: dict[str, Any], tokenizer: Any) -> None:
    with pytest.raises(ModelError, match=r"inputs of this model have [23] tokens at most, too few for any text"):
        longest_input(tokenizer, config | {"model_type": "bert"}, None)
    assert longest_input(tokenizer, {"max_position_embeddings": 4, "model_type": "bert"}, None) == 4
