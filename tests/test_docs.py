"""What the README shows is what works."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from glue_lit.__main__ import main
from glue_lit.engine.settings import parse
from glue_lit.tasks import TASKS

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
# Lines that name a path of the reader's own, or a checkpoint, are run by other tests.
FITS = [line for line in LINES if "glue-lit fit" in line and "--ckpt_path" not in line and "--help" not in line]


@pytest.mark.parametrize("line", FITS)
def test_fit_commands_parse(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(REPOSITORY)
    words = shlex.split(line)
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", [*words, *([] if "--print_config" in words else ["--print_config"])])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code, capsys.readouterr().err


MANY = [line for line in LINES if line.startswith(("glue-lit tune ", "glue-lit suite "))]


@pytest.mark.parametrize("line", MANY)
def test_commands_of_many_trainings_parse(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from glue_lit.commands.suite import Suite
    from glue_lit.commands.tune import Tune

    monkeypatch.chdir(REPOSITORY)
    command, *arguments = shlex.split(line)[1:]
    own, engine, rest = parse(command, {"tune": Tune, "suite": Suite}[command], arguments)
    assert own is not None
    assert engine.patience == 3
    assert not [word for word in rest if word.startswith((f"--{command}", "--engine"))]


def test_python_example(tiny_model: Path, tmp_path: Path) -> None:
    """The ten lines, on a tiny model and the demo corpus; afterwards no trace of the base weights is needed."""
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    text = code[1]
    for old, new in (
        ('name = "distilbert-base-uncased"', f"name = {str(tiny_model)!r}"),
        ("batch_size=16)", "batch_size=16, source='demo', train_limit=48, validation_limit=20)"),
        ("Trainer(max_epochs=5", "Trainer(accelerator='cpu', max_epochs=2"),
    ):
        assert old in text
        text = text.replace(old, new)
    text += (
        "\nimport torch\n"
        "assert set(classifier.scores) == {'val/matthews_correlation', 'val/loss'}\n"
        "saved = torch.load(best.best_model_path, weights_only=True)['state_dict']\n"
        "assert all(torch.equal(value, saved[name]) for name, value in loaded.state_dict().items())\n"
        "print('DONE', classifier.scores)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "DONE" in result.stdout


def test_task_table_is_complete() -> None:
    section = README.partition("## Tasks\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([\w-]+)` \|(.*)\|$", section, re.MULTILINE))
    assert set(rows) == set(TASKS)
    for name, row in rows.items():
        if name not in ("mnli-mm", "ax"):  # said as "the same", "as mnli"
            labels = TASKS[name].labels
            assert ", ".join(labels) in row
            first = TASKS[name].metrics[0].split("_")[0]
            assert first in row.lower()


def test_from_a_file_to_a_pipeline(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The section on a task of one's own, line by line, and then what a colleague does with the folder."""
    section = README.partition("## A task of your own\n")[2].partition("\n## ")[0]
    lines = [line for line in section.partition("```bash\n")[2].partition("```")[0].splitlines() if line]
    assert len(lines) == 7
    for folder in ("configs", "examples"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    monkeypatch.chdir(tmp_path)
    for line in lines:
        words = shlex.split(line)
        if words[1] == "fit":
            words += ["--model.name_or_path", str(tiny_model), "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
        monkeypatch.setattr(sys, "argv", words)
        main()
    found = capsys.readouterr().out
    assert "reviews: validate" in found
    code = (
        "import sys; sys.modules['glue_lit'] = None\n"
        "from transformers import pipeline\n"
        "print('FOUND', pipeline('text-classification', 'my-model')('The coffee was a joy.', truncation=True))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    label = re.search(r'\{"label": "(\w+)", "probabilities"', found)
    assert label is not None
    assert f"'label': '{label[1]}'" in result.stdout
