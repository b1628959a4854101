import re
from pathlib import Path
from typing import Any

import pytest

from glue_lit.engine.suite import plan
from glue_lit.errors import UsageError


def planned(folder: Path, **settings: Any) -> Any:
    values: dict[str, Any] = {
        "tasks": ["cola", "rte", "mnli", "qqp"], "seeds": [1, 2], "models": [], "init_from": {}, "arguments": ["--a=1"],
        "recipes": None,
    }  # fmt: skip
    return plan(folder, **values | settings)


def test_the_longest_first(tmp_path: Path) -> None:
    assert [p.task for p in planned(tmp_path, seeds=[1])] == ["mnli", "qqp", "cola", "rte"]
    assert [p.task for p in planned(tmp_path, seeds=[1], init_from={"qqp": "rte"})] == ["mnli", "rte", "qqp", "cola"]
    assert [(p.task, p.seed) for p in planned(tmp_path, tasks=["rte", "cola"])] == [
        ("cola", 1), ("cola", 2), ("rte", 1), ("rte", 2)
    ]  # fmt: skip


def test_a_start_is_of_the_same_seed_and_model(tmp_path: Path) -> None:
    jobs = planned(tmp_path, models=["a/one", "two"], init_from={"rte": "mnli"})
    assert len({p.job.name for p in jobs}) == len({p.job.folder for p in jobs}) == 16
    rte = next(p for p in jobs if (p.model, p.task, p.seed) == ("a/one", "rte", 2))
    mnli = next(p for p in jobs if p.job.name == rte.start)
    assert (mnli.model, mnli.task, mnli.seed) == ("a/one", "mnli", 2)
    arguments = list(rte.job.arguments)
    start = Path(arguments[arguments.index("--model.init_from") + 1])
    assert start == mnli.job.folder / "lightning_logs" / "mnli" / "version_0"
    # The same as the run's, whatever a recipe calls it.
    assert arguments[arguments.index("--model.name_or_path") + 1] == "a/one"
    assert arguments[arguments.index("--seed_everything") + 1] == "2"
    assert "a/one" in mnli.job.arguments


def test_recipes_come_before_the_settings_of_all(tmp_path: Path) -> None:
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
        ({"tasks": ["ax"]}, "suite.tasks: ax has no training rows; mnli is what is trained"),
        ({"init_from": {"rte": "sst2"}}, "suite.init_from: 'sst2' is not in suite.tasks"),
        ({"init_from": {"wnli": "mnli"}}, "suite.init_from: 'wnli' is not in suite.tasks"),
        ({"init_from": {"rte": "mnli", "mnli": "rte"}}, "starts from itself"),
        ({"init_from": {"rte": "rte"}}, "starts from itself"),
    ],
)
def test_what_is_wrong_is_said(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        planned(tmp_path, **settings)
