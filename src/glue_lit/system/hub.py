"""The Hugging Face Hub: the current commit of a repository, asked for once; downloads with progress and retries."""

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

from glue_lit.system.console import note
from glue_lit.system.environment import local_rank
from glue_lit.system.hub_cache import cached_commit, snapshot
from glue_lit.system.hub_errors import Kind, NotCachedError, explain_hub_error, is_of_connection, is_page, status_of
from glue_lit.system.system_errors import error_chain

_Result = TypeVar("_Result")
_FILES: dict[Kind, str] = {"model": "config.json", "dataset": "README.md"}  # nearly every repository has them
_COMMIT = re.compile(r"[/\\]snapshots[/\\]([0-9a-f]{40})[/\\]")
_LARGE = 1_000_000  # bytes whose download is worth a line
_PATIENCE = 5.0  # seconds to wait for the Hub if the cache has an answer, too
_RETRIES = (1.0, 2.0, 4.0, 8.0)  # seconds before each
_WAITING = "Waiting for {}, with several attempts. Ctrl-C stops it; HF_HUB_OFFLINE=1 uses the cache without asking."
_silent: set[str] = set()  # addresses that did not answer; they are not asked again


@dataclass(frozen=True)
class Found:
    """A repository on the Hub.

    Attributes:
        commit: The commit of the revision; ``None`` if the cache was asked and does not have it.
        is_cached: Whether the cache was asked instead of the Hub.
    """

    commit: str | None
    is_cached: bool


def find(kind: Kind, name: str, revision: str = "main") -> Found:
    """Ask the Hub once for the commit of a branch or tag; ask the cache if the Hub does not answer.

    Raises:
        Exception: The repository does not exist or may not be read, or the Hub cannot be reached: see
            `explain_hub_error`.
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
        if local_rank() == 0:
            note(f"{name} is taken from the cache, as it was at commit {cached[:7]}. {why}")
        return Found(cached, is_cached=True)
    return Found(commit if commit == cached else _download_commit(kind, name, revision), is_cached=False)


def _ask(kind: Kind, name: str, revision: str) -> str | None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    url = hf_hub_url(name, _FILES[kind], repo_type=kind, revision=revision)
    try:
        return get_hf_file_metadata(url, timeout=_PATIENCE).commit_hash
    except EntryNotFoundError as error:
        return _commit_without_file(error)


def _download_commit(kind: Kind, name: str, revision: str) -> str | None:
    """Ask the Hub for the commit, and store it in the cache for when the Hub does not answer."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        with progress_bars(False):
            path = retrying(lambda: hf_hub_download(name, _FILES[kind], repo_type=kind, revision=revision))
    except EntryNotFoundError as error:
        return _commit_without_file(error)
    if is_page(Path(path)):
        raise OSError(f"'{path}' is a web page.")
    match = _COMMIT.search(path)
    return None if match is None else match[1]


def _commit_without_file(error: Exception) -> str | None:
    """The commit in the Hub's answer that there is no such file; an error of the cache is raised again."""
    response = getattr(error, "response", None)
    if response is None:
        raise error
    commit: str | None = response.headers.get("X-Repo-Commit")
    return commit


def download(kind: Kind, name: str, commit: str, *patterns: str) -> list[Path]:
    """Download files with a bar on a terminal, and with a line for each large one elsewhere.

    Args:
        kind: Kind of the repository.
        name: Name of the repository.
        commit: Commit of the files.
        patterns: Patterns of names in one folder (``cola/train-*.parquet``); only the first that matches a file counts.

    Returns:
        Their paths in the cache; empty if no pattern matches.
    """
    from huggingface_hub import HfApi, constants, hf_hub_download

    folder = patterns[0].rpartition("/")[0] or None
    entries = list(HfApi().list_repo_tree(name, folder, revision=commit, repo_type=kind))
    fitting = [[entry for entry in entries if fnmatchcase(entry.path, pattern)] for pattern in patterns]
    sizes = {entry.path: getattr(entry, "size", 0) for entry in next(filter(None, fitting), ())}
    is_drawn = sys.stderr.isatty() and constants.HF_HUB_DISABLE_PROGRESS_BARS is not True
    cache = snapshot(kind, name, commit)
    for path, size in sizes.items():
        if size >= _LARGE and not is_drawn and local_rank() == 0 and not (cache / path).exists():
            note(f"Downloading {path} of {name} ({size / 1e6:,.0f} MB).")
    with progress_bars(is_drawn and local_rank() == 0):
        return [Path(hf_hub_download(name, path, repo_type=kind, revision=commit)) for path in sizes]


def announce(kind: Kind, name: str, commit: str | None) -> None:
    """Print the size of a repository before it is downloaded, unless bars are drawn."""
    from huggingface_hub import HfApi

    if sys.stderr.isatty() or local_rank() > 0:
        return
    found = HfApi().repo_info(name, repo_type=kind, revision=commit, files_metadata=True)
    size = sum(file.size or 0 for file in getattr(found, "siblings", None) or ())
    if size >= _LARGE:
        note(f"Downloading {name} (up to {size / 1e6:,.0f} MB).")


@contextmanager
def progress_bars(are_shown: bool) -> Iterator[None]:
    """Turn huggingface_hub's progress bars on or off within a block."""
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    set_bars = {True: enable_progress_bars, False: disable_progress_bars}
    before = not are_progress_bars_disabled()
    if constants.HF_HUB_DISABLE_PROGRESS_BARS is not None:  # set by $HF_HUB_DISABLE_PROGRESS_BARS
        yield
        return
    set_bars[are_shown]()
    try:
        yield
    finally:
        set_bars[before]()


@contextmanager
def asking(found: Found) -> Iterator[None]:
    """Within a block, let the libraries ask only what knew the commit: the Hub, or their caches.

    Raises:
        NotCachedError: Anything fails while only the caches are asked, unless the user set $HF_HUB_OFFLINE.
    """
    from huggingface_hub import constants

    if not found.is_cached or constants.HF_HUB_OFFLINE:
        yield
        return
    with _without_network():
        try:
            yield
        except Exception as error:
            raise NotCachedError from error


@contextmanager
def _without_network() -> Iterator[None]:
    """Switch to offline mode within a block; the libraries read $HF_HUB_OFFLINE only when they are imported."""
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
    """Call a function that downloads, and call it again after a server error (status 500 and above).

    huggingface_hub retries a request for a file's commit, but not for its content; a LocalEntryNotFoundError means that
    it has retried.
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


@contextmanager
def waiting_for_hub(seconds: float = 5.0) -> Iterator[None]:
    """Print what the program waits for after ``seconds``: if nobody answers, huggingface_hub retries for minutes."""
    timer = threading.Timer(seconds, lambda: note(_WAITING.format(os.environ.get("HF_ENDPOINT", "the Hub"))))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
