"""The README's commands as written, with a stand-in of the Hub in its place."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import warm
from hub_server import TOKEN, Hub

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
FEW = (
    "--data.train_limit=16", "--data.validation_limit=16", "--trainer.max_steps=2", "--trainer.accelerator=cpu",
    "--trainer.precision=32-true",
)  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A working directory with the configurations that commands name."""
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    return tmp_path


def glue_lit(hub: Hub, folder: Path, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command that asks the stand-in."""
    return warm.run("-m", "glue_lit", *arguments, folder=folder, **{**hub.environment, **environment})


def documented(start: str) -> list[str]:
    """The arguments of the README's command that starts so."""
    found = re.search(rf"^glue-lit ({re.escape(start)}.*)$", README, re.MULTILINE)
    assert found is not None
    return shlex.split(found[1])


def test_the_commands_of_the_readme(checkout: Path, hub: Hub) -> None:
    fit = documented("fit --config configs/cola.yaml")
    result = glue_lit(hub, checkout, *fit, *FEW)
    assert (result.returncode, result.stderr) == (0, "")
    assert "Corpus of Linguistic Acceptability (cola), Hub: train 16, validation 16" in result.stdout
    splits = json.loads((checkout / "lightning_logs/cola/version_0/metrics.json").read_text())["data"]["splits"]
    commit = hub.repositories["datasets", "nyu-mll/glue"].resolve("main")
    assert {name: split["commit"] for name, split in splits.items()} == {"train": commit, "validation": commit}
    result = glue_lit(hub, checkout, *documented("validate --ckpt_path best"))
    assert (result.returncode, result.stderr) == (0, "")
    assert "matthews_correlation" in result.stdout
    hub.requests.clear()
    result = glue_lit(hub, checkout, *documented('predict --text "The coffee was a joy."'))
    assert json.loads(result.stdout)["label"] in ("unacceptable", "acceptable")
    assert hub.requests == []  # all that it needs is in the checkpoint
    export = (*documented("export --output my-model"), "--push_to_hub", "my-model")
    result = glue_lit(hub, checkout, *export, HF_TOKEN=TOKEN)
    assert (result.returncode, result.stderr) == (0, "")
    assert "model.safetensors" in hub.repositories["models", "me/my-model"].files
    result = glue_lit(hub, checkout, *fit, *FEW, "--model.name_or_path=me/my-model", HF_TOKEN=TOKEN)
    assert (result.returncode, result.stderr) == (0, "")
