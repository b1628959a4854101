"""What a run says when it starts and when it ends, and the record it leaves."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from glue_lit import __version__
from glue_lit.console import say
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.model import SequenceClassifier
from glue_lit.runs import LOGS


def say_data(data: GLUEDataModule, stage: str) -> None:
    """Which task, from where, how many rows."""
    rows = ", ".join(f"{name} {len(data.dataset(name)):,}" for name in data.splits_for(stage))
    source = {"hub": "Hub", "demo": "demo corpus"}.get(data.hparams["source"], data.hparams["source"])
    say(f"{data.task.title} ({data.task.name}), {source}: {rows}")


def say_model(model: SequenceClassifier, trainer: Trainer) -> None:
    """Which pretrained model, how large, on what."""
    count = sum(parameter.numel() for parameter in model.model.parameters()) / 1e6
    place = f"{trainer.world_size} x {trainer.strategy.root_device.type}"
    say(f"{model.hparams['name_or_path']}, {count:.1f} M parameters, on {place}")


def say_next(data: GLUEDataModule, best: Path, default_root_dir: str | None) -> None:
    """Where the checkpoint is, and the commands that a user wants next."""
    place = f" --trainer.default_root_dir {default_root_dir}" if default_root_dir else ""
    say(f"Checkpoint  {shown(best)}")
    say(f"Score it    glue-lit validate --ckpt_path best{place}")
    say(f"Curves      tensorboard --logdir {Path(default_root_dir or '.') / LOGS}")
    if data.hparams["source"] == "demo":
        say("These figures are of the demo corpus, not of GLUE. Real GLUE:")
        say(f"            glue-lit fit --config configs/{data.task.name}.yaml")


def run_record(
    trainer: Trainer, model: SequenceClassifier, data: GLUEDataModule, best: dict[str, Any]
) -> dict[str, Any]:
    """What ``metrics.json`` says of a finished fit.

    Args:
        trainer: After the fit.
        model: With the scores of the best checkpoint.
        data: What it was trained on.
        best: The best checkpoint's content.
    """
    versions = {name: version(name) for name in ("torch", "lightning", "transformers", "datasets", "torchmetrics")}
    return {
        "task": data.task.name,
        "source": data.hparams["source"],
        "model": model.hparams["name_or_path"],
        "metrics": model.scores,
        "best": {"checkpoint": "checkpoints/best.ckpt", "epoch": best["epoch"] + 1, "step": best["global_step"]},
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "versions": {"python": platform.python_version(), "glue-lit": __version__} | versions,
    }


def shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    path, here = path.absolute(), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
