"""The tokenizer: loaded by name, or out of a checkpoint, which carries its own."""

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
    """The Hugging Face tokenizer of a model (a fast one wherever there is one).

    Raises:
        ModelError: There is none, or it knows no words.
    """
    from transformers import AutoTokenizer

    tokenizer = pretrained.load(
        "tokenizer", AutoTokenizer.from_pretrained, name, revision=revision, trust_remote_code=trust_remote_code
    )
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        # transformers makes one up for a folder without tokenizer files: every word would be unknown
        raise ModelError(
            f"model.name_or_path: {name!r} has no vocabulary. Its tokenizer files (tokenizer.json, or vocab.txt, "
            "vocab.json, spiece.model ...) must lie beside config.json: `tokenizer.save_pretrained` writes them."
        )
    return tokenizer


def load_config(name: str, revision: str, trust_remote_code: bool) -> dict[str, Any]:
    """A model's configuration as plain values."""
    from transformers import AutoConfig

    config = pretrained.load(
        "configuration", AutoConfig.from_pretrained, name, revision=revision, trust_remote_code=trust_remote_code
    )
    values: dict[str, Any] = config.to_dict()
    return values | {"model_type": config.model_type}


def pack(tokenizer: Any) -> dict[str, Tensor]:
    """A tokenizer's files by name, ``(bytes,)`` uint8 each; none if it brings code, which is not carried on."""
    if "auto_map" in tokenizer.init_kwargs:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}
    return {name: torch.frombuffer(bytearray(content), dtype=torch.uint8) for name, content in files.items() if content}


def unpack(files: Mapping[str, Tensor], model_type: str) -> Any:
    """The tokenizer that `pack` put into files; no code is run, and no file is written outside a folder of its own.

    Args:
        files: What `pack` gave.
        model_type: The model's, which decides about the tokenizer's class. In a folder that does not say it, some
            versions of transformers guess it from the folder's name, and a random one holds an ``mpt`` or a ``t5``
            now and then: a BERT would get no ``token_type_ids``.

    Raises:
        ModelError: The files are not those of a tokenizer.
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
    """Whether a file is a plain file of its folder without code, and no JSON that names code to be fetched."""
    if not re.fullmatch(r"[\w.+-]+", name) or name.strip(".") == "" or name.lower().endswith(".py"):
        return False
    if not name.lower().endswith(".json"):
        return True
    try:
        values = json.loads(content)
    except ValueError:
        return False
    return not (isinstance(values, dict) and "auto_map" in values)
