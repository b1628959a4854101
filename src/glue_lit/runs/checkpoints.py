"""Checkpoint files: atomic writes, reads that run no code, and errors that say what is wrong with a file."""

import json
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from glue_lit.errors import RunError
from glue_lit.runs.last_position import write_last_position
from glue_lit.system.files import replace_file, unfinished_files
from glue_lit.system.host_copies import to_host
from glue_lit.system.version import __version__
from glue_lit.tasks.glue import TASKS, TaskSpec

# Formats: a new one for content that earlier versions could not read.
WHOLE = 1
ADAPTERS_ALONE = 2  # without the weights that the base model's files have


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints so that a crash or a power cut leaves either the old file or the new one, complete."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``.

        Raises:
            RunError: It cannot be written; the earlier checkpoint is kept.
        """
        path = Path(path)
        try:
            with replace_file(path, is_durable=True) as file:
                # torch would wait for each tensor of an accelerator
                torch.save(to_host(checkpoint, may_stay=True), file)
        except (OSError, RuntimeError) as error:  # torch raises a RuntimeError for a failed write
            kept = f" The earlier {path.name} is kept." if path.is_file() else ""
            cause = error if isinstance(error, OSError) else error.__context__
            reason = cause.strerror if isinstance(cause, OSError) else " ".join(str(error).split())[:200]
            raise RunError(f"Cannot write the checkpoint {path} ({reason}).{kept}") from error
        if path.name == "last.ckpt":
            write_last_position(path, checkpoint["epoch"] + 1, checkpoint["global_step"])


def unfinished_checkpoints(folder: Path) -> list[Path]:
    """Temporary files of checkpoints whose writing was interrupted."""
    return [path for path in unfinished_files(folder) if ".ckpt." in path.name]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running code in it; its tensors are mapped from the file.

    Raises:
        RunError: The file is not a checkpoint of this program.
    """
    saved = _load(path)
    settings = saved.get("hyper_parameters") if isinstance(saved, dict) else None
    if not isinstance(settings, dict) or not isinstance(settings.get("architecture"), str):
        raise RunError(f"{path} is not a checkpoint of glue-lit: {_describe_foreign(saved)}")
    written = saved.get("glue_lit", {"format": 0})
    form = written.get("format") if isinstance(written, dict) else None
    if not isinstance(form, int):
        raise RunError(f"{path} is not a checkpoint of glue-lit: it does not say which format it has.")
    if form > ADAPTERS_ALONE:
        raise RunError(
            f"{path} was written by glue-lit {written.get('version')}; this is {__version__}, which cannot read it. "
            "`pip install --upgrade glue-lit`."
        )
    if odd := _describe_wrong_part(saved):
        raise RunError(f"{path} is not a checkpoint of glue-lit: {odd}.")
    content: dict[str, Any] = saved
    return content


def _load(path: Path) -> Any:
    if what := _describe_other_file(path):
        raise RunError(f"{path} {what}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns before it raises an error
            return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # torch raises many classes for damaged files
        # torch's message advises weights_only=False, which would run whatever code the file holds.
        code = r"(?i)unsupported (global|class|type)|not an allowed global|trying to (call|instantiate)"
        if re.search(code, str(error)) or not _is_zip(path):  # a bare pickle
            what = "holds Python objects besides tensors and plain values. Loading could run code, so it is refused."
        else:
            what = f"is damaged: it starts like a checkpoint, but cannot be read ({type(error).__name__})."
        raise RunError(f"{path} is not a readable checkpoint: it {what}") from error


def _describe_wrong_part(saved: dict[str, Any]) -> str:
    """Describe a part whose type differs from what this program writes; empty if there is none."""
    own, data = saved.get("glue_lit") or {}, saved.get("GLUEDataModule") or {}
    if not isinstance(data, dict):
        return "its GLUEDataModule is not a mapping"
    if "_instantiator" in saved["hyper_parameters"]:
        return "it names a function to create its model, which could run any code"
    try:
        architecture = json.loads(saved["hyper_parameters"]["architecture"])
    except (ValueError, RecursionError):
        architecture = None
    if not isinstance(architecture, dict) or not isinstance(architecture.get("id2label", {}), dict):
        return "its architecture is not a model configuration"
    for name, kind, values in (
        ("state_dict", torch.Tensor, saved.get("state_dict")),
        ("the tokenizer", torch.Tensor, data.get("tokenizer")),
        ("datamodule_hyper_parameters", object, saved.get("datamodule_hyper_parameters")),
    ):
        if values is None:
            continue
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            return f"{name} is not a mapping with names as keys"
        if odd := [key for key, value in values.items() if not isinstance(value, kind)]:
            return f"{odd[0]!r} of {name} is not a tensor"
    if any(content.dtype != torch.uint8 for content in (data.get("tokenizer") or {}).values()):
        return "the tokenizer's files are not bytes"
    if not _is_base(saved["hyper_parameters"].get("base")):
        return "its base is not a record of a model's files"
    if not isinstance(own.get("precision"), str | None):
        return f"its precision is {own['precision']!r}"
    return ""


def _is_base(record: Any) -> bool:
    """Whether a value is a record of the base model's files and weights, or ``None``."""
    if record is None:
        return True
    parts = [record.get(name) for name in ("files", "weights")] if isinstance(record, dict) else [None]
    texts = [text for part in parts if isinstance(part, dict) for item in part.items() for text in item]
    is_whole = all(isinstance(part, dict) for part in parts) and all(isinstance(text, str) for text in texts)
    is_known = record.get("quantization") in (None, "4bit")
    return is_whole and is_known and isinstance(record.get("commit"), str | None)


def verify_checksums(path: Path) -> None:
    """Check every part of a checkpoint against its checksum; torch does not, and silently loads changed weights.

    Raises:
        RunError: A checksum differs.
    """
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        damaged = str(error)
    if damaged is not None:
        raise RunError(f"{path} is damaged: its content has changed since it was written ({damaged}). Copy it again.")


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # it claims to be one of several volumes
        return False


def _describe_other_file(path: Path) -> str:
    """Describe, by its first bytes, a file that is not a checkpoint; empty if it may be one."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(1024)
    except OSError as error:
        return f"cannot be read ({error.strerror})."
    if size == 0:
        return "is empty, not a checkpoint."
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page, not a checkpoint: the server sent a page instead. Download it again."
    if text.startswith((b"{", b"[")):
        return "is a JSON text, not a checkpoint: perhaps the error message of a server. Download it again."
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the checkpoint itself. Get it with `git lfs pull`."
    if start.startswith(b"PK") and not _is_zip(path):
        return f"is cut short: only the first {size:,} bytes of a checkpoint are there. Copy it again."
    if start[8:10] == b'{"':
        return "holds only weights (safetensors), not a checkpoint. Pass their folder as --model.name_or_path to `fit`."
    if not start.startswith((b"PK", b"\x80")):
        return "is not a readable checkpoint: it does not start like a PyTorch file."
    return ""


def _describe_foreign(saved: Any) -> str:
    if isinstance(saved, dict) and "pytorch-lightning_version" in saved:
        return "another Lightning program wrote it, and it does not say what model its weights are for."
    if isinstance(saved, dict) and saved and all(isinstance(value, torch.Tensor) for value in saved.values()):
        return "it holds only weights. Pass the model's folder as --model.name_or_path to `fit`."
    return "it does not say what model its weights are for."


def check_task(path: Path, saved: dict[str, Any], task: TaskSpec) -> None:
    """Refuse a checkpoint that was trained for another task.

    Raises:
        RunError: The tasks differ; the message names both.
    """
    trained = TASKS.get(saved["hyper_parameters"].get("task", ""))
    if trained is None or (trained.trained_as or trained.name) == (task.trained_as or task.name):
        return
    if (trained.labels, trained.text_columns) == (task.labels, task.text_columns):
        return  # the same labels and columns, only other rows
    raise RunError(
        f"{path} was trained for task {trained.name} ({', '.join(trained.labels) or 'a score'}), not for {task.name} "
        f"({', '.join(task.labels) or 'a score'}). Use a run of {task.name} (`--ckpt_path best --data.task "
        f"{task.name}` finds the newest), or leave data.task out to use it for {trained.name}."
    )


def check_model(path: Path, saved: dict[str, Any], name: str) -> None:
    """Refuse a checkpoint with the weights of another model; that of adapters may have moved, and is checked itself.

    Raises:
        RunError: The models differ.
    """
    owner = saved["hyper_parameters"].get("name_or_path")
    if owner not in (None, name) and saved["hyper_parameters"].get("base") is None:
        raise RunError(
            f"{path} holds weights of {owner}, not of {name}. Leave model.name_or_path out: a checkpoint contains "
            "its model and tokenizer."
        )
