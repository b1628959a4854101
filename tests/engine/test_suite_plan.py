import re
from pathlib import Path
from typing import Any

import pytest

from glue_lit.engine.suite_plan import model_names, plan_suite
from glue_lit.errors import UsageError


def planned(folder: Path, **settings: Any) -> Any:
    values: dict[str, Any] = {
        "tasks": ["cola", "rte", "mnli", "qqp"], "seeds": [1, 2], "models": [], "init_from": {}, "arguments": ["--a=1"],
        "recipes": None,
    }  # fmt: skip
    return plan_suite(folder, **values | settings)


def test_the_longest_trainings_come_first(tmp_path: Path) -> None:
    assert [p.task for p in planned(tmp_path, seeds=[1])] == ["mnli", "qqp", "cola", "rte"]
    assert [p.task for p in planned(tmp_path, seeds=[1], init_from={"qqp": "rte"})] == ["mnli", "rte", "qqp", "cola"]
    assert [(p.task, p.seed) for p in planned(tmp_path, tasks=["rte", "cola"])] == [
        ("cola", 1), ("cola", 2), ("rte", 1), ("rte", 2)
    ]  # fmt: skip


def test_a_task_starts_from_the_job_of_the_same_seed_and_model(tmp_path: Path) -> None:
    jobs = planned(tmp_path, models=["a/one", "two"], init_from={"rte": "mnli"})
    assert len({p.job.name for p in jobs}) == len({p.job.folder for p in jobs}) == 16
    rte = next(p for p in jobs if (p.model, p.task, p.seed) == ("a/one", "rte", 2))
    mnli = next(p for p in jobs if p.job.name == rte.start)
    assert (mnli.model, mnli.task, mnli.seed) == ("a/one", "mnli", 2)
    arguments = list(rte.job.arguments)
    start = Path(arguments[arguments.index("--model.init_from") + 1])
    assert start == mnli.job.folder / "lightning_logs" / "mnli" / "version_0"
    # The model of the run, also if a recipe names another.
    assert arguments[arguments.index("--model.name_or_path") + 1] == "a/one"
    assert arguments[arguments.index("--seed_everything") + 1] == "2"
    assert "a/one" in mnli.job.arguments


def test_models_of_the_same_name_are_kept_apart(tmp_path: Path) -> None:
    models = ["textattack/roberta-base", "FacebookAI/roberta-base", "bert-base-cased"]
    assert list(model_names(models).values()) == [
        "textattack--roberta-base",
        "FacebookAI--roberta-base",
        "bert-base-cased",
    ]
    jobs = planned(tmp_path, models=models, tasks=["rte"])
    assert len({p.job.name for p in jobs}) == len({p.job.folder for p in jobs}) == 6
    assert {p.model for p in jobs} == set(models)
    with pytest.raises(UsageError, match=r"suite.models: two of a/b, ./a/b are the same"):
        planned(tmp_path, models=["a/b", "./a/b"])


def test_a_start_may_be_the_folder_of_a_run_or_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}")
    (tmp_path / "mnli").mkdir()  # a folder, but the suite has a task of this name
    monkeypatch.chdir(tmp_path)
    jobs = planned(tmp_path, models=["one"], init_from={"cola": "encoder", "qqp": "run", "rte": "mnli"})
    assert len(jobs) == 8
    for job in jobs:
        arguments = list(job.job.arguments)
        if job.task == "cola":  # the folder comes last, so it wins
            assert arguments[-2:] == ["--model.name_or_path", str(tmp_path / "encoder")]
        elif job.task == "qqp":
            assert arguments[-2:] == ["--model.init_from", str(tmp_path / "run")]
        assert (job.start is not None) is (job.task == "rte")


def test_a_start_may_be_a_training_on_other_data(tmp_path: Path) -> None:
    file = tmp_path / "sentences.yaml"
    file.write_text("data: {task: good-sentences, source: mine.csv}")
    jobs = planned(tmp_path, tasks=["cola", "rte"], init_from={"cola": str(file)})
    starts = [p for p in jobs if p.task == "sentences"]
    assert [p.seed for p in starts] == [1, 2]
    cola = next(p for p in jobs if (p.task, p.seed) == ("cola", 2))
    assert cola.start == starts[1].job.name
    start = Path(cola.job.arguments[cola.job.arguments.index("--model.init_from") + 1])
    assert start == starts[1].job.folder / "lightning_logs" / "good-sentences" / "version_0"
    assert starts[1].job.arguments[:3] == ("--a=1", "--config", str(file))  # its own data come last, so they win
    for given in (
        ["--model.name_or_path", "mine"],
        ["--model.name_or_path=mine"],
    ):  # but the encoder is that of the suite
        jobs = planned(tmp_path, tasks=["cola"], init_from={"cola": str(file)}, arguments=[*given, "--a=1"])
        assert jobs[0].job.arguments[: len(given) + 3 + len(given)] == (*given, "--a=1", "--config", str(file), *given)
    assert "--data.task" not in starts[1].job.arguments
    assert all(p.start is None for p in jobs if p.task == "rte")


def test_a_task_of_ones_own_is_described_by_the_arguments_or_its_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("data: {source: mine.csv, custom: {text: [a, b]}}")
    recipes = str(tmp_path / "{task}.yaml")
    (mine, cola) = planned(tmp_path, tasks=["mine", "cola"], seeds=[1], recipes=recipes)[::-1]
    assert (mine.task, cola.task) == ("mine", "cola")  # the longer one comes first
    assert mine.job.arguments[:2] == ("--config", str(tmp_path / "mine.yaml"))
    with pytest.raises(UsageError, match="there is no task 'other'"):
        planned(tmp_path, tasks=["other"], recipes=recipes)
    assert planned(tmp_path, tasks=["other"], arguments=["--data.custom.text", "a"])
    monkeypatch.setenv("GLUE_LIT_FIT__DATA__CUSTOM__TEXT", "a")
    assert planned(tmp_path, tasks=["other"])


def test_a_start_of_a_task_that_is_not_trained_is_ignored(tmp_path: Path) -> None:
    starts = {"rte": "mnli", "stsb": "gone.yaml", "mrpc": "gone/version_0"}
    (cola,) = planned(tmp_path, tasks=["cola"], seeds=[1], init_from=starts)
    assert cola.start is None


def test_the_arguments_of_all_override_recipes(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "rte.yaml").write_text("data: {task: rte}")
    jobs = planned(tmp_path, models=["a/One"], recipes=str(tmp_path / "{model}" / "{task}.yaml"))
    arguments = {p.task: list(p.job.arguments) for p in jobs}
    assert arguments["rte"][:3] == ["--config", str(tmp_path / "one" / "rte.yaml"), "--a=1"]
    assert arguments["cola"][0] == "--a=1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": []}, "suite.tasks: it is empty"),
        ({"tasks": ["colla"]}, "Did you mean 'cola'?"),
        ({"tasks": ["ax"]}, "suite.tasks: ax has no training rows. Use mnli, which predicts it."),
        (
            {"init_from": {"rte": "sst2"}},
            "suite.init_from: 'sst2' is not in suite.tasks (cola, rte, mnli, qqp), and no folder of a",
        ),
        (
            {"init_from": {"rte": "sst2"}},
            "Add it, or start rte from a run: `--suite.init_from '{rte: RUN}'`.",
        ),
        ({"init_from": {"rte": "gone"}}, "no folder of a run or model. A relative path is looked up in the working"),
        ({"init_from": {"wnil": "mnli"}}, "suite.init_from: 'wnil' is not in suite.tasks (cola, rte, mnli, qqp)."),
        ({"init_from": {"rte": "mnli", "mnli": "rte"}}, "starts from itself"),
        ({"init_from": {"rte": "rte"}}, "starts from itself"),
        ({"init_from": {"rte": "gone.yaml"}}, "suite.init_from: gone.yaml cannot be read (No such file or directory)."),
    ],
)
def test_bad_input_is_one_message(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        planned(tmp_path, **settings)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.yaml", "model: {learning_rate: 1e-4}", "x.yaml has no `data: {task: ...}`"),
        ("x.yaml", "data: [", "x.yaml has no `data: {task: ...}`"),
        ("cola.yaml", "data: {task: mine}", "cola.yaml has the name of another training of the suite"),
    ],
)
def test_a_file_that_cannot_be_a_start_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=re.escape(message)):
        planned(tmp_path, init_from={"rte": str(tmp_path / name)})
