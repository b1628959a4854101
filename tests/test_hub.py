"""The README's commands as written, with a stand-in of the Hub in its place."""

import contextlib
import io
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import datasets
import pytest
import warm
import yaml
from hub_repositories import Repository, pickled
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
    uploaded = hub.repositories["models", "me/my-model"].files
    card = yaml.safe_load(uploaded["README.md"].split(b"---\n")[1])
    assert (card["base_model"], card["datasets"]) == ("distilbert-base-uncased", ["nyu-mll/glue"])
    assert "model.safetensors" in uploaded
    result = glue_lit(hub, checkout, *fit, *FEW, "--model.name_or_path=me/my-model", HF_TOKEN=TOKEN)
    assert (result.returncode, result.stderr) == (0, "")


def test_adapters_take_their_base_model_from_its_commit(checkout: Path, hub: Hub) -> None:
    """The checkpoint of a fit with LoRA, used when the model on the Hub has changed, and where nothing is cached."""
    fit = ("fit", "--config=configs/cola.yaml", *FEW, "--model.peft=peft.LoraConfig")
    assert glue_lit(hub, checkout, *fit).returncode == 0
    predict = ("predict", "--text", "The coffee was a joy.")
    first = glue_lit(hub, checkout, *predict)
    assert json.loads(first.stdout)["label"] in ("unacceptable", "acceptable")
    assert glue_lit(hub, checkout, *predict, HF_HUB_OFFLINE="1").stdout == first.stdout

    repository = hub.repositories["models", "distilbert/distilbert-base-uncased"]
    repository.revisions["before"] = dict(repository.files)
    weights = bytearray(repository.files["model.safetensors"])
    weights[-1] ^= 1
    repository.files["model.safetensors"] = bytes(weights)
    shutil.rmtree(hub.home)
    lost = glue_lit(hub, checkout, *predict, HF_HUB_OFFLINE="1")
    assert lost.returncode == 1
    assert "holds the adapters and the head; all other weights are those of 'distilbert-base-uncased'" in lost.stderr
    assert lost.stderr.count("\n") == 1
    found = glue_lit(hub, checkout, *predict)
    assert found.stdout == first.stdout, found.stderr


def test_a_fit_asks_once_for_each_commit_and_downloads_what_it_needs(checkout: Path, hub: Hub) -> None:
    fit = (*documented("fit --config configs/cola.yaml"), *FEW)
    assert glue_lit(hub, checkout, *fit).returncode == 0
    assert [request for request in hub.requests if "CONNECT" in request or "/test-" in request] == []
    hub.requests.clear()
    assert glue_lit(hub, checkout, *fit).returncode == 0
    model = "/distilbert/distilbert-base-uncased"
    heads = ["HEAD /datasets/nyu-mll/glue/resolve/main/README.md", f"HEAD {model}/resolve/main/config.json"]
    assert [request for request in hub.asked() if f"/api/models{model}/tree/" not in request] == heads
    assert len(hub.asked()) <= 4  # transformers lists the tokenizer's files anew
    hub.requests.clear()
    offline = os.environ | hub.environment | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "glue_lit", *fit]
    result = subprocess.run(command, cwd=checkout, env=offline, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr, hub.requests) == (0, "", [])


ON_A_TERMINAL = """
import runpy, sys
sys.stderr, sys.argv = sys.stdout, ["glue-lit", *sys.argv[1:]]
runpy.run_module("glue_lit", run_name="__main__")
"""


def test_large_downloads_have_a_bar_or_a_line(tmp_path: Path, tiny_model: Path, hub: Hub) -> None:
    drawn = random.Random(0)
    rows = {"sentence": [drawn.randbytes(50).hex() for _ in range(20_000)], "label": [0, 1] * 10_000}
    rows["idx"] = list(range(20_000))
    stream = io.BytesIO()
    datasets.Dataset.from_dict(rows).to_parquet(stream)
    file = "cola/train-00000-of-00001.parquet"
    hub.repositories["datasets", "nyu-mll/glue"].files[file] = stream.getvalue()
    arguments = ("fit", "--data.task=cola", f"--model.name_or_path={tiny_model}", *FEW)
    result = glue_lit(hub, tmp_path, *arguments)
    assert result.returncode == 0
    assert result.stderr == f"Downloading {file} of nyu-mll/glue ({len(stream.getvalue()) / 1e6:,.0f} MB).\n"
    assert glue_lit(hub, tmp_path, *arguments).stderr == ""
    shutil.rmtree(hub.home)
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    program = warm.start(
        "-c", ON_A_TERMINAL, *arguments, folder=tmp_path, stdout=Path(os.ttyname(theirs)), **hub.environment
    )
    seen = b""
    os.set_blocking(ours, False)
    while program.poll() is None:
        with contextlib.suppress(BlockingIOError):
            seen += os.read(ours, 10_000)
    assert program.wait().returncode == 0, seen.decode()
    assert b"train-00000-of-00001.parquet: 100%" in seen
    assert b"README.md" not in seen


def test_no_third_party_hears_of_a_model_in_an_older_format(tmp_path: Path, hub: Hub) -> None:
    weights = hub.repositories["models", "distilbert/distilbert-base-uncased"]
    hub.repositories["models", "some/old"] = pickled(weights)
    arguments = ("--data.task=cola", "--data.source=demo", "--model.name_or_path=some/old")
    result = glue_lit(hub, tmp_path, "fit", *arguments, *FEW)
    assert (result.returncode, result.stderr) == (0, "")
    assert [request for request in hub.requests if request.startswith(("CONNECT", "POST"))] == []
    assert len([request for request in hub.requests if request.startswith("GET /cdn/")]) == 1


def test_a_data_set_of_ones_own(tmp_path: Path, tiny_model: Path, hub: Hub) -> None:
    lines = [b"so it goes %d%s,%d\n" % (number, b" on" * 10_000, number % 2) for number in range(40)]
    rows = b"text,label\n" + b"".join(lines)
    hub.repositories["datasets", "me/reviews"] = Repository({"train.csv": rows})  # and no README.md
    own = ("--data.task=mine", "--data.source=me/reviews", "--data.custom.text=text", "--data.custom.label=label")
    arguments = (*own, f"--model.name_or_path={tiny_model}", *FEW)
    for said in ("Downloading me/reviews (up to 1 MB).\n", ""):
        hub.requests.clear()
        result = glue_lit(hub, tmp_path, "fit", *arguments)
        assert (result.returncode, result.stderr) == (0, said)
        assert [request for request in hub.requests if request.startswith("CONNECT")] == []
    assert len([request for request in hub.requests if request.endswith("/reviews.py")]) == 1  # loaded once
