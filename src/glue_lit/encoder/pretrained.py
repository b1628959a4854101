"""Load models by name from the Hub, a folder or an installed package, and explain why loading fails."""

import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from glue_lit.errors import RULE_OF_PATHS, ModelError
from glue_lit.system import hub
from glue_lit.system.files import read_json
from glue_lit.system.hub_cache import cached_commit, snapshot, unwritable_cache
from glue_lit.system.hub_errors import explain_hub_error

_Loaded = TypeVar("_Loaded")
_PACKAGE = "pkg:"
_LARGEST = {"num_labels": 1_000_000, "num_hidden_layers": 10_000, "n_layers": 10_000}
# Files that transformers looks for, in this order, and the files that it reads if it finds them.
_WEIGHTS = {
    "model.safetensors": "model.safetensors",
    "model.safetensors.index.json": "model-*-of-*.safetensors",
    "pytorch_model.bin": "pytorch_model.bin",
    "pytorch_model.bin.index.json": "pytorch_model-*-of-*.bin",
}


def resolve(name_or_path: str) -> str:
    """Turn ``pkg:PACKAGE/FOLDER`` into the folder it names; return Hub names and folders unchanged.

    The package is located without importing it, so its code does not run.

    Raises:
        ModelError: The package is not installed, has no such folder, or a path names no folder.
    """
    if name_or_path.startswith(_PACKAGE):
        package, _, folder = name_or_path.removeprefix(_PACKAGE).partition("/")
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                f"model.name_or_path {name_or_path!r}: no package {package!r} is installed. "
                f"Install it, e.g. `pip install {package.replace('_', '-')}`."
            )
        path = Path(spec.submodule_search_locations[0], folder)
        if not path.is_dir():
            raise ModelError(f"model.name_or_path {name_or_path!r}: the package has no folder {folder!r}.")
        return str(path)
    looks_like_path = name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1
    path = Path(name_or_path).expanduser()
    if looks_like_path and not path.is_dir():
        raise ModelError(f"model.name_or_path: there is no folder {name_or_path!r}. {RULE_OF_PATHS}")
    return str(path) if looks_like_path else name_or_path


def load(what: str, loader: Callable[..., _Loaded], name_or_path: str, **options: Any) -> _Loaded:
    """Call a ``from_pretrained`` method and explain its errors.

    Args:
        what: What is loaded, for the message: ``model``, ``tokenizer``, ``configuration``.
        loader: The ``from_pretrained`` to call.
        name_or_path: As in `resolve`.
        options: Options for the loader.

    Raises:
        ModelError: The call fails, for any reason; the message says what to do.
    """
    place = resolve(name_or_path)
    _check_files(place)
    try:
        with quiet():
            if Path(place).is_dir():
                return loader(place, **options)
            return _load_from_hub(loader, place, options)
    except ModelError:
        raise
    except Exception as error:  # OSError, ValueError, KeyError, ImportError, httpx's, safetensors' ...
        raise ModelError(
            f"model.name_or_path: could not load the {what} of {name_or_path!r}. {_advice(place, error)}"
        ) from error


def _load_from_hub(loader: Callable[..., _Loaded], name: str, options: dict[str, Any]) -> _Loaded:
    """Load a model by its commit, so that the libraries send no request for files that are in the cache."""
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")  # otherwise older formats are reported elsewhere
    found = hub.find("model", name, options.get("revision", "main"))
    if found.commit is not None and "revision" in options:
        options = {**options, "revision": found.commit}
    with hub.asking(found):
        _check_config_on_hub(name, options.get("revision", "main"))
        return hub.retrying(lambda: loader(name, **options))


def download_weights(name_or_path: str, revision: str) -> None:
    """Download a model's weights before `load` reads them, and show progress; do nothing for a folder.

    Args:
        name_or_path: As in `resolve`.
        revision: Branch, tag or commit.
    """
    place = resolve(name_or_path)
    if not Path(place).is_dir():
        load("model", _download_weights, place, revision=revision)


def _download_weights(name: str, revision: str) -> None:
    from huggingface_hub import constants

    cache = snapshot("model", name, revision)
    if not constants.HF_HUB_OFFLINE and not any((cache / file).exists() for file in _WEIGHTS):
        hub.download("model", name, revision, *_WEIGHTS.values())


def commit_of(name_or_path: str, revision: str) -> str | None:
    """The commit on the Hub of a model that was loaded, from its path in the cache; ``None`` for a folder.

    Args:
        name_or_path: As in `resolve`.
        revision: Branch, tag or commit.
    """
    place = resolve(name_or_path)
    return None if Path(place).is_dir() else cached_commit("model", place, revision)


def weight_files(name_or_path: str, revision: str) -> list[Path]:
    """The files of a model's weights in a folder or in the cache; empty if they are not on this machine.

    Args:
        name_or_path: As in `resolve`.
        revision: Branch, tag or commit.
    """
    try:
        commit = commit_of(name_or_path, revision)
        folder = Path(resolve(name_or_path)) if commit is None else snapshot("model", name_or_path, commit)
        found = [sorted(folder.glob(files)) for files in _WEIGHTS.values()]
    except (ModelError, OSError, ValueError):  # whoever loads it explains why
        return []
    return next((files for files in found if files), [])


def weights_size(name_or_path: str, revision: str) -> int | None:
    """Bytes of a model's weights in a folder or in the cache; ``None`` if they are not on this machine.

    Args:
        name_or_path: As in `resolve`.
        revision: Branch, tag or commit.
    """
    try:
        return sum(file.stat().st_size for file in weight_files(name_or_path, revision)) or None
    except OSError:
        return None


def _check_files(place: str) -> None:
    """Refuse a folder with a pipe or a device, which might be read forever, or with sizes that no model has."""
    try:
        odd = [path for path in Path(place).iterdir() if path.exists() and not (path.is_file() or path.is_dir())]
    except OSError:  # no folder, or one that cannot be listed; the library reports it
        return
    if odd:
        raise ModelError(f"model.name_or_path: {odd[0]} is a pipe or a device, not a file. Take it out of the folder.")
    values = None
    with suppress(OSError, ValueError):  # the library reports these
        values = read_json(Path(place, "config.json"))
    if values is not None:
        check_sizes(values if isinstance(values, dict) else {}, f"model.name_or_path: {Path(place, 'config.json')}")


@lru_cache  # one request per model, for its tokenizer, configuration and weights
def _check_config_on_hub(name: str, revision: str) -> None:
    """Check the sizes in a configuration before objects are made of it; raises like ``from_pretrained``."""
    from transformers import PreTrainedConfig

    values, _ = PreTrainedConfig.get_config_dict(name, revision=revision)
    check_sizes(values, f"model.name_or_path: the configuration of {name!r}")


def check_sizes(values: Mapping[str, Any], where: str) -> None:
    """Refuse a configuration whose model would take hours to build, with a name per label and an object per layer.

    Args:
        values: The configuration.
        where: Its place, for the message.

    Raises:
        ModelError: A number is larger than in any model.
    """
    for key, most in _LARGEST.items():
        if isinstance(value := values.get(key), int) and value > most:
            raise ModelError(f"{where}: {key} is {value}, which no model has (allowed: up to {most:,}).")


def _advice(place: str, error: Exception) -> str:
    if not Path(place).is_dir():
        known = unwritable_cache() or explain_hub_error(error, "model", place)
        if known is not None:
            return known
    said = " ".join(str(error).split()) or type(error).__name__
    return f"{_what_to_do(place, said)} The library said: {said[:300]}{' ...' if len(said) > 300 else ''}"


def _what_to_do(place: str, said: str) -> str:
    if "trust_remote_code" in said:
        return "It runs code of its own; if you trust its author, pass `--model.trust_remote_code true`."
    if any(words in said for words in ("attention implementation", "attn_implementation", "FlashAttention")):
        return "Leave model.attention out, or pass `--model.attention eager`, which every architecture has."
    if Path(place).is_dir():
        found = ", ".join(sorted(p.name for p in Path(place).iterdir())) or "nothing"
        return f"The folder holds {found}; a model needs config.json, model.safetensors and tokenizer files."
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return "HF_HUB_OFFLINE is set and it is not in the cache; pass a folder, or unset it."
    return (
        "Check the spelling (a name as on huggingface.co: distilbert-base-uncased) and the network, or pass a folder."
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' load report and progress bar: a new head is expected in fine-tuning."""
    from transformers.utils import logging as hf_logging

    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity(logging.CRITICAL)
    hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()
