"""What the Hugging Face Hub, or the way to it, refuses: what is wrong, and what to do."""

import os
import re
from pathlib import Path
from typing import Any, Literal

from glue_lit.system.system_errors import error_chain

Kind = Literal["model", "dataset"]
_LOG_IN = "(`hf auth login`, or set HF_TOKEN)"
_NO_HUB = (
    "What {endpoint} answers is not the Hub's, perhaps a web page of a proxy or a log-in. Check $HTTPS_PROXY and "
    "$HF_ENDPOINT."
)
_GATED = "The {what} is gated, and your account has no access to it. Ask for access at {page}."
_GATED_FOR_ALL = f"The {{what}} is gated, and you are not logged in. Ask for access at {{page}}, and log in {_LOG_IN}."


class NotCachedError(OSError):
    """The Hub gave no answer, and the cache lacks files."""


# By the kind of an error, the status of the answer and words in its message, the first that fits: what to say.
_RULES: tuple[tuple[str, range, str, str], ...] = (
    ("NotCachedError", range(1), "", "The cache lacks files of the {what}. Try again when the Hub answers."),
    ("GatedRepoError", range(403, 404), "", _GATED),
    ("GatedRepoError", range(1000), "", _GATED_FOR_ALL),
    ("DatasetNotFoundError", range(1), "gated.*must be authenticated", _GATED_FOR_ALL),
    ("DatasetNotFoundError", range(1), "gated", _GATED),
    (
        "Exception", range(401, 402), "credentials|expired",
        "The Hub refuses your token ({token}): it is wrong or has expired. Log in again (`hf auth login`), or take the "
        "token away: what is public needs none.",
    ),
    (
        "RevisionNotFoundError", range(1000), "",
        "The {what} has no such revision. Take a branch, a tag or a commit of {page}.",
    ),
    (
        "RepositoryNotFoundError", range(1000), "",
        f"The Hub has no {{what}} of that name, or it is private. Check the spelling (a name as at {{endpoint}}: "
        f"owner/name), or log in to an account that may read it {_LOG_IN}.",
    ),
    (
        "Exception", range(407, 408), "",
        "The proxy wants a log-in (407). Put name and password into $HTTPS_PROXY (http://NAME:PASSWORD@HOST:PORT).",
    ),
    (
        "Exception", range(429, 430), "",
        f"The Hub has had too many requests from here (429). Wait some minutes; an account may ask for more {_LOG_IN}.",
    ),
    ("Exception", range(500, 600), "", "The Hub has an error of its own ({status}). Try again later."),
    ("FileMetadataError", range(1), "", _NO_HUB),
)  # fmt: skip


def explain_hub_error(error: BaseException, kind: Kind, name: str) -> str | None:
    """Two sentences on what is wrong and what to do; ``None`` if it is neither the Hub nor the way to it.

    Args:
        error: What a library raised, with what led to it.
        kind: Of the repository.
        name: Of the repository.
    """
    from huggingface_hub.constants import ENDPOINT

    facts = {
        "what": "data set" if kind == "dataset" else "model",
        "page": f"{ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{name}",
        "endpoint": ENDPOINT,
        "token": "of $HF_TOKEN" if os.environ.get("HF_TOKEN") else "of `hf auth login`",
    }
    for cause in error_chain(error):
        kinds = {base.__name__ for base in type(cause).__mro__}
        for raised, statuses, words, text in _RULES:
            status = status_of(cause)
            if raised in kinds and status in statuses and re.search(words, str(cause), re.IGNORECASE):
                return text.format(**facts, status=status)
    if is_of_connection(error):
        return f"{ENDPOINT} cannot be reached, or falls silent. Check the network and $HTTPS_PROXY."
    if (page := downloaded_page(str(error))) is not None:
        return f"{_NO_HUB.format(endpoint=ENDPOINT)} Then remove {page}."
    return None


def downloaded_page(message: str) -> Path | None:
    """The file that an error is about, if it is a web page in the place of what was asked for."""
    return next(filter(is_page, map(Path, re.findall(r"'([^']+)'", message))), None)


def is_page(path: Path) -> bool:
    """Whether a file is a web page."""
    try:
        with path.open("rb") as file:
            return file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html"))
    except (OSError, ValueError):
        return False


def status_of(error: Any) -> int:
    """The status of the answer that an error is about; 0 if it is about none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def is_of_connection(error: BaseException) -> bool:
    """Whether a server was not reached, or fell silent; httpx, which says so, has two names."""
    return any(type(cause).__module__.startswith("httpx") and not status_of(cause) for cause in error_chain(error))
