import re
from pathlib import Path

import pytest
import yaml

from glue_lit.cli.engine_arguments import full_configurations, parse
from glue_lit.errors import UsageError


class Own:
    """Settings.

    Args:
        name: Its name.
        values: Some numbers.
    """

    def __init__(self, name: str = "x", values: tuple[int, ...] = (1, 2)) -> None:
        self.name, self.values = name, values


@pytest.mark.usefixtures("forked_children")
def test_the_command_line_is_split_into_own_engine_and_fit_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("task.yaml").write_text("data:\n  task: cola\n")
    Path("both.yaml").write_text(
        "# a comment\nown:\n  name: file\n  values:\n    - 7\nmodel:\n  learning_rate: 1e-4\nengine: {slots: 2}\n"
        "data:\n  batch_size: 8\n"
    )
    Path("alone.yaml").write_text("own:\n  name: last")
    own, engine, rest = parse(
        "own", Own, ["--config", "task.yaml", "--config=both.yaml", "--config", "alone.yaml", "--own.values=[3, 4]",
                     "--model.warmup", "0.1", "--engine.patience", "5"],
    )  # fmt: skip
    assert (own.name, own.values) == ("last", (3, 4))
    assert (engine.slots, engine.patience, engine.executor) == (2, 5, "local")
    assert rest[:3] == ["--config", "task.yaml", "--config"]
    assert rest[4:] == ["--model.warmup", "0.1"]
    kept = Path(rest[3])
    assert kept.name == "both.yaml"
    assert yaml.safe_load(kept.read_text()) == {"model": {"learning_rate": "1e-4"}, "data": {"batch_size": 8}}
    assert kept.read_text().splitlines()[6] == "  learning_rate: 1e-4"  # on the line where the user wrote it
    settings = yaml.safe_load(full_configurations([rest])[0])
    assert (settings["data"]["task"], settings["data"]["batch_size"], settings["model"]["warmup"]) == ("cola", 8, 0.1)


@pytest.mark.parametrize("own", ["", "own: {name: file}\n"])
def test_the_name_of_a_run_stays_behind_when_its_configuration_is_used_again(tmp_path: Path, own: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"data: {{task: rte}}\nname: the best\n{own}model: {{warmup: 0.1}}\n")
    _, _, rest = parse("own", Own, ["--config", str(file)])
    assert yaml.safe_load(Path(rest[1]).read_text()) == {"data": {"task": "rte"}, "model": {"warmup": 0.1}}
    assert Path(rest[1]).read_text().splitlines()[0] == "data: {task: rte}"


def test_paths_and_names_of_configurations_survive_the_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rows.csv").touch()
    (tmp_path / "mine" / "both.yaml").write_text("own: {name: file}\ndata:\n  source: rows.csv\n")
    (tmp_path / "mine" / "fit.yaml").write_text("data: {source: rows.csv}\n")
    monkeypatch.chdir(tmp_path)
    own, _, rest = parse("own", Own, ["--config", "mine/both.yaml", "-c", "mine/fit.yaml", "--config=cola"])
    assert own.name == "file"
    settings = [yaml.safe_load(Path(file).read_text())["data"] for file in rest[1::2]]
    assert settings == [{"source": str(tmp_path / "mine" / "rows.csv")}] * 2 + [{"task": "cola"}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--own.nam=x"], "--own.nam: there is no such flag. Did you mean '--own.name'?"),
        (["--own.values=x"], "--own.values: got 'x'"),
        (["--engine.executor=slurm"], "--engine.executor: got 'slurm', allowed: local, ray"),
        (["--engine.slots=two"], "--engine.slots: got 'two', allowed: int or null"),
        (["--config", "none.yaml"], "--config: there is no file 'none.yaml'"),
        (["--config", "wrong.yaml"], "there is no such key"),
    ],
)
def test_bad_input_is_one_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["glue-lit", "own", *arguments])
    Path("wrong.yaml").write_text("own:\n  nam: 3\n")
    with pytest.raises(UsageError, match=re.escape(message)):
        parse("own", Own, arguments)


@pytest.mark.usefixtures("forked_children")
def test_wrong_settings_of_fit_are_one_message() -> None:
    with pytest.raises(UsageError, match=re.escape("--model.learning_rat: there is no such flag. Did you mean")):
        full_configurations([[], ["--model.learning_rat", "1"]])
