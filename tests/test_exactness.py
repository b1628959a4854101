"""Each example exactly once: 1, 2 and 3 processes give the same metrics, losses and predictions, on any number of rows.

Each process is started once and taken through all tasks and sizes.
"""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import warm
from exactness import (
    HALF_LABELLED,
    TASKS,
    THOROUGH,
    TRAINABLE,
    UNLABELLED,
    WORLDS,
    Place,
    Record,
    assert_close,
    assert_same_lines,
    counted,
    evaluated,
    everything,
    finish,
    fits,
    free_ports,
    new_data,
    new_model,
    references,
    sizes,
    started,
    write_checkpoint,
    write_labelled_tests,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, session_cache: Path) -> Place:
    """Checkpoints of all tasks, and labelled test rows."""
    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    made = Place(tmp_path_factory.mktemp("exactness"), tiny_model, session_cache)
    write_labelled_tests(made.labelled)
    for task in {made.checkpoint(task).stem for task in TASKS}:
        write_checkpoint(made, task)
    return made


@pytest.fixture(scope="module")
def found(place: Place) -> Iterator[dict[str, dict[str, Record]]]:
    """Results of each process, by ``world-rank``; the single process is this one."""
    from glue_lit.system.library_warnings import filter_warnings

    ports = dict(zip(WORLDS, free_ports(len(WORLDS)), strict=True))
    ranks: dict[str, warm.Program] = {}
    try:
        for world in WORLDS[1:]:
            for rank in range(world):
                ranks[f"{world}-{rank}"] = started(world, rank, ports[world], place)
        filter_warnings()
        results = {"1-0": json.loads(json.dumps(everything(1, place)))}
        finish(ranks, 180)
    finally:
        for rank in ranks.values():
            if rank.poll() is None:
                rank.send_signal(signal.SIGKILL)
    return results | {name: json.loads((place.root / f"{name}.json").read_text()) for name in ranks}


class Truth(NamedTuple):
    """The rows of a split within a limit, and the model's prediction of each alone."""

    idx: list[int]
    gold: list[Any]
    logits: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        return np.exp(self.logits) / np.exp(self.logits).sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def truths(place: Place) -> Callable[[str, str, int, str], Truth]:
    """Rows read from the source and predicted one at a time: no loader, no trainer, no metric."""
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


def test_every_task_is_here() -> None:
    from glue_lit import TASKS as ALL

    assert set(TASKS) == set(ALL)
    assert set(TRAINABLE) == {name for name, task in ALL.items() if task.validation_splits}


@pytest.mark.parametrize("task", TASKS)
def test_the_models_predict_different_labels_and_metrics(task: str, truths: Callable[..., Truth], place: Place) -> None:
    # Every label is predicted, so that an extra row shows; no row is so close that rounding decides.
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
def test_every_process_has_the_same_scores_and_the_first_writes(
    found: dict[str, dict[str, Record]], world: int
) -> None:
    # Scores that differ in the last digit can pick different checkpoints.
    first = found[f"{world}-0"]
    assert any(one["written"] for one in first.values() if "written" in one)
    for rank in range(1, world):
        other = found[f"{world}-{rank}"]
        assert other.keys() == first.keys()
        for name, one in other.items():
            assert not any(one.get("written", {}).values()), name
            for what in ("scores", "predicted", "logged"):
                assert repr(one.get(what)) == repr(first[name].get(what)), name  # NaN equals NaN in this form


@pytest.mark.parametrize("task", THOROUGH)
def test_scores_do_not_depend_on_the_batch_size(found: dict[str, dict[str, Record]], task: str) -> None:
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
    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
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
