"""The ledger: how good the recipes are, how long they take, and against what.

    python -m benchmarks ledger --glue_dir GLUE recipes     # trains what is missing (hours), then writes the ledger
    python -m benchmarks ledger recipes                     # writes it from what lies in the work folder
    python -m benchmarks ledger --glue_dir GLUE untouched   # the gain on rows that chose nothing
    python -m benchmarks ledger --glue_dir GLUE levers      # what each setting of a recipe does (hours)

Four columns for each task: what others have published, the notebook's recipe through a Hugging Face `Trainer`, the same
recipe through glue-lit, and our recipe. LEDGER.json has every training, LEDGER.md the means. What the ledger has from
before stays, unless the same training is found again.

The recipes were chosen on the dev rows on which the ledger reports them. For `untouched`, every fifth training row is
held out before anything is made of the training files, the starts included; the notebook's recipe and ours are trained
on the other rows, the epoch is picked on dev, and the fifth is scored once. SST-2 is left out: its training rows are
phrases of the same sentences, so a fifth of them is not unseen. For `levers`, see levers.yaml: the gain is over the
recipe's own training with the same seed, which takes out a part of what the seeds do.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from benchmarks import ledger_page
from benchmarks.measuring import PACKAGED, machine, run
from benchmarks.trainings import CONFIGS, EPOCHS, LEVERS, MODEL, Trainings, hold_out, lever_tasks, suite_settings
from glue_lit import get_task
from glue_lit.data.sources import open_split

HERE = Path(__file__).parent
Task = Literal["cola", "stsb", "mrpc", "rte", "wnli", "sst2"]
TASKS: tuple[Task, ...] = get_args(Task)
Untouched = Literal["cola", "stsb", "mrpc", "rte"]
UNTOUCHED: tuple[Untouched, ...] = get_args(Untouched)
TIMES = ("samples_per_second", "wall_seconds", "processor_seconds")
METRICS = {"matthews": "matthews_correlation", "spearman": "spearmanr"}  # ours by those of the baseline
Record = dict[str, Any]


class Ledger:
    """Train what is missing, and write the ledger; without ``glue_dir``, from what lies in the work folder.

    Args:
        glue_dir: The official GLUE files.
        model: Folder or name of the encoder.
        seeds: Of the trainings.
        work: Folder that keeps all trainings.
        output: Folder of LEDGER.json and LEDGER.md.
    """

    def __init__(
        self, glue_dir: Path | None = None, model: str = PACKAGED, seeds: tuple[int, ...] = (0, 1, 2),
        work: Path = Path("ledger"), output: Path = HERE,
    ) -> None:  # fmt: skip
        self._glue_dir, self._model, self._seeds = glue_dir and glue_dir.resolve(), model, seeds
        self._work = work.resolve()  # the recipes are trained there, whatever folder this one is
        self._path = output / "LEDGER.json"

    def recipes(self, tasks: tuple[Task, ...] = TASKS, fresh: bool = False) -> None:
        """Compare the recipes with the baselines: hours.

        Args:
            tasks: Names.
            fresh: Forget what the ledger has, after a change of recipes.
        """
        found: list[Record] = []
        if self._glue_dir is not None:
            train = Trainings(self._work, self._glue_dir, self._model, self._seeds)
            for task in tasks:
                train.train_baseline(task)
                train.train_same(task)
            train.train_recipes(tasks)
            found = [most_frequent(task, self._glue_dir) for task in suite_settings()["majority"] if task in tasks]
        if fresh:
            self._path.unlink(missing_ok=True)
        trained = [*baselines(self._work / "hf.jsonl"), *runs(self._work)]
        if not is_of_this_machine(self._path):
            trained = [record | dict.fromkeys(TIMES) for record in trained]
        if not trained and not found and not known(self._path)["records"]:
            raise SystemExit(f"error: {self._work} holds no trainings. Name the files to train on with --glue_dir.")
        write(self._path, "records", [*trained, *found])

    def untouched(self, tasks: tuple[Untouched, ...] = UNTOUCHED) -> None:
        """Train the recipes without every fifth row, and score them on it: an hour on two cores with one seed.

        Args:
            tasks: Names.
        """
        work = self._work / "untouched"
        if self._glue_dir is not None:
            hold_out(self._glue_dir, work, UNTOUCHED)
            train = Trainings(work, work / "rest", self._model, self._seeds)
            for task in tasks:
                train.train_same(task)
            train.train_recipes(tasks)
        write(self._path, "untouched", held_out_scores(work, tasks))

    def levers(
        self, levers: tuple[str, ...] = tuple(LEVERS["levers"]), tasks: tuple[str, ...] = tuple(LEVERS["recipes"])
    ) -> None:
        """Train recipes with one setting changed: hours.

        Args:
            levers: Names in levers.yaml.
            tasks: Names.
        """
        if self._glue_dir is not None:
            train = Trainings(self._work, self._glue_dir, self._model, self._seeds)
            for name in levers:
                for task in set(lever_tasks(name)) & set(tasks):
                    train.train_lever(name, task)
        write(self._path, "levers", lever_runs(self._work))


# ---------------------------------------------------------------- what came of the trainings


def finished(work: Path, suite: str = "*") -> Iterator[tuple[Path, str, Record]]:
    """Every training of a suite: its metrics.json, the suite's name up to the first dash, what the file says."""
    for path in sorted(work.glob(f"lightning_logs/suite/{suite}/*/*/seed_*/lightning_logs/*/version_*/metrics.json")):
        yield path, path.relative_to(work).parts[2].partition("-")[0], json.loads(path.read_text(encoding="utf-8"))


def scores(metrics: dict[str, float]) -> dict[str, float]:
    """Metrics without the split that stands before each, and without the loss."""
    return {name.partition("/")[2]: value for name, value in metrics.items() if not name.endswith("/loss")}


def baselines(path: Path) -> Iterator[Record]:
    """The trainings of `benchmarks.hugging_face`."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        record = json.loads(line)
        yield {
            "system": "hf",
            **{key: record[key] for key in ("task", "seed", "epochs")},
            "metrics": {METRICS.get(k, k): v for k, v in record["metrics"].items() if k != "loss"},
            "samples_per_second": record["train_samples_per_second"],
            **{key: record[key] for key in ("wall_seconds", "processor_seconds")},
        }


def runs(work: Path) -> Iterator[Record]:
    """The trainings of the suites; a run that starts from another one has that one's time too."""
    for _, system, record in finished(work):
        if record["task"] not in EPOCHS or system not in ledger_page.SYSTEMS:  # a start, a lever
            continue
        before = list(starts(record))
        costs = [cost for each in (record, *before) for cost in (each, *made(each))]
        yield {
            "system": system,
            **{key: record[key] for key in ("task", "seed", "epochs")},
            "metrics": scores(record["metrics"]),
            "samples_per_second": record["train_samples_per_second"],
            **{key: round(sum(c[key] for c in costs), 1) for key in ("wall_seconds", "processor_seconds")},
            "starts_from": [each["task"] for each in before],
        }


def starts(record: Record) -> Iterator[Record]:
    """The records of the runs that a run's encoder has come through."""
    while (start := record["init_from"]) and (path := Path(start) / "metrics.json").is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
        yield record


def made(record: Record) -> Iterator[Record]:
    """What the examples took to make something for a run: its encoder, its data."""
    for path in (Path(record["model"]) / "cost.json", Path(record["source"]).with_suffix(".cost.json")):
        if path.is_file():
            yield json.loads(path.read_text(encoding="utf-8"))


def most_frequent(task: str, glue_dir: Path) -> Record:
    """What the most frequent label of the training rows makes of dev, where that is the recipe: nothing is trained."""
    spec = get_task(task)
    of_train, of_dev = (open_split(spec, str(glue_dir), split).read().labels for split in ("train", "validation"))
    label = Counter(of_train).most_common(1)[0][0]
    accuracy = sum(gold == label for gold in of_dev) / len(of_dev)
    record = {"system": "recipe", "task": task, "seed": 0, "epochs": 0, "metrics": {"accuracy": accuracy}}
    return record | dict.fromkeys(TIMES)


def held_out_scores(work: Path, tasks: Collection[str]) -> Iterator[Record]:
    """What each training's best checkpoint makes of the fifth."""
    for path, system, record in finished(work):
        if record["task"] in tasks:
            command = (
                "validate",
                "--run",
                path.parent,
                "--ckpt_path",
                "best",
                "--data.source",
                work / "fifth",
                "--json",
            )
            metrics = scores(json.loads(run("glue_lit", *command).output)["metrics"])
            yield {"system": system, "task": record["task"], "seed": record["seed"], "metrics": metrics}


def lever_runs(work: Path) -> Iterator[Record]:
    """Every training with a lever, those of the recipe itself included."""
    for name, lever in LEVERS["levers"].items():
        for _, _, record in finished(work, f"lever-*-{name}"):
            yield {
                "system": name,
                "what": (LEVERS["recipes"][record["task"]] if name == "recipe" else lever)["what"],
                **{key: record[key] for key in ("task", "seed")},
                "metrics": scores(record["metrics"]),
                "processor_seconds": record["processor_seconds"],
            }


# ---------------------------------------------------------------- the ledger's file


def known(path: Path) -> dict[str, Any]:
    """The trainings that a ledger has, for its first table, of the untouched check and with levers; its machine."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    tables = {name: found.get(name, []) for name in ("records", "untouched", "levers")}
    return {"machine": found.get("machine"), **tables}


def is_of_this_machine(path: Path) -> bool:
    """Whether times that are taken here can stand beside those of a ledger; scores can, wherever they come from."""
    before, here = known(path)["machine"], machine()
    return not before or all(before[key] == here[key] for key in ("device", "cores", "precision"))


def merged(before: Iterable[Record], found: Iterable[Record]) -> list[Record]:
    """One record for each training, what was found now in the place of what was known."""
    records = {(record["task"], record["system"], record["seed"]): record for record in (*before, *found)}
    return [records[key] for key in sorted(records, key=lambda key: (list(EPOCHS).index(key[0]), *key[1:]))]


def write(path: Path, table: str, found: Iterable[Record]) -> None:
    """Write LEDGER.json, with these trainings in one of its tables, and its page; the rest stays, the machine too."""
    before = known(path)
    found = list(found)
    ledger = {
        "model": MODEL, "machine": before.pop("machine") or machine(),
        "published": list(ledger_page.published(CONFIGS / "recipes")),
        **before, table: merged(before[table], found),
        "tried": json.loads((HERE / "tried.json").read_text(encoding="utf-8")),
    }  # fmt: skip
    path.write_text(json.dumps(ledger, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(ledger_page.page(ledger), encoding="utf-8")
    print(f"{path} and LEDGER.md: {len(found)} trainings found, {len(ledger[table])} in the table")
