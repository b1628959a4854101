"""Tokens of a split: flat arrays, made once and cached for all processes.

`TokenStore` earns its keep by speed and memory: all of MNLI is about 15 M tokens, or 60 MB. Instead of a Python object
per example, it has one array each of ids, offsets and labels, and one indexing operation cuts a whole batch.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from glue_lit.data.cut_texts import count_cut
from glue_lit.data.long_texts import TextStarts
from glue_lit.data.rows import Rows, Split
from glue_lit.data.text_hashes import hash_texts
from glue_lit.errors import DataError, RunError
from glue_lit.system import environment
from glue_lit.system.files import open_atomic_binary

_LAYOUT = 3  # part of the cache key; increase it when the arrays change their meaning
_COMPARED = 100  # rows on which the fast way is compared with the tokenizer's own call
_CHUNK = 10_000  # rows per tokenizer call, to bound the memory of its Python lists
_CHARACTERS = 1 << 22  # characters per call, because until it truncates, a tokenizer holds 150 bytes for each


@dataclass(frozen=True)
class TokenStore:
    """The tokenised examples of one split.

    Attributes:
        input_ids: All examples one after the other, ``(tokens,)`` int32.
        offsets: ``(examples + 1,)`` int64; example ``i`` is ``input_ids[offsets[i]:offsets[i + 1]]``.
        labels: ``(examples,)``, classes as int64 or scores as float32; -1 or NaN if unlabelled.
        token_type_ids: ``(tokens,)`` uint8; ``None`` if the tokenizer gives none.
        numbers: Line or row of each example in its file, ``(examples,)`` int32; see `Rows`.
        hashes: Hash of each example's text or pair, ``(examples,)`` int64; see `hash_texts`.
        cut: Values of `CutTexts`, ``(5,)`` int64; empty if no example is cut.
        digest: Hash of the rows, the same for every source; see `Rows.digest`.
    """

    input_ids: Tensor
    offsets: Tensor
    labels: Tensor
    token_type_ids: Tensor | None = None
    numbers: Tensor | None = None
    hashes: Tensor | None = None
    cut: Tensor | None = None
    digest: str | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each example, ``(examples,)``."""
        return self.offsets.diff()

    @property
    def labelled(self) -> Tensor:
        """Which examples have a label, ``(examples,)`` bool."""
        return ~self.labels.isnan() if self.labels.is_floating_point() else self.labels >= 0


def cache_folder(chosen: str | None = None) -> Path:
    """Folder of the token cache: ``chosen``, ``$GLUE_LIT_CACHE``, or one below ``$XDG_CACHE_HOME``."""
    if chosen or (chosen := environment.cache_folder()):
        return Path(chosen)
    if not (folder := os.environ.get("XDG_CACHE_HOME")):
        try:
            folder = str(Path.home() / ".cache")
        except RuntimeError:  # no $HOME and no entry for the user, as in a container
            folder = os.devnull  # no folder can be made there, so nothing is cached
    return Path(folder) / "glue-lit"


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Hash of all that decides which ids a tokenizer gives."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state: dict[str, Any]
    if backend is not None:
        backend.no_truncation()  # every call sets these two again
        backend.no_padding()
        state = {"backend": backend.to_str()}
    else:  # a tokenizer written in Python, which its settings describe
        state = {"vocabulary": tokenizer.get_vocab(), "settings": _settings(tokenizer.init_kwargs)}
    state["class"] = type(tokenizer).__name__
    state["inputs"] = list(tokenizer.model_input_names)
    state["sides"] = [tokenizer.padding_side, tokenizer.truncation_side]
    return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer's settings without its location; files by their content, not their path."""
    locations = {"name_or_path", "is_local", "local_files_only"}
    settings = {name: value for name, value in given.items() if name not in locations and value not in (None, [], {})}
    for name, value in settings.items():
        if name.endswith("_file") and isinstance(value, str) and Path(value).is_file():
            settings[name] = hashlib.sha256(Path(value).read_bytes()).hexdigest()
    return settings


def tokenise(
    rows: Rows, tokenizer: Any, max_length: int, is_regression: bool, split: Split | None = None
) -> TokenStore:
    """Tokenise every example, pairs as pairs, and cut it at ``max_length`` tokens, the longer text first.

    Raises:
        DataError: An example has no tokens, for example an empty text if the tokenizer adds no special tokens.
    """
    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    encode = _fastest_encoder(rows, tokenizer, max_length)
    for part in _parts(rows, _CHUNK):
        part_ids, part_types = encode(part)
        if [] in part_ids:
            row = part.start + part_ids.index([])
            place = f"Row {row} (from 0)" if split is None else split.place(rows, row)
            raise DataError(f"{place}, {rows.texts_a[row]!r}, has no tokens with this tokenizer. Write something.")
        lengths.append(np.fromiter(map(len, part_ids), dtype=np.int64))
        ids.append(np.fromiter(chain.from_iterable(part_ids), dtype=np.int32))
        if part_types is not None:
            types.append(np.fromiter(chain.from_iterable(part_types), dtype=np.uint8))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
    hidden: float = float("nan") if is_regression else -1
    labels = [hidden if label is None else label for label in rows.labels]
    return TokenStore(
        torch.from_numpy(np.concatenate(ids)),
        torch.from_numpy(offsets),
        torch.tensor(labels, dtype=torch.float32 if is_regression else torch.int64, device="cpu"),
        torch.from_numpy(np.concatenate(types)) if types else None,
        None if rows.numbers is None else torch.from_numpy(rows.numbers),
    )


def _parts(rows: Rows, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` rows, and of about `_CHARACTERS` characters or fewer."""
    start = characters = 0
    for row, text in enumerate(rows.texts_a, start=1):
        characters += len(text) + (len(rows.texts_b[row - 1]) if rows.texts_b is not None else 0)
        if row - start == size or characters >= _CHARACTERS or row == len(rows):
            yield slice(start, row)
            start, characters = row, 0


_Lists = list[list[int]]
_Encode = Callable[[slice], tuple[_Lists, _Lists | None]]  # turns some rows into ids and token types


def _fastest_encoder(rows: Rows, tokenizer: Any, max_length: int) -> _Encode:
    """The fastest function that tokenises ``rows`` as the tokenizer's own call does.

    The tokenizer's call turns everything that the Rust tokenizer returns into Python objects, offsets and masks too.
    Calling the Rust tokenizer directly takes half the time; it is done if the first rows get the same tokens.
    """
    starts = TextStarts(tokenizer, max_length)

    def texts(part: slice) -> list[list[str]]:
        columns = [rows.texts_a] if rows.texts_b is None else [rows.texts_a, rows.texts_b]
        return [starts.cut(column[part]) for column in columns]

    def call(columns: list[list[str]]) -> tuple[_Lists, _Lists | None]:
        encoded = tokenizer(*columns, truncation=True, max_length=max_length, return_attention_mask=False)
        return encoded["input_ids"], encoded.get("token_type_ids")

    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    has_types = "token_type_ids" in tokenizer.model_input_names

    def direct(columns: list[list[str]]) -> tuple[_Lists, _Lists | None]:
        inputs = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        encodings = backend.encode_batch_fast(inputs)
        return [e.ids for e in encodings], [e.type_ids for e in encodings] if has_types else None

    if not hasattr(backend, "encode_batch_fast"):
        return lambda part: call(texts(part))
    sample = texts(slice(_COMPARED))
    expected = call(sample)  # also sets the truncation that `direct` needs
    encode = direct if direct(sample) == expected else call
    return lambda part: encode(texts(part))


def cached_tokens(split: Split, tokenizer: Any, max_length: int, is_regression: bool, folder: Path) -> TokenStore:
    """The split's tokens, from the cache if the same content was tokenised before by the same tokenizer and length.

    A cache that cannot be written (read-only home, full disk) is ignored.

    Raises:
        DataError: The split cannot be read.
    """
    content = [split.name, split.fingerprint, is_regression]
    key = json.dumps([_LAYOUT, *content, tokenizer_fingerprint(tokenizer), max_length])
    path = folder / f"{split.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
    try:
        return _read(path)
    except (OSError, SafetensorError, TypeError):
        pass  # missing or damaged
    rows = split.read()
    store = tokenise(rows, tokenizer, max_length, is_regression, split)
    cut = count_cut(rows, tokenizer, store.lengths, max_length)
    hashes = hash_texts(rows.texts_a, rows.texts_b)
    store = replace(store, hashes=hashes, cut=cut, digest=rows.digest(split.labels))
    tensors = {name: value for name, value in vars(store).items() if isinstance(value, Tensor)}
    with contextlib.suppress(RunError, SafetensorError), open_atomic_binary(path) as file:
        file.write(save(tensors, {"digest": store.digest or ""}))
    return store


def _read(path: Path) -> TokenStore:
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        return TokenStore(**tensors, digest=(file.metadata() or {}).get("digest"))


def evenly_spaced(store: TokenStore, limit: float | None) -> Tensor:
    """Positions of at most ``limit`` examples (below 1: that share of them), spread evenly, ``(examples,)`` int64.

    The first examples alone could have one class, in a file sorted by label.

    Raises:
        DataError: ``limit`` leaves no example.
    """
    if limit is not None:
        limit = round(limit * len(store)) if 0 < limit < 1 else int(limit)
    if limit is None or limit >= len(store):
        return torch.arange(len(store), device="cpu")
    if limit < 1:
        raise DataError(f"A limit of {limit} rows leaves nothing to work on; allowed: 1 or more, or null for all.")
    return torch.arange(limit, device="cpu") * len(store) // limit
