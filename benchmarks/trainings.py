"""What the ledger is made of: baselines, suites of recipes and what they start from, and rows that are held out.

Every training is kept in the work folder, so that a command goes on where it was stopped.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measuring import REPOSITORY, run
from glue_lit import get_task

CONFIGS = REPOSITORY / "configs"
MODEL = "all-minilm-l6-v2"
RECIPES = CONFIGS / "recipes" / MODEL
SUITE = CONFIGS / "suite" / f"{MODEL}.yaml"
# Tasks with training rows at hand, and the epochs that the notebook's recipe is run for.
EPOCHS = {"cola": 5, "stsb": 3, "mrpc": 3, "rte": 3, "wnli": 3, "sst2": 1}
# What trainings start from: what makes it, an example or a recipe, and the name that it gets.
STARTS = {"grammar.py": "grammar-encoder", "silver.py": "silver.csv", "pairs.yaml": "pairs"}
LEVERS: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("levers.yaml").read_text(encoding="utf-8"))
EVERY = 5  # of so many training rows, one is held out


def suite_settings() -> dict[str, Any]:
    """What the suite of our recipes says."""
    settings: dict[str, Any] = yaml.safe_load(SUITE.read_text(encoding="utf-8"))["suite"]
    return settings


def lever_flags(name: str, task: str) -> list[str]:
    """What a lever is on the command line, with what shortens the recipe."""
    settings = LEVERS["recipes"][task]["settings"] | LEVERS["levers"][name]["settings"]
    return [f"--{flag}={json.dumps(value)}" for flag, value in settings.items()]


def lever_tasks(name: str) -> list[str]:
    tasks: list[str] = LEVERS["levers"][name].get("tasks", ["stsb"])
    return tasks


@dataclass
class Trainings:
    """Those below a folder, from these files, encoder and seeds; what is there already is not trained again."""

    folder: Path
    glue_dir: Path
    model: str
    seeds: Sequence[int]

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def _suite(self, name: str, *arguments: object) -> None:
        run(
            "glue_lit", "suite", "--data.source", self.glue_dir, "--model.name_or_path", self.model,
            "--trainer.default_root_dir", self.folder, "--suite.seeds", list(self.seeds), "--suite.name", name,
            *arguments, folder=self.folder, show=True,
        )  # fmt: skip

    def train_baseline(self, task: str) -> None:
        """A task with the notebook's recipe and Hugging Face's trainer, on all cores."""
        output = self.folder / "hf.jsonl"
        output.touch()
        found = {(record["task"], record["seed"]) for record in map(json.loads, output.read_text().splitlines())}
        for seed in self.seeds:
            if (task, seed) not in found:
                data = ("--glue_dir", self.glue_dir, "--task", task, "--model", self.model, "--seed", seed)
                done = run("benchmarks", "hf", *data, "recipe", "--epochs", EPOCHS[task])
                with output.open("a") as file:
                    print(done.output.splitlines()[-1], file=file)

    def train_same(self, task: str) -> None:
        """A task with the notebook's recipe and glue-lit."""
        recipe = ("--suite.recipes", CONFIGS / "{task}.yaml", "--trainer.max_epochs", EPOCHS[task])
        self._suite(f"same-{task}", "--suite.tasks", f"[{task}]", *recipe)

    def train_recipes(self, tasks: Sequence[str]) -> None:
        """Our recipes, with what they start from."""
        settings = suite_settings()
        tasks = list(tasks)
        for task in tasks:  # grows meanwhile: a start may have one itself
            if (start := settings["init_from"].get(task)) in EPOCHS and start not in tasks:
                tasks.append(start)
        starts = {task: Path(start) for task, start in settings["init_from"].items() if task in tasks}
        for maker, output in STARTS.items():  # below the folder where the suite is run
            if any(start.parts[0] == output or start.stem == Path(output).stem for start in starts.values()):
                self._make_start(maker, self.folder / output)
        places = {task: str(REPOSITORY / start if start.suffix == ".yaml" else start) for task, start in starts.items()}
        self._suite(
            "recipe", "--config", SUITE, "--suite.tasks", json.dumps(tasks), "--suite.init_from", json.dumps(places),
            "--suite.recipes", REPOSITORY / settings["recipes"],
        )  # fmt: skip

    def _make_start(self, name: str, output: Path) -> None:
        """Run one of the examples, or a recipe that others start from, unless what it makes is there."""
        if output.exists():
            return
        if name.endswith(".py"):
            run(REPOSITORY / "examples" / name, self.glue_dir, output, self.model, show=True)
            return
        data = ("--data.source", self.glue_dir, "--model.name_or_path", self.model, "--seed_everything", 0)
        run("glue_lit", "fit", "--config", RECIPES / name, *data, "--trainer.default_root_dir", output, show=True)

    def train_lever(self, name: str, task: str) -> None:
        """A recipe with one setting changed."""
        recipe = ("--suite.recipes", RECIPES / LEVERS["recipes"][task]["file"])
        self._suite(f"lever-{task}-{name}", "--suite.tasks", f"[{task}]", *recipe, *lever_flags(name, task))


def hold_out(glue: Path, work: Path, tasks: Sequence[str]) -> None:
    """Make two folders of GLUE: ``rest``, without every fifth training row, and ``fifth``, which has them as dev."""
    files = [get_task(task).files for task in tasks]
    parted = {glue / each["train"].path for each in files}
    for path in sorted(glue.rglob("*.tsv")):
        copy = work / "rest" / path.relative_to(glue)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path not in parted and not copy.exists():
            copy.symlink_to(path)
    for each in files:
        lines = (glue / each["train"].path).read_bytes().splitlines(keepends=True)
        has_header = isinstance(each["train"].texts[0], str)
        header, rows = lines[:has_header], lines[has_header:]
        fifth = work / "fifth" / each["validation"].path
        fifth.parent.mkdir(parents=True, exist_ok=True)
        fifth.write_bytes(b"".join(header + rows[EVERY - 1 :: EVERY]))
        del rows[EVERY - 1 :: EVERY]
        (work / "rest" / each["train"].path).write_bytes(b"".join(header + rows))
