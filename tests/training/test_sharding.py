"""Processes that share a model's weights train it as one process does, and their checkpoints are those of one.

This file is also the script that the processes run.
"""

import json
import os
import shutil
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import warm
from command_line import glue_lit
from tiny_folders import write_tiny

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
    # adapters that begin with a part of the frozen weights
    "pissa": {"peft": {"peft_type": "LORA", "r": 2, "init_lora_weights": "pissa"}, "layer_decay": 1.0},
    "begun": {"init_from": "one-cut.ckpt"},
    # The bias of keys has no gradient but rounding errors, of which AdamW makes steps unless its epsilon is larger.
    # Encoder and decoder share their embedding:
    "bart": {"name_or_path": "bart", "layer_decay": 1.0, "adam_eps": 1e-4},
    # The frequencies of its positions are a buffer that no file has:
    "qwen3": {"name_or_path": "qwen3", "adam_eps": 1e-4},
}
RESUMED = ("plain", "lora")


def settings_of(name: str, folder: Path) -> dict[str, Any]:
    paths = {setting: str(folder / VARIANTS[name][setting]) for setting in ("name_or_path", "init_from")
             if setting in VARIANTS[name]}  # fmt: skip
    return VARIANTS[name] | paths


def new_fit(tiny_model: Path, world: int, strategy: str, epochs: int = EPOCHS, **settings: Any) -> tuple[Any, Any, Any]:
    from lightning.pytorch import Trainer

    from glue_lit import GLUEDataModule, SequenceClassifier

    options = {name: settings.pop(name) for name in ("accumulate_grad_batches", "precision") if name in settings}
    name = settings.setdefault("name_or_path", str(tiny_model))
    data = GLUEDataModule(task="cola", source="demo", tokenizer=settings.pop("tokenizer", name), batch_size=BATCH // world, seed=1,
                          train_limit=ROWS, validation_limit=7, eval_batch_size=2)  # fmt: skip
    model = SequenceClassifier(task="cola", **RECIPE | settings)
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
    torch.manual_seed(int(os.environ["PL_GLOBAL_SEED"]))  # Lightning does it where there are several processes
    trainer.fit(model, data, ckpt_path=resumed, weights_only=True)
    trainer.save_checkpoint(path)
    trainer.validate(model, data, ckpt_path=path, weights_only=True, verbose=False)
    return {**model.scores, "predicted": model.predicted}


def main(folder: Path, tiny_model: Path, world: int, variants: list[str]) -> None:
    """Train as a whole, in two parts, and on from the checkpoint of one process."""
    import torch

    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    if variants == ["unreadable on the first"]:
        name = str(folder / "nothing") if os.environ["LOCAL_RANK"] == "0" else str(tiny_model)
        fitted(folder / "never.ckpt", tiny_model, world, "fsdp2", name_or_path=name, tokenizer=str(tiny_model))
    if variants == ["memory"]:
        write_peak(folder, world, "built")
        write_peak(folder, world, "restored", folder / "built.ckpt")
        return
    for name in variants:
        settings = settings_of(name, folder)
        scores = fitted(folder / f"{name}-whole.ckpt", tiny_model, world, "fsdp2", **settings)
        if name in RESUMED:
            fitted(folder / f"{name}-cut.ckpt", tiny_model, world, "fsdp2", epochs=CUT, **settings)
            fitted(folder / f"{name}-same.ckpt", tiny_model, world, "fsdp2", folder / f"{name}-cut.ckpt", **settings)
        if name == "plain":
            fitted(folder / f"{name}-from-one.ckpt", tiny_model, world, "fsdp2", folder / "one-cut.ckpt")
        if os.environ["LOCAL_RANK"] == "0":
            torch.save(scores, folder / f"{name}-scores.pt")


def write_peak(folder: Path, world: int, name: str, checkpoint: Path | None = None) -> None:
    """Write by how many bytes this process's memory grows at most until the model is on its devices; save it.

    Pages of a file that is mapped are not counted: all processes share them, and the system can take them back.
    """
    from lightning.pytorch import Callback

    ended = threading.Event()
    most = before = in_memory()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.003):
            most = max(most, in_memory())

    class Peak(Callback):
        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            ended.set()
            (folder / f"{name}-{os.environ['LOCAL_RANK']}").write_text(str(most - before))

    trainer, model, data = new_fit(folder / "deep", world, "fsdp2")
    trainer.callbacks.append(Peak())
    threading.Thread(target=watch, daemon=True).start()
    trainer.validate(model, data, ckpt_path=checkpoint, weights_only=True, verbose=False)
    trainer.save_checkpoint(folder / f"{name}.ckpt")


def in_memory() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


def run_processes(folder: Path, tiny_model: Path, world: int, *variants: str) -> None:
    for done in ended_processes(folder, tiny_model, world, *variants):
        assert done.returncode == 0, done.stderr


def ended_processes(folder: Path, tiny_model: Path, world: int, *variants: str) -> list[Any]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    ranks = [
        warm.start(__file__, folder, tiny_model, world, *variants, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                   LOCAL_RANK=str(rank), NODE_RANK="0", OMP_NUM_THREADS="1", PL_GLOBAL_SEED="3")
        for rank in range(world)
    ]  # fmt: skip
    return [rank.wait() for rank in ranks]


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
    for kind in {"bart", "qwen3"} & {*variants}:
        write_tiny(kind, folder / kind)
    fitted(folder / "one-cut.ckpt", tiny_model, 1, "auto", epochs=CUT)
    run_processes(folder, tiny_model, world, *variants)
    for name in variants:
        expected = fitted(folder / "one.ckpt", tiny_model, 1, "auto", **settings_of(name, folder))
        found = torch.load(folder / f"{name}-scores.pt", weights_only=True)
        assert_same(folder / f"{name}-whole.ckpt", folder / "one.ckpt")
        assert found["val/matthews_correlation"] == expected["val/matthews_correlation"]
        assert found["predicted"] == expected["predicted"]
        assert found["val/loss"] == pytest.approx(expected["val/loss"], abs=1e-6)
        if name in RESUMED:
            assert_same(folder / f"{name}-same.ckpt", folder / "one.ckpt")
        if name == "plain":
            assert_same(folder / f"{name}-from-one.ckpt", folder / "one.ckpt")
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


def test_an_error_of_the_first_process_ends_all(tiny_model: Path, tmp_path: Path) -> None:
    first, second = ended_processes(tmp_path, tiny_model, 2, "unreadable on the first")
    said = f"model.name_or_path: there is no folder '{tmp_path / 'nothing'}'"
    assert first.returncode != 0
    assert said in first.stderr
    assert second.returncode != 0
    assert f"Process 0 cannot build the model: {said}" in second.stderr


@pytest.mark.slow
def test_only_the_first_process_holds_the_whole_model(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig.from_pretrained(tiny_model, hidden_size=512, num_hidden_layers=32, intermediate_size=2048)
    model = BertModel(config)
    model.save_pretrained(tmp_path / "deep")
    for file in tiny_model.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "deep")
    run_processes(tmp_path, tiny_model, 3, "memory")
    whole = sum(4 * parameter.numel() for parameter in model.parameters())
    built, restored = ([int((tmp_path / f"{name}-{rank}").read_text()) for rank in range(3)]
                       for name in ("built", "restored"))  # fmt: skip
    assert built[0] > whole
    assert max(*built[1:], *restored[1:]) < 0.6 * whole  # a third of it, a layer, and what the libraries need


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
