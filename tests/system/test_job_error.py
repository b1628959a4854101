from pathlib import Path

import pytest

from glue_lit.__main__ import main
from glue_lit.system.job_error import read_job_error, remove_job_error, write_job_error


def test_the_error_of_a_command_is_kept_for_its_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLUE_LIT_JOB", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["glue-lit", "nothing"])
    with pytest.raises(SystemExit):
        main()
    assert read_job_error(tmp_path).startswith("there is no command 'nothing'.")
    assert capsys.readouterr().err.startswith("glue-lit: error: there is no command 'nothing'.")


def test_only_the_first_line_of_the_latest_error_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_job_error(tmp_path) == ""
    monkeypatch.setenv("GLUE_LIT_JOB", str(tmp_path))
    write_job_error("first")
    write_job_error("second\nwith a note")
    assert read_job_error(tmp_path) == "second"
    remove_job_error(tmp_path)
    remove_job_error(tmp_path)
    assert read_job_error(tmp_path) == ""


def test_a_command_outside_a_job_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLUE_LIT_JOB", raising=False)
    monkeypatch.chdir(tmp_path)
    write_job_error("there is no room")
    monkeypatch.setenv("GLUE_LIT_JOB", str(tmp_path / "gone"))
    write_job_error("there is no room")
    assert list(tmp_path.iterdir()) == []
