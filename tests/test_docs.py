"""Every command and example in the README and in docs/ works."""

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from bisect import bisect_right
from pathlib import Path

import pytest
import warm
from command_line import glue_lit
from sklearn.metrics import cohen_kappa_score
from tiny_folders import write_tiny

from glue_lit import __all__ as PUBLIC_NAMES
from glue_lit.__main__ import main
from glue_lit.cli.engine_arguments import parse
from glue_lit.tasks.glue import TASKS

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
TEXTS = {page.stem: page.read_text(encoding="utf-8") for page in PAGES}


def commands(text: str) -> list[str]:
    """The lines of the shell examples in a text, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    whole = "".join(blocks).replace("\\\n", " ")  # a command may go over several lines
    lines = [" ".join(line.split("#")[0].split()) for line in whole.splitlines()]
    return [line for line in lines if line]


LINES = list(dict.fromkeys(line for text in TEXTS.values() for line in commands(text)))
OURS = [line for line in LINES if re.search(r"\bglue[-_]lit \w", line)]
# A training would take too long: what its configuration comes to is looked at instead.
FITS = [line for line in OURS if re.search(r"glue[-_]lit fit ", line) and not line.endswith("--help")]
MANY = [line for line in OURS if line.startswith(("glue-lit tune ", "glue-lit suite "))]
STORY = commands(TEXTS["own-data"])  # runs as a whole: `test_from_a_file_to_a_pipeline`
LONG = commands(TEXTS["long-documents"])  # and so does this: `test_long_documents`
SEVERAL = commands(TEXTS["several-labels"])  # and this: `test_rows_with_several_labels`
RATINGS = commands(TEXTS["ratings"])  # and this: `test_ratings`
FITS = [line for line in FITS if line not in (*LONG, *SEVERAL, *RATINGS)]
DECODER = [line for line in commands(TEXTS["decoders"]) if line in OURS]  # the same: `test_a_decoder_with_lora`
OTHERS = [line for line in OURS if line not in (*FITS, *MANY, *STORY, *LONG, *SEVERAL, *RATINGS, *DECODER)]
SLOW = [line for line in OTHERS if re.match("glue-lit (report .|export .*onnx)", line)]
# Small runs of the demo corpus have no official test rows, there is no network, and no suite.
REFUSED = {
    "glue-lit submit": "There is no run of sst2, ",
    "glue-lit submit RUN_OF_COLA RUN_OF_MNLI --fill_missing majority": "was trained on the demo corpus",
    "glue-lit submit --check submission.zip": "submission.zip: cannot be read",
    "glue-lit runs --delete lightning_logs/cola/version_0": "pass `--yes` to delete 1 run, ",
    "glue-lit export --output my-model --overwrite --push_to_hub me/my-model": "The Hub said: ",
    "glue-lit report lightning_logs/suite/glue": "there is no directory 'lightning_logs/suite/glue'",
    "glue-lit report lightning_logs/suite/all-minilm-l6-v2": "there is no directory 'lightning_logs/suite/",
}


@pytest.fixture(scope="module")
def reader(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's folder: the repository's files, and under every name in the pages a small run or file."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("configs", "examples"):
        (folder / name).symlink_to(REPOSITORY / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "400")
        for task in ("mnli", "cola"):
            settings = {"data.task": task, "data.source": "demo", "model.name_or_path": tiny_model,
                        "data.train_limit": 48, "data.validation_limit": 20, "data.test_limit": 20,
                        "trainer.max_epochs": 1, "trainer.accelerator": "cpu"}  # fmt: skip
            assert glue_lit(patch, "fit", *(f"--{name}={value}" for name, value in settings.items())) == 0
        runs = {"cola": ("version_1", "version_3", "RUN_A", "RUN_B", "RUN_OF_COLA"), "mnli": ("RUN", "RUN_OF_MNLI")}
        for task, names in runs.items():
            logs = Path("lightning_logs", task)
            for name in names:
                shutil.copytree(logs / "version_0", logs / name if name.startswith("version") else name)
        Path("more_reviews.csv").write_text("id,review\nr1,The tea was cold.\nr2,The tea was hot.\n", encoding="utf-8")
        Path("lightning_logs/tune/cola").mkdir(parents=True)
        Path("lightning_logs/tune/cola/best.yaml").write_text("model:\n  learning_rate: 3e-5\n", encoding="utf-8")
        assert glue_lit(patch, "export", "--output", "my-model") == 0
    return folder


def words_of(line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words after ``glue-lit``; variables in front of it are set."""
    before, _, after = re.split(r"\b(glue[-_]lit)\s", line, maxsplit=1)
    for name, value in re.findall(r"(\w+)=(\S+)", before):
        monkeypatch.setenv(name, value)
    return shlex.split(re.split(r" [|>] ", after)[0])


@pytest.mark.parametrize("line", FITS)
def test_every_fit_of_the_pages_is_parsed(
    line: str, reader: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(reader)
    words = words_of(line, monkeypatch)
    status = glue_lit(monkeypatch, *words, *([] if "--print_config" in words else ["--print_config"]))
    assert status == 0, capsys.readouterr().err


@pytest.mark.parametrize("line", MANY)
def test_every_search_and_suite_of_the_pages_is_parsed(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from glue_lit.engine.suite import Suite
    from glue_lit.engine.tuning import Tune

    monkeypatch.chdir(REPOSITORY)
    command, *arguments = words_of(line, monkeypatch)
    own, engine, rest = parse(command, {"tune": Tune, "suite": Suite}[command], arguments)
    assert own is not None
    assert engine.patience == 3
    assert not [word for word in rest if word.startswith((f"--{command}", "--engine"))]


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.slow if line in SLOW else ()) for line in OTHERS]
)
def test_any_other_command_runs(
    line: str, reader: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(reader)
    monkeypatch.setattr(sys, "stdin", io.StringIO("The tea was cold.\nThe tea was hot.\n"))
    words = words_of(line, monkeypatch)
    if "--data.task" in words and "ax" not in words:
        words += ["--data.source", "demo"]  # in place of the Hub
    if "--text_pair" in words:
        words += ["--run", "RUN"]  # of a task on pairs
    status = glue_lit(monkeypatch, *words)
    output = capfd.readouterr()
    if line in REFUSED:
        assert REFUSED[line] in output.err
    else:
        assert status == 0, output.err


@pytest.mark.parametrize("line", [line for line in LINES if line not in OURS])
def test_files_and_targets_given_to_other_programs_exist(line: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    match shlex.split(line):
        case ["make", target, *_]:
            assert f"\n{target}:" in makefile
        case ["python", script, *_]:
            assert (REPOSITORY / script).is_file()
        case [program, *_]:
            assert program in {"python3", ".venv/bin/pip", "tensorboard"}


def test_python_example(tiny_model: Path, tmp_path: Path) -> None:
    """The page on Python, on a tiny model and the demo corpus; afterwards no trace of the base weights is needed."""
    text = "".join(re.findall(r"```python\n(.*?)```", TEXTS["python"], re.DOTALL))
    small = {"data.train_limit": 48, "data.validation_limit": 20, "trainer.accelerator": "cpu",
             "trainer.max_epochs": 1}  # fmt: skip
    for old, new in (
        ('    "distilbert-base-uncased",\n', f"    {str(tiny_model)!r}, source='demo',\n"),
        ('"cola", "distilbert-base-uncased", ', f'"cola", {str(tiny_model)!r}, source="demo", settings=small, '),
        ("trials=10", "trials=1, space={'model.learning_rate': {'type': 'float', 'low': 1e-5, 'high': 1e-4}}"),
        ("import glue_lit\n", f"import glue_lit\nsmall = {small!r}\n"),
        ('{"model.learning_rate"', '{"data.train_limit": 48, "trainer.accelerator": "cpu", "model.learning_rate"'),
        ('"trainer.max_epochs": 5', '"trainer.max_epochs": 1'),
        ('"trainer.max_epochs": 10})', '"trainer.max_epochs": 2})\nfirst = result'),
        ('name = "distilbert-base-uncased"', f"name = {str(tiny_model)!r}"),
        ("batch_size=16)", "batch_size=16, source='demo', train_limit=48, validation_limit=20)"),
        ("Trainer(max_epochs=5, callbacks=[best])", "Trainer(accelerator='cpu', max_epochs=2, callbacks=[best])"),
    ):
        assert old in text
        text = text.replace(old, new)
    text += (
        "\nimport torch\n"
        "assert set(classifier.scores) == {'val/matthews_correlation', 'val/loss'}\n"
        "saved = torch.load(best.best_model_path, weights_only=True)['state_dict']\n"
        "assert all(torch.equal(value, saved[name]) for name, value in loaded.state_dict().items())\n"
        "assert first.record['epochs'] == 2\n"
        "assert result.record['config']['model']['learning_rate'] == found.best.settings['model.learning_rate']\n"
        "assert predictor.task.name == 'cola'\n"
        "print('DONE', classifier.scores)\n"
    )
    result = warm.run("-c", text, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "DONE" in result.stdout


def test_task_table_is_complete() -> None:
    section = TEXTS["README"].partition("## Tasks\n")[2].partition("\n## ")[0]
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
    """The page on a task of one's own, line by line, and then what a colleague does with the folder."""
    assert len(STORY) == 8
    for folder in ("configs", "examples"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    monkeypatch.chdir(tmp_path)
    for line in STORY:
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


def test_long_documents(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page on long documents, line by line, with windows that fit into the tiny model."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    monkeypatch.chdir(tmp_path)
    for line in LONG:
        program, *words = shlex.split(line)
        if program == "python":
            subprocess.run([sys.executable, *words], check=True, timeout=120)
            continue
        if words[0] == "fit":
            words += ["--model.name_or_path", str(tiny_model), "--trainer.max_epochs=1", "--trainer.accelerator=cpu",
                      "--data.windows.length=64", "--data.windows.train_windows=1"]  # fmt: skip
        assert glue_lit(monkeypatch, *words) == 0, line
    found = capsys.readouterr().out
    assert "train documents in several windows" in found
    assert "Predictions" in found
    assert len(Path("guest-books.jsonl").read_text().splitlines()) == 120
    (predicted,) = Path("lightning_logs/books/version_0/predictions").glob("*.jsonl")
    assert len(predicted.read_text().splitlines()) == 120
    assert "This scores a whole document" in Path("book-model/README.md").read_text()


def test_a_decoder_with_lora(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page on decoders, line by line, but for 4 bits, which `tests/encoder/test_quantization.py` tries."""
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    write_tiny("qwen3", tmp_path / "Qwen" / "Qwen3-0.6B")
    monkeypatch.chdir(tmp_path)
    small = ["--data.source=demo", "--data.train_limit=32", "--data.validation_limit=12", "--trainer.max_epochs=1",
             "--trainer.accelerator=cpu"]  # fmt: skip
    lines = [line for line in DECODER if "4bit" not in line]
    assert [shlex.split(line)[1] for line in lines] == ["fit", "validate", "predict", "export"]
    for line in lines:
        words = shlex.split(line)[1:]
        assert glue_lit(monkeypatch, *words, *(small if words[0] == "fit" else [])) == 0
    found = capsys.readouterr().out
    (code,) = re.findall(r"```python\n(.*?)```", TEXTS["decoders"], re.DOTALL)
    exec(code)
    label = re.search(r'\{"label": "(\w+)", "probabilities"', found)
    assert label is not None
    assert f"'label': '{label[1]}'" in capsys.readouterr().out.partition("},")[0]


def test_rows_with_several_labels(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page on rows with several labels, line by line."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    monkeypatch.chdir(tmp_path)
    for line in SEVERAL:
        program, *words = shlex.split(line)
        if program == "python":
            subprocess.run([sys.executable, *words], check=True, timeout=120)
            continue
        if words[0] == "fit":
            words += ["--model.name_or_path", str(tiny_model), "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
        assert glue_lit(monkeypatch, *words) == 0, line
    found = capsys.readouterr().out
    assert "any of book, food, hotel, price, product, service" in found
    assert "training rows without any label" in found
    assert "Training rows have 1.4 labels on average and at most 3; most frequent: product (38% of the rows)" in found
    header, *rows = Path("topics.tsv").read_text().splitlines()
    assert header.split("\t")[:4] == ["idx", "row", "id", "labels"]
    assert len(rows) == 400
    assert "top_k=None" in Path("topics-model/README.md").read_text()


def test_ratings(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page on ratings, line by line: cut points of the run tell the labels everywhere."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    monkeypatch.chdir(tmp_path)
    for line in RATINGS:
        program, *words = shlex.split(line)
        if program == "python":
            subprocess.run([sys.executable, *words], check=True, timeout=120)
            continue
        if words[0] == "fit":
            words += ["--model.name_or_path", str(tiny_model), "--trainer.max_epochs=2", "--trainer.accelerator=cpu",
                      "--model.learning_rate=0.001"]  # fmt: skip
        assert glue_lit(monkeypatch, *words) == 0, line
    found = capsys.readouterr().out
    assert "one of 1, 2, 3, 4, 5, in this order (ordinal)" in found
    assert found.count("Cut points are fitted on the rows of validation") == 4  # by fit, validate, test and report
    run = Path("lightning_logs/stars/version_0")
    cuts = json.loads(Path("stars-model/config.json").read_text())["glue_lit"]["cut_points"]
    assert cuts == sorted(cuts) != [0.5, 1.5, 2.5, 3.5]
    lines = [json.loads(line) for line in (run / "predictions" / "test.jsonl").read_text().splitlines()]
    assert all(each["label"] == str(1 + bisect_right(cuts, each["score"])) for each in lines)
    gold, labels = ([int(each[key]) for each in lines] for key in ("gold", "label"))
    kappa = cohen_kappa_score(gold, labels, weights="quadratic", labels=range(1, 6))
    header, *rows = Path("stars.tsv").read_text().splitlines()
    assert header.split("\t")[-2:] == ["label", "score"]
    assert [row.split("\t")[-2] for row in rows] == [each["label"] for each in lines]
    assert "bisect_right" in Path("stars-model/README.md").read_text()
    assert (run / "report" / "confusion.png").is_file()
    assert glue_lit(monkeypatch, "test", "--ckpt_path=best", "--json") == 0
    scores = json.loads(capsys.readouterr().out)["metrics"]
    assert scores["test/quadratic_weighted_kappa"] == pytest.approx(kappa)
    own = ["--data.task=stars", "--data.source=rated.csv", "--data.custom.text=review", "--data.custom.label=stars"]
    own += ["--data.custom.kind=ordinal", "--model.name_or_path=stars-model", "--trainer.accelerator=cpu", "--json"]
    assert glue_lit(monkeypatch, "validate", *own) == 0
    record = json.loads((run / "metrics.json").read_text())
    assert record["cut_points"] == cuts
    assert json.loads(capsys.readouterr().out)["metrics"] == pytest.approx(record["metrics"], rel=1e-3)
    assert glue_lit(monkeypatch, "validate", *own, "--data.custom.labels=[5,4,3,2,1]") == 1
    assert "are 1, 2, 3, 4, 5; task stars has 5, 4, 3, 2, 1" in capsys.readouterr().err


def test_the_reference_has_every_public_name() -> None:
    public = set(PUBLIC_NAMES) - {"__version__"}
    described = set(re.findall(r"^::: glue_lit\.(\w+)$", TEXTS["api"], re.MULTILINE))
    listed = set(re.findall(r"`(\w+)`", TEXTS["api"].partition("\n## ")[0]))
    assert described | {"TASKS"} == public  # a dictionary has no docstring
    assert public <= listed


def test_files_of_the_repository_that_pages_name_exist() -> None:
    named = {path for text in TEXTS.values() for path in re.findall(r"`((?:configs|examples|tests)/[\w/.-]+)`", text)}
    assert len(named) > 10
    assert not [path for path in named if not (REPOSITORY / path).exists()]
