"""From what the user typed to a full command line: every way to name a run and a checkpoint."""

import inspect
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.cli.run_arguments import TRAINER_COMMANDS, resolve_arguments
from glue_lit.errors import RunError, UsageError

MakeRun = Callable[..., str]
CHECKPOINT = {"hyper_parameters": {"architecture": "{}"}, "glue_lit": {"format": 1}, "weight": torch.ones(500)}


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are no SLURM job, whoever runs them."""
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Make a run below the working directory, newer than those made before; gives its folder."""
    monkeypatch.chdir(tmp_path)
    made = []

    def make(task: str, version: int = 0, checkpoints: tuple[str, ...] = ("best", "last"), root: str = ".") -> str:
        folder = Path(root, "lightning_logs", task, f"version_{version}")
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.yaml").write_text(f"data:\n  task: {task}\n", encoding="utf-8")
        made.append(folder)
        os.utime(folder / "config.yaml", (1_000_000 + len(made), 1_000_000 + len(made)))
        for name in checkpoints:
            torch.save(CHECKPOINT, folder / f"checkpoints/{name}.ckpt")
        return str(folder)

    return make


def full(command: str, run: str, checkpoint: str, *others: str) -> list[str]:
    """The run's configuration first, so that all the user says wins over it; the checkpoint last."""
    return [command, "--config", f"{run}/config.yaml", *others, "--ckpt_path", f"{run}/checkpoints/{checkpoint}.ckpt"]


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
@pytest.mark.parametrize("name", ["best", "last"])
def test_best_and_last_are_those_of_the_newest_run(make_run: MakeRun, command: str, name: str) -> None:
    make_run("cola", 3)
    newest = make_run("rte", 1)
    assert resolve_arguments([command, "--ckpt_path", name]) == full(command, newest, name)
    assert resolve_arguments([command, f"--ckpt_path={name}"]) == full(command, newest, name)


def test_given_flags_keep_their_order(make_run: MakeRun) -> None:
    run = make_run("cola")
    others = ["--data.source", "demo", "--trainer.devices=1", "--config", "mine.yaml"]
    given = ["validate", *others[:2], "--ckpt_path", "best", *others[2:]]
    assert resolve_arguments(given) == full("validate", run, "best", *others)


def test_a_run_means_its_best_checkpoint(make_run: MakeRun) -> None:
    run = make_run("cola", 0)
    make_run("cola", 1)
    for flag in (["--run", run], [f"--run={run}"]):
        assert resolve_arguments(["test", *flag]) == full("test", run, "best")
        assert resolve_arguments(["test", *flag, "--ckpt_path", "last"]) == full("test", run, "last")
        assert resolve_arguments(["fit", *flag, "--ckpt_path=last"]) == full("fit", run, "last")


def test_a_run_needs_no_flag(make_run: MakeRun) -> None:
    run = make_run("cola", 0)
    make_run("cola", 1)
    assert resolve_arguments(["test", run]) == full("test", run, "best")
    assert resolve_arguments(["test", "--data.task", "cola", run]) == full("test", run, "best", "--data.task", "cola")
    assert resolve_arguments(["test", "--trainer.devices=1", run]) == full("test", run, "best", "--trainer.devices=1")
    assert resolve_arguments(["test", run, "--ckpt_path", "last"]) == full("test", run, "last")
    assert resolve_arguments(["fit", "--ckpt_path", "last", run]) == full("fit", run, "last")
    assert resolve_arguments(["fit", "--model.init_from", run]) == ["fit", "--model.init_from", run]
    assert resolve_arguments(["fit", f"--model.init_from={run}"]) == ["fit", f"--model.init_from={run}"]
    assert resolve_arguments(["fit", "cola"]) == ["fit", "cola"]  # the parser says what is wrong with it
    with pytest.raises(RunError, match=r"there is no directory 'lightning_logs/colla/version_0'\. Did you mean"):
        resolve_arguments(["validate", "lightning_logs/colla/version_0"])
    with pytest.raises(UsageError, match=r"^test: got the runs \S+version_0 and other\. Name one\.$"):
        resolve_arguments(["test", run, "--run", "other"])
    with pytest.raises(UsageError, match=r"add `--ckpt_path last`"):
        resolve_arguments(["fit", run])


def test_the_last_of_two_equal_flags_counts(make_run: MakeRun) -> None:
    first, second = make_run("cola", 0), make_run("cola", 1)
    given = ["test", "--run", second, "--ckpt_path=last", "--run", first, "--ckpt_path", "best"]
    assert resolve_arguments(given) == full("test", first, "best")


@pytest.mark.parametrize(
    "task", [["--data.task", "cola"], ["--data.task=cola"], ["--config", "task.yaml"], ["-c=task.yaml"]], ids=str
)
def test_the_newest_run_is_one_of_the_task(make_run: MakeRun, task: list[str]) -> None:
    run = make_run("cola")
    make_run("rte")
    Path("task.yaml").write_text("data:\n  task: cola\n", encoding="utf-8")
    assert resolve_arguments(["validate", *task, "--ckpt_path", "best"]) == full("validate", run, "best", *task)


def test_a_flag_wins_over_a_file_for_the_task(make_run: MakeRun) -> None:
    run = make_run("rte")
    make_run("cola")
    Path("task.yaml").write_text("data:\n  task: cola\n", encoding="utf-8")
    others = ["--data.task", "rte", "--config", "task.yaml"]
    assert resolve_arguments(["validate", *others, "--ckpt_path", "best"]) == full("validate", run, "best", *others)


def test_the_diagnostic_set_takes_runs_of_mnli(make_run: MakeRun) -> None:
    run = make_run("mnli")
    make_run("rte")
    others = ["--data.task", "ax"]
    assert resolve_arguments(["test", *others, "--ckpt_path", "best"]) == full("test", run, "best", *others)


def test_without_a_run_of_the_task_an_error_lists_others(make_run: MakeRun) -> None:
    make_run("rte")
    expected = (
        "There is no run of task cola in lightning_logs. There are runs of rte. Train one first, e.g. `glue-lit fit"
    )
    with pytest.raises(RunError, match=re.escape(expected)):
        resolve_arguments(["validate", "--data.task", "cola", "--ckpt_path", "best"])
    with pytest.raises(RunError, match=re.escape("There is no run of task mnli in lightning_logs.")):
        resolve_arguments(["test", "--data.task=ax", "--ckpt_path", "best"])


def test_without_any_run_an_error_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"There is no run in lightning_logs\. Train one first"):
        resolve_arguments(["validate", "--ckpt_path", "best"])


@pytest.mark.parametrize("root", [["--trainer.default_root_dir", "out"], ["--config", "root.yaml"]], ids=str)
def test_runs_below_another_root(make_run: MakeRun, root: list[str]) -> None:
    make_run("cola", 7)
    run = make_run("cola", 0, root="out")
    make_run("cola", 8)
    Path("root.yaml").write_text("trainer:\n  default_root_dir: out\n", encoding="utf-8")
    assert resolve_arguments(["test", *root, "--ckpt_path", "best"]) == full("test", run, "best", *root)


@pytest.mark.parametrize("null", ["null", "~", ""])
def test_a_null_root_is_the_working_directory(make_run: MakeRun, null: str) -> None:
    # As every run's own config.yaml has it.
    run = make_run("cola")
    Path("root.yaml").write_text(f"trainer:\n  default_root_dir: {null}\n", encoding="utf-8")
    others = ["--config", "root.yaml"]
    assert resolve_arguments(["test", *others, "--ckpt_path", "best"]) == full("test", run, "best", *others)


# ---------------------------------------------------------------- checkpoint files


def test_a_checkpoint_within_a_run_brings_its_configuration(make_run: MakeRun) -> None:
    run = make_run("cola", 0, ("best", "epoch=3"))
    make_run("cola", 1)
    file = f"{run}/checkpoints/epoch=3.ckpt"
    config = str(Path(run).absolute() / "config.yaml")
    expected = ["validate", "--config", config, "--data.source=demo", "--ckpt_path", file]
    assert resolve_arguments(["validate", "--ckpt_path", file, "--data.source=demo"]) == expected
    assert resolve_arguments(["validate", f"--ckpt_path={file}", "--data.source=demo"]) == expected


def test_a_named_run_wins_over_the_files_own(make_run: MakeRun) -> None:
    first, second = make_run("cola", 0), make_run("cola", 1)
    file = f"{first}/checkpoints/best.ckpt"
    expected = ["test", "--config", f"{second}/config.yaml", "--ckpt_path", file]
    assert resolve_arguments(["test", "--ckpt_path", file, "--run", second]) == expected


def test_a_checkpoint_outside_a_run_brings_its_own_task_and_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = {"architecture": "{}", "name_or_path": "some/model", "revision": "main", "attention": None}
    data = {"task": "rte", "source": "demo", "batch_size": 8, "eval_batch_size": None, "max_length": 64, "seed": 3}
    torch.save({"hyper_parameters": model, "datamodule_hyper_parameters": data}, "mine.ckpt")
    assert resolve_arguments(["predict", "--ckpt_path", "mine.ckpt", "--data.batch_size", "4"]) == [
        "predict",
        "--data.task=rte",
        "--data.source=demo",
        "--data.batch_size=8",
        "--data.max_length=64",
        "--data.seed=3",
        "--model.name_or_path=some/model",
        "--model.revision=main",
        "--data.batch_size",
        "4",
        "--ckpt_path",
        "mine.ckpt",
    ]


def test_a_checkpoint_outside_a_run_brings_all_settings_of_its_training(tmp_path: Path) -> None:
    def saved(owner: type) -> dict[str, str]:
        return {
            name: "x" for name in inspect.signature(owner.__init__).parameters if name not in ("self", "custom", "base")
        }

    path = tmp_path / "mine.ckpt"
    model, data = saved(SequenceClassifier) | {"architecture": "{}"}, saved(GLUEDataModule)
    torch.save({"hyper_parameters": model, "datamodule_hyper_parameters": data}, path)
    flags = set(resolve_arguments(["predict", "--ckpt_path", str(path)])[1:-2])
    # What belongs to the machine or to the one command, may run code, or is given by the model or data module.
    of_model = {
        "task", "init_from", "peft", "trust_remote_code", "architecture", "gradient_checkpointing", "compile",
        "metrics", "optimizer", "dtype", "quantization", "split_batches", "matmul_precision", "loss", "windows",
    }  # fmt: skip
    of_data = {
        "tokenizer",
        "revision",
        "predict_split",
        "num_workers",
        "cache_dir",
        "trust_remote_code",
        "padding_free",
        "tokens_on_device",
    }
    assert flags == {f"--model.{name}=x" for name in set(model) - of_model} | {
        f"--data.{name}=x" for name in set(data) - of_data
    }


def test_another_file_in_place_of_a_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.ckpt").write_text("not a checkpoint", encoding="utf-8")
    with pytest.raises(RunError, match=r"text\.ckpt is not a readable checkpoint: it does not start like"):
        resolve_arguments(["test", "--ckpt_path", "text.ckpt"])
    torch.save({"hyper_parameters": {"lr": 1}}, "other.ckpt")
    with pytest.raises(RunError, match=r"other\.ckpt is not a checkpoint of glue-lit: it does not say what model"):
        resolve_arguments(["test", "--ckpt_path", "other.ckpt"])


# An empty one is what a shell makes of a variable that is not set.
@pytest.mark.parametrize("wanted", ["bset", "nowhere/best.ckpt", ".", ""])
def test_a_missing_checkpoint_file_is_an_error(make_run: MakeRun, wanted: str) -> None:
    make_run("cola")
    expected = f"--ckpt_path: there is no file {wanted!r}. Allowed: best, last, or a .ckpt file."
    with pytest.raises(RunError, match=re.escape(expected)):
        resolve_arguments(["validate", f"--ckpt_path={wanted}"])


def test_a_run_without_a_checkpoint_yet(make_run: MakeRun) -> None:
    # The newest run is meant even if it has none: another's best would be scored under a wrong name.
    make_run("cola", 0)
    empty = make_run("cola", 1, ())
    with pytest.raises(RunError, match=re.escape(f"Run {empty} has no checkpoint best.ckpt; it has none.")):
        resolve_arguments(["validate", "--ckpt_path", "best"])
    with pytest.raises(RunError, match=re.escape(f"Run {empty} has no checkpoint best.ckpt; it has none.")):
        resolve_arguments(["validate", "--run", empty])


def test_a_missing_run_is_an_error(make_run: MakeRun) -> None:
    make_run("cola")
    with pytest.raises(RunError, match=r"--run: there is no directory 'lightning_logs/cola/version_9'\."):
        resolve_arguments(["validate", "--run", "lightning_logs/cola/version_9"])
    with pytest.raises(RunError, match=r"--run: lightning_logs/cola is not a run, it has no config\.yaml"):
        resolve_arguments(["validate", "--run=lightning_logs/cola"])


# ---------------------------------------------------------------- going on after a bad end


def cut(run: str, name: str) -> None:
    os.truncate(Path(run, f"checkpoints/{name}.ckpt"), 1000)


def test_a_truncated_last_checkpoint_is_replaced_by_the_best(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run("cola")
    cut(run, "last")
    assert resolve_arguments(["fit", "--ckpt_path", "last"]) == full("fit", run, "best")
    checkpoints = f"{run}/checkpoints"
    told = capsys.readouterr().out
    assert told.startswith(f"{checkpoints}/last.ckpt is cut short: only the first 1,000 bytes")
    assert told.endswith(f" Resuming from {checkpoints}/best.ckpt instead.\n")


@pytest.mark.parametrize("best", ["cut", "none"])
def test_resuming_without_a_checkpoint_is_an_error(make_run: MakeRun, best: str) -> None:
    run = make_run("cola", 0, ("best", "last") if best == "cut" else ("last",))
    for name in ("best", "last") if best == "cut" else ("last",):
        cut(run, name)
    with pytest.raises(RunError, match=r"(best|last)\.ckpt is cut short"):
        resolve_arguments(["fit", "--ckpt_path", "last"])


def test_scoring_last_never_falls_back_to_best(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("cola")
    cut(run, "last")  # the command says so when it reads it
    assert resolve_arguments(["test", "--ckpt_path", "last"]) == full("test", run, "last")
    assert capsys.readouterr().out == ""


def test_a_half_written_checkpoint_is_reported(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("cola")
    Path(run, "checkpoints/.last.ckpt.a1b2.part").write_bytes(b"PK")
    assert resolve_arguments(["fit", "--ckpt_path", "last"]) == full("fit", run, "last")
    expected = "The run ended while a checkpoint was being written; that file is ignored."
    assert capsys.readouterr().out == f"{expected}\n"


def begun(run: str, *command: str) -> None:
    """Mark a run as one that SLURM's job 4711 began."""
    text = json.dumps({"job": "4711", "command": command})
    Path(run, "slurm_job").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("others", [["--config", "cola.yaml"], []], ids=["with-a-file", "without"])
def test_a_requeued_job_resumes_its_run(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], others: list[str]
) -> None:
    run = make_run("cola")
    make_run("cola", 1)  # of another job, and newer
    Path("cola.yaml").write_text("data:\n  task: cola\n", encoding="utf-8")
    begun(run, "fit", *others)
    begun(make_run("cola", 2), "fit", *others, "--seed_everything", "1")  # a second run of the same job
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert resolve_arguments(["fit", *others]) == full("fit", run, "last", *others)
    assert capsys.readouterr().out == f"SLURM has restarted job 4711: resuming {run}.\n"


@pytest.mark.parametrize(
    ("job", "restarts", "checkpoints"),
    [
        ("4711", "0", ("best", "last")),
        ("4711", None, ("best", "last")),
        ("4712", "1", ("best", "last")),
        (None, "1", ("best", "last")),
        ("4711", "1", ("best",)),
    ],
    ids=["first-time", "no-count", "another-job", "no-job", "nothing-to-go-on-from"],
)
def test_another_job_starts_a_new_run(
    make_run: MakeRun,
    monkeypatch: pytest.MonkeyPatch,
    job: str | None,
    restarts: str | None,
    checkpoints: tuple[str, ...],
) -> None:
    begun(make_run("cola", 0, checkpoints), "fit", "--data.task", "cola")
    for name, value in (("SLURM_JOB_ID", job), ("SLURM_RESTART_COUNT", restarts)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert resolve_arguments(["fit", "--data.task", "cola"]) == ["fit", "--data.task", "cola"]


def test_a_requeued_job_finds_its_run_below_another_root(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("cola", 0, root="out")
    others = ["--trainer.default_root_dir=out"]
    begun(run, "fit", *others)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert resolve_arguments(["fit", *others]) == full("fit", run, "last", *others)
    assert resolve_arguments(["fit"]) == ["fit"]


def test_the_root_can_come_from_the_environment(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run("rte")
    elsewhere = make_run("cola", 0, root="out")
    monkeypatch.setenv("GLUE_LIT_VALIDATE__TRAINER__DEFAULT_ROOT_DIR", "out")
    assert resolve_arguments(["validate", "--ckpt_path", "best"]) == full("validate", elsewhere, "best")
    here = ["--trainer.default_root_dir=."]
    newest = resolve_arguments(["validate", "--ckpt_path", "best", *here])  # a flag counts more
    assert newest == full("validate", "lightning_logs/rte/version_0", "best", *here)

    begun(elsewhere, "fit")
    monkeypatch.setenv("GLUE_LIT_FIT__TRAINER__DEFAULT_ROOT_DIR", "out")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert resolve_arguments(["fit"]) == full("fit", elsewhere, "last")


# ---------------------------------------------------------------- without a checkpoint


@pytest.mark.parametrize(("command", "done"), [("validate", "scored"), ("test", "scored"), ("predict", "used")])
@pytest.mark.parametrize("others", [[], ["--data.task", "cola"], ["--config", "cola.yaml"]], ids=str)
def test_evaluation_needs_a_checkpoint(make_run: MakeRun, command: str, done: str, others: list[str]) -> None:
    make_run("cola")  # there is one, but it must be asked for
    expected = (
        f"`{command}` needs a checkpoint: `--ckpt_path best` (of the newest run), `--ckpt_path FILE`, or `--run DIR`. "
        f"Without one, an untrained model would be {done}."
    )
    with pytest.raises(UsageError, match=re.escape(expected)):
        resolve_arguments([command, *others])


@pytest.mark.parametrize(
    "others", [[], ["--config", "configs/cola.yaml"], ["--data.task=cola", "--model.warmup", "0.1"]]
)
def test_the_command_line_of_a_new_fit_is_unchanged(make_run: MakeRun, others: list[str]) -> None:
    make_run("cola")
    assert resolve_arguments(["fit", *others]) == ["fit", *others]


def test_fit_with_a_run_needs_a_checkpoint(make_run: MakeRun) -> None:
    run = make_run("cola")
    with pytest.raises(
        UsageError, match=r"--run: to resume the run with `fit`, add `--ckpt_path last`; for a new run, leave"
    ):
        resolve_arguments(["fit", "--run", run])


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help", "--print_config", "--print_config=skip_null"])
def test_help_needs_no_run(command: str, flag: str) -> None:
    arguments = [command, "--ckpt_path", "best", flag]
    assert resolve_arguments(arguments) == arguments


@pytest.mark.parametrize("arguments", [["--help"], ["tasks"], ["show", "--run", "x"]])
def test_the_command_lines_of_other_commands_are_unchanged(arguments: list[str]) -> None:
    assert resolve_arguments(arguments) == arguments


@pytest.mark.parametrize("flag", ["--run", "--ckpt_path"])
@pytest.mark.parametrize("after", [[], ["--data.task", "cola"]])
def test_a_flag_without_its_value(flag: str, after: list[str]) -> None:
    with pytest.raises(UsageError, match=re.escape(f"{flag} needs a value.")):
        resolve_arguments(["validate", flag, *after])


def test_a_damaged_checkpoint_is_never_called_whole(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("cola")
    cut(run, "last")
    Path(run, "checkpoints/.last.ckpt.a.part").write_bytes(b"PK")
    resolve_arguments(["fit", "--ckpt_path", "last"])
    out = capsys.readouterr().out
    assert "a checkpoint was being written" in out
    assert "whole" not in out
