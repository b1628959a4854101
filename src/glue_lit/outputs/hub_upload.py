"""Upload of an export to the Hub."""

import sys
from collections.abc import Callable
from pathlib import Path

from glue_lit.errors import GlueLitError, RunError, UsageError
from glue_lit.system.files import write_text
from glue_lit.system.hub import progress_bars


def upload_folder(folder: Path, name: str, private: int = 0, card: Callable[[str], str] | None = None) -> str:
    """Upload a folder to the Hub, and return the repository's address.

    Args:
        folder: An export.
        name: The repository, as ``owner/name``; without an owner it is the user's own.
        private: 1 for a private repository; 2 to make a public repository of that name private.
        card: Makes the model card for ``owner/name``.

    Raises:
        UsageError: A private repository is wanted, and there is a public one; nothing is uploaded.
        RunError: The Hub refused, or cannot be reached; the folder is kept.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        address = api.create_repo(name, private=bool(private) or None, exist_ok=True, repo_type="model")
        # For one that was there before, the Hub ignores that it was to be private.
        if private and not api.model_info(address.repo_id).private:
            if private == 1:
                raise UsageError(
                    f"--private: {address.repo_id} is there already and public, so nothing was uploaded; {folder} is "
                    "kept. Name another repository, or say `--private --private` to make this one private."
                )
            api.update_repo_settings(address.repo_id, private=True)
        if card is not None:
            write_text(folder / "README.md", card(address.repo_id))
        with progress_bars(sys.stderr.isatty()):
            api.upload_folder(repo_id=address.repo_id, folder_path=str(folder), commit_message="Upload model")
        return str(address)
    except GlueLitError:
        raise
    except Exception as error:  # httpx's, huggingface_hub's, ValueErrors of names: none means more to the user
        raise RunError(
            f"--push_to_hub {name}: not uploaded; {folder} is kept. {_advise(error)} The Hub said: "
            f"{' '.join(str(error).split())[:300] or type(error).__name__}"
        ) from error


def _advise(error: Exception) -> str:
    from huggingface_hub.errors import HfHubHTTPError

    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else 0
    return {
        401: "Log in with `hf auth login`, or set HF_TOKEN to a token that may write.",
        403: "The token may not write there; take one that may, or another name.",
    }.get(status, "Check the name (owner/name), the network, and that you are logged in (`hf auth login`).")
