"""Everything that is found in the data of a stage; that of many rows is kept in the cache."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from glue_lit.data.cache import MANY_ROWS
from glue_lit.data.finding import ExaminedSplit, Finding
from glue_lit.data.findings import find_cut, find_in_fit, find_in_ids, find_length_above
from glue_lit.data.head_tail import Truncation
from glue_lit.data.rows import Split
from glue_lit.errors import RunError
from glue_lit.system.files import read_json, write_json
from glue_lit.system.version import __version__
from glue_lit.tasks.custom import CustomTask
from glue_lit.tasks.spec import TaskSpec


@dataclass(frozen=True)
class Examined:
    """The data of a stage.

    Attributes:
        stage: ``fit``, ``validate``, ``test`` or ``predict``.
        parts: Its splits; of a fit the training rows first.
        task: Their task.
        custom: Settings of a task of the user's own.
        test: A test split that is not loaded, to be compared with the training rows of a fit; ``None`` without one.
        max_length: Tokens at which texts are cut.
        wanted_length: Tokens that the user asks for; ``None`` for as many as the model takes.
        longest: Tokens that the model takes.
        truncation: What is kept of a text that is cut.
        tokenizer: Fingerprint of the tokenizer, by which lengths are counted.
    """

    stage: str
    parts: Sequence[ExaminedSplit]
    task: TaskSpec
    custom: CustomTask
    test: Split | None
    max_length: int
    wanted_length: int | None
    longest: int
    truncation: Truncation
    tokenizer: str

    def key(self) -> str:
        """A text that changes whenever the findings may."""
        splits = [part.split for part in self.parts] + ([] if self.test is None else [self.test])
        rows = [[split.name, split.origin, split.unit, split.fingerprint, split.labels] for split in splits]
        stores = [(part.store.digest, len(part.store)) for part in self.parts if part.store is not None]
        lengths = [self.max_length, self.wanted_length, self.longest, self.truncation]
        what = [__version__, self.stage, rows, stores, self.task.name, self.custom.settings(), lengths, self.tokenizer]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def find_in_stage(examined: Examined, cache: Path) -> tuple[Finding, ...]:
    """Find what a user may want to correct, or take it from the cache if the same data were examined before.

    Args:
        examined: The data.
        cache: Folder of the cache.
    """
    path = cache / f"findings-{examined.key()}.json"
    if (known := _read(path)) is not None:
        return known
    found = tuple(_find(examined, cache))
    if sum(map(len, examined.parts)) >= MANY_ROWS:
        with contextlib.suppress(RunError):
            write_json(path, {"findings": [asdict(finding) for finding in found]})
    return found


def _find(examined: Examined, cache: Path) -> Iterator[Finding]:
    parts, custom = examined.parts, examined.custom
    if examined.stage == "fit":
        yield from find_in_fit(parts, examined.task, custom, examined.test, cache)
    yield from find_cut(parts, examined.max_length, examined.longest, examined.truncation)
    if examined.stage == "fit":
        yield from find_length_above(examined.wanted_length, examined.longest)
    if custom.id is not None:
        for part in parts:
            yield from find_in_ids(part, cache)


def _read(path: Path) -> tuple[Finding, ...] | None:
    """The findings in a file; ``None`` if it is missing or damaged."""
    try:
        return tuple(Finding(**finding) for finding in read_json(path)["findings"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
