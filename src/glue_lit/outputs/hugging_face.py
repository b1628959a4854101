"""Export a checkpoint as a Hugging Face folder, which loads without glue-lit."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glue_lit.data.batches import Batch, TokenDataset
from glue_lit.data.head_tail import Truncation, truncation_in
from glue_lit.data.rows import Rows
from glue_lit.data.splits import TaskSplits
from glue_lit.data.tokens import tokenise
from glue_lit.data.window_settings import parse_windows
from glue_lit.encoder import pretrained
from glue_lit.encoder.heads import record_thresholds
from glue_lit.encoder.merging import merge_adapters
from glue_lit.encoder.reformer import record_hash_seed
from glue_lit.errors import DataError, GlueLitError, ModelError, RunError, UsageError
from glue_lit.evaluation.task_metrics import SplitMetrics
from glue_lit.outputs.card_record import read_card_record
from glue_lit.outputs.input_record import input_record, output_record, record_inputs, window_record
from glue_lit.outputs.loading import load_classifier
from glue_lit.runs.run import Run
from glue_lit.system.console import note
from glue_lit.tasks.glue import TaskSpec
from glue_lit.training.classifier import SequenceClassifier
from glue_lit.training.tensorboard.evaluated import RowCollector

Logits = Callable[[Mapping[str, Tensor]], Tensor]  # a batch to its logits ``(batch, labels)``
_ALLOWED = 1e-4  # largest change that merging adapters may cause, relative to the largest logit
# Texts to compare two forms of a model: short and long ones, some padded to the longest of their batch.
_SENTENCES = (
    "The room was lovely.", "No.", "The cook who made the soup asked for more salt, and nobody gave him any.",
    "It rains.", "Was it the guide or the driver who lost the keys of room 12 on Monday?", "Two men sleep in the park.",
)  # fmt: skip
_BATCHES = ((0, 1), (2,), (3, 5, 4, 0, 1), (6, 2, 0))
_LONG = " ".join(_SENTENCES[2:5])


@dataclass(frozen=True)
class Trained:
    """A checkpoint, loaded for export."""

    classifier: SequenceClassifier  # in evaluation mode, in float32
    tokenizer: Any
    max_length: int  # in tokens, at which the tokenizer truncates
    saved: dict[str, Any]  # the checkpoint's content
    record: dict[str, Any]  # metrics.json of its run; empty without one

    @property
    def truncation(self) -> Truncation:
        """What it keeps of long texts."""
        return truncation_in(self.saved.get("datamodule_hyper_parameters") or {})

    @property
    def task(self) -> TaskSpec:
        """The task that it was trained on."""
        return self.classifier.task


def load_trained(checkpoint: Path, run: Run | None, trust_remote_code: bool = False, **where: Any) -> Trained:
    """Load a checkpoint, from a run or elsewhere.

    Args:
        checkpoint: The checkpoint file.
        run: Its run, if it has one.
        trust_remote_code: Run code that comes with its model.
        where: ``name_or_path`` of `load_classifier`.

    Raises:
        RunError: It cannot be read, or holds no tokenizer.
    """
    classifier, tokenizer, max_length, saved = load_classifier(checkpoint, trust_remote_code, **where)
    tokenizer.model_max_length = max_length
    return Trained(classifier, tokenizer, max_length, saved, {} if run is None else _read_record(run))


def _read_record(run: Run) -> dict[str, Any]:
    try:
        return read_card_record(run)
    except RunError as error:
        note(f"The model card lacks scores and recipe: {error} in {run.path}.")
        return {}


def plain_model(trained: Trained) -> Any:
    """The Hugging Face model with adapters merged into its weights.

    Raises:
        ModelError: The adapters cannot be merged, or merging changes the logits.
    """
    before = trained.classifier.model
    model = merge_adapters(before)
    if model is before:
        return model
    for batch in example_batches(trained):
        inputs = {name: batch[name] for name in trained.classifier.accepted & set(batch)}
        with torch.inference_mode():
            expected, found = before(**inputs).logits, model.eval()(**inputs).logits
        difference = float((found - expected).abs().max())
        if not difference <= _ALLOWED * max(1.0, float(expected.abs().max())):
            raise ModelError(
                f"model.peft: merging the adapters into a {model.config.model_type} changes its logits by "
                f"{difference:.2g}, so it is not exported. `glue-lit predict` uses the adapters unmerged."
            )
    return model


def example_batches(trained: Trained) -> list[Batch]:
    """Batches of short and long texts or pairs, tokenised and padded as for a prediction."""
    texts = [*_SENTENCES, _LONG]
    pairs = [*texts[1:], texts[0]] if len(trained.task.text_columns) == 2 else None
    store = tokenise(Rows(texts, pairs, [None] * len(texts)), trained.tokenizer, trained.max_length, False)
    dataset = TokenDataset(store, torch.arange(len(store)), trained.tokenizer)
    return [dataset[rows] for rows in _BATCHES]


def write_model(trained: Trained, folder: Path) -> None:
    """Write configuration, weights (safetensors) and tokenizer, without paths of this machine."""
    model = plain_model(trained)
    record_settings(trained, model.config)
    record_hash_seed(model.config)
    with pretrained.quiet():
        model.save_pretrained(folder)
        write_tokenizer(trained, folder)


def record_settings(trained: Trained, config: Any) -> None:
    """Put into a model's configuration how its inputs are made, and from which probability on it has a label."""
    config._name_or_path = ""
    record = input_record(trained.task, trained.max_length, trained.truncation)
    record |= window_record(parse_windows(trained.classifier.hparams["windows"]), trained.max_length)
    record_inputs(config, record | output_record(trained.task))
    record_thresholds(config, trained.task.labels, trained.classifier.thresholds)


def write_tokenizer(trained: Trained, folder: Path) -> None:
    """Write the tokenizer's files."""
    trained.tokenizer.name_or_path = ""
    trained.tokenizer.init_kwargs.pop("name_or_path", None)
    trained.tokenizer.save_pretrained(folder)


def score(trained: Trained, logits: Mapping[str, Logits]) -> dict[str, dict[str, float]]:
    """Validation metrics of several functions that compute logits, by the name of the function; no loss of one's own.

    Raises:
        DataError: The rows cannot be read, or have no labels.
    """
    if trained.task.monitored_split is None:
        raise DataError(f"task {trained.task.name} has no validation rows")
    split = trained.task.monitored_split
    splits = TaskSplits.from_checkpoint(trained.saved, custom=trained.classifier.hparams.get("custom"))
    dataset = splits.dataset(split)
    of_splits, documents = {name: SplitMetrics(trained.task) for name in logits}, RowCollector()
    for each in of_splits.values():
        each.use_thresholds(trained.classifier.thresholds)
    metrics = {name: each.of(split) for name, each in of_splits.items()}
    for rows in splits.evaluation_sampler(split):
        batch = dataset[rows]
        for name, compute in logits.items():
            found = compute({key: batch[key] for key in batch if key not in ("labels", "idx", "window")})
            if "window" in batch:
                documents.add(name, found, batch)
            else:
                metrics[name].add(found, batch["labels"], trained.classifier.loss.plain)
    for name, pooled in documents.rows(1, trained.classifier.hparams["windows"]):
        metrics[name].add(pooled.logits, pooled.labels, trained.classifier.loss.plain)
    scores = {name: metric.compute() for name, metric in metrics.items()}
    if trained.classifier.loss.chosen is not None:  # the user's own code need not be here
        scores = {name: {key: of[key] for key in of if key != "loss"} for name, of in scores.items()}
    return scores


def torch_logits(trained: Trained) -> Logits:
    """A function that computes logits with the PyTorch model."""

    def compute(batch: Mapping[str, Tensor]) -> Tensor:
        with torch.inference_mode():
            found: Tensor = trained.classifier(dict(batch))
        return found

    return compute


_EXPORTED = (".json", ".safetensors", ".onnx", ".data", ".md", ".txt", ".model", ".jinja")


def _foreign_files(folder: Path) -> list[str]:
    """Files that no export wrote, perhaps someone's work. Code counts as exported if our model card is beside it."""
    kinds = set(_EXPORTED)
    with suppress(OSError, UnicodeDecodeError):
        if "\n- glue-lit\n" in (folder / "README.md").read_text(encoding="utf-8"):
            kinds.add(".py")
    own = {p for p in folder.iterdir() if p.is_file() and p.name[0] != "." and p.suffix.lower() in kinds}
    return sorted(path.name for path in folder.iterdir() if path not in own)


def _check_replaceable(path: Path, overwrite: bool) -> None:
    if path.is_file():
        raise UsageError(f"--output: {path} is a file; name a folder.")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"--output: {path} is not empty. Name another folder, or pass `--overwrite`.")
    if not (path / "config.json").is_file():
        raise UsageError(f"--overwrite: {path} is not an exported model (no config.json), so nothing is replaced.")
    if others := _foreign_files(path):
        raise UsageError(
            f"--overwrite: {path} holds {', '.join(map(repr, others[:5]))}, which no export wrote, so nothing is "
            "replaced. Name another folder, or move them."
        )


@contextmanager
def replace_folder(path: Path, overwrite: bool) -> Iterator[Path]:
    """Make a temporary folder, which replaces ``path`` at the end unless there is an error.

    Raises:
        UsageError: ``path`` exists and may not be replaced.
        RunError: The folder cannot be written.
    """
    _check_replaceable(path, overwrite)
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        part.chmod(0o755)
        yield part
        for file in part.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)  # safetensors writes files that only their owner can read
        if path.is_dir():
            shutil.rmtree(path)
        part.rename(path)
    except GlueLitError:
        raise
    except Exception as error:  # safetensors has errors of its own for a full disk
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        if not isinstance(error, OSError) and "No space left" not in reason and "os error" not in reason:
            raise
        raise RunError(f"Cannot write {path} ({reason}). What was there is kept.") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
