"""Processes that share a model's weights train it as one process does, and their checkpoints are those of one.

This file is also the script that the processes run.
"""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import warm
from command_line import glue_lit

EPOCHS, CUT = 2, 1
ROWS, BATCH = 24, 6
RECIPE: dict[str, Any] = {
    "learning_rate": 1e-3, "weight_decay": 0.1, "layer_decay": 0.8, "max_grad_norm": 0.5, "dropout": 0.0, "warmup": 2,
    "schedule": "constant",
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "frozen": {"freeze": 1, "layer_decay": 1.0},
    "checkpointing": {"gradient_checkpointing": True},
    "r_drop": {"r_drop": 1.0},
    "lora": {"peft": {"peft_type": "LORA", "r": 2, "lora_dropout": 0.0}, "layer_decay": 1.0},
}


def new_fit(tiny_model: Path, world: int, strategy: str, epochs: int = EPOCHS, **settings: Any) -> tuple[Any, Any, Any]:
    from lightning.pytorch import Trainer

    from glue_lit import GLUEDataModule, SequenceClassifier

    options = {name: settings.pop(name) for name in ("accumulate_grad_batches", "precision") if name in settings}
    data = GLUEDataModule(task="cola", source="demo", tokenizer=str(tiny_model), batch_size=BATCH // world, seed=1,
                          train_limit=ROWS, validation_limit=7, eval_batch_size=2)  # fmt: skip
    model = SequenceClassifier(task="cola", name_or_path=str(tiny_model), **RECIPE | settings)
    trainer = Trainer(
        accelerator="cpu", devices=world, strategy=strategy, logger=False, max_epochs=epochs,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=1,
        **{"precision": "32-true"} | options,
    )  # fmt: skip
    return trainer, model, data


def fitted(
    path: Path, tiny_model: Path, world: int, strategy: str, resumed: Path | None = None, **settings: Any
) -> Any:
    """Train and write a checkpoint; its weights, with the scores of the last validation."""
    import torch

    trainer, model, data = new_fit(tiny_model, world, strategy, **settings)
    torch.manual_seed(5)
    model.build_model()
    trainer.fit(model, data, ckpt_path=resumed, weights_only=True)
    trainer.save_checkpoint(path)
    trainer.validate(model, data, ckpt_path=path, weights_only=True, verbose=False)
    return {**model.scores, "predicted": model.predicted}


def main(folder: Path, tiny_model: Path, world: int, variants: list[str]) -> None:
    """Train as a whole, in two parts, and on from the checkpoint of one process."""
    import torch

    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    for name in variants:
        settings = VARIANTS[name]
        scores = fitted(folder / f"{name}-whole.ckpt", tiny_model, world, "fsdp2", **settings)
        if name == "plain":
            fitted(folder / f"{name}-cut.ckpt", tiny_model, world, "fsdp2", epochs=CUT)
            fitted(folder / f"{name}-same.ckpt", tiny_model, world, "fsdp2", folder / f"{name}-cut.ckpt")
            fitted(folder / f"{name}-from-one.ckpt", tiny_model, world, "fsdp2", folder / "one-cut.ckpt")
        if os.environ["LOCAL_RANK"] == "0":
            torch.save(scores, folder / f"{name}-scores.pt")


def run_processes(folder: Path, tiny_model: Path, world: int, *variants: str) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    ranks = [
        warm.start(__file__, folder, tiny_model, world, *variants, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                   LOCAL_RANK=str(rank), NODE_RANK="0", OMP_NUM_THREADS="1", PL_GLOBAL_SEED="3")
        for rank in range(world)
    ]  # fmt: skip
    for rank in ranks:
        done = rank.wait()
        assert done.returncode == 0, done.stderr


def assert_same(got: Path, expected: Path) -> None:
    import torch

    ours, theirs = (torch.load(path, weights_only=True) for path in (got, expected))
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    for name, value in theirs["state_dict"].items():
        assert type(ours["state_dict"][name]) is torch.Tensor
        torch.testing.assert_close(ours["state_dict"][name], value, rtol=0, atol=1e-6)


def checked(folder: Path, tiny_model: Path, world: int, *variants: str) -> None:
    import torch

    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    fitted(folder / "one-cut.ckpt", tiny_model, 1, "auto", epochs=CUT)
    run_processes(folder, tiny_model, world, *variants)
    for name in variants:
        expected = fitted(folder / "one.ckpt", tiny_model, 1, "auto", **VARIANTS[name])
        found = torch.load(folder / f"{name}-scores.pt", weights_only=True)
        assert_same(folder / f"{name}-whole.ckpt", folder / "one.ckpt")
        assert found["val/matthews_correlation"] == expected["val/matthews_correlation"]
        assert found["predicted"] == expected["predicted"]
        assert found["val/loss"] == pytest.approx(expected["val/loss"], abs=1e-6)
        if name == "plain":
            for part in ("same", "from-one"):
                assert_same(folder / f"{name}-{part}.ckpt", folder / "one.ckpt")
            fitted(folder / "on-one.ckpt", tiny_model, 1, "auto", folder / f"{name}-cut.ckpt")
            assert_same(folder / "on-one.ckpt", folder / "one.ckpt")


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")


def test_two_processes_share_the_weights(tiny_model: Path, tmp_path: Path) -> None:
    checked(tmp_path, tiny_model, 2, "plain")


@pytest.mark.slow
def test_settings_of_the_recipe_work_on_shared_weights(tiny_model: Path, tmp_path: Path) -> None:
    checked(tmp_path, tiny_model, 3, *VARIANTS)


def command(folder: Path, world: int, *arguments: str) -> None:
    """Run a command in each of several processes, as `torchrun` starts them."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    ranks = [
        warm.start("-m", "glue_lit", *arguments, folder=folder, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                   RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world),
                   TORCHELASTIC_RUN_ID="1", GROUP_RANK="0", OMP_NUM_THREADS="1")
        for rank in range(world)
    ]  # fmt: skip
    for rank in ranks:
        done = rank.wait()
        assert done.returncode == 0, done.stderr


def test_commands_use_the_checkpoint_of_a_strategy_from_a_file(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "split.yaml").write_text(
        "trainer:\n  strategy:\n    class_path: lightning.pytorch.strategies.ModelParallelStrategy\n"
    )
    small = ("--data.source=demo", "--data.train_limit=16", "--data.validation_limit=6", "--trainer.max_epochs=1",
             "--trainer.accelerator=cpu", "--trainer.precision=32-true")  # fmt: skip
    command(tmp_path, 2, "fit", f"--model.name_or_path={tiny_model}", "--config=split.yaml", *small)
    (run,) = tmp_path.glob("lightning_logs/cola/version_0")
    fitted = json.loads((run / "metrics.json").read_text())
    assert fitted["device"]["processes"] == 2
    assert "save_distributed_checkpoint: false" in (run / "config.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    one = ("--ckpt_path=best", "--trainer.devices=1", "--trainer.strategy=auto")
    assert glue_lit(monkeypatch, "validate", *one, "--json") == 0
    assert glue_lit(monkeypatch, "export", "--ckpt_path=best", "--output=exported") == 0
    command(tmp_path, 2, "predict", "--ckpt_path=best")
    command(tmp_path, 2, "fit", "--run=lightning_logs/cola/version_0", "--ckpt_path=last", "--trainer.max_epochs=2")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
