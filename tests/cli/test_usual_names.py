"""Names of other programs lead to ours."""

import re
from pathlib import Path

import pytest
import yaml
from command_line import glue_lit

from glue_lit.cli.usual_names import USUAL_NAMES


def flat(values: object, prefix: str = "") -> set[str]:
    if not isinstance(values, dict):
        return {prefix}
    return {prefix}.union(*(flat(value, f"{prefix}.{key}".strip(".")) for key, value in values.items()))


def test_every_suggestion_is_a_setting(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert glue_lit(monkeypatch, "fit", "--print_config", "--trainer.precision=16-mixed") == 0
    known = flat(yaml.safe_load(capsys.readouterr().out))
    assert {usual.partition(" ")[0] for usual in USUAL_NAMES.values()} <= known
    assert set(USUAL_NAMES) & known <= {"checkpoint", "data", "model"}  # sections, which are no settings


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["fit", "--seed", "1"], "--seed: there is no such flag. Did you mean '--seed_everything'?"),
        (["fit", "--lr=1e-5"], "--lr: there is no such flag. Did you mean '--model.learning_rate'?"),
        (["fit", "--model.lr", "1"], "--model.lr: there is no such flag. Did you mean '--model.learning_rate'?"),
        (["fit", "--num-train-epochs", "3"], "Did you mean '--trainer.max_epochs'?"),
        (["fit", "--per_device_train_batch_size", "3"], "Did you mean '--data.batch_size'?"),
        (["fit", "--output_dir", "x"], "Did you mean '--trainer.default_root_dir'?"),
        (["fit", "--model", "bert-base-cased"], "`--model.NAME VALUE`. Did you mean '--model.name_or_path'?"),
        (["fit", "--fp16"], "Did you mean '--trainer.precision 16-mixed'?"),
        (["fit", "--config", "own.yaml"], "seed (own.yaml, line 1): there is no such key. Did you mean 'seed_everything'?"),
        (["show", "--dataset", "demo"], "Did you mean '--data.source'?"),
        (["report", "--output_dir", "x"], "Did you mean '--output'?"),
        (["runs", "--output_dir", "x"], "Did you mean '--trainer.default_root_dir'?"),
    ],
)  # fmt: skip
def test_a_usual_name_is_answered_with_ours(
    arguments: list[str], suggestion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("seed: 3\n")
    assert glue_lit(monkeypatch, *arguments) == 2
    assert re.search(re.escape(suggestion), capsys.readouterr().err)
