"""The cache of what was computed from data, for all runs of a user."""

import os
from pathlib import Path

from glue_lit.system import environment

MANY_ROWS = 50_000  # from so many rows on, what takes a pass over all of them is kept in the cache


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
