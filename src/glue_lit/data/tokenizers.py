"""Load a tokenizer by name, pack it into a checkpoint, and unpack it from there."""

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glue_lit.encoder import pretrained
from glue_lit.errors import ModelError


def load_tokenizer(name: str, revision: str, trust_remote_code: bool) -> Any:
    """Load the Hugging Face tokenizer of a model, a fast one if there is one.

    Raises:
        ModelError: There is none, or it has no vocabulary.
    """
    from transformers import AutoTokenizer

    tokenizer = pretrained.load(
        "tokenizer", AutoTokenizer.from_pretrained, name, revision=revision, trust_remote_code=trust_remote_code
    )
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        # for a folder without tokenizer files, transformers makes a tokenizer that knows no words
        raise ModelError(
            f"model.name_or_path: {name!r} has no vocabulary. Its tokenizer files (tokenizer.json, or vocab.txt, "
            "vocab.json, spiece.model ...) must lie beside config.json: `tokenizer.save_pretrained` writes them."
        )
    return tokenizer


def load_config(name: str, revision: str, trust_remote_code: bool) -> dict[str, Any]:
    """Load a model's configuration as plain values."""
    from transformers import AutoConfig

    config = pretrained.load(
        "configuration", AutoConfig.from_pretrained, name, revision=revision, trust_remote_code=trust_remote_code
    )
    values: dict[str, Any] = config.to_dict()
    return values | {"model_type": config.model_type}


def pack(tokenizer: Any) -> dict[str, Tensor]:
    """Pack a tokenizer's files by name, ``(bytes,)`` uint8 each; empty if it comes with code, which is not packed."""
    if "auto_map" in tokenizer.init_kwargs:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}
    return {name: torch.frombuffer(bytearray(content), dtype=torch.uint8) for name, content in files.items() if content}


def unpack(files: Mapping[str, Tensor], model_type: str) -> Any:
    """Load a tokenizer from its packed files, without running code or writing outside a temporary folder.

    Args:
        files: The files that `pack` packed.
        model_type: Model type, which decides the tokenizer's class. Otherwise some versions of transformers would guess
            it from the folder's name, and a random name can contain ``mpt`` or ``t5``: a BERT would get no
            ``token_type_ids``.

    Raises:
        ModelError: The files do not make a tokenizer.
    """
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            data = content.numpy().tobytes()
            if not _is_data(name, data):
                raise ModelError(f"The checkpoint's tokenizer has a file {name!r}, which is not data. It is not used.")
            Path(folder, name).write_bytes(data)
        Path(folder, "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
        try:
            with pretrained.quiet():
                return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:  # whatever transformers raises
            reason = " ".join(str(error).replace(folder, "").split())[:300]
            raise ModelError(f"The checkpoint's tokenizer cannot be read: {reason}") from error


def _is_data(name: str, content: bytes) -> bool:
    """Whether a file stays within its folder, holds no code, and is not JSON that refers to code."""
    if not re.fullmatch(r"[\w.+-]+", name) or name.strip(".") == "" or name.lower().endswith(".py"):
        return False
    if not name.lower().endswith(".json"):
        return True
    try:
        values = json.loads(content)
    except ValueError:
        return False
    return not (isinstance(values, dict) and "auto_map" in values)


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Hash of all that decides which ids a tokenizer gives."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state: dict[str, Any]
    if backend is not None:
        backend.no_truncation()  # every call sets these two again
        backend.no_padding()
        state = {"backend": backend.to_str()}
    else:  # a tokenizer written in Python, which its settings describe
        state = {"vocabulary": tokenizer.get_vocab(), "settings": _settings(tokenizer.init_kwargs)}
    state["class"] = type(tokenizer).__name__
    state["inputs"] = list(tokenizer.model_input_names)
    state["sides"] = [tokenizer.padding_side, tokenizer.truncation_side]
    return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer's settings without its location; files by their content, not their path."""
    locations = {"name_or_path", "is_local", "local_files_only"}
    settings = {name: value for name, value in given.items() if name not in locations and value not in (None, [], {})}
    for name, value in settings.items():
        if name.endswith("_file") and isinstance(value, str) and Path(value).is_file():
            settings[name] = hashlib.sha256(Path(value).read_bytes()).hexdigest()
    return settings
