"""Evaluations, fits and predictions of every task in 1, 2 and 3 processes, and their expected results.

This file is the script that each of several processes runs. `test_exactness.py` compares their results;
`test_exactness_of_commands.py` does the same through the command.
"""

import json
import os
import socket
import sys
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import warm

# Everything heavy is imported where it is used: each process that runs this file needs torch, not SciPy.

WORLDS = (1, 2, 3)
TASKS = ("cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "mnli-mm", "qnli", "rte", "wnli", "ax")
TRAINABLE = TASKS[:-1]
MATCHED = "validation_matched"
# (rows, evaluation batch): fewer rows than processes, a last batch that is short, a batch larger than a share
SIZES = ((1, 4), (2, 5), (13, 5), (17, 1), (17, 4))
FEW_SIZES = ((2, 4), (17, 5))
THOROUGH = ("cola", "mrpc", "stsb", "mnli")  # each metric, and two validation splits; the others take FEW_SIZES
UNLABELLED = ("cola", "stsb", "mnli", "ax")
HALF_LABELLED = 7  # rows of a test file that is scored with every second label hidden

Record = dict[str, Any]
Lines = list[dict[str, Any]]


class Place(NamedTuple):
    """Folders of the processes' inputs and results."""

    root: Path
    tiny_model: Path
    cache: Path

    @property
    def labelled(self) -> Path:
        """A GLUE folder whose test files have labels."""
        return self.root / "labelled"

    def checkpoint(self, task: str) -> Path:
        name = "mnli" if task in ("ax", "mnli-mm") else task  # an mnli run predicts them
        return self.root / "checkpoints" / f"{name}.ckpt"

    def fitted(self, task: str, rows: int, world: int) -> Path:
        return self.root / "fitted" / f"{task}-{rows}-{world}.ckpt"


# ---------------------------------------------------------------- what each process does


def new_data(place: Place, task: str, **settings: Any) -> Any:
    from glue_lit import GLUEDataModule

    values = {"source": "demo", "seed": 1} | settings
    return GLUEDataModule(task=task, tokenizer=str(place.tiny_model), cache_dir=str(place.cache), **values)


def new_model(place: Place, task: str, checkpoint: Path, **settings: Any) -> Any:
    from glue_lit import SequenceClassifier
    from glue_lit.runs.checkpoints import read_checkpoint

    model = SequenceClassifier(task=task, name_or_path=str(place.tiny_model), **settings)
    model.use_architecture_of(read_checkpoint(checkpoint))
    return model


def new_trainer(world: int, *callbacks: Any, **settings: Any) -> Any:
    from lightning.pytorch import Trainer

    return Trainer(
        accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto", callbacks=list(callbacks),
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **settings,
    )  # fmt: skip


def logged(trainer: Any) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def written_by(writer: Any) -> dict[str, Lines]:
    return {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in writer.written}


def evaluated(
    world: int,
    place: Place,
    command: str,
    model: Any,
    checkpoint: Path | None = None,
    hide: bool = False,
    **settings: Any,
) -> Record:
    """Scores and files of `glue-lit COMMAND`; without a checkpoint, the model has its weights already."""
    from glue_lit.training.callbacks.prediction_writer import PredictionWriter

    data = new_data(place, model.task.name, **settings)
    if hide:
        for split in data.splits.names_for(command):
            store = data.dataset(split).store
            store.labels[data.dataset(split).examples[1::2]] = float("nan") if data.task.is_regression else -1
    folder = place.root / "predictions" / f"{world}-{os.environ.get('LOCAL_RANK', '0')}"
    writer = PredictionWriter(folder)
    trainer = new_trainer(world, writer)
    options = {"return_predictions": False} if command == "predict" else {"verbose": False}
    getattr(trainer, command)(model, data, ckpt_path=checkpoint, weights_only=True, **options)
    assert trainer.world_size == world
    return {
        "scores": model.scores,
        "predicted": model.predicted,
        "logged": logged(trainer),
        "written": written_by(writer),
    }


def fitted(world: int, place: Place, task: str, rows: int) -> Record:
    """Scores of the validations within a fit; its last weights are kept."""
    from lightning.pytorch import Callback

    from glue_lit.runs.checkpoints import read_checkpoint

    class EachValidation(Callback):
        def __init__(self) -> None:
            self.scores: list[dict[str, float]] = []

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.sanity_checking:
                self.scores.append(pl_module.scores)

    start = place.checkpoint(task)
    model = new_model(place, task, start, learning_rate=1e-4)
    model.configure_model()
    model.load_state_dict(read_checkpoint(start)["state_dict"])
    data = new_data(place, task, batch_size=4, eval_batch_size=5, train_limit=7, validation_limit=rows)
    seen = EachValidation()
    trainer = new_trainer(world, seen, max_epochs=2, num_sanity_val_steps=1)
    trainer.fit(model, data)
    trainer.save_checkpoint(place.fitted(task, rows, world))
    of_validation = {name: value for name, value in logged(trainer).items() if name.startswith("val")}
    return {"scores": seen.scores, "predicted": model.predicted, "logged": of_validation}


def sizes(task: str) -> tuple[tuple[int, int], ...]:
    return SIZES if task in THOROUGH else FEW_SIZES


def fits(task: str) -> tuple[int, ...]:
    """Validation rows of the fits of a task."""
    return () if task not in TRAINABLE else (2, 13) if task in ("cola", "stsb") else (13,)


def everything(world: int, place: Place) -> dict[str, Record]:
    """The results of all evaluations and fits of one process, by name."""
    found: dict[str, Record] = {}
    for name in TASKS:
        model, weights = new_model(place, name, place.checkpoint(name)), iter([place.checkpoint(name)])

        def find(what: str, command: str, **settings: Any) -> None:
            one = evaluated(world, place, command, model, next(weights, None), **settings)  # noqa: B023
            found.setdefault(what, one)["written"] |= one["written"]

        for rows, batch in sizes(name):
            size: dict[str, Any] = {"eval_batch_size": batch, "validation_limit": rows, "test_limit": rows}
            about = f"{name} {rows} {batch}"
            find(f"test {about}", "test", source=str(place.labelled), **size)
            if model.task.validation_splits:
                find(f"validate {about}", "validate", **size)
            for split in model.task.validation_splits:
                find(f"predict {about}", "predict", predict_split=split, **size)
        size = {"eval_batch_size": 4, "test_limit": HALF_LABELLED, "source": str(place.labelled)}
        find(f"half-labelled {name}", "test", hide=True, **size)
        for command in ("test", "predict") if name in UNLABELLED else ():
            find(f"unlabelled {command} {name}", command, eval_batch_size=4, test_limit=13)
        for rows in fits(name):
            found[f"fit {name} {rows}"] = fitted(world, place, name, rows)
    return found


def main(world: int, place: Place) -> None:
    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    from lightning.pytorch import Trainer  # noqa: F401  # its import turns its log messages on

    from glue_lit.system.library_warnings import quiet_lightning

    quiet_lightning()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filter_warnings()
        found = everything(world, place)
    (place.root / f"{world}-{os.environ['LOCAL_RANK']}.json").write_text(json.dumps(found))


# ---------------------------------------------------------------- data and models


def write_labelled_tests(folder: Path) -> None:
    """Write validation rows into test files, since GLUE hides the labels of its test rows."""
    from glue_lit import get_task
    from glue_lit.data.demo import CORPUS
    from glue_lit.data.tsv import read_tsv

    for task in map(get_task, TASKS):
        for split in task.test_splits:
            test = task.files[split]
            source = get_task(task.trained_as or task.name)
            file = source.files[split.replace("test", "validation")] if source is task else source.files[MATCHED]
            table = read_tsv(CORPUS / file.path, has_header=isinstance(file.texts[0], str))
            names: tuple[Any, ...] = (*file.texts, file.label)
            columns = [table.header.index(name) if table.header else name for name in names]
            rows = [[row[column] for column in columns] for row in table.rows if len(row) > max(columns)]
            path = folder / test.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join("\t".join(map(str, row)) + "\n" for row in [(*test.texts, test.label), *rows]))


def varied_model(place: Place, task: str) -> Any:
    """A model that gives each label to many rows, through large weights that make rows differ and a centred head."""
    import torch

    from glue_lit import SequenceClassifier

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = SequenceClassifier(task=task, name_or_path=str(place.tiny_model))
        model.configure_model()
    model.eval()
    dataset = new_data(place, task).dataset(model.task.validation_splits[0])
    head = model.model.classifier
    with torch.no_grad():
        for parameter in model.model.bert.parameters():
            parameter.mul_(20 if parameter.dim() == 2 else 1)
        logits = model(dataset.__getitems__(range(len(dataset))))
        spread = logits.std(dim=0)
        head.weight.div_(spread[:, None])
        head.bias.sub_(logits.mean(dim=0)).div_(spread)
        if model.task.is_regression:
            head.bias.add_(2.5)
    return model


def write_checkpoint(place: Place, task: str) -> None:
    trainer = new_trainer(1)
    model, data = varied_model(place, task), new_data(place, task, validation_limit=2)
    trainer.validate(model, data, verbose=False)
    trainer.save_checkpoint(place.checkpoint(task))


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def started(world: int, rank: int, port: int, place: Place) -> warm.Program:
    """One process of several, as Lightning's launcher would start it."""
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_RANK": rank, "NODE_RANK": 0, "OMP_NUM_THREADS": 1}
    return warm.start(__file__, world, *place, **{name: str(value) for name, value in told.items()})


def finish(ranks: dict[str, warm.Program], seconds: float) -> None:
    """Wait for all processes; if one fails, the others would wait for it forever."""
    until = time.monotonic() + seconds
    while any(rank.poll() is None for rank in ranks.values()):
        failed = [rank.wait().stderr for rank in ranks.values() if rank.poll()]
        assert not failed, "\n".join(failed)
        assert time.monotonic() < until, f"still running: {[name for name, r in ranks.items() if r.poll() is None]}"
        time.sleep(0.1)
    for rank in ranks.values():
        done = rank.wait()
        assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- expected results


def reference(task: str, lines: Lines) -> dict[str, float]:
    """The task's metrics and loss of a predictions file, by scikit-learn and SciPy; NaN where undefined."""
    from scipy import stats
    from sklearn import metrics as sk

    from glue_lit import get_task

    gold = [line["gold"] for line in lines]
    if get_task(task).is_regression:
        scores = [line["score"] for line in lines]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant input
            both = [f(scores, gold).statistic if len(gold) > 1 else np.nan for f in (stats.pearsonr, stats.spearmanr)]
        return {"pearson": both[0], "spearmanr": both[1], "loss": float(np.mean(np.square(np.subtract(scores, gold))))}
    labels = [line["label"] for line in lines]
    positive = get_task(task).labels[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a single class
        every = {
            "accuracy": sk.accuracy_score(gold, labels),
            "f1": sk.f1_score(gold, labels, labels=[positive], average="macro", zero_division=0),
            "matthews_correlation": sk.matthews_corrcoef(gold, labels),
        }
    loss = -np.mean(np.log([line["probabilities"][line["gold"]] for line in lines]))
    return {name: float(every[name]) for name in get_task(task).metrics} | {"loss": float(loss)}


def references(task: str, written: dict[str, Lines]) -> dict[str, float]:
    """The reference of every split, by logged name."""
    values = {}
    for split, lines in written.items():
        known = [line for line in lines if "gold" in line]
        prefix = split.replace("validation", "val")
        values |= {f"{prefix}/{name}": value for name, value in reference(task, known).items()}
    return values


def counted(lines: Lines) -> dict[str, int]:
    labels = [line["label"] for line in lines if "gold" in line]
    return {label: labels.count(label) for label in lines[0]["probabilities"]}


def assert_close(got: dict[str, float], expected: dict[str, float], loss: float = 1e-6) -> None:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        ending = name.rpartition("/")[2]
        allowed = {"loss": loss, "pearson": 1e-5, "spearmanr": 1e-5}.get(ending, 1e-6)
        relative = 1e-6 if ending == "loss" else 0.0  # float32, and no upper bound
        assert got[name] == pytest.approx(value, abs=allowed, rel=relative, nan_ok=True), name


def assert_same_lines(got: Lines, expected: Lines) -> None:
    assert [line["idx"] for line in got] == [line["idx"] for line in expected]
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert (ours.get("label"), ours.get("gold")) == (theirs.get("label"), theirs.get("gold"))
        assert ours.get("score") == pytest.approx(theirs.get("score"), abs=1e-5)
        assert ours.get("probabilities") == pytest.approx(theirs.get("probabilities"), abs=1e-5)


if __name__ == "__main__":
    main(int(sys.argv[1]), Place(*map(Path, sys.argv[2:])))
