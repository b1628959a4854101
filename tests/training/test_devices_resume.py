"""Two processes: a resumed fit has the curves and the mean loss of an epoch of one that was never cut.

Each process has losses of its own. This file is also the script that they run.
"""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import warm

CUT = 7  # of 5 steps an epoch: points of the curves are at every third, so one has begun


def new_fit(folder: Path, tiny_model: Path, *callbacks: Any) -> Any:
    from lightning.pytorch import Callback
    from small_fit import Fit

    class Means(Callback):
        found: list[float]

        def __init__(self) -> None:
            self.found = []

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            self.found.append(pl_module.parts.curves.epoch_loss.mean(trainer.strategy))

    means = Means()
    fit = Fit(folder, tiny_model, means, *callbacks, devices=2, strategy="ddp", precision="32-true")
    fit.trainer.log_every_n_steps = 3
    return fit, means.found


def main(folder: Path, tiny_model: Path) -> None:
    from small_fit import CutError, SaveAndCut

    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    whole, expected = new_fit(folder, tiny_model)
    whole.run()
    path = folder / "cut.ckpt"
    cut, before = new_fit(folder / "cut", tiny_model, SaveAndCut("on_train_batch_start", CUT + 1, path))
    try:
        cut.run()
    except CutError:
        pass
    else:
        raise AssertionError("the fit was not cut")
    resumed, after = new_fit(folder / "cut", tiny_model)
    resumed.run(path)
    if os.environ["LOCAL_RANK"] == "0":
        found = {
            "points": [whole.history.points, cut.history.points + resumed.history.points],
            "means": [expected, before + after],
        }
        (folder / "found.json").write_text(json.dumps(found))


def test_a_resumed_fit_of_two_processes_has_the_same_curves(tmp_path: Path, tiny_model: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "PL_GLOBAL_SEED": "3"}
    ranks = [warm.start(__file__, tmp_path, tiny_model, LOCAL_RANK=str(rank), **told) for rank in range(2)]
    for rank in ranks:
        done = rank.wait()
        assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    whole, resumed = found["points"]
    assert len([name for _, name, _ in whole if name == "train/loss"]) == 5
    assert resumed == whole
    whole, resumed = found["means"]
    assert len(whole) == 3
    assert resumed == whole


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
