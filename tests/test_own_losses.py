"""A loss that the user names, through the commands, and over two processes.

This file is also the script that each of several processes runs.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import warm
import yaml
from command_line import glue_lit

HUBER = {"class_path": "torch.nn.HuberLoss", "init_args": {"reduction": "none", "delta": 0.5}}
MARGIN = {"class_path": "torch.nn.MultiMarginLoss", "init_args": {"margin": 0.5}}
Command = Callable[..., int]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own-losses")


@pytest.fixture
def command(place: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`glue-lit` in the directory that all tests share."""
    monkeypatch.chdir(place)
    return lambda *arguments: glue_lit(monkeypatch, *arguments)


def fit(model: Path, *more: str) -> list[str]:
    return [
        "fit", "--data.task=cola", "--data.source=demo", f"--model.name_or_path={model}", "--data.train_limit=40",
        "--data.validation_limit=30", "--trainer.max_epochs=1", "--trainer.accelerator=cpu",
        "--trainer.precision=32-true", "--trainer.devices=1", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny_model: Path, place: Path) -> Path:
    """A finished fit with a loss of PyTorch, named by its short name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        own = ["--model.loss=MultiMarginLoss", "--model.loss.margin=0.5", "--data.metrics+=log_loss"]
        assert glue_lit(patch, *fit(tiny_model, *own)) == 0
    return place / "lightning_logs" / "cola" / "version_0"


def test_a_fit_keeps_it_and_reports_it(run: Path) -> None:
    record = json.loads((run / "metrics.json").read_text())
    assert record["recipe"]["Loss"] == "MultiMarginLoss (p 1, margin 0.5, reduction mean)"
    assert record["metrics"]["val/loss"] < 0.6 < record["metrics"]["val/log_loss"]
    loss = yaml.safe_load((run / "config.yaml").read_text())["model"]["loss"]
    assert (loss["class_path"], loss["init_args"]["margin"]) == ("torch.nn.MultiMarginLoss", 0.5)


def test_a_run_is_validated_with_its_loss(run: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    score = ["validate", "--ckpt_path=best", "--trainer.accelerator=cpu", "--trainer.devices=1", "--json"]
    assert command(*score) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    record = json.loads((run / "metrics.json").read_text())
    assert found["val/loss"] == pytest.approx(record["metrics"]["val/loss"], rel=1e-6)
    assert command(*score, "--model.loss=null") == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    assert found["val/loss"] == pytest.approx(record["metrics"]["val/log_loss"], rel=1e-6)


@pytest.mark.slow
def test_an_export_is_not_scored_by_it(run: Path, command: Command, place: Path) -> None:
    """Nor by another loss under its name."""
    assert command("export", f"--run={run}", "--format=onnx", "--quantize=int8", "--output=model") == 0
    card = (place / "model" / "README.md").read_text()
    assert "validation, log\\_loss" in card
    assert "validation, loss" not in card


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fokal"], "model.loss: got 'fokal'. Did you mean 'focal'?"),
        (["focal", "--model.loss.gamma=1"], "--model.loss.gamma: focal is no class, which alone has init_args. Its gamma"),
        (["torch.nn.functional.cross_entropy", "--model.loss.reduction=sum"], "is a function, which takes no settings"),
        (["torch.nn.CrossEntropyLoss", "--model.loss.reductio=sum"], "--model.loss.reductio: the class has no setting"),
        (["torch.nn.CrossEntropyLoss", "--model.loss.reduction=sum"], "sums over the rows of a batch"),
    ],
)  # fmt: skip
def test_a_wrong_loss_is_refused_before_anything_is_written(
    tiny_model: Path, run: Path, command: Command, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*fit(tiny_model, f"--model.loss={words[0]}", *words[1:])) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in run.parent.iterdir()] == [run.name]


def test_a_run_is_resumed_with_its_own_loss(run: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("fit", f"--run={run}", "--ckpt_path=last", "--model.loss=focal", "--trainer.max_epochs=2") == 1
    assert "is of a training with torch.nn.MultiMarginLoss, and model.loss is focal now" in capsys.readouterr().err


def test_functions_and_names_survive_a_configuration_file(tiny_model: Path, place: Path, command: Command) -> None:
    for loss in ("focal", "torch.nn.functional.cross_entropy"):
        file = place / "loss.yaml"
        file.write_text(yaml.safe_dump({"model": {"loss": loss}}))
        folder = f"--trainer.default_root_dir={place / loss}"
        assert command(*fit(tiny_model, f"--config={file}", folder, "--trainer.max_steps=1")) == 0
        (config,) = (place / loss).rglob("config.yaml")
        assert yaml.safe_load(config.read_text())["model"]["loss"] == loss


# ---------------------------------------------------------------- two processes


def trained(tiny_model: Path, task: str, loss: Any, world: int) -> Any:
    from lightning.pytorch import Trainer, seed_everything

    from glue_lit import GLUEDataModule, SequenceClassifier

    seed_everything(3, verbose=False)
    data = GLUEDataModule(
        task, str(tiny_model), "demo", batch_size=4, train_limit=18, validation_limit=13, group_by_length=False
    )
    model = SequenceClassifier(task, str(tiny_model), learning_rate=1e-3, loss=loss, dropout=0.0)
    trainer = Trainer(
        accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto", max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        precision="32-true", limit_train_batches=2,
    )  # fmt: skip
    trainer.fit(model, data)
    return model


def main(folder: Path, tiny_model: Path) -> None:
    import torch

    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    same = {"class_path": "torch.nn.CrossEntropyLoss", "init_args": {}}
    ours, theirs = (trained(tiny_model, "cola", loss, 2) for loss in (None, same))
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    found = {"own": [ours.scores["val/loss"], theirs.scores["val/loss"]]}
    for task, loss in (("cola", MARGIN), ("cola", "focal"), ("stsb", HUBER)):
        model = trained(tiny_model, task, loss, 2)
        if os.environ["LOCAL_RANK"] == "0":
            name = loss if isinstance(loss, str) else loss["class_path"]
            torch.save(model.model.state_dict(), folder / f"{name}.pt")
            found[name] = model.scores["val/loss"]
    if os.environ["LOCAL_RANK"] == "0":
        (folder / "found.json").write_text(json.dumps(found))


@pytest.mark.slow
def test_two_processes_train_and_score_with_it_as_one(tmp_path: Path, tiny_model: Path) -> None:
    """The weights of cross-entropy by its class, and each loss of an evaluation, whatever its rows' processes."""
    import torch
    from lightning.pytorch import Trainer

    from glue_lit import GLUEDataModule, SequenceClassifier
    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "PL_GLOBAL_SEED": "3"}
    ranks = [warm.start(__file__, tmp_path, tiny_model, LOCAL_RANK=str(rank), **told) for rank in range(2)]
    for rank in ranks:
        done = rank.wait()
        assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["own"][0] == pytest.approx(found["own"][1], rel=1e-6)
    for task, loss in (("cola", MARGIN), ("cola", "focal"), ("stsb", HUBER)):
        name = loss if isinstance(loss, str) else str(loss["class_path"])
        data = GLUEDataModule(task, str(tiny_model), "demo", validation_limit=13, eval_batch_size=5)
        model = SequenceClassifier(task, str(tiny_model), loss=loss)
        model.build_model()
        model.model.load_state_dict(torch.load(tmp_path / f"{name}.pt", weights_only=True))
        trainer = Trainer(
            accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, precision="32-true",
            enable_checkpointing=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.validate(model, data, verbose=False)
        assert model.scores["val/loss"] == pytest.approx(found[name], rel=1e-6)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
