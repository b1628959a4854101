"""Options that were written one by one train the same weights together as without those that change no numbers.

A compiled model, and batches that are computed in parts, promise the steps of a plain fit. This file is also the script
that several processes run.
"""

import copy
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import warm
from lightning.pytorch import Trainer

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.encoder import compiling
from glue_lit.encoder.compiling import is_compiled, why_not_here
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.tasks.custom import CustomTask

pytestmark = pytest.mark.slow

LORA = {"peft": {"peft_type": "LORA", "r": 4, "lora_dropout": 0.0, "target_modules": "all-linear"}}
MOMENTUM = {"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9}}
WINDOWS = {"windows": {"length": 16, "stride": 4}}
COMPILED, IN_PARTS = {"compile": True}, {"split_batches": True}
MOST = 48  # tokens that the memory holds where batches are computed in parts
# By name: what changes no numbers, settings of the model, of the data, and of the trainer; largest difference.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], float]] = {
    "compiled, 4 bits": (COMPILED, LORA | {"quantization": "4bit"}, {}, {}, 1e-6),
    "compiled, frozen in bfloat16": (COMPILED, LORA | {"dtype": "bfloat16"}, {}, {"precision": "bf16-mixed"}, 5e-3),
    "compiled, momentum": (COMPILED, {"optimizer": MOMENTUM, "adam_eps": 1e-8}, {}, {}, 1e-6),
    "compiled, muon": (COMPILED, {"optimizer": {"class_path": "torch.optim.Muon", "init_args": {}}}, {}, {}, 1e-5),
    "compiled, windows": (COMPILED, WINDOWS, WINDOWS, {}, 1e-6),
    "compiled, several labels": (COMPILED, {}, {"task": "comments"}, {}, 1e-6),
    "compiled, in parts": (COMPILED | IN_PARTS, {"gradient_checkpointing": True}, {}, {}, 1e-6),
    "compiled, in parts, R-Drop": (COMPILED | IN_PARTS, {"r_drop": 1.0}, {}, {"accumulate_grad_batches": 2}, 1e-6),
    "in parts, balanced": (IN_PARTS, {}, {"task": "reviews"}, {"accumulate_grad_batches": 2}, 1e-6),
    "in parts, focal": (IN_PARTS, {"loss": "focal"}, {"task": "reviews"}, {}, 1e-6),
    "in parts, several labels": (IN_PARTS, {"label_smoothing": 0.1}, {"task": "comments"}, {}, 1e-6),
    "in parts, windows": (IN_PARTS, WINDOWS, WINDOWS, {}, 1e-6),
}
# As above, on two processes, with their strategy.
OF_PROCESSES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "in parts": ("ddp", IN_PARTS, {}),
    "in parts, R-Drop": ("ddp", IN_PARTS, {"r_drop": 1.0}),
    "in parts, frozen": ("ddp", IN_PARTS, {"freeze": 1}),
    "compiled, in parts": ("ddp", COMPILED | IN_PARTS, {}),
    "compiled, parts of the model": ("fsdp2", COMPILED, {"gradient_checkpointing": True}),
    "compiled adapters, parts of the model": ("fsdp2", COMPILED, LORA),
}


class Combination:
    """A fit of 22 rows, which ends with a short batch."""

    def __init__(
        self, folder: Path, tiny_model: Path, model: dict[str, Any], data: dict[str, Any], batch: int, **options: Any
    ) -> None:
        filter_warnings()
        of_data = copy.deepcopy(data)
        task = of_data.pop("task", "cola")
        if task != "cola":
            file, labels = folder / f"{task}.csv", {"reviews": ("bad", "good"), "comments": ("b", "a;b")}[task]
            rows = [f"a {labels[row % 3 > 0]} room of the old house {row},{labels[row % 3 > 0]}\n" for row in range(40)]
            file.write_text("".join(["text,label\n", *rows]))
            kind = "classification" if task == "reviews" else "multi_label"
            of_data |= {"source": str(file), "custom": CustomTask(text="text", kind=kind, class_weights="balanced")}
        self.data = GLUEDataModule(
            task, str(tiny_model), **{"source": "demo", "batch_size": batch, "seed": 1, "train_limit": 22,
            "validation_limit": 7, "eval_batch_size": 2} | of_data,
        )  # fmt: skip
        custom = {"custom": self.data.custom.settings()} if "custom" in of_data else {}
        settings = (
            {"learning_rate": 1e-3, "dropout": 0.0, "warmup": 2, "adam_eps": 1e-6} | copy.deepcopy(model) | custom
        )
        self.model = SequenceClassifier(task, str(tiny_model), **settings)
        torch.manual_seed(5)
        self.model.build_model()
        if settings.get("split_batches"):
            self._limit_memory()
        self.trainer = Trainer(
            **{"accelerator": "cpu", "logger": False, "max_epochs": 2, "enable_checkpointing": False,
            "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
            "precision": "32-true"} | options,
        )  # fmt: skip

    def _limit_memory(self) -> None:
        compute = self.model._loss

        def checked(batch: Any) -> Any:
            if batch["input_ids"].numel() > MOST:
                raise torch.OutOfMemoryError("out of memory")
            return compute(batch)

        self.model._loss = checked  # type: ignore[method-assign]

    def run(self) -> "Combination":
        self.trainer.fit(self.model, self.data)
        return self


def farthest(one: dict[str, Any], other: dict[str, Any]) -> float:
    assert one.keys() == other.keys()
    return max(float((value.double() - other[name].double()).abs().max()) for name, value in one.items())


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    why_not_here.cache_clear()
    torch._dynamo.reset()
    yield
    why_not_here.cache_clear()
    torch._dynamo.reset()


@pytest.mark.parametrize("name", CASES)
def test_the_same_weights_are_trained(name: str, tmp_path: Path, tiny_model: Path) -> None:
    same, model, data, options, allowed = CASES[name]
    if "quantization" in model:
        pytest.importorskip("bitsandbytes")
    combined = Combination(tmp_path, tiny_model, model | same, data, 4, **options).run().model
    plain = Combination(tmp_path, tiny_model, model, data, 4, **options).run().model
    assert is_compiled(combined.model) is ("compile" in same)
    assert not is_compiled(plain.model)
    parts = combined.parts.batch_parts
    assert (parts is not None and parts.tokens is not None) is ("split_batches" in same)
    assert farthest(combined.state_dict(), plain.state_dict()) < allowed
    assert combined.scores == pytest.approx(plain.scores, abs=10 * allowed)


def main(folder: Path, tiny_model: Path) -> None:
    """Train all combinations of two processes."""
    compiling.BACKEND = "aot_eager"
    for number, (strategy, same, model) in enumerate(OF_PROCESSES.values()):
        torch._dynamo.reset()
        fit = Combination(folder, tiny_model, model | same, {}, 3, devices=2, strategy=strategy).run()
        assert is_compiled(fit.model.model) is ("compile" in same)
        parts = fit.model.parts.batch_parts
        assert "split_batches" not in same or (parts is not None and parts.tokens is not None)
        fit.trainer.save_checkpoint(folder / f"{number}.ckpt")


def test_two_processes_train_as_one_does(tmp_path: Path, tiny_model: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    ranks = [
        warm.start(__file__, tmp_path, tiny_model, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                   LOCAL_RANK=str(rank), NODE_RANK="0", OMP_NUM_THREADS="1", PL_GLOBAL_SEED="3")
        for rank in range(2)
    ]  # fmt: skip
    for rank in ranks:
        done = rank.wait()
        assert done.returncode == 0, done.stderr
    for number, (name, (_, _, model)) in enumerate(OF_PROCESSES.items()):
        whole = Combination(tmp_path, tiny_model, model, {}, 6).run()
        found = torch.load(tmp_path / f"{number}.ckpt", weights_only=True)["state_dict"]
        state = whole.model.state_dict()
        assert farthest(found, {key: state[key] for key in found}) < 1e-6, name  # a checkpoint may hold adapters alone


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
