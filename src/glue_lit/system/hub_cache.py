"""The cache of the Hugging Face Hub on this machine."""

import os
import tempfile
from pathlib import Path

from glue_lit.system.hub_errors import Kind


def cached_commit(kind: Kind, name: str, revision: str) -> str | None:
    """The commit of a revision when the Hub was last asked for it, if the cache has files of that commit."""
    reference = _cache(kind, name) / "refs" / revision
    commit = reference.read_text(encoding="utf-8") if reference.is_file() else revision
    return commit if snapshot(kind, name, commit).is_dir() else None


def snapshot(kind: Kind, name: str, commit: str) -> Path:
    """The folder with the cached files of a commit."""
    return _cache(kind, name) / "snapshots" / commit


def _cache(kind: Kind, name: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type=kind))


def unwritable_cache() -> str | None:
    """What to do if the folder for downloads cannot be created or written; ``None`` if it can."""
    from huggingface_hub.constants import HF_HOME

    try:
        Path(HF_HOME).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=HF_HOME):
            return None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        return f"Downloads cannot be kept in {HF_HOME} ({why}): set $HF_HOME to a folder that can be written."
