"""Strategies and processes that would train wrongly or lose their results are refused before training."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import warm
from command_line import glue_lit
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy, SingleDeviceStrategy

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.errors import UsageError
from glue_lit.training.processes import check_processes, check_strategy_setting

PACKAGE = "lightning.pytorch.strategies"


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ("fsdp", "fsdp"),
        ("fsdp_cpu_offload", "fsdp_cpu_offload"),
        ("deepspeed_stage_3", "deepspeed_stage_3"),
        ("xla", "xla"),
        ({"class_path": f"{PACKAGE}.ModelParallelStrategy", "init_args": {}}, "ModelParallelStrategy"),
        ({"class_path": f"{PACKAGE}.FSDPStrategy"}, "FSDPStrategy"),
        ({"class_path": f"{PACKAGE}.DeepSpeedStrategy"}, "DeepSpeedStrategy"),
        ({"class_path": f"{PACKAGE}.XLAStrategy"}, "XLAStrategy"),
        (ModelParallelStrategy(), "ModelParallelStrategy"),
        (FSDPStrategy(), "FSDPStrategy"),
    ],
)
def test_a_strategy_that_splits_the_model_is_refused_by_name(strategy: Any, name: str) -> None:
    with pytest.raises(UsageError, match=rf"^trainer\.strategy: got {name}\. .*Allowed: auto, ddp and its variants"):
        check_strategy_setting(strategy)


class OwnStrategy(SingleDeviceStrategy):
    """A strategy that a user registers for a device of their own."""


@pytest.mark.parametrize(
    "strategy",
    [
        None, "auto", "ddp", "ddp_find_unused_parameters_true", {"class_path": f"{PACKAGE}.DDPStrategy"},
        DDPStrategy(), OwnStrategy(),
    ],
)  # fmt: skip
def test_tested_strategies_are_accepted(strategy: Any) -> None:
    check_strategy_setting(strategy)


FIT = ("fit", "--data.task=cola", "--data.source=demo", "--data.train_limit=8", "--data.validation_limit=6",
       "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.precision=32-true")  # fmt: skip


@pytest.mark.parametrize("how", ["flag", "file"])
def test_the_command_refuses_it_before_data_are_read(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("split.yaml").write_text(f"trainer:\n  strategy:\n    class_path: {PACKAGE}.ModelParallelStrategy\n")
    given = "--trainer.strategy=fsdp" if how == "flag" else "--config=split.yaml"
    assert glue_lit(monkeypatch, *FIT, "--model.name_or_path=./nowhere", given) == 2
    said = capsys.readouterr().err
    assert f"trainer.strategy: got {'fsdp' if how == 'flag' else 'ModelParallelStrategy'}." in said
    assert len(said.splitlines()) == 1
    assert not Path("lightning_logs").exists()


def test_a_trainer_in_python_refuses_it_too(tiny_model: Path) -> None:
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, max_epochs=1)
    trainer.strategy.__class__ = type("Sharded", (ModelParallelStrategy,), {})  # a real one needs a GPU
    with pytest.raises(UsageError, match=r"^trainer\.strategy: got Sharded\."):
        check_processes(trainer)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
         "torchrun started 2 processes, but the trainer has 1 device.*Pass `--trainer.devices 2`, or"),
        ({"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"},
         "torchrun started 8 processes.*Pass `--trainer.devices 4 --trainer.num_nodes 2`"),
        ({"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2",
          "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_ID": "7"},
         "srun started 4 processes.*Pass `--trainer.devices 2 --trainer.num_nodes 2`"),
    ],
)  # fmt: skip
def test_more_processes_than_the_trainer_has_devices(
    environment: dict[str, str], message: str, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, max_epochs=1)
    data = GLUEDataModule(tokenizer=str(tiny_model), source="demo", train_limit=8, validation_limit=6)
    model = SequenceClassifier(name_or_path=str(tiny_model))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"^trainer.devices: {message}"):
        trainer.fit(model, data)


def test_several_machines_need_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "NODE_RANK", "GROUP_RANK"):
        monkeypatch.delenv(name, raising=False)
    strategy: Any = DDPStrategy()
    strategy.cluster_environment = LightningEnvironment()
    trainer: Any = SimpleNamespace(num_nodes=2, world_size=2, strategy=strategy)
    with pytest.raises(UsageError, match=r"trainer.num_nodes: got 2, but the rank of this machine is unknown"):
        check_processes(trainer)
    monkeypatch.setenv("NODE_RANK", "1")
    check_processes(trainer)
    monkeypatch.delenv("NODE_RANK")
    trainer.num_nodes = 1
    check_processes(trainer)


IMPATIENT = """
import sys
from glue_lit.training import processes
from glue_lit.__main__ import main

processes._SEEN_WITHIN = 0.5
sys.argv = ["glue-lit", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("is_shared", [True, False])
def test_several_machines_need_a_shared_run_folder(is_shared: bool, tiny_model: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    for rank in range(2):
        folder = tmp_path / ("all" if is_shared else f"node_{rank}")
        folder.mkdir(exist_ok=True)
        several = ("--trainer.num_nodes=2", "--trainer.devices=1", "--trainer.strategy=ddp")
        environment = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "NODE_RANK": str(rank),
            "OMP_NUM_THREADS": "1",
        }
        arguments = (*FIT, f"--model.name_or_path={tiny_model}", *several)
        nodes.append(warm.start("-c", IMPATIENT, *arguments, folder=folder, **environment))
    first, second = (node.wait(120) for node in nodes)
    if is_shared:
        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        (run,) = tmp_path.glob("all/lightning_logs/cola/version_0")
        assert json.loads((run / "metrics.json").read_text())["device"]["processes"] == 2
        assert not [*run.rglob(".seen-by-all-*")]
        return
    for done in (first, second):
        assert done.returncode == 1
        assert "cannot be seen from machine(s) 1 (numbered from 0): checkpoints would be lost" in done.stderr
        assert "`--trainer.default_root_dir DIR`" in done.stderr
    assert not [*tmp_path.rglob("*.ckpt")]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_torchrun_starts_two_processes(devices: int, tiny_model: Path, tmp_path: Path) -> None:
    run = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "glue_lit")
    arguments = (*run, *FIT, f"--model.name_or_path={tiny_model}", *([f"--trainer.devices={devices}"] * (devices > 1)))
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    if devices == 2:
        assert done.returncode == 0, done.stderr
        assert len([*tmp_path.rglob("metrics.json")]) == 1
        return
    assert done.returncode != 0
    assert "torchrun started 2 processes, but the trainer has 1 device" in done.stderr
    assert not (tmp_path / "lightning_logs").exists()
