"""The other side: a plain Hugging Face ``Trainer``, without glue-lit; prints one JSON object a measurement.

    python -m benchmarks hf --glue_dir GLUE --task cola --seed 0 recipe --epochs 5   # the notebook's recipe
    python -m benchmarks hf --glue_dir GLUE --task cola --rows 1600 train            # what `speed` asks for

Reads the official TSV files with the standard library, tokenises with ``datasets.map``, pads each batch to its longest
row, scores with scikit-learn and SciPy: nothing is shared with what it is compared with. The recipe is the notebook's,
on the library's current release (fused AdamW is its default by now); ``--flags best`` adds bf16, length-grouped batches
and, on a GPU, ``torch_compile``.
"""

import csv
import resource
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset, load_from_disk
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from benchmarks.measuring import Side, answer

# task: folder, text columns, label column, metric that picks the checkpoint, labels
TASKS = {
    "cola": ("CoLA", [3], 1, "matthews", ["0", "1"]),
    "sst2": ("SST-2", ["sentence"], "label", "accuracy", ["0", "1"]),
    "mrpc": ("MRPC", ["#1 String", "#2 String"], "Quality", "accuracy", ["0", "1"]),
    "stsb": ("STS-B", ["sentence1", "sentence2"], "score", "pearson", None),
    "mnli": ("MNLI", ["sentence1", "sentence2"], "gold_label", "accuracy", ["entailment", "neutral", "contradiction"]),
    "qnli": ("QNLI", ["question", "sentence"], "label", "accuracy", ["entailment", "not_entailment"]),
    "rte": ("RTE", ["sentence1", "sentence2"], "label", "accuracy", ["entailment", "not_entailment"]),
    "wnli": ("WNLI", ["sentence1", "sentence2"], "label", "accuracy", ["0", "1"]),
}


def read(glue_dir: Path, task: str, split: str) -> Dataset:
    """Rows of one split as ``text_0``, [``text_1``], ``label``."""
    folder, texts, label, _, names = TASKS[task]
    with (glue_dir / folder / f"{split}.tsv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if isinstance(label, str):
        header = rows.pop(0)
        label = header.index(label)
        texts = [header.index(str(name)) for name in texts]
    columns = {f"text_{i}": [row[column] for row in rows] for i, column in enumerate(texts)}
    gold = [row[label] for row in rows]
    return Dataset.from_dict({**columns, "label": [names.index(g) if names else float(g) for g in gold]})


def tokenised(tokenizer: Any, rows: Dataset) -> Dataset:
    columns = [name for name in rows.column_names if name.startswith("text_")]
    return rows.map(lambda batch: tokenizer(*(batch[name] for name in columns), truncation=True), batched=True)


def score(task: str, logits: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """Every metric that GLUE names for the task."""
    if task == "stsb":
        scores = logits[:, 0]
        return {"pearson": pearsonr(scores, gold).statistic, "spearman": spearmanr(scores, gold).statistic}
    predicted = logits.argmax(axis=1)
    if task == "cola":
        return {"matthews": matthews_corrcoef(gold, predicted)}
    result = {"accuracy": accuracy_score(gold, predicted)}
    return result | ({"f1": f1_score(gold, predicted)} if task == "mrpc" else {})


class Clock(TrainerCallback):
    """When training began, and when each step began and ended."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.begins: list[float] = []
        self.ends: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = self.began or time.time()
        self.begins.append(time.perf_counter())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


class HuggingFace(Side):
    """Single measurements of the Hugging Face Trainer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.monitor, self.names = TASKS[self.task][3:]
        self.tokenizer = AutoTokenizer.from_pretrained(self.model)

    def _rows(self, split: str) -> Dataset:
        return read(self.glue_dir, self.task, split)

    def _cached(self, split: str) -> Dataset:
        """A split with its tokens, as warm as a cache can be."""
        kept = self.cache / f"{self.task}-{split}"
        if not kept.is_dir():
            tokenised(self.tokenizer, self._rows(split)).save_to_disk(str(kept))
        rows = load_from_disk(str(kept))
        return rows.select([i * len(rows) // self.rows for i in range(self.rows)]) if self.rows else rows

    def _trainer(self, train: Dataset | None, dev: Dataset, **more: Any) -> Trainer:
        """A trainer of the notebook's, with these settings beside its own."""
        set_seed(self.seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            self.model, num_labels=len(self.names or [1]), dtype=torch.float32
        )
        arguments = TrainingArguments(
            per_device_train_batch_size=self.batch_size, per_device_eval_batch_size=self.batch_size, weight_decay=0.01,
            seed=self.seed, report_to="none", disable_tqdm=True, use_cpu=not torch.cuda.is_available(),
            **{"learning_rate": 2e-5, "save_strategy": "no"} | more,
        )  # fmt: skip
        return Trainer(
            model, arguments, train_dataset=train, eval_dataset=dev, processing_class=self.tokenizer,
            compute_metrics=lambda p: score(self.task, p.predictions, p.label_ids),
        )  # fmt: skip

    def recipe(self, epochs: int = 5, learning_rate: float = 2e-5) -> dict[str, Any]:
        """Fine-tune, and score the best checkpoint on dev."""
        train, dev = (tokenised(self.tokenizer, self._rows(split)) for split in ("train", "dev"))
        with tempfile.TemporaryDirectory() as folder:
            trainer = self._trainer(
                train, dev, output_dir=folder, num_train_epochs=epochs, learning_rate=learning_rate,
                eval_strategy="epoch", save_strategy="epoch", save_total_limit=1, load_best_model_at_end=True,
                metric_for_best_model=self.monitor,
            )  # fmt: skip
            start, processor = time.perf_counter(), time.process_time()
            result = trainer.train()
            seconds, processor = time.perf_counter() - start, time.process_time() - processor
        found = {name.removeprefix("eval_"): value for name, value in trainer.evaluate().items()}
        per_epoch = [e[f"eval_{self.monitor}"] for e in trainer.state.log_history if f"eval_{self.monitor}" in e]
        metrics = ("matthews", "accuracy", "f1", "pearson", "spearman", "loss")
        return {
            "system": "hf-trainer", "task": self.task, "seed": self.seed, "epochs": epochs,
            "batch_size": self.batch_size, "learning_rate": learning_rate,
            "metrics": {name: found[name] for name in metrics if name in found},
            "per_epoch": [round(value, 6) for value in per_epoch[:epochs]],
            "train_samples_per_second": result.metrics["train_samples_per_second"],
            "wall_seconds": round(seconds, 1),
            "processor_seconds": round(processor, 1),  # of all threads: what other work here does not change
            "threads": torch.get_num_threads(),
        }  # fmt: skip

    def train(self, flags: Literal["notebook", "best"] = "notebook") -> dict[str, Any]:
        """Two epochs, of which the second is timed."""
        rows, on_gpu, clock = self._cached("train"), torch.cuda.is_available(), Clock()
        best = {"bf16": True, "train_sampling_strategy": "group_by_length", "torch_compile": on_gpu}
        with tempfile.TemporaryDirectory() as folder:
            more = best if flags == "best" else {}
            trainer = self._trainer(rows, rows, output_dir=folder, num_train_epochs=2, **more)
            trainer.add_callback(clock)
            trainer.train()
        return {
            "samples_per_second": len(rows) / (clock.ends[-1] - clock.begins[len(clock.begins) // 2]),
            "first_step_at": clock.began,
            "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "peak_gpu": torch.cuda.max_memory_allocated() if on_gpu else None,
        }

    def evaluate(self, flags: dict[str, Any] | None = None) -> dict[str, Any]:
        """``Trainer.evaluate``, after a warm-up on some rows."""
        rows = self._cached("dev")
        with tempfile.TemporaryDirectory() as folder:
            trainer = self._trainer(None, rows, output_dir=folder, **(flags or {}))
            trainer.evaluate(rows.select(range(min(len(rows), 4 * self.batch_size))))
            start = time.perf_counter()
            trainer.evaluate()
            return {"samples_per_second": len(rows) / (time.perf_counter() - start)}

    def tokenise(self) -> dict[str, Any]:
        """``datasets.map`` over the training rows: the first time, and from its own cache."""
        self.tokenizer("warm")
        seconds = []
        with tempfile.TemporaryDirectory() as folder:
            self._rows("train").save_to_disk(folder)
            for _ in range(2):
                start = time.perf_counter()
                rows = tokenised(self.tokenizer, load_from_disk(folder))
                seconds.append(time.perf_counter() - start)
                assert len(rows[0]["input_ids"]) > 0
        return {"first": seconds[0], "cached": seconds[1]}


if __name__ == "__main__":
    answer(HuggingFace)
