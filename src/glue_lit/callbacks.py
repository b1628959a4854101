"""What happens beside training: a line for each epoch, the run's config, predictions on disk."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.cli import SaveConfigCallback
from torch import Tensor

from glue_lit.data.batches import Batch
from glue_lit.data.rows import Places
from glue_lit.engine.view import duration
from glue_lit.predictions import write_record
from glue_lit.progress import FitClock, say_beside_bar
from glue_lit.run_log import open_log
from glue_lit.tasks import TaskSpec
from glue_lit.tracking.evaluated import EvaluatedRows
from glue_lit.whole_files import whole_file, write_text

_AT_ONCE = 64  # rows whose probabilities are Python's numbers, which take eight times as much memory
_REDRAW = 0.2  # seconds between two states of the progress bar


class SaveConfig(SaveConfigCallback):
    """Write ``config.yaml`` when a fit starts; evaluations leave the run as it is."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save all but the checkpoint that this fit was continued from: it is no setting."""
        if stage == "fit":
            is_continued = self.config["ckpt_path"] is not None
            self.config = self.config.clone()
            self.config["ckpt_path"] = None
            folder = trainer.log_dir  # asks the first process, so all of them come by
            if trainer.is_global_zero and folder is not None and not self.already_saved:
                # Lightning's own way writes over the file of a run that goes on, and can leave a part of it.
                text = self.parser.dump(self.config, skip_none=False)
                write_text(Path(folder) / self.config_filename, text)
                open_log(Path(folder), is_continued)
                self.already_saved = True


class Bar(TQDMProgressBar):
    """Lightning's bar, counting epochs from 1 as our lines do, and shown only where a line can be redrawn.

    Args:
        clock: Knows the time that is left of a fit, which the bar shows beside that of the epoch.
    """

    def __init__(self, clock: FitClock | None = None) -> None:
        super().__init__(refresh_rate=1 if sys.stdout.isatty() else 0)
        self._clock = clock
        self._drawn = 0.0

    def _should_update(self, current: int, total: int) -> bool:
        """Not at every step: drawing waits for the device to know the loss."""
        now = time.monotonic()
        if current != total and now - self._drawn < _REDRAW:  # total is not known right after a resume
            return False
        self._drawn = now
        return bool(super()._should_update(current, total))

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Name the epoch."""
        super().on_train_epoch_start(trainer, *_)
        self.train_progress_bar.set_description(f"Epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The time left of the whole fit, then all but the run's number, which the last lines name with its path."""
        in_fit = self._clock is not None and trainer.state.fn == "fit"
        left = self._clock.seconds_left(trainer) if in_fit and self._clock is not None else None
        metrics: dict[str, Any] = {} if left is None else {"fit_left": duration(left)}
        return metrics | {name: of for name, of in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


class EpochLines(Callback):
    """Print a line after each validation during a fit: its scores, and the training loss's mean over the epoch so far.

    The mean is over all steps and devices of the epoch, each batch with the same weight.
    """

    def __init__(self) -> None:
        self._header: list[str] | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Print the epoch's line."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        loss = pl_module.epoch_loss.mean(trainer.strategy)
        if not trainer.is_global_zero:
            return
        scores: dict[str, float] = dict(pl_module.scores)
        cells = {
            "epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
            "step": str(trainer.global_step),
            "train/loss": "-" if loss is None else f"{loss:.4f}",
            **{name: f"{value:.4f}" for name, value in scores.items()},
        }
        width = {name: max(len(name), 8) for name in cells}
        if self._header != list(cells):
            self._header = list(cells)
            say_beside_bar(trainer, "  ".join(name.rjust(width[name]) for name in cells))
        say_beside_bar(trainer, "  ".join(cell.rjust(width[name]) for name, cell in cells.items()))


class PredictionWriter(Callback):
    """Write what `test` and `predict` predict to ``<folder>/<split>.jsonl``, in the order of the rows.

    Args:
        folder: Where to; made when there is something to write.
        prefix: Put before each file's name, where the rows are not of the run's own task.

    Attributes:
        written: The files, once written.
    """

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self.folder = folder
        self.prefix = prefix
        self.written: list[Path] = []
        self._rows = EvaluatedRows()

    def _add(self, trainer: Trainer, stage: str, logits: Tensor, batch: Batch, loader: int) -> None:
        split = trainer.datamodule.splits_for(stage)[loader]  # type: ignore[attr-defined]
        self._rows.add(split, logits, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep a batch of `test`."""
        self._add(trainer, "test", outputs, batch, dataloader_idx)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep a batch of `predict`."""
        self._add(trainer, "predict", outputs, batch, dataloader_idx)

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the files."""
        self._write(trainer, pl_module.task)

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the files."""
        self._write(trainer, pl_module.task)

    def _write(self, trainer: Trainer, task: TaskSpec) -> None:
        for split, rows in self._rows.gather(trainer):
            if trainer.is_global_zero:
                path = self.folder / f"{self.prefix}{split}.jsonl"
                places = trainer.datamodule.places(split, rows.idx.tolist())  # type: ignore[attr-defined]
                lines = prediction_lines(task, *rows, places)
                with whole_file(path) as file:  # line by line: with many labels, all of them are gigabytes of text
                    file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
                _write_origin(path, trainer, task, split, len(rows.idx))
                self.written.append(path)


def _write_origin(path: Path, trainer: Any, task: TaskSpec, split: str, rows: int) -> None:
    data, checkpoint = trainer.datamodule, trainer.ckpt_path
    opened, store = data.split(split), data.dataset(split, "predict").store
    write_record(
        path, data.hparams["source"], rows, Path(checkpoint) if checkpoint else None,
        task=task.name, split=split, origin=opened.origin, fingerprint=opened.fingerprint, hash=store.digest,
        commit=opened.commit, file=opened.file, unit=opened.unit, id=data.custom.id,
    )  # fmt: skip


def prediction_lines(
    task: TaskSpec, idx: Tensor, logits: Tensor, labels: Tensor, places: Places | None = None
) -> Iterator[dict[str, Any]]:
    """One record an example: idx, row, id, label name and probabilities (or score), and gold, as far as they are known.

    Args:
        task: Names the labels.
        idx: Positions in the split, ``(n,)``.
        logits: ``(n, labels)``, or ``(n, 1)`` for regression.
        labels: ``(n,)``, -1 or NaN where unlabelled.
        places: Where the examples stand in the file that they are from.
    """
    names = _names(idx.tolist(), places)
    if task.is_regression:
        for name, score, gold in zip(names, logits[:, 0].tolist(), labels.tolist(), strict=True):
            yield {**name, "score": score} | ({} if gold != gold else {"gold": round(gold, 6)})
        return
    parts = torch.split(logits, _AT_ONCE)
    rows = (row for part in parts for row in part.double().softmax(dim=1).tolist())
    for name, row, gold in zip(names, rows, labels.tolist(), strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        known = {"gold": task.labels[gold]} if gold >= 0 else {}
        yield {
            **name,
            "label": task.labels[best],
            "probabilities": dict(zip(task.labels, row, strict=True)),
        } | known


def _names(idx: list[int], places: Places | None) -> Iterator[dict[str, Any]]:
    """What tells a row: its position in the split, its line or row in the file, its id."""
    for at, number in enumerate(idx):
        found: dict[str, Any] = {"idx": number}
        if places is not None:
            found["row"] = places.numbers[at]
            if places.ids is not None and places.ids[at]:
                found["id"] = places.ids[at]
        yield found
