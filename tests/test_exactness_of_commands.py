"""Each example exactly once, through the command: what a user does with 1, 2 and 3 processes."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import warm
from exactness import (
    WORLDS,
    Lines,
    Place,
    assert_close,
    assert_same_lines,
    references,
    varied_model,
    write_labelled_tests,
)

COMMAND = """
import json
from glue_lit.system.library_warnings import filter_warnings
filter_warnings()
from glue_lit import __main__
from glue_lit.cli import trainer_commands as cli
def telling(session):
    result = evaluate(session)
    print("\\nSCORES " + json.dumps(result.metrics) + "\\n", end="", flush=True)
    return result
evaluate, cli.evaluate = cli.evaluate, telling
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
        flags = [f"--{name}={value}" for name, value in values.items()]
        result = warm.run(self.script, command, *flags, folder=self.folder)
        assert result.returncode == 0, result.stderr
        assert "Warning" not in result.stdout + result.stderr
        lines = result.stdout.splitlines()
        return [json.loads(line.removeprefix("SCORES ")) for line in lines if line.startswith("SCORES ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, session_cache: Path) -> Place:
    """Labelled test rows."""
    made = Place(tmp_path_factory.mktemp("exactness"), tiny_model, session_cache)
    write_labelled_tests(made.labelled)
    return made


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
