"""The examples write what they describe."""

import csv
import importlib
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import warm
from transformers import AutoModelForSequenceClassification

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
ROWS = {
    "CoLA": ("", ["x\t1\t\tThe cat has slept on the mat.", "x\t0\t*\tCat the slept has."]),
    "MRPC": ("Quality\t1\t2\t3\t4", ["1\ta\tb\tHe gave them the old book.\tThey were given that old book by him."]),
    "STS-B": ("h", ["0\tg\tf\ty\to\ts\ts\tA man is playing a guitar.\tTwo women are eating apples today.\t2.5"]),
    "RTE": ("h", ["0\tIt rained on Monday. The match was played on Tuesday.\tThe match was played.\tentailment"]),
    "WNLI": ("h", ["0\tThe trophy does not fit.\tIt is too big to fit.\t1"]),
}


@pytest.fixture(scope="module")
def examples() -> Iterator[None]:
    sys.path.insert(0, str(EXAMPLES))
    yield
    sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="module")
def corruption(examples: None) -> ModuleType:
    return importlib.import_module("corruption")


@pytest.fixture(scope="module")
def grammar(examples: None) -> ModuleType:
    return importlib.import_module("grammar")


@pytest.fixture(scope="module")
def silver(examples: None) -> ModuleType:
    return importlib.import_module("silver")


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    for task, (header, rows) in ROWS.items():
        (tmp_path / task).mkdir()
        lines = [header, *rows] if header else rows
        (tmp_path / task / "train.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tmp_path


def run_example(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return warm.run(EXAMPLES / name, *arguments)


def test_sentences_are_those_of_training_files(corruption: ModuleType, glue: Path) -> None:
    assert corruption.sentences(glue) == {
        "The cat has slept on the mat.": 3, "He gave them the old book.": 1, "They were given that old book by him.": 1,
        "A man is playing a guitar.": 1, "Two women are eating apples today.": 1, "It rained on Monday.": 1,
        "The match was played on Tuesday.": 1, "The match was played.": 1, "The trophy does not fit.": 1,
        "It is too big to fit.": 1,
    }  # fmt: skip


def test_every_corruption_is_marked(corruption: ModuleType) -> None:
    rng = random.Random(0)
    words = ["he", "the", "cats", "running", "x", "walked", "is", ",", ".", "went", "class", "b"]
    corrupt = corruption.Corruption(Counter(["The cats went.", "He is running the class, b."]), rng)
    short = marked = 0
    for _ in range(3000):
        before = rng.choices(words, k=rng.randint(1, 6))
        corrupted = corrupt(" ".join(before))
        if sum(word.isalnum() for word in before) < 3:
            assert corrupted is None
            short += 1
        elif corrupted is not None:
            assert [token.text for token in corrupted] != before
            # Unmarked tokens are those of the sentence, in the same order.
            kept, rest = [token.text for token in corrupted if not token.wrong], iter(before)
            assert all(text in rest for text in kept)
            marked += any(token.wrong for token in corrupted)
    assert short > 100
    assert marked > 1500  # else it lacks only its last word


def test_grammar_writes_an_encoder_whose_layers_are_trained(glue: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = run_example("grammar.py", glue, tmp_path / "encoder", tiny_model)
    assert done.returncode == 0, done.stderr
    assert "trained on 10 sentences" in done.stdout
    assert json.loads((tmp_path / "encoder" / "cost.json").read_text())["processor_seconds"] > 0
    before = AutoModelForSequenceClassification.from_pretrained(tiny_model).state_dict()
    after = AutoModelForSequenceClassification.from_pretrained(tmp_path / "encoder").state_dict()
    encoder = [name for name in after if "encoder.layer" in name and name.endswith("weight")]
    assert encoder
    assert all(not torch.equal(before[name], after[name]) for name in encoder)


def test_grammar_learns_which_words_are_wrong(
    grammar: ModuleType, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar, "EPOCHS", 30)
    monkeypatch.setattr(grammar, "LEARNING_RATE", 3e-3)
    sentences = Counter({"the cat sat on the mat .": 8, "a dog ran in the park .": 8})
    tokenizer = grammar.AutoTokenizer.from_pretrained(tiny_model)
    losses = []
    for epochs in (1, 30):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2)
        monkeypatch.setattr(grammar, "EPOCHS", epochs)
        losses.append(grammar.train(model, tokenizer, sentences))
    assert losses[1] < 0.9 * losses[0]


def test_silver_pairs_have_the_cosine_of_their_vectors(silver: ModuleType) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"text {number}" for number in range(60)]
    pairs = list(silver.pairs(texts, torch.tensor(vectors), random.Random(0)))
    assert [first for first, _, _ in pairs] == texts
    nearest = 0
    for first, second, score in pairs:
        one, two = texts.index(first), texts.index(second)
        assert one != two
        assert score == pytest.approx(5 * max(vectors[one] @ vectors[two], 0), abs=6e-4)
        nearest += int(np.argsort(-(vectors[one] @ vectors.T))[1] == two)
    assert 10 < nearest < 35  # a third


def test_silver_writes_pairs_of_training_sentences(glue: Path, tiny_model: Path) -> None:
    output = glue / "silver.csv"
    done = run_example("silver.py", glue, output, tiny_model)
    assert done.returncode == 0, done.stderr
    with output.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert 0 < len(rows) <= 6
    assert f"{len(rows)} pairs of 6 sentences" in done.stdout
    texts = {row[column] for row in rows for column in ("sentence1", "sentence2")}
    assert texts <= {
        "He gave them the old book.", "They were given that old book by him.", "A man is playing a guitar.",
        "Two women are eating apples today.", "It rained on Monday. The match was played on Tuesday.",
        "The match was played.",
    }  # fmt: skip
    assert all(0 <= float(row["score"]) <= 5 for row in rows)


@pytest.mark.parametrize(("name", "first"), [("grammar.py", "CoLA"), ("silver.py", "STS-B")])
def test_a_missing_file_and_a_wrong_model_are_named(name: str, first: str, glue: Path, tmp_path: Path) -> None:
    done = run_example(name, tmp_path / "none", tmp_path / "x", tmp_path)
    assert done.returncode == 1
    assert f"{first}/train.tsv is not there: name the folder of the official GLUE files." in done.stderr
    assert "Traceback" not in done.stderr
    (tmp_path / "empty").mkdir()
    done = run_example(name, glue, tmp_path / "x", tmp_path / "empty")
    assert done.returncode == 1
    assert "could not load" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert run_example(name).stderr.startswith("usage: ")


def test_the_notebook_runs_from_the_first_cell_to_the_last(tiny_model: Path, tmp_path: Path) -> None:
    """All cells in one process, as Jupyter does it, on the demo corpus, a tiny model and few rows."""
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    assert [cell["outputs"] for cell in cells if cell["cell_type"] == "code" and cell["outputs"]] == []
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    few = {
        'name = "distilbert-base-uncased"': f"name = {str(tiny_model)!r}",
        'source = "hub"': 'source = "demo"',
        "source=source)\ntrain": "source=source, train_limit=48, validation_limit=20)\ntrain",
        '"trainer.max_epochs": 5': '"trainer.max_epochs": 1, **few',
        "trials=10": "trials=1, settings=few",
        "gold = data.split(split).read().labels": "gold = data.split(split).read().labels[:20]",
    }
    for old, new in few.items():
        assert old in code, old
        code = code.replace(old, new)
    lines = [
        f"shell(f{line[2:]!r})" if line.startswith("! ") else line  # what IPython makes of it
        for line in code.splitlines()
    ]
    start = (
        f"import sys; sys.path.append({str(Path(warm.__file__).parent)!r}); import warm\n"
        "def shell(line):\n"
        "    done = warm.run('-m', 'glue_lit', *line.split()[1:])\n"
        "    assert not done.returncode, line + done.stderr\n"
        "few = {'data.train_limit': 40, 'trainer.accelerator': 'cpu'}\n"
        "import matplotlib; matplotlib.use('Agg')\n"
    )
    done = warm.run("-c", start + "\n".join(lines), folder=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "training rows" in done.stdout
    assert (tmp_path / "validation.png").stat().st_size > 5000
    assert (tmp_path / "report" / "report.html").is_file()
    assert (tmp_path / "my-model" / "model.safetensors").is_file()
