"""The hyperparameters of a run for TensorBoard's page HParams, in an event file of their own."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from glue_lit.data.accumulation import accumulation_schedule
from glue_lit.runs.recipe import in_words
from glue_lit.runs.settings import Setting, settings_of
from glue_lit.system.environment import global_seed
from glue_lit.system.files import open_atomic_binary

# TensorBoard keeps the first hyperparameters that it reads in a run, and reads a folder's files in the order of their
# names. This name comes first: a fit that is resumed with other settings replaces the file, and what older versions
# wrote into other files no longer counts.
HPARAMS_FILE = "events.out.tfevents.0.hparams"
_OF_TRAINER = {"accumulate_grad_batches": Setting(default=1), "devices": Setting(default=1)}


def hyperparameters(trainer: Any, module: Any, data: Any) -> dict[str, Any]:
    """Settings by name, chosen by `Setting.hparams`: a number, boolean or string, or a class in words.

    Args:
        trainer: The trainer of the fit.
        module: The module that it trains.
        data: Its data module, if it has one.
    """
    values: dict[str, Any] = {}
    settings: dict[str, Setting] = dict(_OF_TRAINER)
    for part in (data, module):
        if part is not None:
            values |= dict(part.hparams)
            settings |= settings_of(type(part))
    schedule = accumulation_schedule(trainer)
    values |= {
        "max_epochs": trainer.max_epochs,
        "precision": str(trainer.precision),
        "devices": trainer.world_size,
        "accumulate_grad_batches": trainer.accumulate_grad_batches if schedule is None else str(schedule),
        "seed": values.get("seed") if (seed := global_seed()) is None else seed,
    }
    if "optimizer" in values:
        values["optimizer"] = values["optimizer"] or "AdamW"

    def is_shown(name: str, value: Any) -> bool:
        setting = settings.get(name, Setting())
        is_wanted = setting.hparams == "always" or (setting.hparams == "changed" and value != setting.default)
        return is_wanted and isinstance(value, bool | int | float | str | Mapping)

    shown = {name: value for name, value in values.items() if is_shown(name, value)}
    return {name: in_words(value) if isinstance(value, Mapping) else value for name, value in shown.items()}


def write_hparams(folder: Path, settings: Mapping[str, Any], metrics: Iterable[str]) -> None:
    """Write the file, replacing an earlier one.

    Args:
        folder: The folder of the run's event files.
        settings: Numbers, booleans and strings.
        metrics: Names of the curves by which runs are compared.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter
    from torch.utils.tensorboard.summary import hparams

    parts = hparams(dict(settings), dict.fromkeys(metrics, 0.0))  # type: ignore[no-untyped-call]
    events = [Event(file_version="brain.Event:2"), *(Event(summary=part) for part in parts)]
    with open_atomic_binary(folder / HPARAMS_FILE) as file:
        writer = RecordWriter(file)
        for event in events:
            event.wall_time = time.time()
            writer.write(event.SerializeToString())
