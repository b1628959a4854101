"""`glue-lit runs`: what it lists, in which order, what it says of damage, and what it finds different."""

import io
import json
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import termios
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import glue_lit

from glue_lit.runs.locks import lock_run
from glue_lit.runs.run import Run

BAD = Path("lightning_logs/cola/version_9")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runs(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.delenv("GLUE_LIT_DEBUG", raising=False)
    return glue_lit(monkeypatch, "runs", *arguments)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """What `--json` lists with some flags; its runs, whose paths are absolute, as they are seen from here."""

    def ask(*arguments: object) -> Any:
        assert runs(monkeypatch, *arguments, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        for facts in found["runs"] if isinstance(found, dict) else found:
            assert os.path.isabs(facts["run"])
            facts["run"] = os.path.relpath(facts["run"])
        return found

    return ask


def make_run(
    name: str,
    best: float | None = None,
    model: str = "bert-base-cased",
    monitor: str | None = None,
    started: int = 1_000_000,
    logs: str = "lightning_logs",
    **settings: Any,
) -> Path:
    """A run as a fit leaves it: finished if it has a best value. Settings are dotted with two underscores."""
    path = Path(logs, name)
    (path / "checkpoints").mkdir(parents=True)
    task = path.parent.name
    config: dict[str, Any] = {
        "model": {"name_or_path": model, "learning_rate": 2e-5},
        "data": {"task": task},
        "checkpoint": {"monitor": monitor, "mode": None},
    }
    for key, value in settings.items():
        section, _, rest = key.partition("__")
        config.setdefault(section, {})[rest] = value
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    os.utime(path / "config.yaml", (started, started))
    if best is not None:
        watched = monitor or {"cola": "val/matthews_correlation"}.get(task, "val/accuracy")
        record = {
            "monitor": watched, "task": task, "model": model, "metrics": {watched: best, "val/loss": 0.5},
            "best": {"epoch": 2, "step": 20}, "epochs": 3, "wall_seconds": 12.5, "train_samples_per_second": 80.0,
            "versions": {"python": "3.12.1", "torch": "2.7.0"}, "git": None, "config": config,
        }  # fmt: skip
        (path / "metrics.json").write_text(json.dumps(record))
    return path


def make_checkpoint(run: Path, epoch: int, step: int) -> None:
    """The beginning of a checkpoint as torch writes it: a zip, first in it a pickle that starts with these two."""
    with zipfile.ZipFile(run / "checkpoints" / "last.ckpt", "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({"epoch": epoch, "global_step": step, "more": [0] * 500}, 2))


def names(listed: list[dict[str, Any]]) -> list[str]:
    return [facts["run"].removeprefix("lightning_logs/") for facts in listed]


# ---------------------------------------------------------------- order and choice


def test_tasks_are_in_the_order_of_glue_and_the_best_run_is_first(listed: Any) -> None:
    make_run("reviews/version_0", 0.9)
    make_run("rte/version_0", 0.6)
    make_run("cola/version_0", 0.4)
    make_run("cola/version_1", 0.5)
    make_run("cola/version_2")
    make_run("cola/version_3", 0.7, monitor="val/loss")
    make_run("cola/version_10", 0.2, monitor="val/loss")
    assert names(listed()) == [
        "cola/version_10", "cola/version_3",  # a loss is best where it is lowest
        "cola/version_1", "cola/version_0", "cola/version_2",
        "rte/version_0", "reviews/version_0",
    ]  # fmt: skip


def test_sorted_by_date_the_newest_run_is_first(listed: Any) -> None:
    for number, name in enumerate(("rte/version_0", "cola/version_0", "rte/version_1")):
        make_run(name, 0.5, started=1_000_000 + number)
    assert names(listed("--sort", "date")) == ["rte/version_1", "cola/version_0", "rte/version_0"]
    assert names(listed("--sort", "date", "--limit", 2)) == ["rte/version_1", "cola/version_0"]


def test_runs_are_filtered_by_task_model_and_state(listed: Any) -> None:
    make_run("cola/version_0", 0.5, model="google/BERT-small")
    make_run("cola/version_1", 0.6, model="roberta-base")
    make_run("rte/version_0", model="bert-base-cased")
    assert names(listed("--task", "cola")) == ["cola/version_1", "cola/version_0"]
    assert names(listed("--model", "bert-")) == ["cola/version_0", "rte/version_0"]
    assert names(listed("--state", "interrupted")) == ["rte/version_0"]
    assert names(listed("--task", "cola", "--model", "roberta", "--state", "finished", "--limit", 5)) == [
        "cola/version_1"
    ]
    assert listed("--state", "running") == []


def test_a_run_is_listed_with_its_record(listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run("cola/version_0", 0.25)
    (facts,) = listed()
    assert re.fullmatch(r"1970-01-1\dT\d\d:\d\d:40[+-]\d\d:\d\d", facts.pop("started"))
    assert facts == {
        "run": "lightning_logs/cola/version_0", "name": None, "task": "cola", "model": "bert-base-cased",
        "monitor": "val/matthews_correlation", "mode": "max", "best": 0.25,
        "metrics": {"val/matthews_correlation": 0.25, "val/loss": 0.5},
        "state": "finished", "problem": None, "step": None, "epoch": None,
    }  # fmt: skip


def test_names_are_listed_where_a_run_has_one(
    listed: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("rte/version_0", 0.5)
    assert runs(monkeypatch) == 0
    assert capsys.readouterr().out.split()[:3] == ["run", "task", "model"]
    for run in (make_run("cola/version_0", 0.5), make_run("cola/version_1")):  # with its record, and without one
        for file in (run / "config.yaml", run / "metrics.json"):
            if file.exists():
                content = json.loads(file.read_text()) if file.suffix == ".json" else yaml.safe_load(file.read_text())
                content.get("config", content)["name"] = f"of {run.name}"
                file.write_text(json.dumps(content))
    assert {facts["run"][-14:]: facts["name"] for facts in listed()} == {
        "cola/version_0": "of version_0", "cola/version_1": "of version_1", "/rte/version_0": None,
    }  # fmt: skip
    assert runs(monkeypatch) == 0
    header, first, *_ = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["run", "name", "task"]
    assert "of version_0" in first


def test_runs_with_an_undefined_metric_come_last(listed: Any) -> None:
    path = make_run("stsb/version_0", 0.5, monitor="val/pearson")
    text = (path / "metrics.json").read_text()
    (path / "metrics.json").write_text(text.replace('"val/pearson": 0.5', '"val/pearson": null'))
    make_run("stsb/version_1", -0.1, monitor="val/pearson")
    assert [(facts["best"], facts["state"]) for facts in listed()] == [(-0.1, "finished"), (None, "finished")]


# ---------------------------------------------------------------- places


def test_runs_of_searches_and_suites_are_listed_with_all_only(listed: Any) -> None:
    make_run("cola/version_0", 0.5)
    trial = make_run("cola/version_0", 0.4, logs="lightning_logs/tune/x/trials/0001/lightning_logs")
    seed = make_run("rte/version_0", 0.4, logs="lightning_logs/suite/version_1/m/rte/seed_1/lightning_logs")
    assert names(listed()) == ["cola/version_0"]
    assert [facts["run"] for facts in listed("--all")] == ["lightning_logs/cola/version_0", str(trial), str(seed)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["here"], 2),
        (["--trainer.default_root_dir", "here"], 2),
        (["here/lightning_logs"], 2),
        (["here/lightning_logs/cola"], 1),
    ],
)
def test_runs_are_found_below_the_given_root(where: list[str], expected: int, listed: Any) -> None:
    make_run("cola/version_0", logs="here/lightning_logs")
    make_run("rte/version_0", logs="here/lightning_logs")
    found = listed(*where)
    assert len(found) == expected
    assert found[0]["run"] == "here/lightning_logs/cola/version_0"


def test_linked_folders_are_listed_once(listed: Any) -> None:
    make_run("cola/version_0", 0.5)
    logs = Path("lightning_logs")
    (logs / "again").symlink_to("cola")
    (logs / "cola/version_5").symlink_to("version_0")
    (logs / "cola/round").symlink_to("..")
    (logs / "cola/version_6").symlink_to("version_6")
    (logs / "cola/version_7").symlink_to("gone")
    for flags in ((), ("--all",)):
        found = {facts["run"]: facts["state"] for facts in listed(*flags)}
        assert found == {"lightning_logs/cola/version_0": "finished", "lightning_logs/cola/version_6": "damaged"}


def test_a_folder_of_logs_may_be_a_link(listed: Any) -> None:
    make_run("cola/version_0", 0.5, logs="disk")
    Path("lightning_logs").symlink_to("disk")
    assert names(listed()) == names(listed("--all")) == ["cola/version_0"]


def test_a_folder_that_cannot_be_read_is_reported(
    listed: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("cola/version_0", 0.5)
    make_run("rte/version_0", 0.5)
    real = os.scandir

    def scandir(path: Any) -> Any:  # root, as whom tests may run, can read all
        if Path(path).name in refused:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    refused = {"rte"}
    monkeypatch.setattr(os, "scandir", scandir)
    assert runs(monkeypatch) == 0
    shown = capsys.readouterr()
    assert shown.out.count("version_0") == 1
    assert shown.err == "lightning_logs/rte cannot be read (Permission denied).\n"
    refused = {"lightning_logs"}
    assert runs(monkeypatch) == 1
    assert "lightning_logs cannot be read (Permission denied). Choose another folder" in capsys.readouterr().err


def test_an_empty_root_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: object) -> str:
        assert runs(monkeypatch, *arguments) == 0
        shown = capsys.readouterr()
        assert shown.out == ""
        return shown.err

    assert said().startswith("There is no run in lightning_logs. Train one first, e.g. `glue-lit fit --config")
    make_run("cola/version_0", logs="lightning_logs/tune/x/trials/0/lightning_logs")
    assert said() == "There is no run in lightning_logs itself; `--all` lists the 1 further down.\n"
    make_run("cola/version_0")
    expected = "No run in lightning_logs matches (1 run in all). Did you mean 'cola'? Their tasks are: cola.\n"
    assert said("--task", "cla") == expected


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere"], 1, "runs: there is no directory 'nowhere'. Name the one in which lightning_logs lies."),
        (["--trainer.default_root_dir", "x"], 1, "--trainer.default_root_dir: there is no directory 'x'."),
        ([".", "--trainer.default_root_dir", "."], 2, "a folder is given twice; leave FOLDER or --trainer.default"),
        (["--limit", "0"], 2, "--limit: got 0, allowed: 1 or more."),
        (["--limit", "x"], 2, "argument --limit: invalid int value: 'x'"),
        (["--state", "done"], 2, "argument --state: invalid choice: 'done'"),
        (["--srot", "date"], 2, "unrecognized arguments: --srot. Did you mean '--sort'?"),
        (["--compare", "a"], 2, "--compare: got 1 run (a), allowed: 2 or more."),
        (["--compare", "a", "b"], 1, "--compare: there is no directory 'a'."),
        (["--compare", "a", "b/../a"], 2, "--compare: a is given twice; name each run once."),
        (["--compare", "a", "b", "--task", "cola"], 2, "--compare takes runs and --json only"),
        (["--compare", ".", "b"], 1, "--compare: . is not a run, it has no config.yaml."),
    ],
)
def test_errors(
    arguments: list[str],
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert runs(monkeypatch, *arguments) == status
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""


# ---------------------------------------------------------------- states


def test_a_run_locked_by_another_process_is_running(listed: Any) -> None:
    path = make_run("cola/version_0", 0.5)  # with the figures of an earlier end
    program = (
        "import sys; from pathlib import Path; from glue_lit.runs.locks import lock_run; from glue_lit.runs.run import Run; "
        "lock_run(Run(Path(sys.argv[1]))); print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        assert [facts["state"] for facts in listed()] == ["running"]
        process.communicate()
    assert [facts["state"] for facts in listed()] == ["finished"]
    handle = lock_run(Run(path))  # nor does the look itself leave a lock
    assert handle is not None
    os.close(handle)


def test_an_interrupted_run_shows_its_epoch_and_step(
    listed: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_checkpoint(make_run("cola/version_0"), 2, 70_000)
    make_run("cola/version_1")
    facts = {each["run"][-1]: (each["state"], each["step"], each["epoch"]) for each in listed()}
    assert facts == {"0": ("interrupted", 70_000, 3), "1": ("interrupted", None, None)}
    runs(monkeypatch)
    assert "interrupted, step 70000, epoch 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"PK\x03\x04" + bytes(22) + struct.pack("<HH", 4, 60_000) + b"name",
        b"PK\x03\x04" + bytes(22) + struct.pack("<HH", 4, 0) + b"name" + b"\x80\x02}q\x00(X\xff\xff\xff\xffepoch",
        pickle.dumps({"epoch": "x", "global_step": None}, 2),
        random.Random(0).randbytes(600),
    ],
)
def test_an_unreadable_checkpoint_has_no_step(content: bytes, listed: Any) -> None:
    path = make_run("cola/version_0")
    (path / "checkpoints" / "last.ckpt").write_bytes(content)
    (facts,) = listed()
    assert (facts["state"], facts["step"]) == ("interrupted", None)


def test_the_step_of_a_checkpoint_that_torch_wrote(listed: Any) -> None:
    import torch

    path = make_run("cola/version_0")
    content = {"epoch": 0, "global_step": 300, "state_dict": {"w": torch.zeros(1000)}}
    torch.save(content, path / "checkpoints" / "last.ckpt")
    (facts,) = listed()
    assert (facts["step"], facts["epoch"]) == (300, 1)


# ---------------------------------------------------------------- damage


def laughs() -> str:
    """A few lines that mean a list of 10 ** 30 items."""
    return "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 31))


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("metrics.json", b"", "damaged metrics.json"),
        ("metrics.json", b'{"metrics": {"val/acc', "damaged metrics.json"),
        ("metrics.json", b"[]", "damaged metrics.json"),
        ("metrics.json", b"{}", "damaged metrics.json"),
        ("metrics.json", b'{"metrics": [1]}', "damaged metrics.json"),
        ("metrics.json", b"\xff\xfe", "damaged metrics.json"),
        ("metrics.json", b"[" * 100_000, "damaged metrics.json"),
        ("metrics.json", b'{"metrics": {}, "x": ' + b"[" * 500 + b"]" * 500 + b"}", "damaged metrics.json"),
        ("metrics.json", None, "damaged metrics.json"),
        ("config.yaml", b"", "damaged config.yaml"),
        ("config.yaml", b"data:\n  task: [co", "damaged config.yaml"),
        ("config.yaml", b"just words", "damaged config.yaml"),
        ("config.yaml", b"\xff\xfe\x00", "damaged config.yaml"),
        ("config.yaml", b"a: 2024-99-99", "damaged config.yaml"),
        ("config.yaml", b"a: !!python/object/apply:os.system [exit]", "damaged config.yaml"),
        ("config.yaml", b"[" * 100_000, "damaged config.yaml"),  # the parser in C would end the process
        ("config.yaml", b"- " * 100_000, "damaged config.yaml"),
        ("config.yaml", b"a: &a\n  b: *a", "damaged config.yaml"),
        ("config.yaml", laughs().encode(), "damaged config.yaml"),
        ("config.yaml", None, "damaged config.yaml"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_file_is_reported_and_the_rest_is_listed(
    file: str,
    content: bytes | None,
    problem: str,
    listed: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = make_run("cola/version_9")
    make_run("cola/version_1", 0.5)
    (path / file).unlink(missing_ok=True)
    if content is None:
        os.mkfifo(path / file)  # reading it would wait for ever
    else:
        (path / file).write_bytes(content)
    good, bad = listed()
    assert good["state"] == "finished"
    assert (bad["run"], bad["task"], bad["state"], bad["problem"]) == (str(BAD), "cola", "damaged", problem)
    assert bad["model"] == (None if file == "config.yaml" else "bert-base-cased")
    assert len(listed("--state", "damaged")) == 1
    assert runs(monkeypatch) == 0
    assert re.search(rf"^{BAD} .* {problem}$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    "record",
    [
        {"metrics": {"val/matthews_correlation": "high"}, "task": ["x"], "model": {"a": 1}, "monitor": 3},
        {"metrics": {"val/matthews_correlation": 10**400}, "config": [1], "git": 7, "versions": None},
        {"metrics": {"val/matthews_correlation": True}, "best": "x", "config": {"data": 1, "checkpoint": {"mode": []}}},
    ],
)
def test_values_of_another_type_are_left_out(
    record: dict[str, Any], listed: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = make_run("cola/version_0"), make_run("cola/version_1", 0.5)
    (path / "metrics.json").write_text(json.dumps(record))
    assert {facts["run"]: facts["best"] for facts in listed()} == {str(path): None, str(other): 0.5}
    assert runs(monkeypatch) == 0
    assert runs(monkeypatch, "--compare", path, other) == 0
    assert "val/matthews_correlation" in capsys.readouterr().out


def test_files_without_permission_are_reported(listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_run("cola/version_9", 0.5)
    real = os.stat

    def refuse(self: Path, **options: Any) -> os.stat_result:
        if self.parent.name == "version_9":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    (facts,) = listed()
    assert (facts["run"], facts["task"], facts["problem"]) == (str(path), "cola", "unreadable (Permission denied)")


def test_a_run_without_configuration_is_listed(listed: Any) -> None:
    (make_run("cola/version_9", 0.5) / "config.yaml").unlink()
    Path("lightning_logs/cola/version_3").mkdir()  # claimed by a fit that came to nothing
    (facts,) = listed()
    assert (facts["state"], facts["problem"], facts["best"]) == ("damaged", "no config.yaml", 0.5)


# ---------------------------------------------------------------- output


def test_a_pipe_gets_one_line_for_each_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as CI services set it
    make_run("cola/version_0", 0.51234, started=0)
    make_run("rte/version_12", model="a [bold red]model[/]\n\x1b[31mred\tü")
    assert runs(monkeypatch) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "task", "model", "metric", "best", "started", "state"]
    assert first.split()[:5] == [
        "lightning_logs/cola/version_0", "cola", "bert-base-cased", "val/matthews_correlation", "0.5123",
    ]  # fmt: skip
    assert r"a [bold red]model[/]\n\x1b[31mred\tü" in second
    assert header.index("state") == first.index("finished") == second.index("interrupted")
    assert "\x1b" not in header + first + second


def test_a_terminal_gets_one_table_for_each_task() -> None:
    make_run("cola/version_0", 0.5)
    make_run("rte/version_0", model="[red]m[/]")
    keyboard, screen = os.openpty()
    termios.tcsetwinsize(screen, (40, 80))
    command = [sys.executable, "-m", "glue_lit", "runs"]
    environment = os.environ | {"TERM": "xterm", "NO_COLOR": "1"}
    environment.pop("COLUMNS", None)
    subprocess.run(command, stdin=screen, stdout=screen, stderr=screen, check=True, env=environment)
    os.close(screen)
    with os.fdopen(keyboard, "rb", buffering=0) as file:
        text = re.sub(r"\x1b\[[0-9;]*m", "", file.read(65536).decode())
    lines = [line.strip() for line in text.splitlines()]
    assert [line for line in lines if ", val/" in line] == ["cola, val/matthews_correlation", "rte, val/accuracy"]
    assert re.search(r"^ lightning_logs/cola/version_0   0\.5000   bert-base", text, re.MULTILINE)
    assert "[red]m[/]" in text
    assert max(map(len, text.splitlines())) <= 80


# ---------------------------------------------------------------- comparison


def compared(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *paths: Path) -> dict[str, list[str]]:
    """Name of each line to the cells in it."""
    assert runs(monkeypatch, "--compare", *paths) == 0
    lines = [re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines() if line]
    return {line[0]: line[1:] for line in lines}


def test_a_comparison_shows_what_differs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first = make_run("cola/version_0", 0.5, model__warmup=0.1, trainer__callbacks=[{"a": 1}])
    second = make_run("cola/version_1", 0.625, model__warmup=0, model__freeze=None, trainer__callbacks=[{"a": 1}])
    third = make_run("cola/version_2", 0.5, model="roberta-base", model__warmup=0.1, trainer__callbacks=[{"a": 2}])
    record = json.loads((second / "metrics.json").read_text())
    record["versions"]["torch"], record["git"] = "2.8.0", {"commit": "abc", "changed_files": 1}
    (second / "metrics.json").write_text(json.dumps(record))
    found = compared(monkeypatch, capsys, first, second, third)
    paths = [str(first), str(second), str(third)]
    assert found == {
        "setting": paths,
        "model.name_or_path": ["bert-base-cased", "bert-base-cased", "roberta-base"],
        "model.warmup": ["0.1", "0", "0.1"],
        "model.freeze": ["-", "null", "-"],  # not there, and null
        "trainer.callbacks": ['[{"a": 1}]', '[{"a": 1}]', '[{"a": 2}]'],
        "result": paths,
        "state": ["finished"] * 3,
        "val/matthews_correlation": ["0.5", "0.625", "0.5"],
        "val/loss": ["0.5"] * 3,
        "best.epoch": ["2"] * 3,
        "best.step": ["20"] * 3,
        "epochs": ["3"] * 3,
        "wall_seconds": ["12.5"] * 3,
        "train_samples_per_second": ["80"] * 3,
        "versions.torch": ["2.7.0", "2.8.0", "2.7.0"],
        "git": ["null", "-", "null"],
        "git.commit": ["-", "abc", "-"],
        "git.changed_files": ["-", "1", "-"],
    }


def with_data(path: Path, **train: str) -> Path:
    record = json.loads((path / "metrics.json").read_text())
    record["data"] = {"splits": {"train": {"rows": 8, **train}}}
    (path / "metrics.json").write_text(json.dumps(record))
    return path


def test_data_are_compared_by_their_rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first = with_data(make_run("cola/version_0", 0.5), fingerprint="a", hash="rows", commit="1")
    other_file = with_data(make_run("cola/version_1", 0.5), fingerprint="b", hash="rows", commit="2")
    other_rows = with_data(make_run("cola/version_2", 0.5), fingerprint="c", hash="more")
    older = with_data(make_run("cola/version_3", 0.5), fingerprint="a")
    older_other = with_data(make_run("cola/version_4", 0.5), fingerprint="d")
    unfinished = make_run("cola/version_5")

    def data(*runs: Path) -> dict[str, list[str]]:
        found = compared(monkeypatch, capsys, *runs)
        return {key.removeprefix("data.splits.train."): row for key, row in found.items() if key.startswith("data.")}

    assert data(first, other_file) == {"commit": ["1", "2"]}  # another README, say
    assert data(first, other_rows) == {"hash": ["rows", "more"], "commit": ["1", "-"]}
    assert data(first, older) == {"commit": ["1", "-"]}  # the same file
    assert data(first, older_other)["hash"] == ["rows", "not comparable"]
    assert "fingerprint" not in data(first, older_other)
    assert data(older, older_other) == {"fingerprint": ["a", "d"]}
    assert data(first, unfinished, other_file) == {"commit": ["1", "-", "2"]}


def test_a_comparison_for_scripts(listed: Any) -> None:
    first, second = (
        make_run("cola/version_0", 0.5, model__x=None),
        make_run("cola/version_1", 0.75, data__y=float("nan")),
    )
    found = listed("--compare", first, second)
    assert [facts["best"] for facts in found["runs"]] == [0.5, 0.75]
    first, second = first.absolute(), second.absolute()
    assert found["config"] == {"model.x": {str(first): None}, "data.y": {str(second): None}}  # JSON has no NaN
    assert found["results"]["val/matthews_correlation"] == {str(first): 0.5, str(second): 0.75}


def test_equal_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # As YAML, "1e-5" is a text and 1 is not 1.0; a reader sees no difference.
    first = make_run("cola/version_0", 0.5, model__a="1e-05", model__b=1)
    second = make_run("cola/version_1", 0.5, model__a=1e-5, model__b=1.0)
    assert runs(monkeypatch, "--compare", first, second) == 0
    shown = capsys.readouterr()
    assert shown.err == "0 of 7 settings differ.\n"
    assert shown.out.startswith("result ")


def test_damaged_runs_are_compared_by_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good, lost = make_run("cola/version_0", 0.5, model__warmup=0.1), make_run("cola/version_1", model__warmup=0.2)
    kept, broken = make_run("cola/version_2", 0.5, model__warmup=0.3), make_run("cola/version_3")
    for path in (kept, broken):
        (path / "config.yaml").write_text("model: [")
    assert runs(monkeypatch, "--compare", good, lost, kept, broken) == 0
    shown = capsys.readouterr()
    assert shown.err == f"{broken}: damaged config.yaml\n{kept}: damaged config.yaml\n"
    assert re.search(r"^model\.warmup +0\.1 +0\.2 +0\.3 +-$", shown.out, re.MULTILINE)
    assert "data.task" not in shown.out  # the same in all whose configuration is known
    assert re.search(r"^state +finished +interrupted +finished +damaged$", shown.out, re.MULTILINE)
    assert re.search(r"^val/matthews_correlation +0\.5 +- +0\.5 +-$", shown.out, re.MULTILINE)


def test_markup_in_files_is_printed_as_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    first, second = make_run("cola/version_0", model="[red]a[/red]"), make_run("cola/version_1", model="\x1b[2Jb")
    screen = Terminal()
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stdout", screen)
    assert runs(monkeypatch, "--compare", first, second) == 0
    assert "[red]a[/red]" in screen.getvalue()
    assert r"\x1b[2Jb" in screen.getvalue()
    assert "\x1b[2J" not in screen.getvalue()


# ---------------------------------------------------------------- deletion


def test_runs_are_deleted_with_all_their_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], listed: Any
) -> None:
    first, second, third = (make_run(f"cola/version_{number}", 0.5) for number in range(3))
    make_checkpoint(first, 1, 10)
    (first / "report-validation").mkdir()
    (first / "events.out.tfevents.1.host").touch()
    (second / "config.yaml").unlink()  # one that was killed as it began
    assert runs(monkeypatch, "--delete", first, f"{first}/", second) == 2
    assert "--delete: pass `--yes` to delete 2 runs, 0.0 MB; without a terminal" in capsys.readouterr().err
    assert first.exists()
    assert runs(monkeypatch, "--delete", first, f"{first}/", second, "--yes", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["deleted"] == [str(first.absolute()), str(second.absolute())]
    assert "Deleted: 2 runs, 0.0 MB." in err
    assert [facts["run"] for facts in listed()] == [str(third)]
    assert not first.exists()


@pytest.mark.parametrize(("answer", "is_deleted"), [("n", False), ("", False), ("y", True), ("YES", True)])
def test_on_a_terminal_the_user_is_asked(
    answer: str, is_deleted: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run("cola/version_0", 0.5)
    terminal = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert runs(monkeypatch, "--delete", run) == 0
    assert "Delete 1 run, 0.0 MB, with checkpoints and predictions? [y/N] " in capsys.readouterr().err
    assert run.exists() is not is_deleted


def test_nothing_but_idle_runs_is_deleted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good, locked, mixed = (make_run(f"cola/version_{number}", 0.5) for number in range(3))
    (mixed / "thesis.md").write_text("mine")
    Path("project/checkpoints").mkdir(parents=True)
    Path("link").symlink_to(good)
    lock = lock_run(Run(locked))
    assert lock is not None
    try:
        for path, message in (
            (locked, f"{locked} is being trained by another process, so nothing is deleted."),
            (mixed, f"{mixed} holds 'thesis.md', which glue-lit did not write there"),
            ("lightning_logs/cola", "lightning_logs/cola is not a run"),
            ("project", "project is not a run"),
            (".", ". is not a run"),
            ("link", f"link is a link to {good.resolve()}. Name the run itself."),
            ("gone", "there is no directory 'gone'"),
            (good / "config.yaml", "there is no directory"),
        ):
            assert runs(monkeypatch, "--delete", good, path, "--yes") == 1
            assert message in capsys.readouterr().err
    finally:
        os.close(lock)
    assert all(path.exists() for path in (good / "metrics.json", locked, mixed, Path("project")))
    for flags in (["--yes"], ["--delete", good, "--task", "cola"], ["--delete", good, "--compare", good, locked]):
        assert runs(monkeypatch, *flags) == 2
    assert good.exists()
