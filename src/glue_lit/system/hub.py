"""The Hugging Face Hub and its cache: which commit a name means now, asked once, and downloads that are tried again."""

import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

from glue_lit.system.console import note
from glue_lit.system.hub_errors import Kind, explain_hub_error, is_of_connection, is_page, status_of
from glue_lit.system.system_errors import error_chain

_Result = TypeVar("_Result")
_FILES: dict[Kind, str] = {"model": "config.json", "dataset": "README.md"}  # that nearly every repository has
_COMMIT = re.compile(r"[/\\]snapshots[/\\]([0-9a-f]{40})[/\\]")
_PATIENCE = 5.0  # seconds for an answer of the Hub where the cache has one, too
_RETRIES = (1.0, 2.0, 4.0, 8.0)  # seconds before each
_WAITING = (
    "Waiting for {}, which is tried several times. Ctrl-C ends it; HF_HUB_OFFLINE=1 takes what is in the cache without "
    "asking."
)
_silent: set[str] = set()  # addresses that did not answer: nothing is gained by asking them again


@dataclass(frozen=True)
class Found:
    """A repository on the Hub.

    Attributes:
        commit: The one that the revision means; ``None`` where only the libraries' own caches may know it.
        is_cached: Whether the cache says so, and not the Hub.
    """

    commit: str | None
    is_cached: bool


def find(kind: Kind, name: str, revision: str = "main") -> Found:
    """Ask the Hub once for the commit that a branch or tag means; where it is of no help, ask the cache.

    Raises:
        Exception: It is not there, may not be read, or the Hub cannot be reached: see `explain_hub_error`.
    """
    from huggingface_hub import constants

    cached = cached_commit(kind, name, revision)
    if constants.HF_HUB_OFFLINE:
        return Found(cached, is_cached=True)
    return _find(kind, name, revision, constants.ENDPOINT)


@lru_cache
def _find(kind: Kind, name: str, revision: str, endpoint: str) -> Found:
    cached = cached_commit(kind, name, revision)
    if cached is None:
        with waiting_for_hub():
            return Found(_download_commit(kind, name, revision), is_cached=False)
    if cached == revision:
        return Found(cached, is_cached=False)
    if endpoint in _silent:
        return Found(cached, is_cached=True)
    try:
        commit = _ask(kind, name, revision)
    except Exception as error:  # httpx's, huggingface_hub's
        if is_of_connection(error):
            _silent.add(endpoint)
        why = explain_hub_error(error, kind, name) or str(error)
        note(f"{name} is taken from the cache, as it was at commit {cached[:7]}. {why}")
        return Found(cached, is_cached=True)
    return Found(commit if commit == cached else _download_commit(kind, name, revision), is_cached=False)


def _ask(kind: Kind, name: str, revision: str) -> str | None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(name, _FILES[kind], repo_type=kind, revision=revision)
    return get_hf_file_metadata(url, timeout=_PATIENCE).commit_hash


def _download_commit(kind: Kind, name: str, revision: str) -> str | None:
    """Have the cache know the commit of a revision, for the time without the Hub."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    try:
        path = retrying(lambda: hf_hub_download(name, _FILES[kind], repo_type=kind, revision=revision))
    except EntryNotFoundError as error:
        if not isinstance(error, HfHubHTTPError):  # the cache's, where the Hub cannot be reached
            raise
        return error.response.headers.get("X-Repo-Commit")
    if is_page(Path(path)):
        raise OSError(f"'{path}' is a web page.")
    return _commit_in(path)


def cached_commit(kind: Kind, name: str, revision: str) -> str | None:
    """The commit that a revision meant when the Hub was last asked for it, by the file's place in the cache."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, _FILES[kind], revision=revision, repo_type=kind)
    return _commit_in(found) if isinstance(found, str) else None


def _commit_in(path: str) -> str | None:
    match = _COMMIT.search(path)
    return None if match is None else match[1]


@contextmanager
def without_network() -> Iterator[None]:
    """Have the libraries ask their caches alone, as by $HF_HUB_OFFLINE, which they read when they are imported."""
    from huggingface_hub import constants

    modules: list[Any] = [constants, *filter(None, [sys.modules.get("datasets.config")])]
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


def retrying(load: Callable[[], _Result]) -> _Result:
    """Call a function that downloads, anew after a while where a server could not answer at the moment.

    huggingface_hub does so for its questions, and then finds nothing in its cache; a download it gives up at once.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError

    for seconds in _RETRIES:
        try:
            return load()
        except Exception as error:
            chain = list(error_chain(error))
            status = next(filter(None, map(status_of, chain)), 0)
            if status < 500 or any(isinstance(cause, LocalEntryNotFoundError) for cause in chain):
                raise
            note(f"The Hub answered with an error of its own ({status}); trying again in {seconds:g} s.")
            sleep(seconds)
    return load()


def unwritable_cache() -> str | None:
    """What to do if the folder that downloads go to cannot be made or written, ``None`` if it can."""
    from huggingface_hub.constants import HF_HOME

    try:
        Path(HF_HOME).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=HF_HOME):
            return None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        return f"Downloads cannot be kept in {HF_HOME} ({why}): set $HF_HOME to a folder that can be written."


@contextmanager
def waiting_for_hub(seconds: float = 5.0) -> Iterator[None]:
    """Say after so many seconds what is waited for: where nobody answers, the Hub's library tries for minutes."""
    timer = threading.Timer(seconds, lambda: note(_WAITING.format(os.environ.get("HF_ENDPOINT", "the Hub"))))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
