"""The ledger's arithmetic, on trainings made up here, and that what is kept is what the page was made from."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import glue_lit

from benchmarks import ledger, ledger_page, trainings
from benchmarks.__main__ import main
from glue_lit import get_task

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    lines = []
    for seed, value in enumerate((0.30, 0.32, 0.28)):
        lines.append({
            "system": "hf-trainer", "task": "cola", "seed": seed, "epochs": 5,
            "metrics": {"matthews": value, "loss": 0.5}, "train_samples_per_second": 90.0, "wall_seconds": 480.0,
            "processor_seconds": 500.0,
        })  # fmt: skip
    (tmp_path / "hf.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    start = run(tmp_path / "start", "corrupted", 0, {"val/accuracy": 0.8}, None, 200.0)
    cost = {"processor_seconds": 60.0, "wall_seconds": 70.0}
    (tmp_path / "corpus.cost.json").write_text(json.dumps(cost))  # of what the start was trained on
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "cost.json").write_text(json.dumps({"processor_seconds": 40.0, "wall_seconds": 50.0}))
    for seed, value in enumerate((0.35, 0.36)):
        place = tmp_path / "lightning_logs" / "suite" / "recipe" / "model" / "cola" / f"seed_{seed}"
        run(place / "lightning_logs" / "cola" / "version_0", "cola", seed, {"val/matthews_correlation": value},
            str(start), 200.0)  # fmt: skip
    return tmp_path


def run(folder: Path, task: str, seed: int, metrics: dict[str, float], init_from: str | None, seconds: float) -> Path:
    folder.mkdir(parents=True)
    record: dict[str, Any] = {
        "task": task, "seed": seed, "epochs": 4, "metrics": {**metrics, "val/loss": 0.5}, "init_from": init_from,
        "model": str(folder.parent / "encoder"), "source": str(folder.parent / "corpus.csv"),
        "train_samples_per_second": 300.0, "wall_seconds": seconds, "processor_seconds": seconds,
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(record))
    return folder


def test_the_time_of_a_start_counts(work: Path) -> None:
    found = list(ledger.runs(work))
    assert [(r["system"], r["task"], r["seed"], r["epochs"]) for r in found] == [
        ("recipe", "cola", 0, 4), ("recipe", "cola", 1, 4)
    ]  # fmt: skip
    assert [r["processor_seconds"] for r in found] == [500.0, 500.0]
    assert found[0]["starts_from"] == ["corrupted"]
    assert found[0]["metrics"] == {"matthews_correlation": 0.35}


def test_the_page_compares_scores_with_targets(work: Path) -> None:
    records = [*ledger.baselines(work / "hf.jsonl"), *ledger.runs(work)]
    (line,) = list(ledger_page.scores(records))[2:]
    assert "| 0.475 | 0.3000 ± 0.0200 (n 3, 5 epochs) | not measured | 0.3550 ± 0.0071 (n 2, 4 epochs) |" in line
    # 0.02 over 3 seeds and 0.00707 over 2: the root of 0.0004 / 3 + 0.00005 / 2
    assert line.endswith("| not measured | +0.0550 ± 0.0126 | +0.04: reached |")
    (time,) = list(ledger_page.times(records))[2:]
    ours, theirs = "500 s, 520 s, 300/s", "500 s, 480 s, 90/s"
    assert time == f"| cola | {theirs} | not measured | {ours} | 1.00 x, 1.08 x |"


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        ([0.30, 0.32, 0.28], [0.31, 0.32, 0.30], "yes (+0.0100, p 0.50)"),
        ([0.30, 0.32, 0.28], [0.33, 0.34, 0.32], "NO (+0.0300, p 0.10)"),
        ([0.30], [0.33, 0.33], "not measured"),
    ],
)
def test_parity(theirs: list[float], ours: list[float], said: str) -> None:
    assert ledger_page.parity(theirs, ours) == said


@pytest.mark.parametrize(
    ("task", "metric", "ours", "gain", "said"),
    [
        ("stsb", "pearson", [0.87, 0.866], 0.04, "0.865: reached"),
        ("stsb", "spearmanr", [0.86], 0.04, "0.865: NOT reached"),
        ("rte", "accuracy", [0.6], 0.039, "+0.04: NOT reached"),
        ("sst2", "accuracy", [], None, "+0.005"),
        ("mrpc", "f1", [0.9], 0.1, ""),
    ],
)
def test_targets(task: str, metric: str, ours: list[float], gain: float | None, said: str) -> None:
    assert ledger_page.target(task, metric, ours, gain) == said


def test_the_page_shows_the_check_on_untouched_rows() -> None:
    records = [
        {"task": "stsb", "system": system, "seed": seed, "metrics": {"pearson": value}}
        for system, values in (("same", (0.80, 0.82)), ("recipe", (0.85, 0.86)))
        for seed, value in enumerate(values)
    ]
    assert not list(ledger_page.untouched([]))
    *_, line = ledger_page.untouched(records)
    assert line == "| stsb | pearson | 0.8100 ± 0.0141 (n 2) | 0.8550 ± 0.0071 (n 2) | +0.0450 |"


def test_the_most_frequent_label_is_that_of_the_training_rows(tmp_path: Path) -> None:
    (tmp_path / "WNLI").mkdir()
    for name, labels in (("train", "00010"), ("dev", "1101")):
        rows = "".join(f"{row}\tA.\tB.\t{label}\n" for row, label in enumerate(labels))
        (tmp_path / "WNLI" / f"{name}.tsv").write_text(f"index\tsentence1\tsentence2\tlabel\n{rows}")
    record = ledger.most_frequent("wnli", tmp_path)
    assert record["metrics"] == {"accuracy": 0.25}
    (line,) = list(ledger_page.scores([record]))[2:]
    assert "| 0.2500 (n 1, the most frequent label) |" in line
    assert "not measured" in list(ledger_page.times([record]))[2]


def test_levers_are_compared_with_the_recipe_of_the_same_seed() -> None:
    values = {"r_drop": (0.83, 0.83), "recipe": (0.80, 0.82, 0.90)}
    records = [
        {
            "task": "mrpc", "system": name, "what": f"what {name} is", "seed": seed, "processor_seconds": (150.0 if name == "r_drop" else 100.0) + seed,
            "metrics": {"accuracy": value, "f1": 0.9},
        }
        for name, of_lever in values.items()
        for seed, value in enumerate(of_lever)
    ]  # fmt: skip
    assert not list(ledger_page.levers([]))
    *_, recipe, lever = ledger_page.levers(records)
    assert recipe == "| what recipe is | 0.8400 ± 0.0529 (n 3) | 0.9000 ± 0.0000 (n 3) | - | 1.00 x |"
    assert lever == "| what r_drop is | 0.8300 ± 0.0000 (n 2) | 0.9000 ± 0.0000 (n 2) | +0.0200 ± 0.0141 | 1.50 x |"


def test_trainings_with_levers_are_not_those_of_the_recipe(work: Path) -> None:
    before = list(ledger.runs(work))
    for suite, value in (("lever-stsb-r_drop", 0.83), ("lever-stsb-recipe", 0.81)):
        place = work / "lightning_logs" / "suite" / suite / "model" / "stsb" / "seed_0" / "lightning_logs" / "stsb"
        run(place / "version_0", "stsb", 0, {"val/pearson": value}, None, 90.0)
    assert list(ledger.runs(work)) == before
    found = {r["system"]: r for r in ledger.lever_runs(work)}
    assert found.keys() == {"recipe", "r_drop"}
    assert found["r_drop"]["metrics"] == {"pearson": 0.83}
    assert found["r_drop"]["what"].startswith("R-Drop 1")


@pytest.mark.parametrize("task", trainings.LEVERS["recipes"])
def test_every_lever_changes_the_recipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    levers = trainings.LEVERS["levers"]
    recipe = trainings.RECIPES / trainings.LEVERS["recipes"][task]["file"]

    def settings(lever: str) -> dict[str, object]:
        flags = trainings.lever_flags(lever, task)
        assert glue_lit(monkeypatch, "fit", "--config", recipe, *flags, "--print_config") == 0
        return flat(yaml.safe_load(capsys.readouterr().out))

    of_task = [name for name in levers if task in trainings.lever_tasks(name) and name != "recipe"]
    known = settings("recipe")
    assert known["data.task"] == task
    for name in of_task:
        assert levers[name]["settings"].keys() <= known.keys()
        assert any(value != known[key] for key, value in levers[name]["settings"].items())
    assert len({tuple(trainings.lever_flags(name, task)) for name in of_task}) == len(of_task)
    # all at once, since a look at each would take a second and a half
    together = {key: value for name in of_task for key, value in levers[name]["settings"].items()}
    monkeypatch.setitem(levers, "together", {"settings": together})
    found = settings("together")
    assert {key: found[key] for key in together} == together


def flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    """A nested mapping with dotted keys."""
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def test_every_fifth_training_row_is_held_out_and_nothing_else_is_changed(tmp_path: Path) -> None:
    glue, work = tmp_path / "glue", tmp_path / "work"
    before = {}
    for task in ledger.UNTOUCHED:
        files = get_task(task).files
        header = b"the header\n" if isinstance(files["train"].texts[0], str) else b""
        for name, count in (("train", 12), ("validation", 3)):
            path = glue / files[name].path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(header + b"".join(b'%d\t\xc3\xa9 " row\n' % row for row in range(count)))
            before[path] = path.read_bytes()
    other = glue / "SST-2" / "train.tsv"
    other.parent.mkdir()
    before[other] = b"sentence\tlabel\n"
    other.write_bytes(before[other])
    for _ in range(2):  # a second time, as after an interruption
        trainings.hold_out(glue, work, ledger.UNTOUCHED)
    for path, content in before.items():
        assert path.read_bytes() == content
    for task in ledger.UNTOUCHED:
        files = get_task(task).files
        has_header = isinstance(files["train"].texts[0], str)
        rest, fifth = (
            (work / folder / files[name].path).read_bytes().splitlines()
            for folder, name in (("rest", "train"), ("fifth", "validation"))
        )
        assert (rest[:1] == fifth[:1] == [b"the header"]) is has_header
        assert [line.split(b"\t")[0] for line in fifth[has_header:]] == [b"4", b"9"]
        assert [int(line.split(b"\t")[0]) for line in rest[has_header:]] == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11]
        assert (work / "rest" / files["validation"].path).read_bytes() == before[glue / files["validation"].path]
    assert (work / "rest" / "SST-2" / "train.tsv").read_bytes() == before[other]


def test_published_figures_are_those_of_the_recipes() -> None:
    found = {(p["model"], p["task"]): p["reported"] for p in ledger_page.published(REPOSITORY / "configs" / "recipes")}
    assert found["bert-base-cased", "mrpc"] == "accuracy 84.07, F1 88.85"
    assert found["deberta-v3-base", "mnli"] == "90.6 matched, 90.7 mismatched"
    assert found["modernbert-base", "cola"] == "65.1"
    assert ("roberta-base", "cola") not in found  # its source gives none for base


def test_the_page_is_made_from_the_recorded_trainings() -> None:
    kept = REPOSITORY / "benchmarks" / "LEDGER.json"
    assert ledger_page.page(json.loads(kept.read_text(encoding="utf-8"))) == kept.with_suffix(".md").read_text(
        encoding="utf-8"
    )


def test_a_repeated_training_replaces_the_earlier_one(work: Path, tmp_path: Path) -> None:
    place = tmp_path / "output"
    place.mkdir()
    main(["ledger", "--work", str(work), "--output", str(place), "recipes"])
    first = json.loads((place / "LEDGER.json").read_text())
    assert len(first["records"]) == 5
    assert "| cola | matthews_correlation | 0.475 | 0.3000 ± 0.0200" in (place / "LEDGER.md").read_text()
    line = json.loads((work / "hf.jsonl").read_text().splitlines()[0])
    (work / "hf.jsonl").write_text(json.dumps(line | {"metrics": {"matthews": 0.33}}) + "\n")
    main(["ledger", "--work", str(work), "--output", str(place), "recipes"])
    second = json.loads((place / "LEDGER.json").read_text())["records"]
    theirs = [r["metrics"]["matthews_correlation"] for r in second if r["system"] == "hf"]
    assert theirs == [0.33, 0.32, 0.28]


def test_times_of_two_machines_are_not_mixed(work: Path, tmp_path: Path) -> None:
    place = tmp_path / "output"
    place.mkdir()
    main(["ledger", "--work", str(work), "--output", str(place), "recipes"])
    kept = json.loads((place / "LEDGER.json").read_text())
    assert {r["wall_seconds"] for r in kept["records"]} == {480.0, 520.0}
    kept["machine"]["precision"] = "another"
    (place / "LEDGER.json").write_text(json.dumps(kept))
    main(["ledger", "--work", str(work), "--output", str(place), "recipes"])
    found = json.loads((place / "LEDGER.json").read_text())
    assert found["machine"] == kept["machine"]
    assert [r["metrics"] for r in found["records"]] == [r["metrics"] for r in kept["records"]]
    assert {r[key] for r in found["records"] for key in ledger.TIMES} == {None}
    main(["ledger", "--work", str(work), "--output", str(place), "recipes", "--fresh", "true"])
    assert json.loads((place / "LEDGER.json").read_text())["machine"]["precision"] != "another"


def test_an_empty_ledger_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="Name the files to train on with --glue_dir"):
        main(["ledger", "--work", str(tmp_path), "--output", str(tmp_path), "recipes"])
