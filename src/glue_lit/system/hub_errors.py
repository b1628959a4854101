"""Explain errors of the Hugging Face Hub and of the connection to it."""

import os
import re
from pathlib import Path
from typing import Any, Literal

from glue_lit.system.system_errors import error_chain

Kind = Literal["model", "dataset"]
_LOG_IN = "(`hf auth login`, or set HF_TOKEN)"
_NO_HUB = (
    "The answer of {endpoint} is not the Hub's, perhaps a web page of a proxy or a login. Check $HTTPS_PROXY and "
    "$HF_ENDPOINT."
)
_GATED = "The {what} is gated, and your account has no access to it. Ask for access at {page}."
_GATED_FOR_ALL = f"The {{what}} is gated, and you are not logged in. Ask for access at {{page}}, and log in {_LOG_IN}."


class NotCachedError(OSError):
    """The Hub gave no answer, and the cache lacks files."""


# Class of an error, status of the response, pattern in the message, explanation; the first rule that matches counts.
_RULES: tuple[tuple[str, range, str, str], ...] = (
    ("NotCachedError", range(1), "", "The cache lacks files of the {what}. Try again when the Hub answers."),
    ("GatedRepoError", range(403, 404), "", _GATED),
    ("GatedRepoError", range(1000), "", _GATED_FOR_ALL),
    ("DatasetNotFoundError", range(1), "gated.*must be authenticated", _GATED_FOR_ALL),
    ("DatasetNotFoundError", range(1), "gated", _GATED),
    (
        "Exception", range(401, 402), "credentials|expired",
        "The Hub refuses your token ({token}): it is wrong or has expired. Log in again (`hf auth login`), or remove "
        "the token: public repositories need none.",
    ),
    (
        "RevisionNotFoundError", range(1000), "",
        "The {what} has no such revision. Use a branch, a tag or a commit of {page}.",
    ),
    (
        "RepositoryNotFoundError", range(1000), "",
        f"The Hub has no {{what}} of that name, or it is private. Check the spelling (owner/name, as at "
        f"{{endpoint}}), or log in to an account that may read it {_LOG_IN}.",
    ),
    (
        "Exception", range(407, 408), "",
        "The proxy requires a login (407). Put name and password into $HTTPS_PROXY (http://NAME:PASSWORD@HOST:PORT).",
    ),
    (
        "Exception", range(429, 430), "",
        f"The Hub got too many requests from here (429). Wait some minutes; an account may send more {_LOG_IN}.",
    ),
    ("Exception", range(500, 600), "", "The Hub has an error of its own ({status}). Try again later."),
    ("FileMetadataError", range(1), "", _NO_HUB),
)  # fmt: skip


def explain_hub_error(error: BaseException, kind: Kind, name: str) -> str | None:
    """Explain in two sentences what is wrong and what to do; ``None`` if the Hub or the connection is not the cause.

    Args:
        error: An error of a library, with its causes.
        kind: Kind of the repository.
        name: Name of the repository.
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
        return f"{ENDPOINT} cannot be reached, or does not answer. Check the network and $HTTPS_PROXY."
    if (page := downloaded_page(str(error))) is not None:
        return f"{_NO_HUB.format(endpoint=ENDPOINT)} Then remove {page}."
    return None


def downloaded_page(message: str) -> Path | None:
    """The file that an error names, if it is a web page instead of the requested file."""
    return next(filter(is_page, map(Path, re.findall(r"'([^']+)'", message))), None)


def is_page(path: Path) -> bool:
    """Whether a file is a web page."""
    try:
        with path.open("rb") as file:
            return file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html"))
    except (OSError, ValueError):
        return False


def status_of(error: Any) -> int:
    """The status of the response that an error is about; 0 without a response."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def is_of_connection(error: BaseException) -> bool:
    """Whether a server was not reached, or did not answer; such errors are httpx's, a package that may be httpx2."""
    return any(type(cause).__module__.startswith("httpx") and not status_of(cause) for cause in error_chain(error))
