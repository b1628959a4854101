"""Settings that are detected, on machines of every kind."""

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from glue_lit.system.hardware import available_memory, fast_precision, keep_freed_memory


def with_machine(
    monkeypatch: pytest.MonkeyPatch, cuda: bool = False, bf16: bool = False, cpu: dict[str, Any] | None = None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu or {})


@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda"])
def test_the_precision_of_a_gpu_depends_on_its_bfloat16(monkeypatch: pytest.MonkeyPatch, accelerator: str) -> None:
    with_machine(monkeypatch, cuda=True, bf16=True)
    assert fast_precision(accelerator) == "bf16-mixed"
    with_machine(monkeypatch, cuda=True, bf16=False, cpu={"avx512_bf16": True})  # emulated bfloat16 is slow
    assert fast_precision(accelerator) == "32-true"


@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": True}, "bf16-mixed"),
        ({"sve_bf16": True}, "bf16-mixed"),
        ({"avx512_bf16": False, "avx2": True}, "32-true"),
        ({}, "32-true"),
    ],
)
def test_a_cpu_decides_by_its_instructions(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, found: dict[str, bool], expected: str
) -> None:
    with_machine(monkeypatch, cpu=found)
    assert fast_precision(accelerator) == expected


def test_a_cpu_chosen_beside_a_gpu_decides_by_its_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    with_machine(monkeypatch, cuda=True, bf16=True)
    assert fast_precision("cpu") == "32-true"


def test_an_older_torch_gets_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    with_machine(monkeypatch)
    monkeypatch.setattr(torch, "cpu", SimpleNamespace())
    assert fast_precision("cpu") == "32-true"


def test_other_accelerators_stay_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    with_machine(monkeypatch, cpu={"avx512_bf16": True})
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)  # mps
    assert fast_precision("auto") == fast_precision("mps") == "32-true"


FAULTS = """
import resource, sys
from glue_lit.system.hardware import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
import torch
def step():
    for _ in range(4):
        torch.ones(2_000_000)  # 8 MB, freed at once
for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    left = {"MALLOC_MMAP_THRESHOLD_": "4194304"} if mode == "leave" else {}
    result = subprocess.run(
        [sys.executable, "-c", FAULTS, mode], env={"PATH": "", "PYTHONPATH": ":".join(sys.path), **left},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_freed_memory_is_reused() -> None:
    # Every new page is a page fault; 80 blocks of 8 MB are 160,000 pages.
    kept, left = page_faults("keep"), page_faults("leave")
    assert kept < 1_000 < 100_000 < left, (kept, left)


RETURNED = """
import os
import numpy
from glue_lit.system.hardware import keep_freed_memory, return_freed_memory
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
keep_freed_memory()
blocks = [numpy.ones(1 << 20) for _ in range(16)]  # 8 MiB each
print(resident())
del blocks
print(resident())
return_freed_memory()
print(resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_freed_memory_is_returned_when_asked() -> None:
    result = subprocess.run(
        [sys.executable, "-c", RETURNED], env={"PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    full, kept, returned = map(int, result.stdout.split())
    assert kept > full - 16
    assert returned < full - 112


def test_settings_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert not keep_freed_memory()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:   2048 kB\n"}, 2048 * 1024),
        (
            {
                "/proc/meminfo": "MemAvailable:   2048 kB\n",
                "/sys/fs/cgroup/memory.max": "3000\n",
                "/sys/fs/cgroup/memory.current": "1000\n",
            },
            2000,
        ),
        (  # files that were read count as used, until the memory is needed
            {
                "/proc/meminfo": "MemAvailable:   2048 kB\n",
                "/sys/fs/cgroup/memory.max": "3000\n",
                "/sys/fs/cgroup/memory.current": "2900\n",
                "/sys/fs/cgroup/memory.stat": "anon 300\ninactive_file 2100\nworkingset_refault_file 7\n",
            },
            2200,
        ),
        (
            {
                "/proc/meminfo": "MemAvailable:   1 kB\n",
                "/sys/fs/cgroup/memory.max": "max\n",
                "/sys/fs/cgroup/memory.current": "1000\n",
            },
            1024,
        ),
        ({}, None),
    ],
)
def test_memory_is_what_the_machine_and_the_container_leave(
    files: dict[str, str], expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> str:
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    assert available_memory() == expected
