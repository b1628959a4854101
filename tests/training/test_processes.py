"""Strategies and processes that would train wrongly or lose their results are refused before training."""

import json
import re
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
from glue_lit.training.lightning_internals.sharding import ShardedStrategy
from glue_lit.training.processes import check_processes, check_sharding, check_strategy_setting

PACKAGE = "lightning.pytorch.strategies"


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ("fsdp", "fsdp"),
        ("fsdp_cpu_offload", "fsdp_cpu_offload"),
        ("deepspeed_stage_3", "deepspeed_stage_3"),
        ("xla", "xla"),
        ({"class_path": f"{PACKAGE}.FSDPStrategy"}, "FSDPStrategy"),
        ({"class_path": f"{PACKAGE}.DeepSpeedStrategy"}, "DeepSpeedStrategy"),
        ({"class_path": f"{PACKAGE}.XLAStrategy"}, "XLAStrategy"),
        (ModelParallelStrategy(), "ModelParallelStrategy"),
        (FSDPStrategy(), "FSDPStrategy"),
    ],
)
def test_a_strategy_that_splits_the_model_is_refused_by_name(strategy: Any, name: str) -> None:
    with pytest.raises(UsageError, match=rf"^trainer\.strategy: got {name}\. .*Allowed: auto, ddp and its .* fsdp2"):
        check_strategy_setting(strategy)


class OwnStrategy(SingleDeviceStrategy):
    """A strategy that a user registers for a device of their own."""


@pytest.mark.parametrize(
    "strategy",
    [
        None, "auto", "ddp", "ddp_find_unused_parameters_true", {"class_path": f"{PACKAGE}.DDPStrategy"},
        DDPStrategy(), OwnStrategy(), "fsdp2", ShardedStrategy(), {"class_path": f"{PACKAGE}.ModelParallelStrategy"},
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
    Path("split.yaml").write_text(f"trainer:\n  strategy:\n    class_path: {PACKAGE}.FSDPStrategy\n")
    given = "--trainer.strategy=fsdp" if how == "flag" else "--config=split.yaml"
    assert glue_lit(monkeypatch, *FIT, "--model.name_or_path=./nowhere", given) == 2
    said = capsys.readouterr().err
    assert f"trainer.strategy: got {'fsdp' if how == 'flag' else 'FSDPStrategy'}." in said
    assert len(said.splitlines()) == 1
    assert not Path("lightning_logs").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "save_distributed_checkpoint: true",
            r"init_args.save_distributed_checkpoint \(split.yaml, line 5\): got true",
        ),
        ("tensor_parallel_size: 2", "init_args.tensor_parallel_size: got 2, allowed: auto or 1"),
        ("data_parallel_size: 3", "init_args.data_parallel_size: got 3, allowed: auto or the number of devices, 1"),
        ("timeout: null\nmodel:\n  average: 0.9", "model.average: got 0.9, which needs the whole model on each device"),
        (
            "timeout: null\nmodel:\n  quantization: 4bit\n  peft: peft.LoraConfig",
            "model.quantization: got 4bit, which needs the whole model",
        ),
        (
            "timeout: null\nmodel:\n  optimizer: SGD",
            "model.optimizer: got torch.optim.SGD, which needs the whole model",
        ),
    ],
)
def test_settings_that_do_not_work_on_parts_of_a_model_are_refused_before_data_are_read(
    settings: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    start = f"trainer:\n  strategy:\n    class_path: {PACKAGE}.ModelParallelStrategy\n    init_args:\n      "
    Path("split.yaml").write_text(start + settings)
    assert glue_lit(monkeypatch, *FIT, "--model.name_or_path=./nowhere", "--config=split.yaml") == 2
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert len(said.splitlines()) == 1
    assert not Path("lightning_logs").exists()


def test_parts_of_a_model_are_refused_in_precisions_that_scale_the_loss(tiny_model: Path) -> None:
    trainer: Any = SimpleNamespace(strategy=ShardedStrategy(), precision="16-mixed", world_size=1)
    with pytest.raises(UsageError, match=r"^trainer.precision: got 16-mixed, allowed with the strategy fsdp2: 32-true"):
        check_sharding(trainer, {"average": 0})


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


LAUNCHERS = {
    "torchrun": lambda rank: {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
                              "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "1"},
    "two nodes by torchrun": lambda rank: {"RANK": rank, "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1",
                                           "GROUP_RANK": rank, "TORCHELASTIC_RUN_ID": "1"},
    "srun": lambda rank: SRUN | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_NODEID": "0", "SLURM_NNODES": "1",
                                 "SLURM_NTASKS_PER_NODE": "2", "SLURM_STEP_NUM_NODES": "1"},
    "two nodes by srun": lambda rank: SRUN | {"SLURM_PROCID": rank, "SLURM_LOCALID": "0", "SLURM_NODEID": rank,
                                              "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "1",
                                              "SLURM_STEP_NUM_NODES": "2"},
}  # fmt: skip
SRUN = {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "7"}


def launched(by: str, folder: Path, *arguments: str) -> list[str]:
    """Run a command in two processes, as a launcher starts them; what the first one printed, and the second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    ranks = [
        warm.start("-m", "glue_lit", *arguments, folder=folder, **place, **LAUNCHERS[by](rank)) for rank in ("0", "1")
    ]
    ended = [rank.wait() for rank in ranks]
    assert [done.returncode for done in ended] == [0, 0], "".join(done.stderr for done in ended)
    return [done.stdout for done in ended]


@pytest.mark.parametrize(
    "by", ["two nodes by torchrun", *(pytest.param(by, marks=pytest.mark.slow) for by in LAUNCHERS if "two" not in by),
           pytest.param("two nodes by srun", marks=pytest.mark.slow)],
)  # fmt: skip
def test_the_processes_of_a_launcher_are_the_devices_of_every_command(
    by: str, tiny_model: Path, tmp_path: Path
) -> None:
    first, second = launched(by, tmp_path, *FIT, f"--model.name_or_path={tiny_model}")
    assert "on 2 x cpu" in first
    assert "A step takes 2 x 16 = 32 examples (devices x data.batch_size)." in first
    assert not second
    (run,) = tmp_path.glob("lightning_logs/cola/version_*")
    assert json.loads((run / "metrics.json").read_text())["device"]["processes"] == 2
    if by != "srun":  # the others are no different
        return
    for command in ("validate", "test", "predict"):
        first, second = launched(by, tmp_path, command, "--ckpt_path=best")
        assert first
        assert not second
    assert [*run.glob("predictions/*.jsonl")]


def test_a_slurm_job_without_srun_says_that_it_would_wait_forever(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "train",
                        "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    trainer = Trainer(accelerator="cpu", devices=2, logger=False, enable_checkpointing=False, max_epochs=1)
    with pytest.raises(UsageError, match=r"has 2 device\(s\) in all, but in a SLURM job only srun starts"):
        check_processes(trainer)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    with pytest.raises(
        UsageError, match=r"srun started 1 process, but the trainer has 2.*it would wait for the others"
    ):
        check_processes(trainer)


@pytest.mark.slow
def test_torchrun_itself_starts_two_processes(tiny_model: Path, tmp_path: Path) -> None:
    run = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "glue_lit")
    arguments = (*run, *FIT, f"--model.name_or_path={tiny_model}")
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert len([*tmp_path.rglob("metrics.json")]) == 1
