"""Ratings: a resumed fit, and one of two processes, have the cut points and scores of a whole one.

This file is also the script that each of several processes runs.
"""

import csv
import json
import os
import random
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import warm


def write_ratings(file: Path) -> None:
    draw = random.Random(0)
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["text", "stars"])
        for _ in range(60):
            stars = draw.choice([1, 2, 3, 3, 4])
            writer.writerow([" ".join([*["good"] * stars, *draw.choices("abcdefgh", k=4)]), stars])


def new_fit(file: Path, tiny_model: Path, world: int, *callbacks: Any) -> tuple[Any, Any, Any]:
    """Trainer, model and data; 13 validation rows, so that two processes have unequal shares."""
    from lightning.pytorch import Trainer, seed_everything

    from glue_lit import GLUEDataModule, SequenceClassifier
    from glue_lit.system.library_warnings import filter_warnings
    from glue_lit.tasks.custom import CustomTask

    filter_warnings()
    seed_everything(3, verbose=False)
    custom = CustomTask(text="text", label="stars", kind="ordinal", validation_fraction=0.22)
    data = GLUEDataModule("stars", str(tiny_model), str(file), batch_size=8 // world, custom=custom, train_limit=40)
    model = SequenceClassifier("stars", str(tiny_model), learning_rate=5e-3, custom=data.custom.settings())
    trainer = Trainer(
        accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto", max_epochs=3, logger=False,
        callbacks=[*callbacks], enable_checkpointing=bool(callbacks), enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, precision="32-true",
    )  # fmt: skip
    return trainer, model, data


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_ratings(tmp_path / "stars.csv")
    return tmp_path / "stars.csv"


def test_a_resumed_fit_has_the_cut_points_of_a_whole_one(file: Path, tmp_path: Path, tiny_model: Path) -> None:
    from small_fit import CutError, SaveAndCut

    trainer, whole, data = new_fit(file, tiny_model, 1)
    trainer.fit(whole, data)
    assert whole.task.cut_points != (0.5, 1.5, 2.5)
    cut = tmp_path / "cut.ckpt"
    trainer, part, data = new_fit(file, tiny_model, 1, SaveAndCut("on_train_batch_end", 13, cut))
    with pytest.raises(CutError):
        trainer.fit(part, data)
    trainer, model, data = new_fit(file, tiny_model, 1)
    trainer.validate(model, data, ckpt_path=cut, weights_only=True, verbose=False)
    assert model.task.cut_points == part.task.cut_points  # of the last validation: an evaluation fits none
    trainer, resumed, data = new_fit(file, tiny_model, 1)
    trainer.fit(resumed, data, ckpt_path=cut, weights_only=True)
    assert (resumed.task.cut_points, resumed.scores) == (whole.task.cut_points, whole.scores)


def main(folder: Path, tiny_model: Path) -> None:
    trainer, model, data = new_fit(folder / "stars.csv", tiny_model, 2)
    trainer.fit(model, data)
    trainer.save_checkpoint(folder / "two.ckpt")
    found = {"cut_points": model.task.cut_points, "scores": model.scores}
    (folder / f"{os.environ['LOCAL_RANK']}.json").write_text(json.dumps(found))


@pytest.mark.slow
def test_two_processes_fit_the_same_cut_points(file: Path, tmp_path: Path, tiny_model: Path) -> None:
    """Both, and those of one process that scores the same rows."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "PL_GLOBAL_SEED": "3"}
    ranks = [warm.start(__file__, tmp_path, tiny_model, LOCAL_RANK=str(rank), **told) for rank in range(2)]
    for rank in ranks:
        done = rank.wait()
        assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    trainer, model, data = new_fit(file, tiny_model, 1)
    trainer.validate(model, data, ckpt_path=tmp_path / "two.ckpt", weights_only=True, verbose=False)
    assert [*model.task.cut_points] == first["cut_points"]
    assert model.scores == pytest.approx(first["scores"], abs=1e-6)
    assert first["scores"]["val/quadratic_weighted_kappa"] > 0.3


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
