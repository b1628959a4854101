"""Frozen weights of a base model: what a checkpoint of adapters leaves out, and where it is read again."""

import hashlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from glue_lit.encoder import pretrained
from glue_lit.encoder.architectures import model_from_values
from glue_lit.encoder.weight_loading import load_weights, not_loaded
from glue_lit.errors import ModelError, UsageError

Record = dict[str, Any]
# Ways to begin an adapter that leave the weights of the base model as they are; PiSSA and OLoRA change them.
_BESIDE_BASE = (True, False, "gaussian", "orthogonal")


def record_base(hparams: Mapping[str, Any], commit: str | None) -> Record | None:
    """Describe the files of a model's weights, so that they can be recognised; ``None`` if there are none to find.

    Args:
        hparams: Those of `SequenceClassifier`, which name the model.
        commit: Commit of the weights on the Hub; ``None`` for a folder.
    """
    files = pretrained.weight_files(hparams["name_or_path"], hparams["revision"])
    if not files or (files[0].parent / "adapter_config.json").exists():  # transformers would add these adapters
        return None
    record = {"commit": commit, "files": {file.name: _digest(file) for file in files}}
    return record if hparams["quantization"] is None else record | {"quantization": hparams["quantization"]}


def _digest(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    seen = file.stat()
    return _digest_of(file, seen.st_size, seen.st_mtime_ns)


@lru_cache
def _digest_of(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def names_from_base(model: nn.Module, before: Mapping[str, nn.Parameter], new: Collection[str]) -> list[str]:
    """Names of the frozen parameters of a model with adapters that are those of the base model's files.

    Args:
        model: With its adapters.
        before: The parameters before adapters were added, by name.
        new: Names among these whose values do not come from the files.
    """
    others = {id(parameter) for name, parameter in before.items() if name in new}
    loaded = {id(parameter) for parameter in before.values()} - others
    named = model.named_parameters(remove_duplicate=False)
    return [name for name, parameter in named if id(parameter) in loaded and not parameter.requires_grad]


def keeps_base(settings: Mapping[str, Any]) -> bool:
    """Whether adapters with these settings leave the weights of the base model as they are."""
    return settings.get("init_lora_weights", True) in _BESIDE_BASE


def leave_out(checkpoint: dict[str, Any], names: Collection[str], prefix: str = "model.") -> dict[str, str]:
    """Take the named weights out of a checkpoint, in place.

    Returns:
        The precision of each, by its name.
    """
    kinds: dict[str, str] = {}
    for weights in _states(checkpoint):
        for name in names:
            if (value := weights.pop(prefix + name, None)) is not None:
                kinds[name] = str(value.dtype).removeprefix("torch.")
        of_4_bits = tuple(f"{prefix}{name}." for name, kind in kinds.items() if kind == "uint8")  # scales
        for name in [name for name in weights if name.startswith(of_4_bits)]:
            del weights[name]
    return kinds


def fill_in(checkpoint: Mapping[str, Any], model: nn.Module, prefix: str = "model.") -> None:
    """Put the weights that a checkpoint leaves out back into it, in place, from a model made by `load_base`.

    They get the precision in which they were trained, whose rounding is the model's.
    """
    record = checkpoint["hyper_parameters"].get("base")
    if record is None:
        return
    now = dict(model.named_parameters(remove_duplicate=False))
    for weights in _states(checkpoint):
        for name, kind in record["weights"].items():
            if prefix + name not in weights and name in now:
                weights[prefix + name] = _rounded(now[name].detach(), kind)


def _rounded(value: Tensor, kind: str) -> Tensor:
    wanted = getattr(torch, kind, None)
    is_shorter = isinstance(wanted, torch.dtype) and wanted.is_floating_point and wanted.itemsize < value.element_size()
    return value.to(wanted) if is_shorter and value.is_floating_point() else value


def _states(checkpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model's state in a checkpoint, and beside a moving average the weights that are trained."""
    return [checkpoint[name] for name in ("state_dict", "current_model_state") if name in checkpoint]


def load_base(
    values: dict[str, Any], hparams: Mapping[str, Any], record: Record, padding: int | None = None
) -> tuple[Any, frozenset[str]]:
    """Build a checkpoint's model with the weights of its base model.

    Args:
        values: The checkpoint's configuration of its model.
        hparams: Those of `SequenceClassifier`, which name the base model.
        record: From `record_base`, with the checkpoint.
        padding: Padding id to write into the configuration; ``None`` to keep its own.

    Returns:
        The model, and the names of parameters without weights in the base model's files.

    Raises:
        ModelError: The base model is not there, or is another one.
    """
    where = check_base(hparams, record)
    model, loaded = model_from_values(
        values, hparams, padding, lambda config, options: load_weights(config, where, **options)
    )
    return model, not_loaded(loaded)


def check_base(hparams: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """Refuse a base model that is not there, or has other files than that of a checkpoint's adapters.

    Args:
        hparams: Those of `SequenceClassifier`, which name the base model.
        record: From `record_base`.

    Returns:
        The hyperparameters, with the commit and the quantization of the training.

    Raises:
        ModelError: It is refused.
    """
    name, of_run = hparams["name_or_path"], {"quantization": record.get("quantization")}
    where = {**hparams, **of_run, "revision": record["commit"] or hparams["revision"]}
    try:
        pretrained.download_weights(name, where["revision"])
    except ModelError as error:
        raise _missing(name, str(error)) from error
    found = pretrained.weight_files(name, where["revision"])
    if missing := sorted(record["files"].keys() - {file.name for file in found}):
        raise _missing(name, f"there is no {missing[0]}. Put it back.")
    for file in found:
        if (digest := _digest(file)) != (wanted := record["files"].get(file.name)):
            raise ModelError(
                f"The checkpoint's adapters belong to other weights than those of {name!r}: {file.name} has the "
                f"SHA-256 {digest[:12]}, and had {str(wanted)[:12]} when they were trained. Put that file back."
            )
    return where


def _missing(name: str, why: str) -> ModelError:
    return ModelError(
        f"The checkpoint holds the adapters and the head; all other weights are those of {name!r}, which cannot be "
        f"read: {why} If it was moved, pass `--model.name_or_path FOLDER`."
    )


def check_same_quantization(asked: str | None, record: Record | None) -> None:
    """Refuse 4 bits for a checkpoint that was trained beside other weights.

    Args:
        asked: ``model.quantization``; ``None`` for that of the checkpoint.
        record: From `record_base`, with the checkpoint; ``None`` if it holds all weights.

    Raises:
        UsageError: It is refused.
    """
    if asked is not None and asked != (before := (record or {}).get("quantization")):
        raise UsageError(
            f"model.quantization: got {asked}, and the checkpoint was trained with {before or 'whole weights'}. Leave "
            "it as it was; a change needs a new run."
        )
