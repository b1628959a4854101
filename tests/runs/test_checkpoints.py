"""Reading checkpoints: wrong files are named, and no code in them runs."""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from glue_lit.errors import RunError
from glue_lit.runs.checkpoints import (
    ADAPTERS_ALONE,
    WHOLE,
    check_model,
    check_task,
    read_checkpoint,
    verify_checksums,
)
from glue_lit.tasks.glue import get_task


def content(**other: Any) -> dict[str, Any]:
    """The smallest content of a checkpoint of this program."""
    return {
        "state_dict": {"weight": torch.arange(2048.0)},
        "hyper_parameters": {"architecture": "{}", "task": "cola", "name_or_path": "some/model"},
        "glue_lit": {"format": WHOLE, "version": "0.1.0"},
        **other,
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A valid checkpoint."""
    path = tmp_path / "some.ckpt"
    torch.save(content(), path)
    return path


class Touch:
    """What, when unpickled in the usual way, makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


# ---------------------------------------------------------------- reading


def test_a_valid_checkpoint_is_read(file: Path) -> None:
    saved = read_checkpoint(file)
    assert torch.equal(saved["state_dict"]["weight"], torch.arange(2048.0))
    assert saved["hyper_parameters"]["task"] == "cola"


def test_a_checkpoint_without_a_format_number_is_read(file: Path) -> None:
    saved = content()
    del saved["glue_lit"]
    torch.save(saved, file)
    assert "glue_lit" not in read_checkpoint(file)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"", "is empty, not a checkpoint."),
        (b"<!DOCTYPE html><title>404</title>", "is a web page, not a checkpoint: the server sent a page"),
        (b"\n  <html><body>Sign in</body></html>", "is a web page, not a checkpoint"),
        (b'<?xml version="1.0"?><Error>AccessDenied</Error>', "is a web page, not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "is a Git LFS pointer, not the"),
        (b"hello", "is not a readable checkpoint: it does not start like a PyTorch file."),
        (bytes(5000), "is not a readable checkpoint: it does not start like a PyTorch file."),
        (b"PK\x03\x04" + bytes(5000), "is cut short: only the first 5,004 bytes of a checkpoint are there."),
    ],
    ids=["empty", "page", "page-after-blanks", "xml", "lfs", "text", "zeros", "zeros-after-the-first-bytes"],
)
def test_a_file_that_is_no_checkpoint_is_named(file: Path, start: bytes, message: str) -> None:
    file.write_bytes(start)
    with pytest.raises(RunError, match=re.escape(f"{file} {message}")):
        read_checkpoint(file)


def test_a_missing_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no\.ckpt cannot be read \(No such file or directory\)\."):
        read_checkpoint(tmp_path / "no.ckpt")
    with pytest.raises(RunError, match=r"cannot be read \(Is a directory\)\."):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_a_truncated_checkpoint_is_refused(file: Path, kept: float) -> None:
    size = int(file.stat().st_size * kept)
    os.truncate(file, size)
    with pytest.raises(RunError, match=f"is cut short: only the first {size:,} bytes of a checkpoint are there"):
        read_checkpoint(file)


def test_a_checkpoint_that_refers_to_another_file_is_refused(file: Path) -> None:
    content = bytearray(file.read_bytes())
    end = content.rindex(b"PK\x05\x06")
    # The record before the end of a large zip: the place of its directory, and the number of its volumes.
    content[end:end] = b"PK\x06\x07" + (3).to_bytes(4, "little") + bytes(8) + (7).to_bytes(4, "little")
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"is cut short|is damaged"):
        read_checkpoint(file)


def test_a_damaged_checkpoint_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    start = whole.index(b"hyper_parameters")  # within the pickle that describes the tensors
    file.write_bytes(whole[:start] + b"\xff" * 32 + whole[start + 32 :])
    with pytest.raises(
        RunError, match=r"is not a readable checkpoint: it is damaged: it starts like a checkpoint, but"
    ):
        read_checkpoint(file)


@pytest.mark.parametrize("kind", ["zip", "pickle"])
def test_code_in_a_checkpoint_is_not_run(file: Path, tmp_path: Path, kind: str) -> None:
    trace = tmp_path / "ran"
    evil = content(callbacks=Touch(trace))
    if kind == "zip":
        torch.save(evil, file)
    else:
        file.write_bytes(pickle.dumps({"hyper_parameters": {"architecture": "{}"}, "callbacks": Touch(trace)}))
    with pytest.raises(RunError, match=r"holds Python objects besides tensors .* could run code, so it is refused\."):
        read_checkpoint(file)
    assert not trace.exists()
    if kind == "zip":  # the code works
        torch.load(file, weights_only=False)
        assert trace.is_dir()


def test_safetensors_are_weights_alone(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"weight": torch.ones(3)}, file)
    with pytest.raises(RunError, match=r"holds only weights \(safetensors\), not a checkpoint\. Pass their folder as"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("saved", "whose"),
    [
        ({"weight": torch.ones(3)}, "it holds only weights. Pass the model's folder as --model.name_or_path to `fit`"),
        ({"state_dict": {}, "pytorch-lightning_version": "2.6", "hyper_parameters": {"lr": 1}}, "another Lightning pr"),
        ({"state_dict": {}, "pytorch-lightning_version": "2.6"}, "another Lightning program wrote it, and it does not"),
        ({"step": 3}, "it does not say what model its weights are for."),
        ([1, 2], "it does not say what model its weights are for."),
        (torch.ones(3), "it does not say what model its weights are for."),
    ],
    ids=["state-dict", "lightning", "lightning-without-hyper-parameters", "other-dict", "list", "tensor"],
)
def test_a_checkpoint_of_another_program_is_refused(file: Path, saved: object, whose: str) -> None:
    torch.save(saved, file)
    with pytest.raises(RunError, match=re.escape(f"{file} is not a checkpoint of glue-lit: {whose}")):
        read_checkpoint(file)


def test_a_checkpoint_of_a_newer_version_is_refused(file: Path) -> None:
    torch.save(content(glue_lit={"format": ADAPTERS_ALONE + 1, "version": "9.1"}), file)
    with pytest.raises(RunError, match=r"was written by glue-lit 9\.1; this is .*, which cannot read it\. `pip"):
        read_checkpoint(file)


# ---------------------------------------------------------------- task and model


def trained_for(task: str) -> dict[str, Any]:
    return {"hyper_parameters": {"task": task}}


@pytest.mark.parametrize(
    ("trained", "used"),
    [("cola", "cola"), ("stsb", "stsb"), ("mnli", "ax"), ("ax", "mnli"), ("mnli", "mnli-mm"), ("mnli-mm", "ax")],
)
def test_a_checkpoint_of_the_same_task_is_accepted(trained: str, used: str) -> None:
    check_task(Path("x.ckpt"), trained_for(trained), get_task(used))


@pytest.mark.parametrize(
    ("trained", "used"), [("cola", "rte"), ("qnli", "rte"), ("rte", "wnli"), ("mrpc", "stsb"), ("mnli", "rte")]
)
def test_a_checkpoint_of_another_task_is_refused(trained: str, used: str) -> None:
    labels = ", ".join(get_task(used).labels) or "a score"
    expected = (
        f"x.ckpt was trained for task {trained} ({', '.join(get_task(trained).labels)}), not for {used} ({labels}). "
        f"Use a run of {used} (`--ckpt_path best --data.task {used}` finds the newest), or leave data.task out"
    )
    with pytest.raises(RunError, match=re.escape(expected)):
        check_task(Path("x.ckpt"), trained_for(trained), get_task(used))


def test_an_unknown_task_is_accepted() -> None:
    check_task(Path("x.ckpt"), trained_for("boolq"), get_task("rte"))
    check_task(Path("x.ckpt"), {"hyper_parameters": {}}, get_task("rte"))


def test_another_model_is_refused() -> None:
    check_model(Path("x.ckpt"), content(), "some/model")
    check_model(Path("x.ckpt"), {"hyper_parameters": {}}, "any/model")
    with pytest.raises(RunError, match=r"x\.ckpt holds weights of some/model, not of other/model\. Leave model\.name"):
        check_model(Path("x.ckpt"), content(), "other/model")


def test_changed_weights_fail_the_checksum(file: Path) -> None:
    verify_checksums(file)
    data = file.read_bytes()
    at = data.index(torch.arange(2048.0).numpy().tobytes()[400:464])
    file.write_bytes(data[:at] + b"\xff" * 64 + data[at + 64 :])
    with pytest.raises(RunError, match="is damaged: its content has changed since it was written"):
        verify_checksums(file)


def test_a_damaged_pickle_is_not_reported_as_code(file: Path) -> None:
    data = file.read_bytes()
    at = data.index(b"\x80\x02}")
    file.write_bytes(data[: at + 3] + b"\xff" * 16 + data[at + 19 :])
    with pytest.raises(RunError, match="it is damaged"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    "odd", [{"hyper_parameters": None}, {"hyper_parameters": 3}, {"glue_lit": None}, {"glue_lit": {"format": "2"}}]
)
def test_parts_of_the_wrong_type_are_refused(file: Path, odd: dict[str, Any]) -> None:
    torch.save(content(**odd), file)
    with pytest.raises(RunError, match="is not a checkpoint of glue-lit"):
        read_checkpoint(file)


# ---------------------------------------------------------------- valid files with one wrong part


@pytest.mark.parametrize(
    "odd",
    [
        {"state_dict": [1]}, {"state_dict": {"weight": "x"}}, {"state_dict": {1: torch.zeros(1)}},
        {"GLUEDataModule": [1]}, {"GLUEDataModule": {"tokenizer": {"a.json": "x"}}},
        {"GLUEDataModule": {"tokenizer": {"a.json": torch.zeros(3)}}}, {"GLUEDataModule": {"tokenizer": 3}},
        {"datamodule_hyper_parameters": [1]}, {"glue_lit": {"format": 1, "precision": 5}},
        {"hyper_parameters": {"architecture": "["}}, {"hyper_parameters": {"architecture": "[1]"}},
        {"hyper_parameters": {"architecture": "[" * 50_000}}, {"hyper_parameters": {"architecture": '{"id2label": 1}'}},
    ],
)  # fmt: skip
def test_nested_parts_of_the_wrong_type_are_refused(odd: dict[str, Any], file: Path) -> None:
    torch.save(content(**odd), file)
    with pytest.raises(RunError, match=r"some.ckpt is not a checkpoint of glue-lit: "):
        read_checkpoint(file)
