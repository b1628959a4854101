"""Where a score comes from: revision of the code, hashes of the rows, machine."""

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from glue_lit import __version__
from glue_lit.data.splits import TaskSplits
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.provenance import describe_data, device, git_revision, versions


def git(*arguments: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory outside a repository, without a git configuration."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def repository(outside: Path) -> Path:
    """A working directory in a repository with one commit."""
    (outside / "code.py").write_text("a = 1\n", encoding="utf-8")
    git("init", "--quiet")
    git("add", "code.py")
    git("commit", "--quiet", "--message", "first")
    return outside


# ---------------------------------------------------------------- code


def test_the_commit_of_a_clean_repository(repository: Path) -> None:
    assert git_revision() == {"commit": git("rev-parse", "HEAD"), "changed_files": 0}


def test_changed_files_are_counted(repository: Path) -> None:
    (repository / "run.log").write_text("", encoding="utf-8")  # not in the repository, so no change of the code
    assert git_revision() == {"commit": git("rev-parse", "HEAD"), "changed_files": 0}
    (repository / "code.py").write_text("a = 2\n", encoding="utf-8")
    assert git_revision() == {"commit": git("rev-parse", "HEAD"), "changed_files": 1}


def test_a_folder_within_a_repository_belongs_to_it(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "runs").mkdir()
    monkeypatch.chdir(repository / "runs")
    assert git_revision() == {"commit": git("rev-parse", "HEAD"), "changed_files": 0}


def test_no_revision_outside_a_repository(outside: Path) -> None:
    assert git_revision() is None


def test_no_revision_before_the_first_commit(outside: Path) -> None:
    git("init", "--quiet")
    assert git_revision() is None


def test_no_revision_without_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "bin").mkdir()
    monkeypatch.setenv("PATH", str(repository / "bin"))
    assert git_revision() is None


def test_no_revision_when_git_hangs(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("git", 10)

    monkeypatch.setattr(subprocess, "run", hang)
    assert git_revision() is None


def test_versions_of_all_libraries_behind_a_score() -> None:
    found = versions()
    assert found["glue-lit"] == __version__
    assert found["torch"] == version("torch")
    assert {"python", "lightning", "transformers", "tokenizers", "datasets", "torchmetrics", "numpy"} <= set(found)


# ---------------------------------------------------------------- machine


def test_the_device_of_a_run() -> None:
    filter_warnings()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    found = device(trainer)
    assert (found["type"], found["processes"], found["precision"]) == ("cpu", 1, "32-true")
    assert found["name"]
    assert found["threads"] >= 1


# ---------------------------------------------------------------- data


def cola_from(folder: Path, tiny_model: Path, train: str = "a\t1\t\tfine\nb\t0\t\tnot so\n") -> TaskSplits:
    (folder / "CoLA").mkdir(parents=True, exist_ok=True)
    (folder / "CoLA/train.tsv").write_text(train, encoding="utf-8")
    (folder / "CoLA/dev.tsv").write_text("c\t1\t\tfine too\n", encoding="utf-8")
    return TaskSplits({"task": "cola", "tokenizer": str(tiny_model), "source": str(folder)})


def test_each_split_is_named_hashed_and_counted(tiny_model: Path, tmp_path: Path) -> None:
    found = describe_data(cola_from(tmp_path, tiny_model), "fit")
    assert (found["source"], found["max_length"]) == (str(tmp_path), 64)
    splits = found["splits"]
    assert {name: split["rows"] for name, split in splits.items()} == {"train": 2, "validation": 1}
    assert str(tmp_path / "CoLA/train.tsv") in splits["train"]["origin"]
    assert splits["train"]["fingerprint"] != splits["validation"]["fingerprint"]


def test_the_hash_is_of_the_content(tiny_model: Path, tmp_path: Path) -> None:
    def hashes(data: TaskSplits) -> list[str]:
        return [split["fingerprint"] for split in describe_data(data, "fit")["splits"].values()]

    first = hashes(cola_from(tmp_path / "one", tiny_model))
    assert hashes(cola_from(tmp_path / "two", tiny_model)) == first  # wherever it lies
    other = hashes(cola_from(tmp_path / "two", tiny_model, "a\t1\t\tfine\nb\t0\t\tnot sp\n"))  # of the same length
    assert other[0] != first[0]
    assert other[1] == first[1]


def test_the_rows_are_hashed_whatever_else_a_file_holds(tiny_model: Path, tmp_path: Path) -> None:
    first = describe_data(cola_from(tmp_path / "one", tiny_model), "fit")["splits"]
    same = cola_from(
        tmp_path / "two", tiny_model, "gj04\t1\t\tfine\r\nb\t0\t*\tnot so\r\n"
    )  # the same texts and labels
    splits = describe_data(same, "fit")["splits"]
    assert splits["train"]["hash"] == first["train"]["hash"] != first["validation"]["hash"]
    assert splits["train"]["fingerprint"] != first["train"]["fingerprint"]
    assert describe_data(same, "fit")["splits"] == splits  # from the cache of tokens
    assert len(splits["train"]["hash"]) == 64
    assert splits["train"]["commit"] is None
    assert same.content_hashes()["train"] == {"hash": splits["train"]["hash"], "commit": None}


def test_rows_are_those_that_were_used(tiny_model: Path) -> None:
    data = TaskSplits({"task": "mnli", "tokenizer": str(tiny_model), "source": "demo", "validation_limit": 7})
    splits = describe_data(data, "validate")["splits"]
    assert {name: split["rows"] for name, split in splits.items()} == {
        "validation_matched": 7,
        "validation_mismatched": 7,
    }
