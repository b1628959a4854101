"""Each example exactly once: 1, 2 and 3 processes give the same metrics, losses and predictions, on any number of rows.

The quick half starts each process once and takes it through all tasks and sizes (this file is the script that they
run). The slow half does what a user does, through the command.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
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
    """Where the processes find what they work on, and leave what they find out."""

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
    """What `glue-lit COMMAND` finds and writes; without a checkpoint, the model has its weights already."""
    from glue_lit.training.callbacks.prediction_writer import PredictionWriter

    data = new_data(place, model.task.name, **settings)
    if hide:
        for split in data.splits_for(command):
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
    """What the validations within a fit find; its last weights are kept."""
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
    """All evaluations and fits of one process, by what they are."""
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
    from glue_lit.system.library_warnings import hush

    hush()
    from lightning.pytorch import Trainer  # noqa: F401  # which turns its notes on

    from glue_lit.system.library_warnings import quiet_loggers

    quiet_loggers()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hush()
        found = everything(world, place)
    (place.root / f"{world}-{os.environ['LOCAL_RANK']}.json").write_text(json.dumps(found))


# ---------------------------------------------------------------- what they work on


def write_labelled_tests(folder: Path) -> None:
    """GLUE hides the labels of its test rows, so these are validation rows in files that are called so."""
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
    """A model that gives each label to many rows: weights so large that rows differ, and a head that is centred."""
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
    """Wait for all; where one fails, the others would wait for it."""
    until = time.monotonic() + seconds
    while any(rank.poll() is None for rank in ranks.values()):
        failed = [rank.wait().stderr for rank in ranks.values() if rank.poll()]
        assert not failed, "\n".join(failed)
        assert time.monotonic() < until, f"still running: {[name for name, r in ranks.items() if r.poll() is None]}"
        time.sleep(0.1)
    for rank in ranks.values():
        done = rank.wait()
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, session_cache: Path) -> Place:
    """Checkpoints of all tasks, and labelled test rows."""
    from glue_lit.system.library_warnings import hush

    hush()
    made = Place(tmp_path_factory.mktemp("exactness"), tiny_model, session_cache)
    write_labelled_tests(made.labelled)
    for task in {made.checkpoint(task).stem for task in TASKS}:
        write_checkpoint(made, task)
    return made


@pytest.fixture(scope="module")
def found(place: Place) -> Iterator[dict[str, dict[str, Record]]]:
    """What each process of each number of processes found, by ``world-rank``; one process is this one."""
    from glue_lit.system.library_warnings import hush

    ports = dict(zip(WORLDS, free_ports(len(WORLDS)), strict=True))
    ranks: dict[str, warm.Program] = {}
    try:
        for world in WORLDS[1:]:
            for rank in range(world):
                ranks[f"{world}-{rank}"] = started(world, rank, ports[world], place)
        hush()
        results = {"1-0": json.loads(json.dumps(everything(1, place)))}
        finish(ranks, 180)
    finally:
        for rank in ranks.values():
            if rank.poll() is None:
                rank.send_signal(signal.SIGKILL)
    return results | {name: json.loads((place.root / f"{name}.json").read_text()) for name in ranks}


# ---------------------------------------------------------------- what is right


class Truth(NamedTuple):
    """The rows of a split that a limit leaves, and what the model says of each by itself."""

    idx: list[int]
    gold: list[Any]
    logits: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        return np.exp(self.logits) / np.exp(self.logits).sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def truths(place: Place) -> Callable[[str, str, int, str], Truth]:
    """Rows read from the source, and a model that is asked for one at a time: no loader, no trainer, no metric."""
    import torch

    from glue_lit import get_task
    from glue_lit.data.sources import open_split
    from glue_lit.runs.checkpoints import read_checkpoint

    models: dict[str, Any] = {}
    logits: dict[tuple[str, str, str, int], np.ndarray] = {}

    def model_of(name: str) -> Any:
        if name not in models:
            models[name] = new_model(place, name, place.checkpoint(name))
            models[name].configure_model()
            models[name].load_state_dict(read_checkpoint(place.checkpoint(name))["state_dict"], strict=False)
            models[name].eval()
        return models[name]

    def truth(name: str, split: str, rows: int, source: str) -> Truth:
        task = get_task(name)
        read = open_split(task, source, split).read()
        idx = [number * len(read) // rows for number in range(rows)]
        dataset = new_data(place, name, source=source).dataset(split)
        for number in idx:
            if (name, split, source, number) not in logits:
                with torch.inference_mode():
                    logits[name, split, source, number] = model_of(name)(dataset[number]).double().numpy()[0]
        gold = [read.labels[number] for number in idx]
        names = [label if label is None or task.is_regression else task.labels[int(label)] for label in gold]
        return Truth(idx, names, np.stack([logits[name, split, source, number] for number in idx]))

    return truth


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
        warnings.simplefilter("ignore")  # one class in all: said to be perhaps a mistake
        every = {
            "accuracy": sk.accuracy_score(gold, labels),
            "f1": sk.f1_score(gold, labels, labels=[positive], average="macro", zero_division=0),
            "matthews_correlation": sk.matthews_corrcoef(gold, labels),
        }
    loss = -np.mean(np.log([line["probabilities"][line["gold"]] for line in lines]))
    return {name: float(every[name]) for name in get_task(task).metrics} | {"loss": float(loss)}


def references(task: str, written: dict[str, Lines]) -> dict[str, float]:
    """The same of every split, by logged name."""
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


# ---------------------------------------------------------------- evaluations


def test_every_task_is_here() -> None:
    from glue_lit import TASKS as ALL

    assert set(TASKS) == set(ALL)
    assert set(TRAINABLE) == {name for name, task in ALL.items() if task.validation_splits}


@pytest.mark.parametrize("task", TASKS)
def test_the_models_make_this_a_test(task: str, truths: Callable[..., Truth], place: Place) -> None:
    # Every label is predicted, so that a row too many shows; no row is so close a call that rounding decides.
    from glue_lit import get_task

    spec = get_task(task)
    cases = [(split, "demo") for split in spec.validation_splits]
    cases += [(split, str(place.labelled)) for split in spec.test_splits]
    for split, source in cases:
        truth = truths(task, split, 17, source)
        assert len({str(gold) for gold in truth.gold}) > 1
        if spec.is_regression:
            assert truth.logits.std() > 0.5
            assert np.diff(np.sort(truth.logits[:, 0])).min() > 1e-4
        else:
            assert len(set(truth.logits.argmax(axis=1).tolist())) == spec.num_labels
            best = np.sort(truth.logits, axis=1)
            assert (best[:, -1] - best[:, -2]).min() > 1e-4


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("task", TASKS)
def test_every_row_is_predicted_once_and_in_order(
    found: dict[str, dict[str, Record]], truths: Callable[..., Truth], place: Place, task: str, world: int
) -> None:
    from glue_lit import get_task

    spec = get_task(task)
    for rows, batch in sizes(task):
        for command, splits, source in (
            ("predict", spec.validation_splits, "demo"),
            ("test", spec.test_splits, str(place.labelled)),
        ):
            written = found[f"{world}-0"].get(f"{command} {task} {rows} {batch}", {"written": {}})["written"]
            assert tuple(written) == splits
            for split, lines in written.items():
                truth = truths(task, split, rows, source)
                assert [line["idx"] for line in lines] == truth.idx
                assert [line["gold"] for line in lines] == truth.gold
                if spec.is_regression:
                    assert [line["score"] for line in lines] == pytest.approx(truth.logits[:, 0], abs=1e-5)
                    continue
                assert [line["label"] for line in lines] == [spec.labels[k] for k in truth.logits.argmax(axis=1)]
                given = np.array([[line["probabilities"][label] for label in spec.labels] for line in lines])
                assert given == pytest.approx(truth.probabilities, abs=1e-5)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("task", TASKS)
def test_scores_are_those_of_the_written_predictions(
    found: dict[str, dict[str, Record]], task: str, world: int
) -> None:
    results = found[f"{world}-0"]
    for rows, batch in sizes(task):
        about = f"{task} {rows} {batch}"
        scored = {"validate": "predict", "test": "test"} if task != "ax" else {"test": "test"}
        for command, writing in scored.items():
            one, written = results[f"{command} {about}"], results[f"{writing} {about}"]["written"]
            assert_close(one["scores"], references(task, written))
            assert_close(one["logged"], one["scores"])
            assert all(one["predicted"][split] == counted(lines) for split, lines in written.items() if task != "stsb")


@pytest.mark.parametrize("task", TASKS)
def test_scores_and_predictions_are_those_of_one_process(found: dict[str, dict[str, Record]], task: str) -> None:
    names = [name for name in found["1-0"] if task in name.split() and not name.startswith("fit")]
    assert names
    for name in names:
        alone = found["1-0"][name]
        for world in WORLDS[1:]:
            one = found[f"{world}-0"][name]
            assert_close(one.get("scores", {}), alone.get("scores", {}), loss=1e-5)
            assert one.get("predicted") == alone.get("predicted")
            assert one["written"].keys() == alone["written"].keys()
            for split, lines in alone["written"].items():
                assert_same_lines(one["written"][split], lines)


@pytest.mark.parametrize("world", WORLDS[1:])
def test_every_process_finds_the_same_and_the_first_writes(found: dict[str, dict[str, Record]], world: int) -> None:
    # Scores that differ in the last digit can pick different checkpoints.
    first = found[f"{world}-0"]
    assert any(one["written"] for one in first.values() if "written" in one)
    for rank in range(1, world):
        other = found[f"{world}-{rank}"]
        assert other.keys() == first.keys()
        for name, one in other.items():
            assert not any(one.get("written", {}).values()), name
            for what in ("scores", "predicted", "logged"):
                assert repr(one.get(what)) == repr(first[name].get(what)), name  # NaN is NaN here


@pytest.mark.parametrize("task", THOROUGH)
def test_batch_sizes_do_not_show(found: dict[str, dict[str, Record]], task: str) -> None:
    for world in WORLDS:
        for command in ("validate", "test"):
            first, other = (found[f"{world}-0"][f"{command} {task} 17 {batch}"] for batch in (1, 4))
            assert_close(other["scores"], first["scores"], loss=1e-5)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("task", TASKS)
def test_rows_without_a_label_are_predicted_and_not_scored(
    found: dict[str, dict[str, Record]], task: str, world: int
) -> None:
    # Of two processes, the second has no labelled row at all.
    one = found[f"{world}-0"][f"half-labelled {task}"]
    for lines in one["written"].values():
        assert ["gold" in line for line in lines] == [number % 2 == 0 for number in range(HALF_LABELLED)]
    assert_close(one["scores"], references(task, one["written"]))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("task", UNLABELLED)
def test_predict_writes_what_test_does(found: dict[str, dict[str, Record]], task: str, world: int) -> None:
    test, predict = (found[f"{world}-0"][f"unlabelled {command} {task}"] for command in ("test", "predict"))
    assert (test["scores"], test["predicted"], test["logged"]) == ({}, {}, {})
    assert test["written"] == predict["written"]
    assert [len(lines) for lines in test["written"].values()] == [13] * len(test["written"])


# ---------------------------------------------------------------- within a fit


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("task", TRAINABLE)
def test_validation_within_a_fit_is_that_of_one_process_afterwards(
    found: dict[str, dict[str, Record]], place: Place, task: str, world: int
) -> None:
    from glue_lit.system.library_warnings import hush

    hush()
    for rows in fits(task):
        within = found[f"{world}-0"][f"fit {task} {rows}"]
        checkpoint = place.fitted(task, rows, world)
        size = {"validation_limit": rows, "eval_batch_size": 4}
        after = evaluated(1, place, "validate", new_model(place, task, checkpoint), checkpoint, **size)
        assert len(within["scores"]) == 2
        assert_close(within["scores"][-1], after["scores"], loss=1e-5)
        assert_close(within["logged"], after["scores"], loss=1e-5)
        assert within["predicted"] == after["predicted"]
        if rows > 2 and task != "stsb":
            assert all(sum(count > 0 for count in split.values()) > 1 for split in after["predicted"].values())


# ---------------------------------------------------------------- the command


COMMAND = """
import json
from glue_lit.system.library_warnings import hush
hush()
from glue_lit import __main__
from glue_lit.cli import trainer_commands as cli
class Telling(cli.GlueLitCLI):
    def after_validate(self):
        print("\\nSCORES " + json.dumps(self.model.scores) + "\\n", end="", flush=True)
    after_test = after_validate
cli.GlueLitCLI = Telling
__main__.main()
"""


class Workplace(NamedTuple):
    """A script that is `glue-lit` and also tells every digit; and where it is run."""

    script: Path
    folder: Path

    def run(self, command: str, world: int, **settings: object) -> list[dict[str, float]]:
        """Scores that `glue-lit COMMAND` finds, one for each process."""
        values = {"trainer.accelerator": "cpu", "trainer.devices": world} | {
            name.replace("__", "."): value for name, value in settings.items()
        }
        values["trainer.strategy"] = "ddp" if world > 1 else "auto"
        result = subprocess.run(
            [sys.executable, str(self.script), command, *(f"--{name}={value}" for name, value in values.items())],
            capture_output=True, text=True, timeout=240, cwd=self.folder, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert "Warning" not in result.stdout + result.stderr
        lines = result.stdout.splitlines()
        return [json.loads(line.removeprefix("SCORES ")) for line in lines if line.startswith("SCORES ")]


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    script = tmp_path / "glue-lit.py"
    script.write_text(COMMAND)
    return Workplace(script, tmp_path)


def lines_of(file: Path) -> Lines:
    return [json.loads(line) for line in file.read_text().splitlines()]


# One process evaluates each fit, and so does another number of processes than fitted it.
OTHERS = {1: (1, 2), 2: (1, 3), 3: (1, 2)}
USES = [
    (task, rows, batch, world)
    for task, rows, batch in (("cola", 17, 4), ("stsb", 13, 5), ("mnli", 7, 1))
    for world in WORLDS
]


@pytest.mark.slow
@pytest.mark.parametrize(("task", "rows", "batch", "world"), [*USES, ("mnli", 2, 4, 3)])
def test_the_command_counts_each_row_once(
    workplace: Workplace, place: Place, task: str, rows: int, batch: int, world: int
) -> None:
    from glue_lit import get_task

    model = workplace.folder / "varied-bert"
    varied_model(place, task).model.save_pretrained(model)
    for file in place.tiny_model.glob("*token*"):
        shutil.copy(file, model)
    workplace.run(
        "fit", world, data__task=task, data__source="demo", data__train_limit=40, data__validation_limit=rows,
        data__test_limit=rows, data__eval_batch_size=batch, model__name_or_path=model, model__learning_rate=1e-4,
        trainer__max_epochs=2, trainer__precision="32-true",  # bf16 differs with the rows that share a batch
    )  # fmt: skip
    run = workplace.folder / "lightning_logs" / task / "version_0"
    record = json.loads((run / "metrics.json").read_text())["metrics"]
    first: dict[str, Lines] = {}
    for other in OTHERS[world]:
        shutil.rmtree(run / "predictions", ignore_errors=True)
        validated = workplace.run("validate", other, run=run)
        assert len(validated) == other
        assert len(set(map(repr, validated))) == 1
        assert_close(validated[0], record, loss=1e-5)
        for split in get_task(task).validation_splits:
            workplace.run("predict", other, run=run, data__predict_split=split)
        written = {
            split: lines_of(run / "predictions" / f"{split}.jsonl") for split in get_task(task).validation_splits
        }
        assert_close(validated[0], references(task, written))
        tested = workplace.run("test", other, run=run, data__source=place.labelled)
        assert len(tested) == other
        assert len(set(map(repr, tested))) == 1
        tests = {split: lines_of(run / "predictions" / f"{split}.jsonl") for split in get_task(task).test_splits}
        assert_close(tested[0], references(task, tests))
        for split, lines in (written | tests).items():
            idx = [line["idx"] for line in lines]
            assert len(idx) == rows
            assert idx == sorted(set(idx))
            if rows > 2 and task != "stsb":
                assert len({line["label"] for line in lines}) > 1
            assert_same_lines(lines, first.setdefault(split, lines))


if __name__ == "__main__":
    main(int(sys.argv[1]), Place(*map(Path, sys.argv[2:])))
