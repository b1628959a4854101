"""Models some of whose parameters get no gradient: several processes train them as one does.

This file is also the script that the processes run.
"""

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import warm

from glue_lit.training.unused_parameters import SENDS_BUFFERS

# Architecture -> how many parameters get no gradient, and the first of them.
WITHOUT = {
    "bert": (0, ""),
    "xlnet": (1, "transformer.mask_emb"),
    "esm": (2, "esm.contact_head.regression.weight"),
    "lilt": (6, "lilt.encoder.layer.1.attention.self.layout_value.weight"),
    "big_bird": (2, "bert.pooler.weight"),
    "luke": (1, "luke.entity_embeddings.entity_embeddings.weight"),
}


NOTHING_SENT = {SENDS_BUFFERS: False}


def new_fit(folder: Path, world: int, steps: int = 4, strategy: Any = "ddp") -> tuple[Any, Any, Any]:
    from lightning.pytorch import Trainer

    from glue_lit import GLUEDataModule, SequenceClassifier

    data = GLUEDataModule(task="mrpc", source="demo", tokenizer=str(folder), batch_size=2, train_limit=32, seed=1,
                          cache_dir=str(folder.parent / "cache"))  # fmt: skip
    model = SequenceClassifier(task="mrpc", name_or_path=str(folder), learning_rate=1e-3, weight_decay=0.1,
                               schedule="constant")  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", devices=world, strategy=strategy if world > 1 else "auto", logger=False, max_steps=steps,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        precision="32-true",
    )  # fmt: skip
    return trainer, model, data


def main(folder: Path, kinds: list[str]) -> None:
    """Train each on two processes, in two parts and as a whole; keep the weights."""
    import torch

    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    rank = int(os.environ["LOCAL_RANK"])
    for kind in kinds:
        path = folder / f"{kind}.ckpt"
        trainer, model, data = new_fit(folder / kind, 2, steps=2)
        trainer.fit(model, data)
        trainer.save_checkpoint(path)
        second, resumed, data = new_fit(folder / kind, 2)
        second.fit(resumed, data, ckpt_path=path, weights_only=True)
        whole, model, data = new_fit(folder / kind, 2)
        whole.fit(model, data)
        weights = [{name: value.clone() for name, value in m.model.state_dict().items()} for m in (model, resumed)]
        torch.save((weights, whole.strategy._ddp_kwargs), folder / f"{kind}-{rank}.pt")
    from lightning.pytorch.strategies import DDPStrategy
    from torch.nn.parallel import DistributedDataParallel

    sent = []
    send = DistributedDataParallel._sync_buffers
    DistributedDataParallel._sync_buffers = lambda model: (sent.append(model), send(model))
    for strategy in ("ddp", DDPStrategy(find_unused_parameters=True, **{SENDS_BUFFERS: True})):
        sent.clear()
        trainer, model, data = new_fit(folder / kinds[0], 2, strategy=strategy)
        trainer.fit(model, data)
        torch.save((len(sent), model.model.state_dict()), folder / f"{strategy == 'ddp'}-{rank}.pt")


def checked(folder: Path, kinds: list[str]) -> None:
    import torch
    from tiny_folders import write_tiny
    from transformers import AutoModelForSequenceClassification

    for kind in kinds:
        write_tiny(kind, folder / kind)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    ranks = [
        warm.start(__file__, folder, *kinds, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank),
                   NODE_RANK="0", OMP_NUM_THREADS="1", PL_GLOBAL_SEED="3")
        for rank in range(2)
    ]  # fmt: skip
    for rank in ranks:
        done = rank.wait()
        assert done.returncode == 0, done.stderr
    for kind in kinds:
        (ours, resumed), options = torch.load(folder / f"{kind}-0.pt", weights_only=True)
        (theirs, _), _ = torch.load(folder / f"{kind}-1.pt", weights_only=True)
        assert options == {SENDS_BUFFERS: False} | ({"find_unused_parameters": True} if WITHOUT[kind][0] else {})
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert all(torch.equal(ours[name], resumed[name]) for name in ours)
        trainer, alone, data = new_fit(folder / kind, 1)
        trainer.fit(alone, data)
        before = AutoModelForSequenceClassification.from_pretrained(folder / kind).state_dict()
        single = alone.model.state_dict()
        still = {name for name in before if not name.startswith("classifier") and torch.equal(ours[name], before[name])}
        assert still == {n for n in before if not n.startswith("classifier") and torch.equal(single[n], before[n])}
        assert len(still) >= WITHOUT[kind][0]


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")


def test_two_processes_train_xlnet(tmp_path: Path) -> None:
    import torch

    checked(tmp_path, ["xlnet"])
    (none, ours), (some, plain) = (torch.load(tmp_path / f"{name}-1.pt", weights_only=True) for name in (True, False))
    assert (none, some > 0) == (0, True)  # buffers are sent before no pass, or before each
    assert all(torch.equal(value, plain[name]) for name, value in ours.items())


@pytest.mark.slow
def test_two_processes_train_other_architectures(tmp_path: Path) -> None:
    checked(tmp_path, ["bert", "esm", "lilt", "luke", "big_bird"])


@pytest.mark.parametrize("kind", WITHOUT)
def test_which_parameters_get_no_gradient(kind: str, tmp_path: Path) -> None:
    import torch
    from tiny_folders import write_tiny

    from glue_lit.training.unused_parameters import try_pass

    write_tiny(kind, tmp_path)
    _, model, data = new_fit(tmp_path, 1)
    model.configure_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    found, changes_buffers = try_pass(model, data.dataset("train")[[0, 1]])
    assert not changes_buffers
    count, first = WITHOUT[kind]
    assert len(found) >= count
    assert not count or found[0].startswith(f"model.{first}"), found
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_a_model_with_a_running_mean_sends_its_buffers(tmp_path: Path) -> None:
    import torch
    from tiny_folders import write_tiny

    from glue_lit.training.unused_parameters import try_pass

    write_tiny("bert", tmp_path)
    _, model, data = new_fit(tmp_path, 1)
    model.configure_model()
    norm = torch.nn.BatchNorm1d(model.model.config.num_labels)
    model.model.classifier = torch.nn.Sequential(model.model.classifier, norm)
    assert try_pass(model, data.dataset("train")[[0, 1]]) == ([], True)
    assert norm.num_batches_tracked == 0


class Strategies:
    """Trainers of two processes that are never started."""

    def __init__(self, folder: Path, strategy: Any) -> None:
        from lightning.pytorch import Trainer

        self.trainer: Any = Trainer(accelerator="cpu", devices=2, strategy=strategy, logger=False, max_epochs=1,
                                    enable_checkpointing=False)  # fmt: skip
        _, self.model, self.trainer.datamodule = new_fit(folder, 1)
        self.model.configure_model()

    def options(self) -> dict[str, Any]:
        from glue_lit.training.unused_parameters import adapt_ddp

        adapt_ddp(self.model, self.trainer)
        return dict(self.trainer.strategy._ddp_kwargs)


def test_the_strategy_searches_for_unused_parameters_only_if_the_model_has_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tiny_folders import write_tiny

    from glue_lit.errors import UsageError

    for kind in ("bert", "esm"):
        write_tiny(kind, tmp_path / kind)
    assert Strategies(tmp_path / "bert", "ddp").options() == NOTHING_SENT
    assert Strategies(tmp_path / "bert", "ddp_find_unused_parameters_false").options() == {
        "find_unused_parameters": False,
        **NOTHING_SENT,
    }
    assert capsys.readouterr().out == ""
    assert Strategies(tmp_path / "esm", "ddp").options() == {"find_unused_parameters": True, **NOTHING_SENT}
    assert capsys.readouterr().out == (
        "DDP searches for parameters without a gradient at every step: esm.contact_head.regression.weight and "
        "1 more have none.\n"
    )
    with pytest.raises(UsageError, match=r"find_unused_parameters false, but .*Use `--trainer\.strategy ddp`"):
        Strategies(tmp_path / "esm", "ddp_find_unused_parameters_false").options()
    elsewhere = Strategies(tmp_path / "esm", "ddp")
    elsewhere.trainer.datamodule = None
    assert elsewhere.options() == {"find_unused_parameters": True, **NOTHING_SENT}
    capsys.readouterr()
    dropping = Strategies(tmp_path / "bert", "ddp")
    dropping.model.model.config.encoder_layerdrop = 0.1
    assert dropping.options() == {"find_unused_parameters": True, **NOTHING_SENT}
    assert "encoder_layerdrop skips whole layers" in capsys.readouterr().out


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
