"""Predictions of `test` and `predict`, written to disk in the order of the rows."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor

from glue_lit.data.batches import Batch
from glue_lit.data.rows import Places
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.thresholds import cut_logits
from glue_lit.runs.prediction_record import write_prediction_record
from glue_lit.system.files import open_atomic
from glue_lit.tasks.levels import level_of
from glue_lit.tasks.spec import TaskSpec, limit_setting
from glue_lit.training.tensorboard.evaluated import RowCollector, labelled_predictions

_AT_ONCE = 64  # rows converted to Python numbers at a time, since these take eight times the memory


class PredictionWriter(Callback):
    """Write the predictions of `test` and `predict` to ``<folder>/<split>.jsonl``, in the order of the rows.

    Args:
        folder: Created when there is something to write.
        prefix: Prefix of each file's name, for rows of another task than the run's.

    Attributes:
        written: The files, once written.
        predicted: Labelled rows of a test by split, on the first device.
    """

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self.folder = folder
        self.prefix = prefix
        self.written: list[Path] = []
        self.predicted: dict[str, Predictions] = {}
        self._rows = RowCollector()

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the logits of a batch."""
        split = trainer.datamodule.splits.names_for(trainer.state.fn.value)[dataloader_idx]
        self._rows.add(split, outputs, batch)

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the files."""
        for split, rows in self._rows.gather(trainer):
            if trainer.is_global_zero:
                least = pl_module.thresholds
                path = self.folder / f"{self.prefix}{split}.jsonl"
                places = trainer.datamodule.splits.places(split, rows.idx.tolist())
                lines = prediction_lines(pl_module.task, *rows, places, least)
                with open_atomic(path) as file:  # line by line: with many labels, all of them are gigabytes of text
                    file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
                _write_record(path, trainer, pl_module, split, len(rows.idx))
                self.written.append(path)
                known = labelled_predictions(pl_module.task, rows, least) if trainer.state.fn == "test" else None
                if known is not None:
                    self.predicted[split] = known

    on_predict_batch_end, on_predict_end = on_test_batch_end, on_test_end


def _write_record(path: Path, trainer: Any, module: Any, split: str, rows: int) -> None:
    data, checkpoint = trainer.datamodule.splits, trainer.ckpt_path
    opened, store = data.split(split), data.dataset(split, "predict").store
    write_prediction_record(
        path, data.source, rows, Path(checkpoint) if checkpoint else None,
        task=module.task.name, split=split, origin=opened.origin, fingerprint=opened.fingerprint, hash=store.digest,
        commit=opened.commit, file=opened.file, unit=opened.unit, id=data.custom.id,
        limit=trainer.datamodule.hparams[limit_setting(split)],
        **({"thresholds": module.thresholds} if module.thresholds else {}),
        **({"cut_points": [*module.task.cut_points]} if module.task.levels else {}),
    )  # fmt: skip


def prediction_lines(
    task: TaskSpec,
    idx: Tensor,
    logits: Tensor,
    labels: Tensor,
    places: Places | None = None,
    thresholds: Sequence[float] | None = None,
) -> Iterator[dict[str, Any]]:
    """One record per example: idx, row, id, label and probabilities (or score), and gold, as far as known.

    One of a multi-label task has ``labels``, those whose probability is at least their threshold, the most probable
    first, in place of ``label``, and a list of gold labels. Labels in order have ``label`` and ``score``.

    Args:
        task: Gives the labels' names.
        idx: Positions in the split, ``(n,)``.
        logits: ``(n, labels)``, or ``(n, 1)`` for regression.
        labels: ``(n,)``, or ``(n, labels)`` for a multi-label task; -1 or NaN where unlabelled.
        places: Rows and ids of the examples in their file.
        thresholds: Lowest probability with which each label of a multi-label task is predicted; ``None`` for 0.5.
    """
    names = _names(idx.tolist(), places)
    if task.is_regression:
        for name, score, gold in zip(names, logits[:, 0].tolist(), labels.tolist(), strict=True):
            if task.levels:
                known = {} if gold != gold else {"gold": task.levels[round(gold)]}
                yield {**name, "label": task.levels[level_of(score, task.cut_points)], "score": score, **known}
                continue
            yield {**name, "score": score} | ({} if gold != gold else {"gold": round(gold, 6)})
        return
    parts = torch.split(logits, _AT_ONCE)
    if task.is_multi_label:
        records = _set_records(task, parts, torch.split(labels, _AT_ONCE), thresholds)
        yield from ({**name, **record} for name, record in zip(names, records, strict=True))
        return
    rows = (row for part in parts for row in part.double().softmax(dim=1).tolist())
    for name, row, gold in zip(names, rows, labels.tolist(), strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        known = {"gold": task.labels[gold]} if gold >= 0 else {}
        yield {**name, "label": task.labels[best], "probabilities": dict(zip(task.labels, row, strict=True)), **known}


def _set_records(
    task: TaskSpec, logits: Sequence[Tensor], labels: Sequence[Tensor], thresholds: Sequence[float] | None
) -> Iterator[dict[str, Any]]:
    """Labels, probabilities and gold labels of each row of a multi-label task."""
    cuts = torch.from_numpy(cut_logits(thresholds or [0.5] * len(task.labels)))  # exact, as the metrics compare
    for part, gold in zip(logits, labels, strict=True):
        predicted, rows = (part.float() >= cuts).tolist(), part.double().sigmoid().tolist()
        for row, is_above, of_gold in zip(rows, predicted, gold.tolist(), strict=True):
            found = sorted((at for at, above in enumerate(is_above) if above), key=row.__getitem__, reverse=True)
            record = {
                "labels": [task.labels[at] for at in found],
                "probabilities": dict(zip(task.labels, row, strict=True)),
            }
            known = [task.labels[at] for at, has in enumerate(of_gold) if has > 0]
            yield record | ({} if of_gold[0] < 0 else {"gold": known})


def _names(idx: list[int], places: Places | None) -> Iterator[dict[str, Any]]:
    """Each row's position in the split, its line or row in the file, and its id."""
    for at, number in enumerate(idx):
        found: dict[str, Any] = {"idx": number}
        if places is not None:
            found["row"] = places.numbers[at]
            if places.ids is not None and places.ids[at]:
                found["id"] = places.ids[at]
        yield found
