"""One measurement of the Hugging Face side: training steps, evaluation or tokenising; prints one JSON object.

    python -m benchmarks.hf_speed train --glue_dir GLUE --task cola --model DIR --rows 1600 --flags notebook

The notebook's recipe on the library's current release (fused AdamW is its default by now). ``--flags best``
adds bf16, length-grouped batches and, on a GPU, ``torch_compile``.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_from_disk
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from benchmarks.hf_trainer import TASKS, read, score

BEST: dict[str, Any] = {"bf16": True, "train_sampling_strategy": "group_by_length"}


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


def spread(dataset: Dataset, rows: int | None) -> Dataset:
    """At most so many rows, spread evenly, as glue-lit's limits take them."""
    return dataset if rows is None else dataset.select([i * len(dataset) // rows for i in range(rows)])


def tokenised(options: argparse.Namespace, split: str) -> Dataset:
    """The split with its tokens; kept on disk under ``--cache``, as warm as a cache can be."""
    kept = options.cache / f"{options.task}-{split}"
    if kept.is_dir():
        return load_from_disk(str(kept))
    rows, columns = read(options.glue_dir, options.task, split), len(TASKS[options.task][1])
    tokenizer = AutoTokenizer.from_pretrained(options.model)

    def tokenise(batch: dict[str, list[str]]) -> Any:
        return tokenizer(*(batch[f"text_{i}"] for i in range(columns)), truncation=True)

    done = rows.map(tokenise, batched=True)
    done.save_to_disk(str(kept))
    return done


def trainer_for(options: argparse.Namespace, folder: str, split: str) -> tuple[Trainer, Clock, Dataset]:
    names = TASKS[options.task][4]
    set_seed(options.seed)
    rows = spread(tokenised(options, split), options.rows)
    model = AutoModelForSequenceClassification.from_pretrained(
        options.model, num_labels=len(names) if names else 1, dtype=torch.float32
    )
    on_gpu = torch.cuda.is_available()
    best = {**BEST, "torch_compile": on_gpu} if options.flags == "best" else {}
    clock = Clock()
    trainer = Trainer(
        model,
        TrainingArguments(
            folder,
            learning_rate=2e-5,
            per_device_train_batch_size=options.batch_size,
            per_device_eval_batch_size=options.batch_size,
            num_train_epochs=2,
            weight_decay=0.01,
            seed=options.seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not on_gpu,
            **best,
        ),
        train_dataset=rows if split == "train" else None,
        eval_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(options.model),
        compute_metrics=lambda p: score(options.task, p.predictions, p.label_ids),
        callbacks=[clock],
    )
    return trainer, clock, rows


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Two epochs over ``--rows``; the second one is timed."""
    with tempfile.TemporaryDirectory() as folder:
        trainer, clock, rows = trainer_for(options, folder, "train")
        trainer.train()
    seconds = clock.ends[-1] - clock.begins[len(clock.begins) // 2]
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return {
        "samples_per_second": len(rows) / seconds,
        "first_step_at": clock.began,
        "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_gpu": gpu,
    }


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """``Trainer.evaluate``, after a warm-up on some rows."""
    with tempfile.TemporaryDirectory() as folder:
        trainer, _, rows = trainer_for(options, folder, "dev")
        trainer.evaluate(rows.select(range(4 * options.batch_size)))
        start = time.perf_counter()
        trainer.evaluate()
        return {"samples_per_second": len(rows) / (time.perf_counter() - start)}


def tokenise(options: argparse.Namespace) -> dict[str, Any]:
    """``datasets.map`` over the training rows: the first time, and from its own cache."""
    columns = len(TASKS[options.task][1])
    with tempfile.TemporaryDirectory() as folder:
        read(options.glue_dir, options.task, "train").save_to_disk(folder)
        tokenizer = AutoTokenizer.from_pretrained(options.model)
        tokenizer("warm")

        def tokens(batch: dict[str, list[str]]) -> Any:
            return tokenizer(*(batch[f"text_{i}"] for i in range(columns)), truncation=True)

        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            rows = load_from_disk(folder).map(tokens, batched=True)
            seconds.append(time.perf_counter() - start)
            assert len(rows[0]["input_ids"]) > 0
        return {"first": seconds[0], "cached": seconds[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "evaluate", "tokenise"])
    parser.add_argument("--glue_dir", type=Path, required=True)
    parser.add_argument("--task", choices=sorted(TASKS), required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flags", choices=["notebook", "best"], default="notebook")
    parser.add_argument("--cache", type=Path, required=True, help="folder for tokenised splits")
    options = parser.parse_args()
    print(json.dumps({"train": train, "evaluate": evaluate, "tokenise": tokenise}[options.what](options)))


if __name__ == "__main__":
    main()
