"""The baseline: the notebook's recipe through a plain Hugging Face ``Trainer``, without glue-lit.

    python -m benchmarks.hf_trainer --glue_dir GLUE --task cola --model DIR --epochs 5 --seeds 0 1 2

Reads the official TSV files with the standard library, tokenises with ``datasets.map``, pads each
batch to its longest row, scores with scikit-learn and SciPy: nothing is shared with what it is
compared with. Prints one JSON object per seed and appends it to ``--output`` if given.
"""

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
    set_seed,
)

# task: folder, text columns, label column, metric that picks the checkpoint, labels
TASKS = {
    "cola": ("CoLA", [3], 1, "matthews", ["0", "1"]),
    "sst2": ("SST-2", ["sentence"], "label", "accuracy", ["0", "1"]),
    "mrpc": ("MRPC", ["#1 String", "#2 String"], "Quality", "accuracy", ["0", "1"]),
    "stsb": ("STS-B", ["sentence1", "sentence2"], "score", "pearson", None),
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


def score(task: str, logits: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """Every metric that GLUE names for the task."""
    if task == "stsb":
        scores = logits[:, 0]
        return {
            "pearson": float(pearsonr(scores, gold).statistic),
            "spearman": float(spearmanr(scores, gold).statistic),
        }
    predicted = logits.argmax(axis=1)
    if task == "cola":
        return {"matthews": float(matthews_corrcoef(gold, predicted))}
    result = {"accuracy": float(accuracy_score(gold, predicted))}
    return result | ({"f1": float(f1_score(gold, predicted))} if task == "mrpc" else {})


def run(options: argparse.Namespace, seed: int) -> dict[str, object]:
    """Fine-tune once and return the metrics of the best checkpoint on dev."""
    _, texts, _, monitor, names = TASKS[options.task]
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(options.model)

    def tokenise(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return tokenizer(*(batch[f"text_{i}"] for i in range(len(texts))), truncation=True)

    train, dev = (read(options.glue_dir, options.task, s).map(tokenise, batched=True) for s in ("train", "dev"))
    model = AutoModelForSequenceClassification.from_pretrained(
        options.model, num_labels=len(names) if names else 1, dtype=torch.float32
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model,
            TrainingArguments(
                folder,
                eval_strategy="epoch",
                save_strategy="epoch",
                save_total_limit=1,
                learning_rate=options.learning_rate,
                per_device_train_batch_size=options.batch_size,
                per_device_eval_batch_size=options.batch_size,
                num_train_epochs=options.epochs,
                weight_decay=0.01,
                load_best_model_at_end=True,
                metric_for_best_model=monitor,
                seed=seed,
                report_to="none",
                disable_tqdm=True,
                use_cpu=not torch.cuda.is_available(),
            ),
            train_dataset=train,
            eval_dataset=dev,
            processing_class=tokenizer,
            compute_metrics=lambda p: score(options.task, p.predictions, p.label_ids),
        )
        start, processor = time.perf_counter(), time.process_time()
        result = trainer.train()
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        metrics = {k.removeprefix("eval_"): v for k, v in trainer.evaluate().items()}
        metrics = {k: metrics[k] for k in ("matthews", "accuracy", "f1", "pearson", "spearman", "loss") if k in metrics}
    per_epoch = [round(e[f"eval_{monitor}"], 6) for e in trainer.state.log_history if f"eval_{monitor}" in e]
    return {
        "system": "hf-trainer",
        "task": options.task,
        "seed": seed,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "metrics": metrics,
        "per_epoch": per_epoch[: options.epochs],
        "train_samples_per_second": result.metrics["train_samples_per_second"],
        "wall_seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),  # of all threads: what other work on the machine does not change
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glue_dir", type=Path, required=True)
    parser.add_argument("--task", choices=sorted(TASKS), required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--learning_rate", type=float, default=2e-5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    for seed in options.seeds:
        line = json.dumps(run(options, seed))
        print(line, flush=True)
        if options.output:
            with options.output.open("a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
