"""Errors of the operating system are one line that says what to do, whichever library passes them on."""

import contextlib
import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import warm
from command_line import glue_lit

from glue_lit.cli.parser import Parser
from glue_lit.errors import GlueLitError
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.system.system_errors import check_memory_limit, explain_system_error


def fit(tiny_model: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "glue_lit", "fit", "--data.task=stsb", "--data.source=demo", "--data.train_limit=40",
        "--data.validation_limit=12", f"--model.name_or_path={tiny_model}", "--trainer.accelerator=cpu",
        "--trainer.max_epochs=2", *more,
    ]  # fmt: skip


def said(command: list[str], folder: Path, limit: tuple[int, int] | None = None, **environment: str) -> Any:
    """Run a command, perhaps under a limit of the system, and check that it prints no traceback."""
    if limit is None and command[:2] == [sys.executable, "-m"]:
        result = warm.run(*command[1:], folder=folder, **environment)
    else:
        before = None if limit is None else partial(resource.setrlimit, limit[0], (limit[1], limit[1]))
        result = subprocess.run(
            command, cwd=folder, env={**os.environ, **environment}, preexec_fn=before, capture_output=True, text=True,
            timeout=240, check=False,
        )  # fmt: skip
    assert "Traceback" not in result.stderr
    return result


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make a disk of a size, or a read-only one, which only root can."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        done = shutil.which("mount") and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
        )
        if not done or done.returncode:
            pytest.skip("a small disk can be mounted by root only")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "no room", "a/b"), "Cannot write or open a/b (No space left on device). Make room, or "),
        (OSError(errno.EROFS, "x"), "Cannot write or open (Read-only file system). It is mounted read-only: choose "),
        (OSError(errno.EFBIG, "x"), "(File too large). Choose another place, or raise the limit (`ulimit -f`)"),
        (MemoryError(), "There was not enough memory. Lower `--data.batch_size` ("),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "There was not enough memory (Default"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "not enough memory (CUDA out of memory."),
        (RuntimeError("unable to open shared memory object </torch_1> "), "Use `--data.num_workers 0`"),
    ],
)  # fmt: skip
def test_a_message_names_the_error_and_the_remedy(error: Exception, message: str) -> None:
    assert message in (explain_system_error(error) or "")


def test_the_error_before_that_of_the_cleanup_is_explained() -> None:
    later = RuntimeError("Please call `iter(combined_loader)` first.")
    later.__context__ = OSError(errno.ENOSPC, "x")
    assert "No space left" in (explain_system_error(later) or "")


@pytest.mark.parametrize("error", [ValueError("no"), OSError("disk full"), FileNotFoundError(errno.ENOENT, "x", "y")])
def test_other_errors_are_not_system_errors(error: Exception) -> None:
    assert explain_system_error(error) is None


# ---------------------------------------------------------------- real limits


def test_a_limit_on_files_leaves_no_half_configuration(tiny_model: Path, tmp_path: Path) -> None:
    result = said(fit(tiny_model), tmp_path, (resource.RLIMIT_FSIZE, 1024))
    assert result.returncode == 1
    assert "error: Cannot write lightning_logs/stsb/version_0/config.yaml (File too large)." in result.stderr
    assert [path for path in (tmp_path / "lightning_logs").rglob("*") if path.is_file()] == []


def test_a_resumed_run_keeps_its_configuration(tiny_model: Path, tmp_path: Path) -> None:
    assert said(fit(tiny_model), tmp_path).returncode == 0
    config = tmp_path / "lightning_logs/stsb/version_0/config.yaml"
    before = config.read_bytes()
    go_on = [sys.executable, "-m", "glue_lit", "fit", "--ckpt_path", "last", "--trainer.max_epochs", "3"]
    result = said(go_on, tmp_path, (resource.RLIMIT_FSIZE, 1024))
    assert result.returncode == 1
    assert "(File too large)" in result.stderr
    assert config.read_bytes() == before


@pytest.mark.parametrize("module", ["glue_lit", "glue_lit.cli.print_configurations"])  # which tune and suite start
def test_too_little_memory_is_reported(module: str, tiny_model: Path, tmp_path: Path) -> None:
    command = [module if argument == "glue_lit" else argument for argument in fit(tiny_model)]
    result = said(command, tmp_path, (resource.RLIMIT_AS, 600_000_000))
    assert result.returncode == 1
    assert result.stderr.startswith("glue-lit: error: There is not enough memory: its limit (`ulimit -v`) is 600 MB")
    assert len(result.stderr.splitlines()) == 1


def test_only_a_sufficient_memory_limit_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (resource.RLIM_INFINITY, 10**9):
        monkeypatch.setattr(resource, "getrlimit", lambda which, limit=limit: (limit, resource.RLIM_INFINITY))
        check_memory_limit()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (10**9 - 1, resource.RLIM_INFINITY))
    with pytest.raises(GlueLitError, match="is 999 MB"):
        check_memory_limit()


def test_running_out_of_memory_during_the_message_is_reported(tmp_path: Path) -> None:
    program = """
import sys
from glue_lit.cli import reporting
def out(*error): raise MemoryError
reporting._print_error = out
reporting.report_errors(out)
"""
    result = said([sys.executable, "-c", program], tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("glue-lit: error: There was not enough memory")
    assert len(result.stderr.splitlines()) == 1


def test_a_memory_error_of_the_parser_is_raised_unchanged() -> None:
    with pytest.raises(MemoryError):
        Parser().error("", MemoryError())


def test_no_shared_memory_is_reported(tiny_model: Path, tmp_path: Path) -> None:
    full = "mount -t tmpfs -o size=4k tmpfs /dev/shm"
    if shutil.which("unshare") is None or subprocess.run(
        ["unshare", "-m", "sh", "-c", full], capture_output=True, check=False
    ).returncode:  # fmt: skip
        pytest.skip("a /dev/shm of one's own can be mounted by root only")
    command = ["unshare", "-m", "sh", "-c", f'{full} && exec "$@"', "sh", *fit(tiny_model, "--data.num_workers=2")]
    result = said(command, tmp_path)
    assert result.returncode == 1
    assert "error: Shared memory is full or missing" in result.stderr
    assert "Use `--data.num_workers 0`" in result.stderr


def test_a_disk_that_fills_up_keeps_the_last_good_checkpoint(
    tiny_model: Path, small_disk: Callable[[str], Path]
) -> None:
    # room for best.ckpt and last.ckpt, but not for a third file
    disk = small_disk("size=900k")
    result = said(fit(tiny_model), disk)
    assert result.returncode == 1
    run = disk / "lightning_logs/stsb/version_0"
    assert "last.ckpt (No space left on device). The earlier last.ckpt is kept." in result.stderr
    assert "The last checkpoint is from step 3. To resume: glue-lit fit --run" in result.stderr
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == 3
    assert not list((run / "checkpoints").glob(".*"))
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    assert said([sys.executable, "-m", "glue_lit", "fit", "--ckpt_path", "last"], disk).returncode == 0
    assert (run / "metrics.json").is_file()


@pytest.mark.slow
def test_no_command_leaves_a_partial_file(tiny_model: Path, small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("size=20m")
    assert said(fit(tiny_model), disk).returncode == 0
    (disk / "pairs.txt").write_text("".join(f"a {n}\tb\n" for n in range(3000)))
    before = sorted(path for path in disk.rglob("*") if path.is_file())
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    for command in (
        ["predict", "--file", "pairs.txt"],
        ["test", "--ckpt_path", "best"],
        ["export", "--output", "model"],
        ["report"],
        ["submit", "--fill_missing", "majority", "--data.source", "demo"],
        ["tune", "--config", "lightning_logs/stsb/version_0/config.yaml", "--tune.trials", "1"],
    ):
        result = said([sys.executable, "-m", "glue_lit", *command], disk)
        assert result.returncode in (1, 2), command
        assert "error: " in result.stderr, command
        found = {path for path in disk.rglob("*") if path.is_file() and path.stat().st_size and path != filler}
        assert sorted(path for path in found if "tune" not in path.parts) == before, command


@pytest.mark.slow
def test_a_read_only_disk_is_named_by_every_command(tiny_model: Path, small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("size=20m")
    assert said(fit(tiny_model), disk).returncode == 0
    (disk / "pairs.txt").write_text("a\tb\n")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    tune = ["tune", "--config", "lightning_logs/stsb/version_0/config.yaml", "--tune.trials", "1"]
    for command in (fit(tiny_model)[3:], ["fit", "--ckpt_path", "last"], ["predict", "--file", "pairs.txt"], tune):
        result = said([sys.executable, "-m", "glue_lit", *command], disk)
        assert result.returncode == 1, command
        assert "(Read-only file system)" in result.stderr, (command, result.stderr)
    read = said([sys.executable, "-m", "glue_lit", "validate", "--ckpt_path", "best"], disk)
    assert read.returncode == 0, read.stderr


@pytest.mark.parametrize("home", [None, "/proc/nowhere"])
def test_commands_work_without_a_home_directory(home: str | None, tiny_model: Path, tmp_path: Path) -> None:
    program = f"""
import os, pwd, sys
for name in list(os.environ):
    if name.startswith(("HF_", "XDG_", "GLUE_LIT_")) or name in ("HOME", "TMPDIR"): del os.environ[name]
if {home!r}: os.environ["HOME"] = {home!r}
def unknown(_): raise KeyError("getpwuid(): uid not found")
pwd.getpwuid = unknown
sys.argv = ["glue-lit", *{fit(tiny_model)[3:]!r}]
from glue_lit.__main__ import main
main()
"""
    result = said([sys.executable, "-c", program], tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "lightning_logs/stsb/version_0/metrics.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["lightning_logs"]


# ---------------------------------------------------------------- a clock that is set back


def test_a_clock_that_is_set_back_changes_nothing(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    calls, now = [0], time.time()

    def backwards() -> float:
        calls[0] += 1
        return now - 3600.0 * calls[0]

    monkeypatch.setattr(time, "time", backwards)
    assert glue_lit(monkeypatch, *fit(tiny_model)[3:]) == 0
    assert calls[0] > 0
    record = json.loads(Path("lightning_logs/stsb/version_0/metrics.json").read_text())
    assert 0 < record["wall_seconds"] < 200
    assert record["train_samples_per_second"] > 0
