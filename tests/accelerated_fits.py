"""A program for `test_accelerator.py`: fits on the simulated accelerator and on the processor, and their results.

    python accelerated_fits.py MODEL FOLDER CASE ... [CASE, resumed ...]

writes ``FOLDER/found.json``: by the name of each case the largest differences and the scores, or how it failed.
"""

import contextlib
import copy
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerated_cases import CASES, RESUMED
from accelerator import simulated, strategy
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import MixedPrecision
from tiny_folders import write_tiny

import glue_lit.outputs.predictor
import glue_lit.training.optimizer
import glue_lit.training.tensorboard.points
from glue_lit import BestCheckpoint, GLUEDataModule, LastCheckpoint, SequenceClassifier
from glue_lit.cli.commands import export
from glue_lit.data.rows import Rows
from glue_lit.errors import DivergenceError
from glue_lit.outputs.predictor import Predictor
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.tasks.custom import CustomTask
from glue_lit.training.callbacks.speed import TrainingSpeed
from glue_lit.training.tensorboard.pages import TensorBoardPages

MODEL, FOLDER = sys.argv[1], Path(sys.argv[2])
REVIEWS, COMMENTS = FOLDER / "reviews.csv", FOLDER / "comments.jsonl"
METRICS: list[str | dict[str, Any]] = [
    "accuracy", "f1", "log_loss", "brier_score", "top_k_accuracy(k=1)", "quadratic_weighted_kappa", "auroc",
    {"class_path": "torchmetrics.classification.BinaryAccuracy"},
]  # fmt: skip
OWN = CustomTask(text="text", kind="classification", class_weights=[0.5, 2.0], metrics=METRICS, test_file=str(REVIEWS))

OF_SETS: list[str | dict[str, Any]] = [
    "micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "label_ranking_average_precision", "log_loss",
    "average_precision",
]  # fmt: skip
SEVERAL = CustomTask(
    text="text", kind="multi_label", class_weights=[0.5, 2.0, 1.0], test_file=str(COMMENTS), metrics=OF_SETS,
    thresholds="tuned",
)  # fmt: skip


class Phases(Callback):
    """Names the phase of a fit, by which waits are counted.

    Attributes:
        device: Device of the weights in the last training step.
    """

    def __init__(self, simulation: Any) -> None:
        self.simulation = simulation
        self.device = ""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.before = weights_of(pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.simulation.begin("training step" if trainer.global_step > 1 else "first steps")
        self.device = next(pl_module.parameters()).device.type

    def on_train_epoch_end(self, *_: Any) -> None:
        self.simulation.begin("end of an epoch")

    def on_validation_batch_start(self, *_: Any) -> None:
        self.simulation.begin("validation batch")

    def on_validation_epoch_end(self, *_: Any) -> None:
        self.simulation.begin("end of a validation")

    def on_test_batch_start(self, *_: Any) -> None:
        self.simulation.begin("test batch")

    def on_test_epoch_end(self, *_: Any) -> None:
        self.simulation.begin("end of a test")

    def on_predict_batch_start(self, *_: Any) -> None:
        self.simulation.begin("prediction batch")

    def on_predict_epoch_end(self, *_: Any) -> None:
        self.simulation.begin("end of a prediction")


class Fit:
    """A fit's trainer, model and data."""

    def __init__(self, name: str, simulation: Any, **more: Any) -> None:
        options, settings, of_data = copy.deepcopy(CASES.get(name, ({"log_every_n_steps": 50}, {}, {})))
        seed_everything(3, verbose=False)
        task = of_data.pop("task", "cola")
        custom = {}
        folder = MODEL if (kind := of_data.pop("kind", None)) is None else _tiny(kind)
        own = {"reviews": (REVIEWS, OWN), "comments": (COMMENTS, SEVERAL)}.get(task)
        if own is not None:
            of_data |= {"source": str(own[0]), "custom": own[1]}
        self.data = GLUEDataModule(
            task, folder, **{"source": "demo", "batch_size": 4, "train_limit": 14, "validation_limit": 9, "test_limit": 7}
            | of_data,
        )  # fmt: skip
        if own is not None:
            custom = {"custom": self.data.custom.settings()}
        if settings.get("init_from"):
            settings["init_from"] = str(FOLDER / "plain" / "last.ckpt")
        self.model = SequenceClassifier(
            task, folder, **{"dropout": 0.0, "learning_rate": 1e-3, "warmup": 0.2, "adam_eps": 1e-6} | settings | custom
        )
        self.best, self.last = (
            BestCheckpoint(),
            LastCheckpoint(every=3),
        )  # in the middle of an epoch, between two points
        self.best.dirpath = self.last.dirpath = str(FOLDER / (name if simulation else f"{name} on the processor"))
        precision = options.pop("precision", "32-true")
        where: dict[str, Any] = {"accelerator": "cpu", "precision": precision}
        if simulation is not None:
            # MPS has none; torch's scaler of float16 avoids it only there
            simulation.has_float64 = name in ("float64", "scaled float16")
            where = {"strategy": strategy(), "precision": precision}
        if precision.endswith("mixed"):  # Lightning has mixed precisions for its own devices only
            del where["precision"]
            where["plugins"] = MixedPrecision(precision, "cpu" if simulation is None else "sim")
        self.phases = Phases(simulation or Ignored())
        if name in ("non-finite", "stopped"):
            self._spoil_a_loss()
        self.trainer = Trainer(
            logger=TensorBoardLogger(FOLDER) if name in ("plain", "regression") else False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
            callbacks=[self.phases, TensorBoardPages(), TrainingSpeed(), self.best, self.last],
            **{"max_epochs": 2, "log_every_n_steps": 2} | where | options | more,
        )  # fmt: skip
        if simulation is not None:
            self._count_checkpoints(simulation)
        if simulation is not None and self.model.hparams["split_batches"]:
            self._limit_memory()

    def _count_checkpoints(self, simulation: Any) -> None:
        save = self.trainer.save_checkpoint

        def saved(*arguments: Any, **options: Any) -> None:
            with simulation.during("checkpoint"):
                save(*arguments, **options)

        self.trainer.save_checkpoint = saved  # type: ignore[method-assign]

    def _limit_memory(self) -> None:
        """Let the memory hold two rows of the longest texts."""
        compute = self.model._loss

        def limited(batch: Any) -> Any:
            if len(batch["labels"]) > 2:
                raise torch.OutOfMemoryError("out of memory")
            return compute(batch)

        self.model._loss = limited  # type: ignore[method-assign]

    def _spoil_a_loss(self) -> None:
        loss = self.model.loss.forward

        def spoiled(*batch: Any) -> Any:
            return loss(*batch) * (torch.nan if self.trainer.global_step == 2 else 1)

        self.model.loss.forward = spoiled  # type: ignore[method-assign]

    def run(self, checkpoint: str | None = None) -> "Fit":
        """Train, from a checkpoint if there is one."""
        self.trainer.fit(self.model, self.data, ckpt_path=checkpoint, weights_only=True)
        self.weights, self.before = weights_of(self.model), self.phases.before
        return self


def _tiny(kind: str) -> str:
    """A folder with a tiny model of another kind."""
    folder = FOLDER / kind
    if not folder.exists():
        write_tiny(kind, folder)
    return str(folder)


def weights_of(module: Any) -> dict[str, Any]:
    """Copies of a module's weights on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


class Ignored:
    """Has the methods of a simulation, which do nothing."""

    def begin(self, phase: str) -> None:
        """Do nothing."""


def farthest(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Largest difference between two models' weights, or two evaluations' scores."""
    assert one.keys() == other.keys(), one.keys() ^ other.keys()
    values = [(torch.as_tensor(one[key]).double(), torch.as_tensor(other[key]).double()) for key in one]
    return max(float((a - b).nan_to_num().abs().max()) for a, b in values)


def compared(name: str, simulation: Any) -> dict[str, Any]:
    """A case on accelerator and CPU, with the scores of its fit and of its best checkpoint."""
    there, here = Fit(name, simulation).run(), Fit(name, None).run()
    found = {
        "device": there.phases.device,
        "weights": farthest(there.weights, here.weights),
        "scores": farthest(there.model.scores, here.model.scores),
        "moved": farthest(there.weights, there.before),
        "skipped": (there.model.parts.guard.skipped, here.model.parts.guard.skipped),
        "parts": None if (parts := there.model.parts.batch_parts) is None else parts.tokens,
    }
    for command in ("validate", "test"):
        results = []
        for fit in (there, here):
            getattr(fit.trainer, command)(
                fit.model, fit.data, ckpt_path=fit.best.best_model_path, weights_only=True, verbose=False
            )
            results.append(dict(fit.model.scores))
        found[command] = farthest(*results) if results[0] else None
    logits = [fit.trainer.predict(fit.model, fit.data, ckpt_path=fit.best.best_model_path, weights_only=True)
              for fit in (there, here)]  # fmt: skip
    flat = [torch.cat([x.cpu() for x in tree_tensors(part)]) for part in logits]
    found["predict"] = float((flat[0] - flat[1]).abs().max())
    return found


def tree_tensors(parts: Any) -> list[Any]:
    """The tensors in nested lists."""
    return [parts] if isinstance(parts, torch.Tensor) else [x for part in parts for x in tree_tensors(part)]


def resumed(name: str, simulation: Any) -> dict[str, Any]:
    """A fit that is interrupted within an epoch and resumed, compared with an uninterrupted one."""
    whole = Fit(name, simulation).run()
    first = Fit(name, simulation)
    path = FOLDER / f"{name} cut.ckpt"

    class Cut(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 6:
                trainer.save_checkpoint(path)
                raise InterruptedError

    first.trainer.callbacks.append(Cut())
    with contextlib.suppress(InterruptedError):
        first.run()
    second = Fit(name, simulation).run(str(path))
    return {
        "weights": farthest(whole.weights, second.weights),
        "steps": second.trainer.global_step,
        "device": second.phases.device,
    }


def stopped(simulation: Any) -> dict[str, Any]:
    """Fits that stop at a step that is not finite, on accelerator and CPU."""
    messages, weights = [], []
    for where in (simulation, None):
        fit = Fit("stopped", where)
        try:
            fit.run()
        except DivergenceError as error:
            messages.append(str(error))
        weights.append(weights_of(fit.model))
    return {"messages": messages, "weights": farthest(*weights), "steps": fit.trainer.global_step}


def predicted(simulation: Any) -> dict[str, Any]:
    """Predictions of texts with a checkpoint of the device, there and on the CPU."""
    texts = (["a fine room", "the key that opens the old door"], ["no key"], ["an old room", "a door", "the key"])
    rows = [(Rows([*chunk], None, [None] * len(chunk)), None) for chunk in texts]  # one is tokenised while one is used
    checkpoint = FOLDER / "plain" / "best.ckpt"
    predictor = Predictor(checkpoint)
    glue_lit.outputs.predictor._TOKENS = 16  # so that a chunk has several batches
    simulation.begin("texts")
    there = torch.cat([logits for logits, _ in predictor.logits(rows)])
    simulation.begin("texts on the processor")
    accelerator, torch.accelerator.current_accelerator = torch.accelerator.current_accelerator, lambda **_: None
    here = torch.cat([logits for logits, _ in Predictor(checkpoint).logits(rows)])
    torch.accelerator.current_accelerator = accelerator
    waits = sum(count for (phase, *_), count in simulation.waits.items() if phase == "texts")
    return {"predict": float((there - here).abs().max()), "waits": waits}


def exported() -> dict[str, Any]:
    """A checkpoint of the device as a Hugging Face model, compared with the checkpoint itself."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = str(FOLDER / "exported")
    sys.argv[1:] = ["export", f"--ckpt_path={FOLDER / 'plain' / 'best.ckpt'}", f"--output={folder}"]
    export.main()
    texts = ["a fine room", "the key that opens the old door"]
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        theirs = AutoModelForSequenceClassification.from_pretrained(folder)(**batch).logits
    ours, _ = next(Predictor(FOLDER / "plain" / "best.ckpt").logits([(Rows(texts, None, [None, None]), None)]))
    return {"predict": float((theirs.cpu() - ours).abs().max())}


def main() -> None:
    """Run all cases."""
    filter_warnings()
    REVIEWS.write_text("text,label\n" + "".join(
        f"a {'fine' if n % 3 else 'dull'} room {n},{'good' if n % 3 else 'bad'}\n" for n in range(40)
    ))  # fmt: skip
    COMMENTS.write_text("".join(
        json.dumps({"text": f"a {'fine' if n % 3 else 'dull'} room {n}", "label": ["a", "b", "c"][n % 4 : n % 5]}) + "\n"
        for n in range(40)
    ))  # fmt: skip
    fits = glue_lit.training.optimizer.supports_fused
    glue_lit.training.optimizer.supports_fused = lambda device, precision: fits(torch.device("cuda"), precision)
    glue_lit.training.tensorboard.points.widest_float = lambda device: torch.float32
    found: dict[str, Any] = {}

    def note(name: str, case: Callable[[], dict[str, Any]]) -> None:
        try:
            found[name] = case()
        except Exception:
            found[name] = {"failed": traceback.format_exc()}

    with simulated() as simulation:
        for name in [name for name in sys.argv[3:] if name in CASES]:
            simulation.clear()
            note(name, lambda name=name: compared(name, simulation))  # type: ignore[misc]
            found[name] |= {"waits": [[*key, count] for key, count in sorted(simulation.waits.items())]}
            found[name] |= {"phases": dict(simulation.phases)}
        for name in [name for name in RESUMED if f"{name}, resumed" in sys.argv[3:]]:
            note(f"{name}, resumed", lambda name=name: resumed(name, simulation))  # type: ignore[misc]
        note("stopped", lambda: stopped(simulation))
        note("export", exported)
        note("texts", lambda: predicted(simulation))
    (FOLDER / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
