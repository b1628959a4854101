"""Checkpoint files: written whole or not at all, and read as data, with a word on what is wrong with one."""

import contextlib
import json
import os
import re
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from glue_lit.errors import RunError
from glue_lit.runs.last_position import write_last_position
from glue_lit.system.version import __version__
from glue_lit.tasks.glue import TASKS, TaskSpec

CHECKPOINT_FORMAT = 1  # raise it when an older version could not make sense of what is written
_PART = ".part"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the file, flush to the disk, then rename: there is the old checkpoint or the new one, whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``.

        Raises:
            RunError: It cannot be written; the checkpoint that was there is kept.
        """
        path = Path(path)
        part = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
            with os.fdopen(handle, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(part, 0o644)
            os.replace(part, path)
            _sync_folder(path.parent)
            if path.name == "last.ckpt":
                write_last_position(path, checkpoint["epoch"] + 1, checkpoint["global_step"])
        except (OSError, RuntimeError) as error:  # torch has an error of its own for a write that failed
            kept = f" The {path.name} that was there is kept." if path.is_file() else ""
            cause = error if isinstance(error, OSError) else error.__context__
            reason = cause.strerror if isinstance(cause, OSError) else " ".join(str(error).split())[:200]
            raise RunError(f"Cannot write the checkpoint {path} ({reason}).{kept}") from error
        finally:
            if part is not None:
                with contextlib.suppress(OSError):
                    os.unlink(part)


def _sync_folder(folder: Path) -> None:
    """Make a rename outlive a power cut, where the system offers it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def unfinished_checkpoints(folder: Path) -> list[Path]:
    """What is left of checkpoints whose writing was cut off; never taken for checkpoints."""
    return sorted(folder.glob(f".*.ckpt.*{_PART}"))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, its tensors mapped from the file rather than read; no code in it is run.

    Raises:
        RunError: The file is not a checkpoint of this program.
    """
    if what := _no_checkpoint(path):
        raise RunError(f"{path} {what}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of what it raises an error for as well
            saved = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # torch raises a kind of its own for every way in which a file can be wrong
        # torch's own words advise to load with weights_only=False, which would run whatever the file holds.
        code = r"(?i)unsupported (global|class|type)|not an allowed global|trying to (call|instantiate)"
        if re.search(code, str(error)) or not _is_zip(path):  # a bare pickle
            what = "holds Python objects besides tensors and plain values. Loading could run code, so it is refused."
        else:
            what = f"is damaged: it begins as a checkpoint, but cannot be read ({type(error).__name__})."
        raise RunError(f"{path} is not a readable checkpoint: it {what}") from error
    settings = saved.get("hyper_parameters") if isinstance(saved, dict) else None
    if not isinstance(settings, dict) or not isinstance(settings.get("architecture"), str):
        raise RunError(f"{path} is not a checkpoint of glue-lit: {_whose(saved)}")
    written = saved.get("glue_lit", {"format": 0})
    form = written.get("format") if isinstance(written, dict) else None
    if not isinstance(form, int):
        raise RunError(f"{path} is not a checkpoint of glue-lit: it does not say in which format it is.")
    if form > CHECKPOINT_FORMAT:
        raise RunError(
            f"{path} was written by glue-lit {written.get('version')}; this is {__version__}, which cannot read it. "
            "`pip install --upgrade glue-lit`."
        )
    if odd := _odd_part(saved):
        raise RunError(f"{path} is not a checkpoint of glue-lit: {odd}.")
    content: dict[str, Any] = saved
    return content


def _odd_part(saved: dict[str, Any]) -> str:
    """What of a checkpoint is not of the kind that it is written as; nothing if all is, or is not there."""
    own, data = saved.get("glue_lit") or {}, saved.get("GLUEDataModule") or {}
    if not isinstance(data, dict):
        return "its GLUEDataModule is no mapping"
    if "_instantiator" in saved["hyper_parameters"]:
        return "it names a function that is to make its model, which would be to run a program"
    try:
        architecture = json.loads(saved["hyper_parameters"]["architecture"])
    except (ValueError, RecursionError):
        architecture = None
    if not isinstance(architecture, dict) or not isinstance(architecture.get("id2label", {}), dict):
        return "what it says of its model is no configuration"
    for name, kind, values in (
        ("state_dict", torch.Tensor, saved.get("state_dict")),
        ("the tokenizer", torch.Tensor, data.get("tokenizer")),
        ("datamodule_hyper_parameters", object, saved.get("datamodule_hyper_parameters")),
    ):
        if values is None:
            continue
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            return f"{name} is no mapping by names"
        if odd := [key for key, value in values.items() if not isinstance(value, kind)]:
            return f"{odd[0]!r} of {name} is no tensor"
    if any(content.dtype != torch.uint8 for content in (data.get("tokenizer") or {}).values()):
        return "the tokenizer's files are not bytes"
    if not isinstance(own.get("precision"), str | None):
        return f"its precision is {own['precision']!r}"
    return ""


def verify_checksums(path: Path) -> None:
    """Compare every part of a checkpoint with its checksum; torch itself loads changed weights without a word.

    Raises:
        RunError: They differ.
    """
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        damaged = str(error)
    if damaged is not None:
        raise RunError(f"{path} is damaged: its content is not what was written ({damaged}). Copy it again.")


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # one that says it goes on in another file
        return False


def _no_checkpoint(path: Path) -> str:
    """What a file is, if its first bytes tell that it is no checkpoint; else nothing."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(1024)
    except OSError as error:
        return f"cannot be read ({error.strerror})."
    if size == 0:
        return "is empty, so it is no checkpoint."
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page, not a checkpoint: whatever downloaded it was answered with a page. Download it again."
    if text.startswith((b"{", b"[")):
        return "is a JSON text, not a checkpoint: perhaps the error message of a server. Download it again."
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the checkpoint itself. `git lfs pull` fetches that."
    if start.startswith(b"PK") and not _is_zip(path):
        return f"is cut short: a checkpoint of which only the first {size:,} bytes are there. Copy it again."
    if start[8:10] == b'{"':
        return "holds weights alone (safetensors), no checkpoint. Pass their folder as --model.name_or_path to `fit`."
    if not start.startswith((b"PK", b"\x80")):
        return "is not a readable checkpoint: it does not begin as a file of PyTorch's does."
    return ""


def _whose(saved: Any) -> str:
    if isinstance(saved, dict) and "pytorch-lightning_version" in saved:
        return "another Lightning program wrote it, and it does not say what model its weights are for."
    if isinstance(saved, dict) and saved and all(isinstance(value, torch.Tensor) for value in saved.values()):
        return "it holds weights alone. Pass the model's folder as --model.name_or_path to `fit`."
    return "it does not say what model its weights are for."


def check_task(path: Path, saved: dict[str, Any], task: TaskSpec) -> None:
    """Stop where a checkpoint was trained for another task than it is used for.

    Raises:
        RunError: It was; the message says for which, and what would fit.
    """
    trained = TASKS.get(saved["hyper_parameters"].get("task", ""))
    if trained is None or (trained.trained_as or trained.name) == (task.trained_as or task.name):
        return
    if (trained.labels, trained.text_columns) == (task.labels, task.text_columns):
        return  # other rows of the same question
    raise RunError(
        f"{path} was trained for task {trained.name} ({', '.join(trained.labels) or 'a score'}), not for {task.name} "
        f"({', '.join(task.labels) or 'a score'}). Take a run of {task.name} (`--ckpt_path best --data.task "
        f"{task.name}` finds the newest), or leave data.task out to use it for {trained.name}."
    )


def check_model(path: Path, saved: dict[str, Any], name: str) -> None:
    """Stop where a checkpoint's weights are of another model than the one that was asked for.

    Raises:
        RunError: They are.
    """
    of = saved["hyper_parameters"].get("name_or_path")
    if of not in (None, name):
        raise RunError(
            f"{path} holds weights of {of}, not of {name}. Leave model.name_or_path out: a checkpoint brings its "
            "model and its tokenizer."
        )
