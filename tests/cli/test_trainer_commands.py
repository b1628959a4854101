"""The command as a user runs it: in this process where that is enough, in a new one where that is the point."""

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import warm
import yaml
from command_line import glue_lit as command
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from glue_lit.runs.locks import lock_run
from glue_lit.runs.run import find_runs
from glue_lit.training.classifier import SequenceClassifier

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLUE_LIT_DEBUG", raising=False)
    return tmp_path


def new_process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """`glue-lit ARGUMENTS` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "glue_lit", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **environment},
        check=False,
    )


def tiny_fit(tiny_model: Path, task: str = "rte", **settings: object) -> list[object]:
    """Arguments of a fit that takes a second."""
    values: dict[str, object] = {
        "data.task": task,
        "data.source": "demo",
        "model.name_or_path": tiny_model,
        "model.learning_rate": 1e-3,
        "data.train_limit": 40,
        "data.validation_limit": 21,
        "data.test_limit": 9,
        "trainer.max_epochs": 2,
        "trainer.accelerator": "cpu",
        "trainer.precision": "32-true",  # whatever this processor is fastest in
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    return ["fit", *(f"--{name}={value}" for name, value in values.items())]


SCORES = """
import json, sys
from glue_lit.system.library_warnings import filter_warnings
filter_warnings()
from glue_lit.cli.configure import configure, resolve
from glue_lit.cli.trainer_commands import evaluate
print("SCORES", json.dumps(evaluate(configure(resolve(sys.argv[1], sys.argv[2:]))).metrics))
"""


def scores_of(*arguments: object) -> dict[str, float]:
    """Every digit of what an evaluating command computes, in a process of its own."""
    result = warm.run("-c", SCORES, *arguments)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.rsplit("SCORES ", 1)[1])  # type: ignore[no-any-return]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- fit, then a new process


def test_a_run_is_fitted_validated_tested_and_predicted(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model)) == 0
    out, err = capsys.readouterr()
    run = workplace / "lightning_logs" / "rte" / "version_0"
    assert "Warning" not in out + err
    assert "accuracy *" in out
    assert "glue-lit validate --ckpt_path best" in out

    events = {name for name in files(run) if "tfevents" in name}  # curves, hyperparameters
    assert len(events) == 2
    expected = {
        "config.yaml",
        "log.txt",
        "metrics.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "checkpoints/last.json",
        *events,
    }
    assert files(run) == expected
    assert files(workplace) == {f"lightning_logs/rte/version_0/{name}" for name in expected}

    record = json.loads((run / "metrics.json").read_text())
    assert record["monitor"] == "val/accuracy"
    assert set(record["metrics"]) == {"val/accuracy", "val/loss"}
    assert record["epochs"] == 2
    assert record["steps"] == 6
    assert record["train_samples_per_second"] > 0
    assert record["wall_seconds"] > 0
    assert record["processor_seconds"] > 0
    assert record["seed"] == record["config"]["seed_everything"] == 42
    assert record["config"] == yaml.safe_load((run / "config.yaml").read_text())
    assert record["device"]["type"] == "cpu"
    assert record["versions"]["torch"] == torch.__version__
    assert record["git"] is None
    assert sum(record["predicted"]["validation"].values()) == 21
    train = record["data"]["splits"]["train"]
    assert train["rows"] == 40
    assert train["fingerprint"] == hashlib.sha256(Path(train["origin"]).read_bytes()).hexdigest()

    # a new process, nothing else said: the same to the last digit
    assert scores_of("validate", "--ckpt_path", "best") == record["metrics"]

    assert command(monkeypatch, "test", "--ckpt_path", "best") == 0
    out = capsys.readouterr().out
    assert "nothing to score" in out
    lines = [json.loads(line) for line in (run / "predictions" / "test.jsonl").read_text().splitlines()]
    assert len(lines) == 9
    assert [line["idx"] for line in lines] == sorted(line["idx"] for line in lines)
    assert all(line["label"] == max(line["probabilities"], key=line["probabilities"].get) for line in lines)
    assert all("gold" not in line for line in lines)

    assert command(monkeypatch, "predict", "--run", run, "--data.predict_split", "validation") == 0
    lines = [json.loads(line) for line in (run / "predictions" / "validation.jsonl").read_text().splitlines()]
    right = sum(line["label"] == line["gold"] for line in lines)
    assert right / len(lines) == record["metrics"]["val/accuracy"]


def test_curves_of_every_metric_against_steps(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = tiny_fit(tiny_model, "mrpc", trainer__log_every_n_steps=1)
    assert command(monkeypatch, *arguments) == 0
    events = EventAccumulator(str(workplace / "lightning_logs" / "mrpc" / "version_0"))
    events.Reload()
    steps = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert steps["train/loss"] == list(range(1, 7))
    assert steps["weights/learning_rate"] == list(range(1, 7))
    # one point an epoch: scoring the best checkpoint at the end must not add another
    assert [steps[tag] for tag in ("val/loss", "val/accuracy", "val/f1")] == [[3, 6]] * 3
    record = json.loads((workplace / "lightning_logs" / "mrpc" / "version_0" / "metrics.json").read_text())
    assert record["steps"] == 6
    assert record["best"]["step"] in (3, 6)


def test_a_fit_is_resumed_in_its_run(tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, trainer__max_epochs=1)) == 0
    assert command(monkeypatch, "fit", "--ckpt_path", "last", "--trainer.max_epochs", 3) == 0
    run = workplace / "lightning_logs" / "rte" / "version_0"
    assert [other.path for other in find_runs(Path("lightning_logs"))] == [Path("lightning_logs/rte/version_0")]
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 3
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["ckpt_path"] is None  # where it was continued from is no setting
    assert saved["trainer"]["max_epochs"] == 3


def test_a_finished_run_says_so(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, trainer__max_epochs=1)) == 0
    assert command(monkeypatch, "fit", "--ckpt_path", "last") == 0
    assert (
        "It has done its only epoch; pass `--trainer.max_epochs N` with a larger N to train" in capsys.readouterr().out
    )


def test_the_lowest_loss_is_the_best(tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # without saying that lower is better, which a user forgets
    arguments = tiny_fit(tiny_model, trainer__max_epochs=4, checkpoint__monitor="val/loss")
    assert command(monkeypatch, *arguments) == 0
    run = workplace / "lightning_logs" / "rte" / "version_0"
    events = EventAccumulator(str(run))
    events.Reload()
    losses = [event.value for event in events.Scalars("val/loss")]
    assert len(set(losses)) == 4
    record = json.loads((run / "metrics.json").read_text())
    assert record["metrics"]["val/loss"] == pytest.approx(min(losses))
    assert record["best"]["epoch"] == losses.index(min(losses)) + 1


def test_a_fit_without_logger_makes_a_run(tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, trainer__logger="false", trainer__max_epochs=1)) == 0
    run = "lightning_logs/rte/version_0"
    checkpoints = ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "checkpoints/last.json")
    assert files(workplace) == {f"{run}/{name}" for name in ("config.yaml", "log.txt", "metrics.json", *checkpoints)}


@pytest.mark.parametrize("profiler", ["simple", "advanced", "AdvancedProfiler"])
def test_the_profile_of_a_fit_is_shown_or_written(
    profiler: str,
    tiny_model: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    to_file = ["--trainer.profiler.filename=profile"] if profiler == "AdvancedProfiler" else []
    given = tiny_fit(tiny_model, trainer__max_epochs=1, trainer__profiler=profiler)
    assert command(monkeypatch, *given, *to_file) == 0
    out = capsys.readouterr().out
    written = [path.name for path in workplace.rglob("*profile*")]
    assert written == (["fit-profile.txt"] if to_file else [])  # nothing of the final scores
    assert out.count("Profiler Report") == (0 if to_file else 1)
    assert ("run_training_epoch" in out) == (not to_file)


def test_a_fit_that_validates_nothing_says_so(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, trainer__max_steps=1, trainer__limit_val_batches=0)) == 0
    out, err = capsys.readouterr()
    assert "Nothing was validated (trainer.limit_val_batches is 0), so there is no best checkpoint" in out
    assert "monitored key" not in out + err


def test_flags_win_over_the_configuration_of_the_run(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model)) == 0
    with_flag = scores_of("validate", "--ckpt_path", "best", "--data.validation_limit", 200)
    assert (with_flag["val/accuracy"] * 200) == pytest.approx(round(with_flag["val/accuracy"] * 200))
    assert with_flag != scores_of("validate", "--ckpt_path", "best")


@pytest.mark.parametrize(("found", "said"), [("bf16-mixed", "bfloat16 with float32 weights"), ("32-true", "float32")])
def test_the_chosen_precision_is_printed_and_kept(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    found: str, said: str,
) -> None:  # fmt: skip
    asked = []
    monkeypatch.setattr(
        "glue_lit.cli.complete_settings.fast_precision", lambda accelerator: asked.append(accelerator) or found
    )
    assert command(monkeypatch, *tiny_fit(tiny_model, trainer__precision="null", trainer__max_epochs=1)) == 0
    assert f"M parameters, on 1 x cpu, {said}\n" in capsys.readouterr().out
    assert asked == ["cpu"]
    run = workplace / "lightning_logs/rte/version_0"
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["precision"] == found
    # Evaluated on whatever machine, and wherever the checkpoint lies, it is scored as it was trained.
    metrics = json.loads((run / "metrics.json").read_text())["metrics"]
    assert scores_of("validate", "--ckpt_path", "best") == metrics
    shutil.copy(run / "checkpoints/best.ckpt", workplace / "handed_on.ckpt")
    limit = ("--data.validation_limit", 21)
    assert scores_of("validate", "--ckpt_path", "handed_on.ckpt", *limit) == metrics


def test_a_run_that_names_no_precision_was_trained_in_float32(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, trainer__max_epochs=1)) == 0
    run = workplace / "lightning_logs/rte/version_0"
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("precision: 32-true", "precision: null"))
    monkeypatch.setattr("glue_lit.cli.complete_settings.fast_precision", lambda accelerator: "bf16-mixed")
    capsys.readouterr()
    assert command(monkeypatch, "validate", "--ckpt_path", "best", "--json") == 0
    scores = json.loads((run / "metrics.json").read_text())["metrics"]
    assert json.loads(capsys.readouterr().out)["metrics"] == scores


def test_a_fit_ends_with_its_speed(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, trainer__max_epochs=1)) == 0
    record = json.loads((workplace / "lightning_logs/rte/version_0/metrics.json").read_text())
    assert record["train_tokens_per_second"] > record["train_samples_per_second"] > 0
    assert 0 < record["train_padding"] < 1
    assert (
        f"Speed       {record['train_samples_per_second']:,.0f} samples/s, "
        f"{record['train_tokens_per_second']:,.0f} tokens/s, {record['train_padding']:.1%} padding\n"
    ) in capsys.readouterr().out


def test_with_json_standard_output_is_one_document(tiny_model: Path, workplace: Path) -> None:
    run = Path("lightning_logs/rte/version_0")
    fit = warm.run(
        "-m", "glue_lit", *tiny_fit(tiny_model, trainer__max_epochs=1, trainer__enable_progress_bar="true"), "--json"
    )
    assert fit.returncode == 0, fit.stderr
    document, record = json.loads(fit.stdout), json.loads((run / "metrics.json").read_text())
    assert document["run"] == str(workplace / run)
    assert document["checkpoint"] == str(workplace / run / "checkpoints/best.ckpt")
    assert {key: document[key] for key in record} == record
    low, high = document["intervals"]["val/accuracy"]
    assert low <= record["metrics"]["val/accuracy"] <= high
    assert "accuracy *" in fit.stderr
    assert "json" not in (run / "config.yaml").read_text()

    validate = warm.run("-m", "glue_lit", "validate", "--json", "--ckpt_path", "best")
    found = json.loads(validate.stdout)
    assert found["metrics"] == record["metrics"]
    assert found["intervals"] == document["intervals"]
    assert found["predicted"] == record["predicted"]
    test = json.loads(warm.run("-m", "glue_lit", "test", "--ckpt_path", "best", "--json").stdout)
    assert test["metrics"] == {}
    assert [Path(path).name for path in test["predictions"]] == ["test.jsonl"]

    wrong = warm.run("-m", "glue_lit", "validate", "--json", "--ckpt_path", "nowhere.ckpt")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "there is no file" in wrong.stderr
    assert "usage:" in warm.run("-m", "glue_lit", "fit", "--json", "--help").stdout


def test_the_last_lines_name_epoch_and_interval(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, trainer__max_epochs=1)) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("rte: best checkpoint")
    assert re.split("  +", lines[at + 1]) == ["split", "metric", "value", "95 % interval", "best epoch"]
    cells = re.split("  +", lines[at + 2])
    assert cells[:2] == ["validation", "accuracy *"]
    assert re.fullmatch(r"0\.\d{4} to [01]\.\d{4}", cells[3])
    assert cells[4] == "1"
    assert re.split("  +", lines[at + 3])[3:] == ["-", "1"]


def test_a_checkpoint_outside_any_run_brings_its_task_and_model(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, "stsb")) == 0
    best = workplace / "lightning_logs" / "stsb" / "version_0" / "checkpoints" / "best.ckpt"
    record = json.loads((best.parent.parent / "metrics.json").read_text())
    best.rename(workplace / "handed_on.ckpt")
    scores = scores_of("validate", "--ckpt_path", "handed_on.ckpt", "--data.validation_limit", 21)
    assert scores == record["metrics"]


def test_a_renamed_run_is_used_without_its_pretrained_model(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_model, workplace / "model")
    assert command(monkeypatch, *tiny_fit(Path("model"), trainer__max_epochs=1)) == 0
    shutil.rmtree(workplace / "model")
    (workplace / "kept").mkdir()
    run = (workplace / "lightning_logs/rte/version_0").rename(workplace / "kept" / "first try")
    record = json.loads((run / "metrics.json").read_text())
    monkeypatch.chdir(workplace / "kept")  # what the run was given as relative paths is found from anywhere
    assert scores_of("validate", "--run", "first try") == record["metrics"]
    assert command(monkeypatch, "fit", "--run", "first try", "--ckpt_path", "last", "--trainer.max_epochs", 2) == 0
    assert "glue-lit validate --run 'first try'" in capsys.readouterr().out
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 2
    assert not (workplace / "kept" / "lightning_logs").exists()


def test_a_fit_is_resumed_from_a_checkpoint_outside_its_run(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, trainer__max_epochs=1)) == 0
    shutil.copy(workplace / "lightning_logs/rte/version_0/checkpoints/last.ckpt", workplace / "handed_on.ckpt")
    shutil.rmtree(workplace / "lightning_logs")
    # a worse second epoch: still the best one of this run, whose best.ckpt is not there
    arguments = ["--model.learning_rate", 0, "--trainer.max_epochs", 2, "--trainer.accelerator", "cpu"]
    assert command(monkeypatch, "fit", "--ckpt_path", "handed_on.ckpt", *arguments) == 0
    run = workplace / "lightning_logs/rte/version_0"
    record = json.loads((run / "metrics.json").read_text())
    assert record["data"]["splits"]["train"]["rows"] == 40  # limits come with the checkpoint
    assert (run / "checkpoints/best.ckpt").is_file()


def test_a_moved_run_keeps_its_best_checkpoint(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # trained with a learning rate that makes all that follows worse
    arguments = tiny_fit(tiny_model, "stsb", checkpoint__monitor="val/loss", trainer__max_epochs=2)
    assert command(monkeypatch, *arguments) == 0
    run = (workplace / "lightning_logs/stsb/version_0").rename(workplace / "moved")
    best = json.loads((run / "metrics.json").read_text())["best"]
    worse = ["--trainer.max_epochs", 4, "--model.learning_rate", 10]
    assert command(monkeypatch, "fit", "--run", run, "--ckpt_path", "last", *worse) == 0
    assert json.loads((run / "metrics.json").read_text())["best"] == best


def test_a_refused_fit_leaves_the_run_as_it_was(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # stopped in the middle of its last epoch, which is not over therefore
    original = SequenceClassifier.training_step

    def spoilt(self: SequenceClassifier, *arguments: Any) -> torch.Tensor:
        loss = original(self, *arguments)
        return loss * math.nan if self.global_step >= 3 else loss

    monkeypatch.setattr(SequenceClassifier, "training_step", spoilt)
    assert command(monkeypatch, *tiny_fit(tiny_model, model__non_finite="skip")) == 0
    record = json.loads((workplace / "lightning_logs/rte/version_0/metrics.json").read_text())
    assert record["best"]["epoch"] == 1
    assert record["skipped_steps"] == 3


def test_a_run_in_training_is_not_trained_twice(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, trainer__max_epochs=1)) == 0
    lock = lock_run(find_runs(Path("lightning_logs"))[0])
    assert lock is not None
    before = (workplace / "lightning_logs/rte/version_0/checkpoints/last.ckpt").read_bytes()
    assert command(monkeypatch, "fit", "--ckpt_path", "last", "--trainer.max_epochs", 2) == 1
    assert "version_0 is being trained by another process." in capsys.readouterr().err
    assert (workplace / "lightning_logs/rte/version_0/checkpoints/last.ckpt").read_bytes() == before
    os.close(lock)


@pytest.mark.parametrize("settings", [{}, {"trainer__accumulate_grad_batches": 2}])
def test_divergence_stops_with_a_message_and_keeps_the_last_checkpoint(
    tiny_model: Path,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, object],
) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, trainer__max_epochs=1, **settings)) == 0
    last = workplace / "lightning_logs/rte/version_0/checkpoints/last.ckpt"
    before = last.read_bytes()
    diverging = ["--trainer.max_epochs", 3, "--model.learning_rate", 1e30, "--model.max_grad_norm", 0]
    assert command(monkeypatch, "fit", "--ckpt_path", "last", *diverging) == 1
    err = capsys.readouterr().err
    assert re.search(r"Training diverged at step \d+: the loss is \S+, the gradient's norm \S+, at learning rate", err)
    assert "Examples of the batch (idx in train): " in err
    assert last.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.task", "wnli"], "was trained for task rte (entailment, not_entailment), not for wnli"),
        (["--data.task", "cola"], "was trained for task rte (entailment, not_entailment), not for cola"),
        (["--model.name_or_path", "other/model"], "holds weights of "),
    ],
)
def test_a_checkpoint_of_another_task_or_model_is_refused(
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, trainer__max_epochs=1)) == 0
    assert command(monkeypatch, "validate", "--run", "lightning_logs/rte/version_0", *arguments) == 1
    assert message in capsys.readouterr().err


def test_the_diagnostic_set_is_predicted_by_an_mnli_run(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, *tiny_fit(tiny_model, "mnli", trainer__max_epochs=1)) == 0
    assert {"val_matched/accuracy", "val_mismatched/accuracy"} <= set(
        json.loads((workplace / "lightning_logs/mnli/version_0/metrics.json").read_text())["metrics"]
    )
    assert command(monkeypatch, "test", "--data.task", "ax", "--ckpt_path", "best") == 0
    assert "nothing to score" in capsys.readouterr().out
    assert len((workplace / "lightning_logs/mnli/version_0/predictions/ax-test.jsonl").read_text().splitlines()) == 9


def test_two_processes(tiny_model: Path, workplace: Path) -> None:
    settings = {"trainer__devices": 2, "trainer__strategy": "ddp", "data__validation_limit": 17, "data__max_length": 99}
    result = new_process(*tiny_fit(tiny_model, "stsb", **settings), "--json")
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stdout + result.stderr
    assert json.loads(result.stdout)["device"]["processes"] == 2
    assert [run.path.name for run in find_runs(workplace / "lightning_logs")] == ["version_0"]
    assert not (workplace / "lightning_logs/stsb/version_1").exists()  # one directory for both
    record = json.loads((workplace / "lightning_logs/stsb/version_0/metrics.json").read_text())
    found = record["data"]["findings"][-1]  # said once, by the first process
    assert found["count"] == "99 tokens, the model takes 64"
    log = (workplace / "lightning_logs/stsb/version_0/log.txt").read_text()
    for text in (result.stderr, log):
        assert text.count("Worth a look in the data") == text.count(found["count"]) == text.count(found["advice"]) == 1
    # 17 rows on two processes are 17 rows: the score is that of one process
    alone = scores_of("validate", "--ckpt_path=best", "--trainer.devices=1", "--trainer.strategy=auto")
    assert alone == pytest.approx(record["metrics"], abs=1e-5)
    result = new_process("predict", "--ckpt_path", "best", "--data.predict_split", "validation")  # two again
    assert result.returncode == 0, result.stderr
    lines = (workplace / "lightning_logs/stsb/version_0/predictions/validation.jsonl").read_text().splitlines()
    rows = [json.loads(line)["idx"] for line in lines]
    assert len(rows) == 17
    assert rows == sorted(set(rows))


def test_a_model_from_the_hubs_cache(tiny_model: Path, workplace: Path) -> None:
    repository = workplace / "hub" / "models--somebody--tiny-bert"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(tiny_model, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    arguments = tiny_fit(Path("somebody/tiny-bert"), trainer__max_epochs=1)
    result = new_process(*arguments, HF_HUB_CACHE=str(workplace / "hub"), HF_HUB_OFFLINE="1")
    assert result.returncode == 0, result.stderr
    assert "somebody/tiny-bert, 0.026 M parameters" in result.stdout
    run = workplace / "lightning_logs" / "rte" / "version_0"
    assert json.loads((run / "metrics.json").read_text())["model_commit"] == "0" * 40
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["glue_lit"]["model_commit"] == "0" * 40
    assert set(saved["GLUEDataModule"]["rows"]["train"]) == {"hash", "commit"}


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_parse(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)  # where the files' own paths lead
    assert command(monkeypatch, "fit", "--config", config, "--print_config") == 0
    parsed = yaml.safe_load(capsys.readouterr().out)
    wanted = yaml.safe_load(config.read_text())
    for section, values in wanted.items():
        for key, value in values.items() if isinstance(values, dict) else ():
            found = parsed[section][key]
            assert ({k: found[k] for k in value} if isinstance(value, dict) else found) == value


def test_every_task_has_a_config() -> None:
    from glue_lit import TASKS

    assert set(TASKS) <= {path.stem for path in CONFIGS}


def test_base_config_is_the_defaults(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(monkeypatch, "fit", "--config", REPOSITORY / "configs" / "base.yaml", "--print_config") == 0
    written_out = capsys.readouterr().out
    assert command(monkeypatch, "fit", "--print_config") == 0
    assert written_out == capsys.readouterr().out


def test_later_configs_flags_and_environment_win(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "one.yaml").write_text("data: {task: rte, batch_size: 8}\nmodel: {warmup: 0.1}\n")
    (workplace / "two.yaml").write_text("data: {batch_size: 32}\n")
    monkeypatch.setenv("GLUE_LIT_FIT__DATA__MAX_LENGTH", "99")
    monkeypatch.setenv("GLUE_LIT_FIT__DATA__BATCH_SIZE", "4")
    arguments = ["--config", "one.yaml", "--config", "two.yaml", "--model.warmup", "0.2", "--print_config"]
    assert command(monkeypatch, "fit", *arguments) == 0
    parsed = yaml.safe_load(capsys.readouterr().out)
    assert (parsed["data"]["task"], parsed["data"]["batch_size"], parsed["data"]["max_length"]) == ("rte", 32, 99)
    assert parsed["model"]["warmup"] == 0.2


def test_a_shipped_configuration_is_named_without_its_path(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not (workplace / "configs").exists()
    given = ("--config=configs/base.yaml", "-c", "rte", "--name", "2024")
    assert command(monkeypatch, "fit", *given, "--print_config") == 0
    parsed = yaml.safe_load(capsys.readouterr().out)
    assert parsed["name"] == "2024"  # a name, not a number
    assert (parsed["data"]["task"], parsed["data"]["batch_size"]) == ("rte", 16)
    monkeypatch.setenv("GLUE_LIT_FIT__CONFIG", "mrpc")
    assert command(monkeypatch, "fit", "--print_config") == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"]["task"] == "mrpc"


@pytest.mark.parametrize(("name", "section"), [("tune/default", "tune"), ("suite/glue", "suite")])
def test_a_configuration_of_another_command_is_refused(
    name: str, section: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "fit", "--config", "cola", "--config", name) == 2
    assert f"{name}.yaml, line " in (said := capsys.readouterr().err)
    assert f"the section `{section}` is for `{section}`, and `fit` has none." in said


def test_paths_of_a_configuration_are_looked_up_beside_it(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = workplace / "beside"
    place.mkdir()
    (place / "rows.csv").write_text("text,label\na,x\nb,y\n")
    (place / "own.yaml").write_text(
        "data: {task: own, source: rows.csv, custom: {text: text, validation_file: rows.csv, test_file: gone.csv}}"
    )
    for files in (["beside/own.yaml"], ["beside/own.yaml", "base"]):
        given = [word for file in files for word in ("--config", file)]
        assert command(monkeypatch, "fit", *given, "--print_config") == 0
        data = yaml.safe_load(capsys.readouterr().out)["data"]
        custom = data["custom"]
        expected = "hub" if "base" in files else str(place / "rows.csv")  # a later file wins
        assert data["source"] == expected
        assert (custom["text"], custom["validation_file"], custom["test_file"]) == (
            "text", str(place / "rows.csv"), "gone.csv"
        )  # fmt: skip
    assert command(monkeypatch, "fit", "--config", "beside/own.yaml", "--model.name_or_path=tiny") == 1
    said = capsys.readouterr().err
    assert "data.custom.test_file: there is no file 'gone.csv'." in said
    assert "then beside the configuration file that names it." in said


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["fit", "--data.tsk", "cola"], 2, "--data.tsk: there is no such flag. Did you mean '--data.task'?"),
        (
            ["fit", "--data.max_len", "64"],
            2,
            "--data.max_len: there is no such flag. Did you mean '--data.max_length'?",
        ),
        (["fit", "--data.batch_size", "abc"], 2, "--data.batch_size: got 'abc', allowed: int."),
        (
            ["fit", "--data.batch_size", "auto"],
            2,
            "allowed: int. `--model.split_batches true` keeps the size, and computes",
        ),
        (["fit", "--data.max_length", "3.5"], 2, "--data.max_length: got '3.5', allowed: int or null."),
        (["fit", "--data.batch_size", "0"], 2, "data.batch_size: got 0, allowed: 1 to 2147483647."),
        (
            ["fit", "--model.schedule", "linaer"],
            2,
            "--model.schedule: got 'linaer', allowed: linear, cosine, constant, polynomial, ",
        ),
        (["fit", "--model.learning_rate=-1"], 2, "model.learning_rate: got -1.0, allowed: a number from 0 up."),
        (["fit", "--model.task", "cola"], 2, "--model.task: set data.task instead, which sets both."),
        (["fit", "cola"], 2, "got 'cola', which belongs to no flag; settings are given as `--data.task cola`."),
        (["fit", "--data.task"], 2, "--data.task needs a value."),
        (["fit", "--data.task", "colla"], 2, "there is no task 'colla'. Did you mean 'cola'? The tasks are: cola, "),
        (
            ["fit", "--data.task", "ax", "--data.source", "demo"],
            2,
            "ax has test rows only, so there is nothing to fit.",
        ),
        (["fit", "--trainer.accelerator", "abacus"], 2, "trainer: "),
        (
            ["fit", "--checkpoint.monitor", "val/los"],
            2,
            "'val/los' is not logged. Did you mean 'val/loss'? Allowed: val/matthews_correlation, val/loss, train/loss.",
        ),
        (
            ["fit", "--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/los"],
            2,
            "trainer.callbacks: EarlyStopping monitors 'val/los', which is not logged. Did you mean 'val/loss'?",
        ),
        (
            ["fit", "--trainer.callbacks", "GradientAccumulationScheduler"],
            2,
            "trainer.callbacks: GradientAccumulationScheduler needs `scheduling`: `--trainer.callbacks.scheduling VALUE`",
        ),
        (
            ["fit", "--trainer.callbacks+=LearningRateMonitor", "--trainer.callbacks+=StochasticWeightAveraging"],
            2,
            "trainer.callbacks: StochasticWeightAveraging needs `swa_lrs`",
        ),
        (
            ["fit", "--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_top_k=x"],
            2,
            "--trainer.callbacks.save_top_k: got 'x', allowed: int.",
        ),
        (
            ["fit", "--trainer.callbacks=[{class_path: ModelCheckpoint, init_args: {save_top_k: x}}]"],
            2,
            "--trainer.callbacks: save_top_k got 'x', allowed: int.",
        ),
        (
            ["fit", "--trainer.callbacks+=Timer", "--trainer.callbacks.duration=soon"],
            2,
            "error: Timer: `Timer(duration='soon')` is not a valid duration. Expected a string in the format DD:HH:MM:SS.",
        ),
        (
            [
                "fit",
                "--trainer.callbacks+=EarlyStopping",
                "--trainer.callbacks.monitor=val/loss",
                "--trainer.callbacks.mode=low",
            ],
            2,
            "error: EarlyStopping: `mode` can be min, max, got low",
        ),
        (
            ["fit", "--config", "callbacks.yaml"],
            2,
            "trainer.callbacks (callbacks.yaml, line 2): EarlyStopping needs `monitor`",
        ),
        (
            ["fit", "--trainer.precision", "nonsense"],
            2,
            "got 'nonsense', allowed: 32-true, bf16-mixed, 16-mixed, bf16-true, 16-true, 64-true.",
        ),
        (["fit", "--early_stopping", "0"], 2, "got '0', allowed: a whole number from 1 up or null."),
        (["fit", "--config", "nope.yaml"], 2, "--config: there is no file 'nope.yaml'."),
        (
            ["fit", "--config", "key.yaml"],
            2,
            "data.tsk (key.yaml, line 2): there is no such key. Did you mean 'data.task'?",
        ),
        (["fit", "--config", "type.yaml"], 2, "data.batch_size (type.yaml, line 3): got 'many', allowed: int."),
        (
            ["fit", "--data.source", "nowhere"],
            1,
            "there is no file or folder 'nowhere'. Allowed: hub, demo, a GLUE folder",
        ),
        (["fit", "--data.source", "hub"], 1, "data.source hub: could not load nyu-mll/glue (cola, train): "),
        (
            ["fit", "--data.source", "demo", "--model.name_or_path", "nobody/nothing"],
            1,
            "tokenizer of 'nobody/nothing'",
        ),
        (["fit", "--data.source", "demo", "--model.name_or_path", "./no"], 1, "there is no folder './no'."),
        (
            ["fit", "--data.source", "demo", "--model.name_or_path", "pkg:nobody/x"],
            1,
            "no package 'nobody' is installed",
        ),
        (["validate"], 2, "`validate` needs a checkpoint: `--ckpt_path best`"),
        (["validate", "--config", "type.yaml"], 2, "`validate` needs a checkpoint: `--ckpt_path best`"),
        (["test", "--data.task", "rte"], 2, "`test` needs a checkpoint"),
        (["predict"], 2, "`predict` needs a checkpoint"),
        (["validate", "--ckpt_path", "best"], 1, "There is no run in lightning_logs. Train one first"),
        (
            ["validate", "--ckpt_path", "no.ckpt"],
            1,
            "there is no file 'no.ckpt'. Allowed: best, last, or a .ckpt file.",
        ),
        (["validate", "--ckpt_path", "page.ckpt"], 1, "page.ckpt is a web page, not a checkpoint"),
        (["validate", "--run", "no"], 1, "--run: there is no directory 'no'."),
        (["show", "--data.taks", "cola"], 2, "Did you mean '--data.task'?"),
        (["show", "--data.source", "demo", "-n", "0"], 2, "-n: got 0, allowed: 1 or more."),
        (["show", "--data.source", "demo", "--split", "dev"], 1, "has no split 'dev'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_message_and_writes_nothing(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    (workplace / "key.yaml").write_text("data:\n  tsk: cola\n")
    (workplace / "type.yaml").write_text("data:\n  task: cola\n  batch_size: many\n")
    callbacks = "trainer:\n  callbacks:\n  - class_path: EarlyStopping\n  - class_path: LearningRateMonitor\n"
    (workplace / "callbacks.yaml").write_text(callbacks)
    (workplace / "page.ckpt").write_text("<!doctype html><title>404</title>")
    before = files(workplace)
    assert command(monkeypatch, *arguments) == status
    out, err = capsys.readouterr()
    assert message in err
    assert err.startswith("glue-lit: error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    assert files(workplace) == before
    assert not (workplace / "lightning_logs").exists()


def test_bad_data_stops_before_anything_is_written(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workplace / "glue" / "CoLA"
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text("a\t1\t\tfine\nb\t2\t\tfine\n")
    (folder / "dev.tsv").write_text("a\t1\t\tfine\n")
    arguments = tiny_fit(tiny_model, "cola", data__source=workplace / "glue")
    assert command(monkeypatch, *arguments) == 1
    assert "train.tsv, line 2: '2' is not a label of task cola. Allowed: 0, 1." in capsys.readouterr().err
    assert not (workplace / "lightning_logs").exists()


def test_a_misspelt_variable_is_not_ignored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLUE_LIT_FIT__MODEL__LERNING_RATE", "1")
    assert command(monkeypatch, "fit", "--print_config") == 2
    assert "sets nothing. Did you mean 'GLUE_LIT_FIT__MODEL__LEARNING_RATE'?" in capsys.readouterr().err


def test_an_environment_variable_cannot_score_an_untrained_model(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLUE_LIT_VALIDATE__MODEL__NAME_OR_PATH", str(tiny_model))
    assert command(monkeypatch, "validate", "--data.source", "demo") == 2
    assert "needs a checkpoint" in capsys.readouterr().err


def test_a_run_without_a_checkpoint_yet(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = workplace / "lightning_logs" / "cola" / "version_0"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("data: {task: cola}\n")
    assert command(monkeypatch, "validate", "--ckpt_path", "best") == 1
    assert "has no checkpoint best.ckpt; it has none." in capsys.readouterr().err


# ---------------------------------------------------------------- a task of the user's own


def own_fit(tiny_model: Path, **settings: object) -> list[object]:
    """A fit on a CSV file with 60 rows, 12 of them held out."""
    lines = [f'{n},"row, {"good" if n % 3 else "bad"} {n}",{"yes" if n % 3 else "no"},{n / 4}' for n in range(60)]
    Path("reviews.csv").write_text("\ufeffid,text,sentiment,stars\r\n" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    own = {
        "data__source": "reviews.csv", "data__custom__text": "text", "data__custom__label": "sentiment",
        "data__custom__validation_fraction": 0.2,
    }  # fmt: skip
    return tiny_fit(tiny_model, "reviews", **own | settings)


def test_an_own_task_from_a_file(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        command(monkeypatch, *own_fit(tiny_model, data__custom__class_weights="balanced", data__custom__id="id")) == 0
    )
    out, err = capsys.readouterr()
    assert "Warning" not in out + err
    assert "reviews.csv: train 40, validation 12" in out  # of 48, for train_limit
    assert "one of no, yes; metrics: accuracy, f1" in out
    assert "20% of the training rows are held out, stratified by label" in out
    run = workplace / "lightning_logs" / "reviews" / "version_0"
    custom = yaml.safe_load((run / "config.yaml").read_text())["data"]["custom"]
    assert (custom["kind"], custom["labels"], custom["metrics"]) == (
        "classification",
        ["no", "yes"],
        ["accuracy", "f1"],
    )
    assert custom["class_weights"] == pytest.approx([1.5, 0.75])
    record = json.loads((run / "metrics.json").read_text())["metrics"]
    assert set(record) == {"val/accuracy", "val/f1", "val/loss"}

    monkeypatch.chdir(workplace.parent)  # from anywhere, and from the checkpoint alone
    assert scores_of("validate", "--run", run) == record
    outside = shutil.copy(run / "checkpoints" / "best.ckpt", workplace.parent / "outside.ckpt")
    assert scores_of("validate", "--ckpt_path", outside) == record
    monkeypatch.chdir(workplace)
    assert command(monkeypatch, "predict", "--ckpt_path=best", "--data.predict_split=validation") == 0
    lines = [json.loads(line) for line in (run / "predictions" / "validation.jsonl").read_text().splitlines()]
    assert [line["idx"] for line in lines] == list(range(12))
    assert {line["gold"] for line in lines} == {"no", "yes"}
    assert set(lines[0]["probabilities"]) == {"no", "yes"}
    file = Path("reviews.csv").read_text(encoding="utf-8-sig").splitlines()
    for line in lines:  # held out, so none of them stands where its position says
        assert file[line["row"] - 1].startswith(f"{line['id']},")
        assert line["gold"] == file[line["row"] - 1].split(",")[-2]
    assert [line["row"] for line in lines] != [line["idx"] + 2 for line in lines]
    origin = json.loads((run / "predictions" / "validation.provenance.json").read_text())
    assert (origin["unit"], origin["id"], origin["file"]) == ("line", "id", str(workplace / "reviews.csv"))
    assert command(monkeypatch, "report") == 0
    page = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert "Line numbers refer to reviews.csv." in page
    assert command(monkeypatch, "predict", "--file=reviews.csv") == 0  # all of the file, so `idx` is from 0 there
    of_file = [json.loads(text) for text in (run / "predictions" / "reviews.csv.jsonl").read_text().splitlines()]
    assert [(line["idx"], line["row"], line["id"]) for line in of_file] == [(n, n + 2, str(n)) for n in range(60)]
    shown = {(int(line), name) for line, name in re.findall(r"<span>line (\d+), id (\d+)</span>", page)}
    assert shown == {(line["row"], line["id"]) for line in lines}  # 12 rows, of which 15 are shown as uncertain
    capsys.readouterr()
    assert command(monkeypatch, "fit", "--ckpt_path=last", "--trainer.max_epochs=3") == 0
    assert "Epoch" not in capsys.readouterr().err
    test = ("test", "--ckpt_path=best", "--data.custom.test_file=reviews.csv")
    assert command(monkeypatch, *test, "--json") == 0
    out, err = capsys.readouterr()
    assert "95 % interval" in err
    tested = json.loads(out)
    assert set(tested["intervals"]) == {"test/accuracy", "test/f1"}
    low, high = tested["intervals"]["test/accuracy"]
    assert low <= tested["metrics"]["test/accuracy"] <= high
    assert command(monkeypatch, "report", "--split=test", "--json") == 0
    (of_run,) = json.loads(capsys.readouterr().out)["runs"]
    assert (of_run["scores"]["accuracy"]["low"], of_run["scores"]["accuracy"]["high"]) == (low, high)
    assert of_run["notes"] == []  # among them would be that the texts cannot be read
    page = (run / "report-test" / "report.html").read_text(encoding="utf-8")
    assert page.count("row, good") + page.count("row, bad") >= 9

    saved = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    saved["state_dict"]["model.classifier.weight"].zero_()
    saved["state_dict"]["model.classifier.bias"].copy_(torch.tensor([0.0, 1.0]))
    torch.save(saved, run / "checkpoints" / "best.ckpt")
    assert command(monkeypatch, *test) == 0
    out = capsys.readouterr().out
    assert "The model has collapsed: it gives all 9 rows of test the label yes." in out
    assert re.search(r"After \d+ steps, it was trained too little\.", out)


def test_an_own_regression_task(tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = own_fit(tiny_model, data__custom__label="stars", trainer__max_epochs=1)
    assert command(monkeypatch, *arguments) == 0
    run = workplace / "lightning_logs" / "reviews" / "version_0"
    record = json.loads((run / "metrics.json").read_text())
    assert set(record["metrics"]) == {"val/pearson", "val/spearmanr", "val/loss"}
    assert record["monitor"] == "val/pearson"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data__custom__text": "null"}, "For a task of your own, name its columns"),
        ({"data__custom__text": "txt"}, "no column 'txt'. Did you mean 'text'?"),
        ({"data__custom__lable": "id"}, "there is no such flag. Did you mean '--data.custom.label'?"),
        ({"data__custom__kind": "multilabel"}, "got 'multilabel', allowed: "),
        ({"data__task": "cola"}, "'cola' is a task of GLUE"),
        ({"checkpoint__monitor": "val/f2"}, "'val/f2' is not logged. Did you mean 'val/f1'?"),
    ],
)
def test_wrong_settings_of_an_own_task_are_one_message(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    settings: dict[str, object], message: str,
) -> None:  # fmt: skip
    arguments = own_fit(tiny_model, **settings)
    before = files(workplace)
    assert command(monkeypatch, *arguments) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert files(workplace) == before


# ---------------------------------------------------------------- from another task's run


def test_a_fit_starts_from_a_run_of_another_task(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(tiny_model, workplace / "model")
    assert command(monkeypatch, *tiny_fit(model, "mnli", trainer__max_epochs=1)) == 0
    origin = workplace / "lightning_logs" / "mnli" / "version_0"
    shutil.rmtree(model)  # the run is all it takes
    weights = torch.load(origin / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    arguments = [a for a in tiny_fit(model, "rte", model__learning_rate=1e-30) if "name_or_path" not in str(a)]
    monkeypatch.chdir(workplace)
    assert (
        command(monkeypatch, *arguments, "--model.init_from=lightning_logs/mnli/version_0", "--model.weight_decay=0")
        == 0
    )
    assert "Encoder of lightning_logs/mnli/version_0, new head" in capsys.readouterr().out
    run = workplace / "lightning_logs" / "rte" / "version_0"
    started = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in started.items():
        if not name.startswith("model.classifier"):
            torch.testing.assert_close(value, weights[name], atol=1e-6, rtol=0)
    assert started["model.classifier.weight"].shape[0] == 2
    record = json.loads((run / "metrics.json").read_text())
    assert record["init_from"] == str(origin)
    shutil.rmtree(origin)  # from here on the new run stands alone
    assert scores_of("validate", "--run", run) == record["metrics"]
    assert command(monkeypatch, "fit", "--run", run, "--ckpt_path=last", "--trainer.max_epochs=3") == 0
    loaded = SequenceClassifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert loaded.task.name == "rte"


def test_a_head_is_kept_by_the_names_of_its_labels(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # wnli numbers the labels the other way round
    assert command(monkeypatch, *tiny_fit(tiny_model, "rte", trainer__max_epochs=1)) == 0
    best = workplace / "lightning_logs" / "rte" / "version_0"
    weights = torch.load(best / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    classifier = SequenceClassifier("wnli", str(tiny_model), init_from=str(best))
    classifier.configure_model()
    assert classifier.builder.has_trained_head
    torch.testing.assert_close(classifier.model.classifier.weight, weights["model.classifier.weight"].flip(0))
    torch.testing.assert_close(classifier.model.classifier.bias, weights["model.classifier.bias"].flip(0))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.init_from=lightning_logs/rte/version_7"], "Did you mean 'lightning_logs/rte/version_"),
        (["--model.init_from=empty"], "is neither a run directory"),
        (["--model.init_from=text.ckpt"], "text.ckpt is not a readable checkpoint"),
        (["--model.init_from=lightning_logs/rte/version_1"], "has no checkpoint best.ckpt"),
        (["--model.init_from=lightning_logs/rte/version_0", "--model.name_or_path=other"], "not of other. Leave"),
        (
            ["--config=recipe.yaml", "--model.init_from=lightning_logs/rte/version_0"],
            "Leave model.name_or_path (recipe.yaml, line 2) out, or pass `--model.name_or_path /",
        ),
    ],
)
def test_a_run_that_cannot_be_started_from_is_one_message(
    tiny_model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    flags: list[str], message: str,
) -> None:  # fmt: skip
    assert command(monkeypatch, *tiny_fit(tiny_model, "rte", trainer__max_epochs=1)) == 0
    shutil.copytree("lightning_logs/rte/version_0", "lightning_logs/rte/version_1")
    shutil.rmtree("lightning_logs/rte/version_1/checkpoints")
    Path("empty").mkdir()
    Path("text.ckpt").write_text("no checkpoint")
    Path("recipe.yaml").write_text("model:\n  name_or_path: other\n")
    capsys.readouterr()
    before = files(workplace)
    assert command(monkeypatch, "fit", "--data.task=stsb", "--data.source=demo", *flags) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert files(workplace) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [x, x]\n" + "".join(f"{n}: &{n} [*{m}, *{m}]\n" for m, n in zip("abcdefghijklmnopqr", "bcdefghijklmnopqrs", strict=True)),
         "with its aliases written out it has 2,097,149 values"),
        ("- 1\n", "the file does not start with a section"),
        ("data: {task: rte}\ndata: {task: cola}\n", "line 2: data is given twice"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("arguments", [("validate", "--ckpt_path", "best"), ("fit", "--ckpt_path", "last")])
def test_the_configuration_of_a_run_is_checked_like_any_other(
    arguments: tuple[str, ...],
    text: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Path("lightning_logs", "rte", "version_0")
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text(text)
    (run / "checkpoints" / "best.ckpt").write_text("x")
    shutil.copy(run / "checkpoints" / "best.ckpt", run / "checkpoints" / "last.ckpt")
    monkeypatch.setattr("glue_lit.cli.run_arguments._whole_checkpoint", lambda run, last: last)
    assert command(monkeypatch, *arguments) == 2
    assert f"--config {run / 'config.yaml'}" in (said := capsys.readouterr().err)
    assert message in said
