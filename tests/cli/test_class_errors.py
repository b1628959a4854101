"""Messages about classes that settings name, and about what is given in place of one."""

from pathlib import Path

import pytest

from glue_lit.cli.configure import configure, resolve
from glue_lit.errors import UsageError
from glue_lit.system.library_warnings import filter_warnings


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    filter_warnings()


def refusal(*words: str) -> str:
    with pytest.raises(UsageError) as raised:
        configure(resolve("fit", words))
    return str(raised.value)


NEEDS = "needs a package that is not installed: `pip install '"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trainer.callbacks=EarlyStoping"], "--trainer.callbacks: got 'EarlyStoping', allowed: a list of Callback or Callback or null. Did you mean 'EarlyStopping'?"),
        (["--trainer.callbacks=5"], "--trainer.callbacks: got '5', allowed: a list of Callback"),
        (["--trainer.callbacks=EarlyStopping"], "--trainer.callbacks: EarlyStopping needs `monitor`: `--trainer.callbacks.monitor VALUE` after the class's name."),
        (["--model.peft.class_path=LoraConfig"], "--model.peft.class_path: got 'LoraConfig', allowed: PeftMethod or null. Did you mean 'peft.LoraConfig'?"),
        (["--trainer.logger.save_dir=logs"], "--trainer.logger.save_dir: no class is named. Name it first: `--trainer.logger.class_path PACKAGE.CLASS`."),
        (["--trainer.logger=MLFlowLogger"], f"MLFlowLogger {NEEDS}mlflow>="),
        (["--trainer.logger=WandbLogger"], f"WandbLogger {NEEDS}wandb>="),
        (["--trainer.logger=CSVLoger"], "Did you mean 'CSVLogger'?"),
        (["--checkpoint=val/loss"], "--checkpoint: got 'val/loss', allowed: a file with the settings below it, which are also flags: `--checkpoint.NAME VALUE`."),
        (["--data.windows=512"], "--data.windows: got '512', allowed: length, stride, pooling, train_windows with their values, as in {length: 512, stride: 128}, or null."),
        (["--data.windows.strid=8"], "--data.windows.strid: there is no setting strid. Did you mean 'stride'? Allowed: length, stride, pooling, train_windows."),
        (["--data.windows.length=long"], "--data.windows.length: got 'long', allowed: int or null."),
        (["--model.schedule_options=3"], "--model.schedule_options: got '3', allowed: keys with values (as {a: 1}) or null."),
    ],
)  # fmt: skip
def test_a_flag(words: list[str], message: str) -> None:
    said = refusal(*words)
    assert message in said
    assert "Namespace" not in said
    assert "NestedArg" not in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainer: {callbacks: [RichProgressBar, 5]}", "trainer.callbacks (below/own.yaml, line 1): got '5', allowed: "),
        ("trainer: {callbacks: [{class_path: EarlyStoping}]}", "(below/own.yaml, line 1): got 'EarlyStoping', allowed: a list of Callback or Callback or null. Did you mean 'EarlyStopping'?"),
        ("trainer: {callbacks: {class_path: EarlyStopping}}", "trainer.callbacks (below/own.yaml, line 1): EarlyStopping needs `monitor`: `init_args: {monitor: VALUE}`."),
        ("model: {peft: {class_path: LoraConfig}}", "model.peft (below/own.yaml, line 1): got 'LoraConfig', allowed: "),
        ("model: {schedule_options: {a: [1]}}", "got \"{'a': [1]}\", allowed: keys with values"),
        ("trainer:\n  max_epochs: many", "trainer.max_epochs (below/own.yaml, line 2): got 'many', allowed: int or null."),
        ("data: {custom: [a]}", "data.custom: got ['a'], allowed: keys such as `text` and `label`, each with a value."),
        ("\nmodel: 3", "--config below/own.yaml, line 2: model is not a section. It needs keys, indented below it."),
        ("data: {windows: [3]}", "data.windows (below/own.yaml, line 1): got '[3]', allowed: length, stride, pooling"),
        ("data: {windows: {length: 64, strid: 8}}", "data.windows (below/own.yaml, line 1): there is no setting strid. Did you"),
        ("trainer: [1]", "--config below/own.yaml, line 1: trainer is not a section."),
    ],
)  # fmt: skip
def test_a_file_in_another_folder(text: str, message: str) -> None:
    Path("below").mkdir()
    Path("below/own.yaml").write_text(text)
    said = refusal("--config", "below/own.yaml")
    assert message in said
    assert "Namespace" not in said
