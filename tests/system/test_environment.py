"""Environment variables, each read by one module alone."""

import re
from pathlib import Path

import pytest

import glue_lit
from glue_lit.system import environment

SOURCE = Path(glue_lit.__file__).parent


def test_numbers_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.global_seed() is None
    assert environment.local_rank() == 0
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert environment.global_seed() == 7
    assert environment.local_rank() == 3


def test_a_rank_that_is_not_a_number_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "first")
    assert environment.local_rank() == 0


def test_a_requeued_slurm_job_is_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.slurm_job() is None
    assert not environment.is_slurm_restart()
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert environment.slurm_job() == "123"
    assert environment.is_slurm_restart()


def test_each_setting_of_a_command_has_a_variable() -> None:
    assert environment.setting_variable("fit", "data.custom.text_columns") == "GLUE_LIT_FIT__DATA__CUSTOM__TEXT_COLUMNS"


@pytest.mark.parametrize("name", ["PL_GLOBAL_SEED", "LOCAL_RANK", "SLURM_JOB_ID", "GLUE_LIT_\\w+"])
def test_no_other_module_reads_the_variable(name: str) -> None:
    reads = re.compile(rf"(environ(\.get)?|getenv)\s*[\[(]\s*f?\"{name}")
    readers = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if reads.search(path.read_text())}
    assert readers <= {"system/environment.py"}
