"""The tokens of splits in files of the cache, which all processes map into memory.

A file with the rows of two splits, some of which are held out, is read once for both.
"""

import contextlib
import hashlib
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from glue_lit.data.cut_texts import CutCounter
from glue_lit.data.head_tail import Truncation
from glue_lit.data.large_arrays import GrowingArray, write_arrays
from glue_lit.data.row_digest import RowDigest
from glue_lit.data.row_texts import RowTextsBuilder
from glue_lit.data.rows import Rows, Split
from glue_lit.data.text_hashes import hash_texts
from glue_lit.data.tokenizers import tokenizer_fingerprint
from glue_lit.data.tokens import StoreBuilder, TokenStore, are_labels
from glue_lit.errors import RunError
from glue_lit.system.ahead import ahead
from glue_lit.system.collection import without_collection
from glue_lit.system.console import say
from glue_lit.system.files import one_at_a_time, open_atomic_binary

_LAYOUT = 3  # part of the cache key; increase it when the arrays change their meaning
_AT_ONCE = 1 << 18  # labels
_EVERY = 30.0  # seconds between two lines about the rows done so far


@dataclass(frozen=True)
class _How:
    """How splits are tokenised, and the folder of the cache."""

    tokenizer: Any
    max_length: int
    is_regression: bool
    folder: Path
    truncation: Truncation

    def path(self, split: Split) -> Path:
        """The file for the tokens of a split."""
        content = [split.name, split.fingerprint, self.is_regression]
        how = [tokenizer_fingerprint(self.tokenizer), self.max_length]
        how += [self.truncation] if self.truncation != "head" else []
        key = json.dumps([_LAYOUT, *content, *how])
        return self.folder / f"{split.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"


def cached_tokens(
    split: Split, tokenizer: Any, max_length: int, is_regression: bool, folder: Path, truncation: Truncation = "head"
) -> TokenStore:
    """The split's tokens, from the cache if the same content was tokenised before by the same tokenizer and length.

    The rows that are held out of the split are tokenised with it, if they are not in the cache either. A cache that
    cannot be written (read-only home, full disk) is ignored.

    Raises:
        DataError: The split cannot be read.
    """
    how = _How(tokenizer, max_length, is_regression, folder, truncation)
    if (known := _read(how.path(split))) is not None:
        return known
    with ExitStack() as locks:
        wanted = []
        for one in (split, *split.held_out):
            # the devices of a fit would all do the same work
            locks.enter_context(one_at_a_time(how.path(one).with_suffix(".lock")))
            if (known := _read(how.path(one))) is None:
                wanted.append(one)
            elif one is split:
                return known
        with without_collection():
            return _tokenise(wanted, how)


def _tokenise(splits: list[Split], how: _How) -> TokenStore:
    """Tokenise a split, and the one held out of it if it is given, too; keep both, and return the first."""
    parts = ((rows,) for rows in splits[0].parts()) if len(splits) == 1 else splits[0].parts_with_held_out()
    makers = [_Maker(split, how) for split in splits]
    done, said = 0, time.monotonic()
    for some in ahead(parts):  # the next part is read meanwhile
        for maker, rows in zip(makers, some, strict=True):
            maker.add(rows)
            done += len(rows)
        if time.monotonic() - said >= _EVERY:
            say(f"Tokenising {' and '.join(split.name for split in splits)}: {done:,} rows so far")
            said = time.monotonic()
    first, *_ = [maker.store() for maker in makers]
    return first


class _Maker:
    """Makes the tokens of a split, whose rows come in parts, and what is kept with them."""

    def __init__(self, split: Split, how: _How) -> None:
        self._split, self._how, folder = split, how, how.folder
        arguments = (how.tokenizer, how.max_length, how.is_regression, split, folder, how.truncation)
        self._builder, self._digest = StoreBuilder(*arguments), RowDigest(folder)
        self._hashes, self._cut = GrowingArray("int64", folder), CutCounter(how.max_length, folder)
        # the texts of validation rows are shown
        self._texts = RowTextsBuilder(folder) if split.name.startswith("validation") else None

    def add(self, rows: Rows) -> None:
        """Tokenise some rows."""
        if not len(rows):
            return
        self._cut.add(rows, self._builder.add(rows))
        self._hashes.append(hash_texts(rows.texts_a, rows.texts_b).numpy())
        self._digest.add(rows.texts_a, rows.texts_b, rows.labels)
        if self._texts is not None:
            self._texts.add(rows)

    def store(self) -> TokenStore:
        """The tokens, kept in the cache and mapped from there."""
        store = replace(
            self._builder.store(),
            hashes=torch.from_numpy(self._hashes.array()),
            cut=self._cut.count(self._split.parts, self._how.tokenizer),
            digest=self._digest.hexdigest(self._split.labels),
        )
        types, parts = store.token_type_ids, torch.split(store.labels, _AT_ONCE)
        is_labelled = all(bool(are_labels(part).all()) for part in parts)
        store = replace(store, is_labelled=is_labelled, highest_type=None if types is None else int(types.max()))
        if self._texts is not None:
            self._texts.keep(self._split, store.digest)
        path = self._how.path(self._split)
        arrays = {name: value.numpy() for name, value in vars(store).items() if isinstance(value, Tensor)}
        with contextlib.suppress(RunError), open_atomic_binary(path) as file:
            known = {"is_labelled": store.is_labelled, "highest_type": store.highest_type}
            write_arrays(file, arrays, {"digest": store.digest or "", "known": json.dumps(known)})
        return _read(path) or store


def _read(path: Path) -> TokenStore | None:
    """The store in a file; ``None`` if the file is missing or damaged."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            words = file.metadata() or {}
            return TokenStore(**tensors, digest=words.get("digest"), **json.loads(words.get("known", "{}")))
    except (OSError, SafetensorError, TypeError, ValueError):
        return None
