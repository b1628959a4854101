"""A setting that a subclass adds is seen everywhere: help, checks, checkpoint, configuration, card, report, HParams."""

import json
import re
import runpy
import subprocess
from pathlib import Path

import pytest
import warm
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from glue_lit.cli.run_arguments import resolve_arguments
from glue_lit.runs.checkpoints import read_checkpoint

# What somebody else writes: two classes with one more setting each, and a program that has them.
PROGRAM = '''
from typing import Annotated, Any

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.cli.trainer_commands import main
from glue_lit.runs.settings import Setting, at_least, count, described


class FocalClassifier(SequenceClassifier):
    """A classifier.

    Args:
        focal: Weight of what is hard to learn.
    """

    @described
    def __init__(self, focal: Annotated[float, Setting(at_least(0), label="Focal gamma")] = 0.0, **rest: Any) -> None:
        super().__init__(**rest)


class ShortRows(GLUEDataModule):
    """Rows.

    Args:
        shortest: Words that a training text has at least.
    """

    @described
    def __init__(self, shortest: Annotated[int, Setting(count(1, 9), label="Shortest text")] = 1, **rest: Any) -> None:
        super().__init__(**rest)


if __name__ == "__main__":
    main(FocalClassifier, ShortRows)
'''


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(program: Path, tiny_model: Path) -> Path:
    """A finished run whose two settings differ from their defaults."""
    small = ["--data.train_limit=32", "--data.validation_limit=16", "--trainer.max_epochs=1"]
    of_cpu = ["--trainer.accelerator=cpu", "--trainer.precision=32-true"]
    flags = ["--data.task=cola", "--data.source=demo", f"--model.name_or_path={tiny_model}", *small, *of_cpu]
    done = execute(program, "fit", "--model.focal=0.5", "--data.shortest=2", *flags)
    assert done.returncode == 0, done.stderr
    return program.parent / "lightning_logs/cola/version_0"


def execute(program: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return warm.run(str(program), *arguments, folder=program.parent, COLUMNS="200")


def test_own_settings_are_flags_with_help(program: Path) -> None:
    said = execute(program, "fit", "--help").stdout
    assert "--model.focal FOCAL" in said
    assert "Weight of what is hard to learn. (type: float, default: 0.0)" in said
    assert "--data.shortest SHORTEST" in said
    assert "Words that a training text has at least. (type: int, default: 1)" in said
    assert "--model.learning_rate" in said
    assert "--data.batch_size" in said


@pytest.mark.parametrize(
    ("flag", "value", "allowed"), [("model.focal", "-1", "a number from 0 up"), ("data.shortest", "10", "1 to 9")]
)
def test_own_settings_are_checked(program: Path, flag: str, value: str, allowed: str) -> None:
    done = execute(program, "fit", f"--{flag}={value}", "--data.source=demo")
    assert done.returncode == 2
    assert (
        done.stderr
        == f"glue-lit: error: {flag}: got {value}{'.0' if flag == 'model.focal' else ''}, allowed: {allowed}.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["fit", "--model.focl=1"], 2, "--model.focl: there is no such flag. Did you mean '--model.focal'?"),
        (["validate", "--ckpt_path=best", "--trainer.default_root_dir=none"], 1, "There is no run in none/lightning_logs."),
        (["fit", "--data.source=nowhere"], 1, "data.source: there is no file or folder 'nowhere'."),
        (["fitt"], 2, "got 'fitt'; allowed: fit, validate, test, predict"),
        ([], 2, "the command is missing; allowed: fit, validate, test, predict"),
    ],
)  # fmt: skip
def test_an_own_program_has_the_messages_of_the_command(
    program: Path, arguments: list[str], status: int, message: str
) -> None:
    done = execute(program, *arguments)
    assert done.returncode == status
    assert done.stderr.startswith(f"glue-lit: error: {message}")
    assert len(done.stderr.splitlines()) == 1


def test_own_settings_are_in_configuration_and_checkpoint(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert (config["model"]["focal"], config["data"]["shortest"]) == (0.5, 2)
    saved = read_checkpoint(run / "checkpoints" / "best.ckpt")
    assert saved["hyper_parameters"]["focal"] == 0.5
    assert saved["datamodule_hyper_parameters"]["shortest"] == 2
    assert json.loads((run / "metrics.json").read_text())["config"]["model"]["focal"] == 0.5


def test_the_next_command_is_one_of_the_own_program(program: Path, run: Path) -> None:
    assert f"Score it    python {program} validate --ckpt_path best" in (run / "log.txt").read_text(encoding="utf-8")


def test_a_checkpoint_of_own_classes_is_scored_with_them_and_without(program: Path, run: Path) -> None:
    own = execute(program, "validate", f"--run={run}", "--json")
    assert own.returncode == 0, own.stderr
    (program.parent / "alone.ckpt").write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    plain = warm.run("-m", "glue_lit", "validate", "--ckpt_path=alone.ckpt", "--json", folder=program.parent)
    assert plain.returncode == 0, plain.stderr
    assert json.loads(plain.stdout)["metrics"] == json.loads(own.stdout)["metrics"]


def test_a_checkpoint_outside_a_run_brings_own_settings(program: Path, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "alone.ckpt"
    path.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    own = runpy.run_path(str(program))
    flags = resolve_arguments(["validate", f"--ckpt_path={path}"], (own["FocalClassifier"], own["ShortRows"]))
    assert {"--model.focal=0.5", "--data.shortest=2"} <= set(flags)


def test_own_settings_are_on_model_card_and_report(program: Path, run: Path) -> None:
    folder = run.parent / "exported"
    written = warm.run("-m", "glue_lit", "export", f"--run={run}", f"--output={folder}")
    assert written.returncode == 0, written.stderr
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "\n| Focal gamma | 0.5 |\n| Shortest text | 2 |\n" in card
    assert execute(program, "predict", f"--run={run}", "--data.predict_split=validation").returncode == 0
    written = warm.run("-m", "glue_lit", "report", str(run))
    assert written.returncode == 0, written.stderr
    report = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert re.search(r"Focal gamma</t[hd]>\s*<td[^>]*>0\.5<", report)
    assert re.search(r"Shortest text</t[hd]>\s*<td[^>]*>2<", report)


def test_own_settings_are_hyperparameters_in_tensorboard(run: Path) -> None:
    events = EventAccumulator(str(run))
    events.Reload()
    content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    begun = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert begun.hparams["focal"].number_value == 0.5
    assert begun.hparams["shortest"].number_value == 2
    assert "weight_decay" not in begun.hparams  # a default of the class below
