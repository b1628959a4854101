"""Tokens of a split: flat arrays, made once and cached across processes.

GLUE fits in memory (all of MNLI is about 15 M tokens, 60 MB), so there is no object per example: one
array of ids, one of offsets, one of labels, and a batch is cut out of them by a vectorised gather.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from glue_lit.data.long_texts import TextStarts
from glue_lit.data.rows import Rows, Split
from glue_lit.errors import DataError
from glue_lit.system import environment

_LAYOUT = 2  # part of the cache key: raise it when the arrays change their meaning
_COMPARED = 100  # rows that decide whether the direct way gives what the tokenizer's call gives
_CHUNK = 10_000  # rows per tokenizer call, which bounds the Python lists alive at a time
_CHARACTERS = 1 << 22  # the same for documents, of which a tokenizer holds 150 bytes a character before it cuts them


@dataclass(frozen=True)
class TokenStore:
    """The tokenised examples of one split.

    Attributes:
        input_ids: ``(tokens,)`` int32, all examples one after the other.
        offsets: ``(examples + 1,)`` int64; example ``i`` is ``input_ids[offsets[i]:offsets[i + 1]]``.
        labels: ``(examples,)``: int64 with -1 for unlabelled, or float32 with NaN for unlabelled.
        token_type_ids: ``(tokens,)`` uint8, if the tokenizer gives them.
        numbers: The line or row of its file that each example stands on, ``(examples,)`` int32; see `Rows`.
        digest: Hash of the rows' texts and labels, whatever they were read from.
    """

    input_ids: Tensor
    offsets: Tensor
    labels: Tensor
    token_type_ids: Tensor | None = None
    numbers: Tensor | None = None
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
    """Folder of the token cache: ``chosen``, else ``$GLUE_LIT_CACHE``, else below ``$XDG_CACHE_HOME``."""
    if chosen or (chosen := environment.cache_folder()):
        return Path(chosen)
    if not (folder := os.environ.get("XDG_CACHE_HOME")):
        try:
            folder = str(Path.home() / ".cache")
        except RuntimeError:  # no $HOME, and a user that the system does not know, as in a container
            folder = os.devnull  # nothing can be written there, so nothing is cached
    return Path(folder) / "glue-lit"


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Hash of everything in a tokenizer that decides which ids it gives."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state: dict[str, Any]
    if backend is not None:
        backend.no_truncation()  # transient: every call sets these two
        backend.no_padding()
        state = {"backend": backend.to_str()}
    else:  # written in Python: what it does with a text is in its code and its settings
        state = {"vocabulary": tokenizer.get_vocab(), "settings": _settings(tokenizer.init_kwargs)}
    state["class"] = type(tokenizer).__name__
    state["inputs"] = list(tokenizer.model_input_names)
    state["sides"] = [tokenizer.padding_side, tokenizer.truncation_side]
    return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer's settings wherever it was loaded from: a file by what is in it, not by its path."""
    places = {"name_or_path", "is_local", "local_files_only"}
    settings = {name: value for name, value in given.items() if name not in places and value not in (None, [], {})}
    for name, value in settings.items():
        if name.endswith("_file") and isinstance(value, str) and Path(value).is_file():
            settings[name] = hashlib.sha256(Path(value).read_bytes()).hexdigest()
    return settings


def tokenise(
    rows: Rows, tokenizer: Any, max_length: int, is_regression: bool, split: Split | None = None
) -> TokenStore:
    """Tokenise every example (pairs as pairs), cutting at ``max_length`` tokens, longest text first.

    Raises:
        DataError: A text comes to no token, as an empty one may where the tokenizer adds none of its own.
    """
    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    encode = _fastest(rows, tokenizer, max_length)
    for part in _parts(rows, _CHUNK):
        found, found_types = encode(part)
        if [] in found:
            row = part.start + found.index([])
            place = f"Row {row} (from 0)" if split is None else split.place(rows, row)
            raise DataError(f"{place}, {rows.texts_a[row]!r}, has no tokens with this tokenizer. Write something.")
        lengths.append(np.fromiter(map(len, found), dtype=np.int64))
        ids.append(np.fromiter(chain.from_iterable(found), dtype=np.int32))
        if found_types is not None:
            types.append(np.fromiter(chain.from_iterable(found_types), dtype=np.uint8))
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
    """Slices of at most ``size`` rows each, and of not many more characters than a tokenizer should be handed."""
    start = held = 0
    for row, text in enumerate(rows.texts_a, start=1):
        held += len(text) + (len(rows.texts_b[row - 1]) if rows.texts_b is not None else 0)
        if row - start == size or held >= _CHARACTERS or row == len(rows):
            yield slice(start, row)
            start, held = row, 0


_Lists = list[list[int]]
_Encode = Callable[[slice], tuple[_Lists, _Lists | None]]  # some rows to their ids and token types


def _fastest(rows: Rows, tokenizer: Any, max_length: int) -> _Encode:
    """How to tokenise ``rows``: as the tokenizer's own call does it, in half the time where that is possible.

    The call turns everything that the Rust tokenizer finds into Python objects, offsets and masks too. What
    it leaves out is asked for directly, if that gives the same for the first rows.
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
    expected = call(sample)  # which leaves the backend set up for the same truncation
    encode = direct if direct(sample) == expected else call
    return lambda part: encode(texts(part))


def cached_tokens(split: Split, tokenizer: Any, max_length: int, is_regression: bool, folder: Path) -> TokenStore:
    """The split's tokens, from the cache if the same content, tokenizer and length were tokenised before.

    A cache that cannot be written (read-only home, full disk) costs time, not the run.

    Raises:
        DataError: The split cannot be read.
    """
    read_as = [split.name, split.fingerprint, is_regression]
    key = json.dumps([_LAYOUT, *read_as, tokenizer_fingerprint(tokenizer), max_length])
    path = folder / f"{split.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
    try:
        return _read(path)
    except (OSError, SafetensorError, TypeError):
        pass  # not there, or cut short: made again below
    rows = split.read()
    store = replace(tokenise(rows, tokenizer, max_length, is_regression, split), digest=rows.digest(split.labels))
    with contextlib.suppress(OSError, SafetensorError):
        _write(store, path)
    return store


def _read(path: Path) -> TokenStore:
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return TokenStore(**tensors, digest=(file.metadata() or {}).get("digest"))


def _write(store: TokenStore, path: Path) -> None:
    """Write under a name of our own and rename: readers see the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    try:
        tensors = {key: value for key, value in vars(store).items() if isinstance(value, Tensor)}
        save_file(tensors, name, {"digest": store.digest or ""})
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def evenly_spaced(store: TokenStore, limit: float | None) -> Tensor:
    """Positions of at most ``limit`` examples (below 1: of that share), spread evenly, ``(examples,)`` int64.

    Evenly, since a file sorted by label would give one class if cut at its start.

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
