"""Tokens equal those of the tokenizer itself, and the cache is never wrong and never an obstacle."""

import os
import pwd
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from tokenizers.normalizers import BertNormalizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from glue_lit.data import token_cache, token_encoder, tokens
from glue_lit.data.cache import cache_folder
from glue_lit.data.rows import Rows, Split
from glue_lit.data.token_cache import cached_tokens
from glue_lit.data.tokenizers import tokenizer_fingerprint
from glue_lit.data.tokens import TokenStore, evenly_spaced, tokenise
from glue_lit.errors import DataError

SHORT = "The cat sat."
LONG = "a quick brown fox jumps over the lazy dog, twice"
SINGLE = Rows([SHORT, LONG, "", "Ünïcode \U0001f600 [SEP] x"], None, [1, 0, None, 1])
PAIRS = Rows([SHORT, LONG, "", LONG], ["So.", LONG, "b", ""], [2, 0, 1, None])
SCORES = Rows([SHORT, LONG], [SHORT, SHORT], [2.75, None])


def tensors(store: TokenStore) -> dict[str, Tensor]:
    return {name: value for name, value in vars(store).items() if isinstance(value, Tensor)}


def load(folder: Path, **options: Any) -> Any:
    from transformers import BertTokenizerFast

    return BertTokenizerFast.from_pretrained(folder, **options)


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return load(tiny_model)


def example(store: TokenStore, number: int) -> list[int]:
    return store.input_ids[store.offsets[number] : store.offsets[number + 1]].tolist()


@pytest.mark.parametrize("max_length", [4, 5, 12, 33, 64, 1000])
@pytest.mark.parametrize("rows", [SINGLE, PAIRS], ids=["single", "pairs"])
def test_equals_the_tokenizer_row_by_row(tokenizer: Any, rows: Rows, max_length: int) -> None:
    store = tokenise(rows, tokenizer, max_length, is_regression=False)
    assert len(store) == len(rows)
    assert store.token_type_ids is not None
    for number, text in enumerate(rows.texts_a):
        # Lists of one text, because transformers 5 ignores an empty second text that is a string.
        texts = [[text]] if rows.texts_b is None else [[text], [rows.texts_b[number]]]
        expected = tokenizer(*texts, truncation=True, max_length=max_length)
        assert example(store, number) == expected["input_ids"][0]
        types = store.token_type_ids[store.offsets[number] : store.offsets[number + 1]].tolist()
        assert types == expected["token_type_ids"][0]
        assert store.lengths[number] == len(expected["input_ids"][0]) <= max_length


@pytest.mark.parametrize("rows", [SINGLE, PAIRS], ids=["single", "pairs"])
def test_the_fast_way_is_right_beyond_the_rows_it_was_compared_on(
    tokenizer: Any, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tokenise(rows, tokenizer, 12, is_regression=False)
    monkeypatch.setattr(token_encoder, "_COMPARED", 1)
    monkeypatch.setattr(tokens, "_CHUNK", 3)
    found = tokenise(rows, tokenizer, 12, is_regression=False)
    assert all(
        torch.equal(getattr(found, name), value) for name, value in tensors(expected).items() if name != "labels"
    )


def test_a_tokenizer_whose_call_does_more_is_called(tokenizer: Any) -> None:
    class Shouting(type(tokenizer)):  # type: ignore[misc]
        def __call__(self, *texts: Any, **options: Any) -> Any:
            return super().__call__(*([text + "!" for text in part] for part in texts), **options)

    tokenizer.__class__ = Shouting
    store = tokenise(SINGLE, tokenizer, 64, is_regression=False)
    assert example(store, 0) == tokenizer([SHORT])["input_ids"][0]
    assert tokenizer.decode(example(store, 0)).count("!") == 1


def test_the_second_text_of_a_pair_has_its_own_type(tokenizer: Any) -> None:
    # A pair tokenised as one text would have the right shapes, and train a worse model.
    store = tokenise(Rows(["ab"], ["c"], [0]), tokenizer, 64, is_regression=False)
    assert store.token_type_ids is not None
    assert store.token_type_ids.tolist() == [0, 0, 0, 0, 1, 1]  # [CLS] a ##b [SEP] c [SEP]


def test_truncation_cuts_the_longer_text(tokenizer: Any) -> None:
    store = tokenise(Rows(["abcdefghij"], ["xy"], [0]), tokenizer, 8, is_regression=False)
    words = tokenizer.convert_ids_to_tokens(example(store, 0))
    assert words == ["[CLS]", "a", "##b", "##c", "[SEP]", "x", "##y", "[SEP]"]


def test_labels_and_types_of_the_arrays(tokenizer: Any) -> None:
    store = tokenise(SINGLE, tokenizer, 64, is_regression=False)
    assert store.labels.tolist() == [1, 0, -1, 1]
    assert store.labelled.tolist() == [True, True, False, True]
    scores = tokenise(SCORES, tokenizer, 64, is_regression=True)
    assert scores.labels[0] == 2.75
    assert scores.labelled.tolist() == [True, False]
    assert [t.dtype for t in (store.input_ids, store.offsets, store.labels)] == [torch.int32, torch.int64, torch.int64]
    assert scores.labels.dtype == torch.float32


def test_chunks_are_joined_without_a_gap(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tokenise(PAIRS, tokenizer, 20, is_regression=False)
    monkeypatch.setattr(tokens, "_CHUNK", 3)
    parts = tokenise(PAIRS, tokenizer, 20, is_regression=False)
    for name, value in tensors(whole).items():
        assert torch.equal(getattr(parts, name), value), name


def test_a_tokenizer_without_token_types(tokenizer: Any) -> None:
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # as DistilBERT's
    assert tokenise(PAIRS, tokenizer, 20, is_regression=False).token_type_ids is None


# ---------------------------------------------------------------- the cache


class Counted:
    """A split whose rows count how often they are read."""

    def __init__(self, rows: Rows, fingerprint: str = "f", name: str = "train") -> None:
        self.reads = 0
        self.rows = rows
        self.split = Split(name, "here", fingerprint, self.read)

    def read(self) -> Rows:
        self.reads += 1
        return self.rows


@pytest.fixture
def counted() -> Counted:
    return Counted(PAIRS)


Tokens = Callable[..., TokenStore]


@pytest.fixture
def cached(tmp_path: Path, tokenizer: Any, counted: Counted) -> Tokens:
    """`cached_tokens` with defaults for what a test does not change."""

    def call(split: Split = counted.split, tokenizer: Any = tokenizer, max_length: int = 20) -> TokenStore:
        return cached_tokens(split, tokenizer, max_length, False, tmp_path / "cache")

    return call


def same(one: TokenStore, other: TokenStore) -> bool:
    return all(torch.equal(value, getattr(other, name)) for name, value in tensors(one).items())


def test_the_second_call_reads_nothing(cached: Tokens, counted: Counted, tokenizer: Any) -> None:
    first = cached()

    def read() -> Rows:
        raise AssertionError("read again")

    assert same(cached(replace(counted.split, read=read)), first)
    assert same(tokenise(PAIRS, tokenizer, 20, is_regression=False), first)
    assert counted.reads == 1


def test_a_long_tokenisation_says_how_far_it_is(
    cached: Tokens, counted: Counted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(token_cache, "_EVERY", 0.0)
    cached()
    assert capsys.readouterr().out == f"Tokenising {counted.split.name}: {len(PAIRS)} rows so far\n"
    cached()  # from the cache
    assert capsys.readouterr().out == ""


def test_processes_that_need_the_same_tokens_make_them_once(cached: Tokens, counted: Counted, tmp_path: Path) -> None:
    here, finish = threading.Event(), threading.Event()

    def slow() -> Rows:
        here.set()
        assert finish.wait(60)
        return counted.read()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cached, split=replace(counted.split, read=slow))
        assert here.wait(60)
        second = pool.submit(cached)
        time.sleep(0.2)
        assert (second.done(), counted.reads) == (False, 0)
        finish.set()
        assert same(first.result(60), second.result(60))
    assert counted.reads == 1
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".safetensors"]


def test_a_process_that_fails_lets_the_next_one_in(cached: Tokens, counted: Counted, tmp_path: Path) -> None:
    def fail() -> Rows:
        raise DataError("Row 3 is bad.")

    with pytest.raises(DataError, match="Row 3 is bad"):
        cached(split=replace(counted.split, read=fail))
    cached()
    assert counted.reads == 1


def test_unlabelled_scores_and_missing_types_survive_the_cache(tmp_path: Path, tokenizer: Any) -> None:
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    split = Counted(SCORES)
    for _ in range(2):
        store = cached_tokens(split.split, tokenizer, 20, True, tmp_path)
        assert store.labels[0] == 2.75
        assert store.labelled.tolist() == [True, False]
        assert store.token_type_ids is None
    assert split.reads == 1


def test_using_the_tokenizer_elsewhere_does_not_invalidate(cached: Tokens, counted: Counted, tokenizer: Any) -> None:
    # A call leaves its truncation and padding in the tokenizer, which must not matter.
    cached()
    tokenizer(["a", "bb"], truncation=True, max_length=5, padding=True)
    cached()
    assert counted.reads == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda tokenizer, folder: tokenizer.add_tokens(["cat"]) and tokenizer,
        lambda tokenizer, folder: load(folder, cls_token="[MASK]"),
        lambda tokenizer, folder: with_case(tokenizer),
        lambda tokenizer, folder: with_names(tokenizer, ["input_ids", "attention_mask"]),
        lambda tokenizer, folder: with_side(tokenizer, "left"),
    ],
    ids=["added token", "special token", "case", "model inputs", "truncation side"],
)
def test_another_tokenizer_is_noticed(
    cached: Tokens, counted: Counted, tiny_model: Path, tokenizer: Any, change: Callable[[Any, Path], Any]
) -> None:
    cached()
    changed = change(load(tiny_model), tiny_model)
    store = cached(tokenizer=changed)
    assert counted.reads == 2
    assert example(store, 0) == changed(SHORT, "So.", truncation=True, max_length=20)["input_ids"]
    cached()
    assert counted.reads == 2  # the first one is still cached


def with_case(tokenizer: Any) -> Any:
    was = tokenizer.backend_tokenizer.normalizer.lowercase
    tokenizer.backend_tokenizer.normalizer = BertNormalizer(lowercase=not was)
    return tokenizer


def with_names(tokenizer: Any, names: list[str]) -> Any:
    tokenizer.model_input_names = names
    return tokenizer


def with_side(tokenizer: Any, side: str) -> Any:
    tokenizer.truncation_side = side
    return tokenizer


def test_tokenizers_written_in_python_have_fingerprints_too(tmp_path: Path) -> None:
    from transformers import BertTokenizerLegacy

    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "A"]), encoding="utf-8")
    upper, lower = (BertTokenizerLegacy(str(vocabulary), do_lower_case=case) for case in (False, True))
    assert upper("A")["input_ids"] != lower("A")["input_ids"]
    assert tokenizer_fingerprint(upper) != tokenizer_fingerprint(lower)


@pytest.mark.parametrize("change", ["length", "content", "name"])
def test_another_length_content_or_split_is_noticed(cached: Tokens, counted: Counted, change: str) -> None:
    cached()
    if change == "length":
        assert int(cached(max_length=7).lengths.max()) == 7
        assert counted.reads == 2
    else:
        other = Counted(SINGLE, **({"fingerprint": "g"} if change == "content" else {"name": "test"}))
        assert len(cached(other.split)) == len(SINGLE)
        assert other.reads == 1


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_cache_file_is_made_again(cached: Tokens, counted: Counted, tmp_path: Path, keep: int) -> None:
    first = cached()
    (file,) = (tmp_path / "cache").iterdir()
    content = file.read_bytes()
    file.unlink()  # `first` maps it
    file.write_bytes(content[:keep])
    assert same(cached(), first)
    assert counted.reads == 2
    assert same(cached(), first)
    assert counted.reads == 2  # the file is whole again


def test_a_cache_file_of_something_else_is_made_again(cached: Tokens, counted: Counted, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    first = cached()
    (file,) = (tmp_path / "cache").iterdir()
    file.unlink()  # `first` maps it
    save_file({"weights": torch.zeros(3)}, file)
    assert same(cached(), first)
    assert counted.reads == 2


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path: Path, tokenizer: Any, counted: Counted) -> None:
    # Below a regular file no folder can be made, not even by root.
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    folder = tmp_path / "file" / "cache"
    for reads in (1, 2):
        store = cached_tokens(counted.split, tokenizer, 20, False, folder)
        assert same(tokenise(PAIRS, tokenizer, 20, is_regression=False), store)
        assert counted.reads == reads
    assert (tmp_path / "file").read_text(encoding="utf-8") == "in the way"


def test_only_finished_cache_files_remain(
    cached: Tokens, counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full_disk)  # the content is written by then, under another name
        assert len(cached()) == len(PAIRS)
    assert list((tmp_path / "cache").iterdir()) == []
    cached()
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".safetensors"]


def test_an_unreadable_split_leaves_no_cache(cached: Tokens, tmp_path: Path) -> None:
    def read() -> Rows:
        raise DataError("bad row")

    with pytest.raises(DataError, match="bad row"):
        cached(Split("train", "here", "f", read))
    assert not (tmp_path / "cache").exists()


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == Path(os.environ["GLUE_LIT_CACHE"])
    assert cache_folder("mine") == Path("mine")
    monkeypatch.delenv("GLUE_LIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "glue-lit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home/.cache/glue-lit"


def test_without_a_home_nothing_is_cached(monkeypatch: pytest.MonkeyPatch, tokenizer: Any, counted: Counted) -> None:
    for name in ("GLUE_LIT_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: {}["unknown"])  # a user without an entry
    for reads in (1, 2):
        cached_tokens(counted.split, tokenizer, 20, False, cache_folder())
        assert counted.reads == reads


# ---------------------------------------------------------------- limits


def store_of(size: int) -> TokenStore:
    return TokenStore(torch.zeros(size, dtype=torch.int32), torch.arange(size + 1), torch.zeros(size).long())


@pytest.mark.parametrize(("size", "limit"), [(10, 1), (10, 3), (10, 9), (100, 7), (392_702, 1000), (7, 6)])
def test_a_limit_is_spread_evenly(size: int, limit: int) -> None:
    chosen = evenly_spaced(store_of(size), limit)
    assert len(chosen) == limit
    steps = chosen.diff()
    assert chosen[0] == 0
    assert chosen[-1] < size
    # The distances of neighbours, and of the last one from the end, differ by one at most.
    gaps = {*steps.tolist(), size - int(chosen[-1])}
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("limit", [None, 10, 11, 10_000])
def test_no_limit_or_a_large_one_takes_all(limit: int | None) -> None:
    assert evenly_spaced(store_of(10), limit).tolist() == list(range(10))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_no_rows_is_refused(limit: int) -> None:
    with pytest.raises(DataError, match=rf"A limit of {limit} rows leaves nothing to work on; allowed: 1 or more"):
        evenly_spaced(store_of(10), limit)


def test_a_limit_below_one_is_a_share() -> None:
    assert evenly_spaced(store_of(50), 0.1).tolist() == [0, 10, 20, 30, 40]
    assert evenly_spaced(store_of(50), 5.0).tolist() == [0, 10, 20, 30, 40]
    with pytest.raises(DataError, match="leaves nothing"):
        evenly_spaced(store_of(3), 0.1)


def test_few_documents_are_tokenised_at_a_time(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tokenise(PAIRS, tokenizer, 20, is_regression=False)
    monkeypatch.setattr(tokens, "_CHARACTERS", len(SHORT) + len(LONG))
    assert [*tokens._parts(PAIRS, 3)] == [slice(0, 2), slice(2, 4)]
    assert [*tokens._parts(Rows([LONG * 2, "", ""], None, [0, 0, 0]), 3)] == [slice(0, 1), slice(1, 3)]
    parts = tokenise(PAIRS, tokenizer, 20, is_regression=False)
    for name, value in tensors(whole).items():
        assert torch.equal(getattr(parts, name), value), name


def test_a_text_without_tokens_is_named() -> None:
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1, "a": 2}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>")
    with pytest.raises(DataError, match=r"Row 2 \(from 0\), '', has no tokens with this tokenizer"):
        tokenise(Rows(["a", "b", "", "a"], None, [None] * 4), tokenizer, 16, False)
