"""Long documents through the whole program, compared with a loop over documents that knows transformers alone."""

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import warm
from command_line import glue_lit as command
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score, log_loss
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import glue_lit
from glue_lit import SequenceClassifier
from glue_lit.data.rows import Rows
from glue_lit.errors import UsageError
from glue_lit.outputs import predictor as predictor_module
from glue_lit.outputs.predictor import Predictor
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.runs.run import Run

LENGTH, STRIDE = 24, 6
WORDS = ("fine", "dull", "room", "soup", "cold", "joy", "bus", "tea")


def documents(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts of 1 to 60 words with a label that one word in them decides."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS[2:], k=draw.choice((1, 5, 20, 60)))) for _ in range(count)]
    return [(f"{text} {WORDS[number % 2]}", ("good", "bad")[number % 2]) for number, text in enumerate(texts)]


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("long")
    for split, count in (("train", 24), ("validation", 13), ("test", 7)):
        write(made / f"{split}.jsonl", documents(count, len(split)))
    return made


def settings_of(root: Path) -> dict[str, Any]:
    return {
        "data.windows": {"length": LENGTH, "stride": STRIDE}, "data.custom.text": "text", "trainer.max_epochs": 8,
        "trainer.accelerator": "cpu", "trainer.precision": "32-true", "trainer.default_root_dir": str(root),
        "model.learning_rate": 5e-3, "data.batch_size": 8, "trainer.devices": 1,
    }  # fmt: skip


@pytest.fixture(scope="module")
def fitted(folder: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> glue_lit.FitResult:
    settings = settings_of(tmp_path_factory.mktemp("run"))
    return glue_lit.fit("reports", tiny_model, source=folder, settings=settings)


@pytest.fixture(scope="module")
def exported(fitted: glue_lit.FitResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from glue_lit.outputs.export import run_export

    output = tmp_path_factory.mktemp("export") / "model"
    run_export(fitted.checkpoint, Run(fitted.run), output)
    return output


def one_by_one(exported: Path, texts: list[str], pool: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Logits of documents, ``(documents, labels)``, one after the other, with transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(exported)
    model = AutoModelForSequenceClassification.from_pretrained(exported).eval()
    found = []
    for text in texts:
        inputs = tokenizer(
            text, truncation=True, max_length=LENGTH, stride=STRIDE, return_overflowing_tokens=True, padding=True,
            return_tensors="pt",
        )  # fmt: skip
        del inputs["overflow_to_sample_mapping"]
        with torch.inference_mode():
            parts = [
                model(**{name: ids[start : start + 4096] for name, ids in inputs.items()}).logits
                for start in range(0, len(inputs["input_ids"]), 4096)
            ]
        found.append(pool(torch.cat(parts)))
    return torch.stack(found)


def mean(logits: torch.Tensor) -> torch.Tensor:
    return logits.mean(dim=0)


def largest(logits: torch.Tensor) -> torch.Tensor:
    return logits.max(dim=0).values


def probabilities(path: Path) -> torch.Tensor:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["idx"] for line in lines] == list(range(len(lines)))
    return torch.tensor([list(line["probabilities"].values()) for line in lines])


def test_scores_of_a_fit_are_by_document(folder: Path, fitted: glue_lit.FitResult, exported: Path) -> None:
    texts, gold = zip(*documents(13, len("validation")), strict=True)
    expected = one_by_one(exported, list(texts), mean).double().softmax(dim=1).numpy()
    labels = np.array([("bad", "good").index(label) for label in gold])
    metrics = fitted.metrics
    assert metrics["val/loss"] == pytest.approx(log_loss(labels, expected, labels=[0, 1]), abs=1e-5)
    assert metrics["val/accuracy"] == pytest.approx(accuracy_score(labels, expected.argmax(axis=1)))
    assert expected.argmax(axis=1).std() > 0  # so that the scores tell something
    assert metrics["val/f1"] == pytest.approx(f1_score(labels, expected.argmax(axis=1)))
    record = fitted.record
    assert {name: split["rows"] for name, split in record["data"]["splits"].items()} == {"train": 24, "validation": 13}
    assert record["recipe"]["Windows of documents"] == "length 24, stride 6, pooling mean"


def test_every_way_to_predict_pools_the_same(
    folder: Path, fitted: glue_lit.FitResult, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [text for text, _ in documents(7, len("test"))]
    logits = one_by_one(exported, texts, mean)
    run, output = f"--run={fitted.run}", tmp_path / "typed.jsonl"
    assert command(monkeypatch, "predict", run, "--trainer.accelerator=cpu") == 0
    assert (
        command(monkeypatch, "predict", run, f"--file={folder / 'test.jsonl'}", f"--output={tmp_path / 'f.jsonl'}") == 0
    )
    assert command(monkeypatch, "predict", run, *(f"--text={text}" for text in texts), f"--output={output}") == 0
    for path in (fitted.run / "predictions" / "test.jsonl", tmp_path / "f.jsonl", output):
        assert torch.allclose(probabilities(path), logits.softmax(dim=1), atol=1e-5)
    rows = Rows(texts, None, [None] * len(texts))
    for devices in (1, 2):
        torch.set_num_threads(2)
        found, _ = next(Predictor(fitted.checkpoint, devices).logits([(rows, None)]))
        assert torch.allclose(found, logits, atol=1e-5)


def test_max_takes_the_largest_logit_of_each_label(fitted: glue_lit.FitResult, exported: Path, tmp_path: Path) -> None:
    assert fitted.checkpoint is not None
    saved = torch.load(fitted.checkpoint, weights_only=True)
    saved["hyper_parameters"]["windows"]["pooling"] = "max"
    torch.save(saved, tmp_path / "max.ckpt")
    texts = [text for text, _ in documents(7, 99)]
    assert (one_by_one(exported, texts, largest) - one_by_one(exported, texts, mean)).abs().max() > 0.01
    found, _ = next(Predictor(tmp_path / "max.ckpt").logits([(Rows(texts, None, [None] * 7), None)]))
    assert torch.allclose(found, one_by_one(exported, texts, largest), atol=1e-5)


def test_a_million_characters_are_one_document(fitted: glue_lit.FitResult, exported: Path) -> None:
    # words are spelled out, but long ones are unknown: 1,000,000 characters, 190,000 tokens, 10,000 windows
    texts = [("tea and soup " * 50 + "x" * 1950 + " ") * 385, "fine"]
    assert len(texts[0]) > 1_000_000
    predictor = Predictor(fitted.checkpoint)
    found, _ = next(predictor.logits([(Rows(texts, None, [None] * 2), None)]))
    assert torch.allclose(found, one_by_one(exported, texts, mean), atol=1e-5)


def test_the_tokenizer_is_left_to_the_thread_that_tokenises(
    fitted: glue_lit.FitResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an accelerator that is another one, and a call in two threads fails: "Already borrowed"."""
    assert fitted.checkpoint is not None
    predictor = Predictor(fitted.checkpoint)
    tokenised = []

    def tokenise(*given: Any, **options: Any) -> Any:
        tokenised.append(real(*given, **options))
        monkeypatch.setattr(predictor, "_tokenizer", SimpleNamespace(pad_token_id=0, padding_side="right"))
        return tokenised[-1]

    real = predictor_module.tokenise
    monkeypatch.setattr(predictor_module, "tokenise", tokenise)
    found, _ = next(predictor.logits([(Rows(["soup " * 60], None, [None]), None)]))
    assert found.shape == (1, 2)


def labelled(kind: str, text: str) -> Any:
    """A score of a text, or the names of some words in it."""
    return (
        float(text.endswith("fine"))
        if kind == "regression"
        else [word for word in ("soup", "bus") if word in text[:60]]
    )


@pytest.mark.parametrize("kind", ["regression", "multi_label"])
def test_scores_and_sets_of_labels_are_pooled_too(kind: str, tiny_model: Path, tmp_path: Path) -> None:
    from glue_lit.outputs.export import run_export

    rows = [text for text, _ in documents(40, 5)]
    for split, part in (("train", rows[:25]), ("validation", rows[25:])):
        lines = [{"text": text, "label": labelled(kind, text)} for text in part]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    changes = {
        "data.custom.kind": kind,
        "trainer.max_epochs": 8,
        "data.windows": {"length": LENGTH, "stride": STRIDE, "pooling": "max"},
    }
    fitted = glue_lit.fit("sets", tiny_model, source=tmp_path, settings=settings_of(tmp_path / "run") | changes)
    assert fitted.checkpoint is not None
    run_export(fitted.checkpoint, None, tmp_path / "model")
    logits = one_by_one(tmp_path / "model", rows[25:], largest).double()
    if kind == "regression":
        gold = torch.tensor([labelled(kind, text) for text in rows[25:]], dtype=torch.float64)
        assert fitted.metrics["val/loss"] == pytest.approx(float((logits[:, 0] - gold).square().mean()), abs=1e-5)
        assert logits.std() > 0.01  # so that the correlation is not one of rounding errors
        assert fitted.metrics["val/pearson"] == pytest.approx(pearsonr(gold, logits[:, 0]).statistic, abs=1e-4)
        return
    sets = torch.tensor([[name in labelled(kind, text) for name in ("bus", "soup")] for text in rows[25:]])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, sets.double())
    assert fitted.metrics["val/loss"] == pytest.approx(float(loss), abs=1e-5)
    expected = f1_score(sets.numpy(), (logits >= 0).numpy(), average="micro", zero_division=0)
    assert fitted.metrics["val/micro_f1"] == pytest.approx(expected)


@pytest.mark.slow
def test_more_devices_than_documents(fitted: glue_lit.FitResult, tmp_path: Path) -> None:
    assert fitted.run is not None
    run = tmp_path / "lightning_logs" / "reports" / "version_0"
    shutil.copytree(fitted.run, run)
    one, three = (scores(tmp_path, "validate", run, devices, "--data.validation_limit=1") for devices in (1, 3))
    assert three == pytest.approx(one, abs=1e-6)


@pytest.mark.slow
def test_a_fit_on_two_devices_scores_documents(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    flags = settings_of(tmp_path) | {"trainer.devices": 2, "trainer.strategy": "ddp", "trainer.max_epochs": 2}
    words = [f"--{name}={json.dumps(value) if isinstance(value, dict) else value}" for name, value in flags.items()]
    words += ["--data.task=reports", f"--data.source={folder}", f"--model.name_or_path={tiny_model}"]
    result = warm.run(Path(__file__).with_name("faulty.py"), "fit", *words, folder=tmp_path, FAULT="")
    assert result.returncode == 0, result.stderr
    run = tmp_path / "lightning_logs" / "reports" / "version_0"
    recorded = json.loads((run / "metrics.json").read_text())["metrics"]
    assert scores(tmp_path, "validate", run, 1) == pytest.approx(recorded, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 3])
def test_devices_score_each_document_once(fitted: glue_lit.FitResult, tmp_path: Path, devices: int) -> None:
    assert fitted.run is not None
    run = tmp_path / "lightning_logs" / "reports" / "version_0"
    shutil.copytree(fitted.run, run)
    one = {**scores(tmp_path, "validate", run, 1)}
    assert scores(tmp_path, "validate", run, devices) == pytest.approx(one, abs=1e-6)
    assert one == pytest.approx(fitted.metrics, abs=1e-6)
    predicted = {}
    for world in (1, devices):
        assert scores(tmp_path, "test", run, world)
        predicted[world] = probabilities(run / "predictions" / "test.jsonl")
    assert torch.allclose(predicted[devices], predicted[1], atol=1e-6)


def scores(folder: Path, command: str, run: Path, devices: int, *more: str) -> dict[str, float]:
    """The scores of `glue-lit COMMAND` with several processes and small batches."""
    flags = {"run": run, "trainer.devices": devices, "trainer.strategy": "ddp" if devices > 1 else "auto",
             "trainer.accelerator": "cpu", "data.eval_batch_size": 5}  # fmt: skip
    script = Path(__file__).with_name("faulty.py")
    words = [command, *(f"--{name}={value}" for name, value in flags.items()), "--json", *more]
    result = warm.run(script, *words, folder=folder, FAULT="")
    assert result.returncode == 0, result.stderr
    found: dict[str, float] = json.loads(result.stdout)["metrics"]
    return found


def test_a_model_without_the_setting_is_not_scored_by_window(fitted: glue_lit.FitResult) -> None:
    model = SequenceClassifier.load_from_checkpoint(fitted.checkpoint, windows=None, weights_only=True)
    batch: Any = {"input_ids": torch.ones(1, 4, dtype=torch.long), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    batch |= {"labels": torch.tensor([0]), "idx": torch.tensor([0]), "window": torch.tensor([0])}
    with pytest.raises(UsageError, match=r"model\.windows: got null, but the data are windows"):
        model.validation_step(batch, 0)


def test_the_card_of_an_export_has_code_that_scores_a_document(
    fitted: glue_lit.FitResult, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = documents(1, 3)[0][0] + " soup" * 80
    rows = Rows([text], None, [None])
    expected, _ = next(Predictor(fitted.checkpoint).logits([(rows, None)]))
    card = (exported / "README.md").read_text()
    config = json.loads((exported / "config.json").read_text())
    given = fitted_windows(fitted)
    assert config["glue_lit"] == {"windows": {name: given[name] for name in ("length", "stride", "pooling")}}
    assert "(`glue_lit` in `config.json`)" in card
    assert "windows of 24 tokens, of which neighbours share 6" in card
    assert "| Windows of documents | length 24, stride 6, pooling mean |" in card
    monkeypatch.chdir(exported.parent)
    assert torch.allclose(run_code(card, text)["logits"], expected[0], atol=1e-5)


def fitted_windows(fitted: glue_lit.FitResult) -> dict[str, Any]:
    return dict(read_checkpoint(Path(fitted.checkpoint))["hyper_parameters"]["windows"])


def run_code(card: str, text: str) -> dict[str, Any]:
    """The variables of a card's code, with a text of one's own."""
    values: dict[str, Any] = {}
    code = "\n".join(re.findall(r"```python\n(.*?)```", card, re.DOTALL))
    exec(code.replace('"..."', repr(text)), values)
    return values


@pytest.mark.slow
def test_an_onnx_model_is_scored_by_document(
    fitted: glue_lit.FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glue_lit.outputs.export import run_export

    result = run_export(fitted.checkpoint, Run(fitted.run), tmp_path / "onnx", "onnx", "int8")
    (accuracy,) = (words for name, words in result.measured.items() if name.endswith(", accuracy"))
    assert accuracy.startswith(f"{fitted.metrics['val/accuracy']:.4f}, with 8-bit weights")
    monkeypatch.chdir(tmp_path)
    text = documents(1, 3)[0][0] + " soup" * 80
    exact = run_export(fitted.checkpoint, Run(fitted.run), tmp_path / "exact", "onnx")
    expected, _ = next(Predictor(fitted.checkpoint).logits([(Rows([text], None, [None]), None)]))
    found = run_code((exact.folder / "README.md").read_text(), text)["logits"]
    assert torch.allclose(torch.from_numpy(found), expected[0], atol=1e-5)


def test_a_fit_says_how_many_windows_there_are(fitted: glue_lit.FitResult) -> None:
    found = {each["what"]: each for each in fitted.record["data"]["findings"]}
    one = found["validation documents in several windows"]
    rows = [text for text, _ in documents(13, len("validation"))]
    counts = [1 + max(0, -(-(len(text.replace(" ", "")) - 22) // 16)) for text in rows]
    several = sum(count > 1 for count in counts)
    assert one["count"] == f"{several} of 13 documents; {sum(counts)} windows in all"
    longest = counts.index(max(counts))
    assert one["example"].startswith(f"validation.jsonl, line {longest + 1}: ")
    assert one["example"].endswith(f" tokens, {max(counts)} windows")
    assert one["advice"] == "Nothing: each is scored once, by the mean of its windows' logits"
