"""The same recipe is the same training: the weights that a Hugging Face `Trainer` comes to, from the same batches.

Scores of the two sides can be compared over seeds only (`benchmarks/LEDGER.md`); what they compute can be compared
exactly, once dropout is off and both see the same examples in the same order, in float32.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from lightning.pytorch import Callback, Trainer
from torch.utils.data import Sampler

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.data.sources import open_split
from glue_lit.tasks.glue import get_task

EPOCHS = 3
ROWS = 44  # three batches, the last of them short
BATCH = 16
RATE = 2e-3
WARMUP = 2


class Watched(Callback):
    """Keeps the weights that training starts from, and which examples it sees."""

    def __init__(self) -> None:
        self.start: dict[str, torch.Tensor] = {}
        self.seen: list[int] = []

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.start = copy.deepcopy(pl_module.model.state_dict())

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.seen += batch["idx"].tolist()


class AsSeen(Sampler[int]):
    """The examples of an epoch, then those of the next, as they were seen."""

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    def __len__(self) -> int:
        return ROWS

    def __iter__(self) -> Iterator[int]:
        epoch, self.seen = self.seen[:ROWS], self.seen[ROWS:]
        return iter(epoch)


class InOrder(transformers.Trainer):  # type: ignore[misc]
    """Hugging Face's trainer on examples in a given order."""

    order: AsSeen

    def _get_train_sampler(self, *_: Any) -> AsSeen:
        return self.order


def ours(task: str, tiny_model: Path, group: bool) -> tuple[Watched, dict[str, torch.Tensor]]:
    watched = Watched()
    data = GLUEDataModule(
        task=task, tokenizer=str(tiny_model), source="demo", train_limit=ROWS, batch_size=BATCH, group_by_length=group
    )
    model = SequenceClassifier(
        task=task, name_or_path=str(tiny_model), learning_rate=RATE, warmup=WARMUP, dropout=0.0, weight_decay=0.1,
        max_grad_norm=0.5,
    )  # fmt: skip
    torch.manual_seed(0)
    Trainer(
        accelerator="cpu", max_epochs=EPOCHS, limit_val_batches=0, callbacks=[watched], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(model, data)  # fmt: skip
    return watched, model.model.state_dict()


def theirs(task: str, tiny_model: Path, watched: Watched, folder: Path) -> dict[str, torch.Tensor]:
    spec = get_task(task)
    rows = open_split(spec, "demo", "train").read()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    texts = (rows.texts_a, rows.texts_b) if rows.texts_b is not None else (rows.texts_a,)
    tokens = tokenizer(*(list(text) for text in texts), truncation=True)
    used = sorted(set(watched.seen))
    place = {number: position for position, number in enumerate(used)}
    columns = {name: [values[number] for number in used] for name, values in tokens.items()}
    data = Dataset.from_dict({**columns, "label": [rows.labels[number] for number in used]})
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        tiny_model, num_labels=len(spec.labels) or 1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    model.load_state_dict(watched.start)
    trainer = InOrder(
        model,
        transformers.TrainingArguments(
            str(folder), learning_rate=RATE, warmup_steps=WARMUP, per_device_train_batch_size=BATCH,
            num_train_epochs=EPOCHS, weight_decay=0.1, max_grad_norm=0.5, report_to="none", disable_tqdm=True,
            use_cpu=True, save_strategy="no", logging_strategy="no",
        ),
        train_dataset=data,
        processing_class=tokenizer,
    )  # fmt: skip
    trainer.order = AsSeen([place[number] for number in watched.seen])
    trainer.train()
    state: dict[str, torch.Tensor] = model.state_dict()
    return state


@pytest.mark.filterwarnings("ignore")  # theirs warn of what is not ours to change
@pytest.mark.parametrize(
    ("task", "group"), [("cola", False), ("mrpc", True), ("stsb", False), ("mnli", True)], ids=lambda value: str(value)
)
def test_the_same_batches_give_the_same_weights(task: str, group: bool, tiny_model: Path, tmp_path: Path) -> None:
    watched, found = ours(task, tiny_model, group)
    assert len(watched.seen) == EPOCHS * ROWS
    expected = theirs(task, tiny_model, watched, tmp_path)
    assert found.keys() == expected.keys()
    moved = max(float((found[name] - watched.start[name]).abs().max()) for name in found)
    assert moved > 3 * RATE  # nine steps, of half the learning rate on average
    torch.testing.assert_close(found, expected, atol=RATE / 1000, rtol=0)
