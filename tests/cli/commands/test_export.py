"""`glue-lit export`: what others load gives what we give; and the way back."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import warm
import yaml
from command_line import glue_lit
from hub_repositories import Repository
from hub_server import TOKEN, Hub
from tiny_folders import write_tiny
from transformers import AutoTokenizer

from glue_lit.data.sources import open_split
from glue_lit.runs.run import Run
from glue_lit.tasks.glue import get_task

TASKS = ("mnli", "sst2", "stsb")


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Runs whose dev splits are predicted."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for task in TASKS:
            settings = {
                "data.task": task, "data.source": "demo", "model.name_or_path": tiny_model, "trainer.max_epochs": 1,
                "model.learning_rate": 3e-3, "data.train_limit": 64, "data.validation_limit": 50, "trainer.accelerator": "cpu",
                "trainer.precision": "32-true", "data.max_length": 40,
            }  # fmt: skip
            assert glue_lit(patch, "fit", *(f"--{key}={value}" for key, value in settings.items())) == 0
            split = get_task(task).monitored_split
            predict = ("predict", "--ckpt_path=best", f"--data.predict_split={split}", f"--data.task={task}")
            assert glue_lit(patch, *predict, "--data.validation_limit=null") == 0
    return {task: Run(root / "lightning_logs" / task / "version_0") for task in TASKS}


def predicted(run: Run, task: str) -> list[dict[str, Any]]:
    path = run.predictions / f"{get_task(task).monitored_split}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()][:40]


def texts(task: str) -> list[Any]:
    rows = open_split(get_task(task), "demo", str(get_task(task).monitored_split)).read()
    pairs = zip(rows.texts_a, rows.texts_b or rows.texts_a, strict=True)
    return [a if rows.texts_b is None else {"text": a, "text_pair": b} for a, b in pairs][:40]


PIPELINE = """
import json, sys
sys.modules["glue_lit"] = None  # importing it fails
from transformers import pipeline
classify = pipeline("text-classification", sys.argv[1], top_k=None)
found = classify(json.loads(sys.argv[2]), truncation=True, batch_size=8)
print("FOUND", json.dumps([{one["label"]: one["score"] for one in row} for row in found]))
"""


@pytest.mark.parametrize("task", TASKS)
def test_a_transformers_pipeline_gives_the_same_scores(
    trained: dict[str, Run], task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = trained[task], tmp_path / "model"
    assert glue_lit(monkeypatch, "export", "--run", run.path, "--output", folder) == 0
    result = warm.run("-c", PIPELINE, folder, json.dumps(texts(task)))
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.rpartition("FOUND ")[2])
    for row, expected in zip(found, predicted(run, task), strict=True):
        wanted = expected.get("probabilities") or {"score": expected["score"]}
        assert row == pytest.approx(wanted, abs=1e-5)


def test_a_damaged_record_costs_the_model_card_its_scores_only(
    trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, record = trained["mnli"], trained["mnli"].metrics.read_bytes()
    run.metrics.write_text("[1]")
    try:
        assert glue_lit(monkeypatch, "export", "--run", run.path, "--output", tmp_path / "model") == 0
    finally:
        run.metrics.write_bytes(record)
    assert f"lacks scores and recipe: damaged metrics.json in {run.path}." in capsys.readouterr().err
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_files_of_an_exported_folder(trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, folder = trained["mnli"], tmp_path / "model"
    assert glue_lit(monkeypatch, "export", "--run", run.path, "--output", folder) == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "entailment", "1": "neutral", "2": "contradiction"}
    assert config["problem_type"] == "single_label_classification"
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == 40
    card = (folder / "README.md").read_text()
    assert 'pipeline("text-classification", "model")' in card
    front = yaml.safe_load(card.split("---\n")[1])
    record = json.loads(run.metrics.read_text())
    scores = {metric["name"]: metric["value"] for metric in front["model-index"][0]["results"][0]["metrics"]}
    assert scores == record["metrics"]
    for expected in (record["data"]["splits"]["train"]["hash"], record["versions"]["torch"], "| Seed | 42 |"):
        assert expected.replace("-", r"\-").replace("+", r"\+") in card
    for path in folder.iterdir():
        assert str(tmp_path.parent).encode() not in path.read_bytes()
        assert str(run.path.parents[2]).encode() not in path.read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_an_export_is_scored_and_trained_further(
    trained: dict[str, Run],
    task: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, folder = trained[task], tmp_path / "model"
    assert glue_lit(monkeypatch, "export", "--run", run.path, "--output", folder) == 0
    config = json.loads((folder / "config.json").read_text())
    if task == "mnli":  # as others order them: the rows of the head go with the names
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        for name in ("classifier.weight", "classifier.bias"):
            weights[name] = weights[name].flip(0).contiguous()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        config["id2label"] = {"0": "CONTRADICTION", "1": "NEUTRAL", "2": "ENTAILMENT"}
        config["label2id"] = {name: int(number) for number, name in config["id2label"].items()}
        (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    named = ("--model.name_or_path", folder, "--data.task", task, "--data.source", "demo", "--trainer.accelerator=cpu")
    split = get_task(task).monitored_split
    assert glue_lit(monkeypatch, "predict", *named, "--data.predict_split", split, "--data.max_length=40") == 0
    found = [json.loads(line) for line in (tmp_path / "predictions" / f"{task}-{split}.jsonl").read_text().splitlines()]
    for one, expected in zip(found, predicted(run, task), strict=False):
        for key in ("probabilities", "score", "gold"):
            assert one.get(key) == (pytest.approx(expected[key], abs=1e-5) if key in expected else None)
    capsys.readouterr()
    assert glue_lit(monkeypatch, "validate", *named, "--data.validation_limit=50", "--data.max_length=40") == 0
    out = capsys.readouterr().out
    record = json.loads(run.metrics.read_text())["metrics"]
    for name, value in record.items():
        shown = re.search(rf"{name.split('/')[1]}[ *]* +([-\d.]+)", out[out.index(get_task(task).metrics[0]) :])
        if name.startswith("val/"):
            assert shown is not None
            assert float(shown[1]) == pytest.approx(value, abs=1e-4)


def test_an_untrained_model_is_not_scored(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ("--model.name_or_path", tiny_model, "--data.task=rte", "--data.source=demo", "--trainer.accelerator=cpu")
    assert glue_lit(monkeypatch, "validate", *named) == 1
    assert "has no classification head" in capsys.readouterr().err


@pytest.mark.parametrize("task", TASKS)
def test_onnx(
    trained: dict[str, Run],
    task: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import onnxruntime
    from transformers import AutoTokenizer

    run, folder = trained[task], tmp_path / "onnx"
    assert glue_lit(monkeypatch, "export", "--run", run.path, "--output", folder, "--format=onnx") == 0
    out, err = capfd.readouterr()
    difference = re.search(r"Largest difference .*: ([\d.e-]+)", out)
    assert difference is not None
    assert float(difference[1]) < 1e-5
    assert err == ""
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    given = texts(task)
    first = [t if isinstance(t, str) else t["text"] for t in given]
    second = None if isinstance(given[0], str) else [t["text_pair"] for t in given]
    inputs = tokenizer(first, second, truncation=True, padding=True, return_tensors="np")
    names = {one.name for one in session.get_inputs()}
    (logits,) = session.run(None, {name: inputs[name] for name in names})
    for row, expected in zip(logits, predicted(run, task), strict=True):
        if "score" in expected:
            assert row[0] == pytest.approx(expected["score"], abs=1e-4)
        else:
            probabilities = np.exp(row) / np.exp(row).sum()
            assert probabilities == pytest.approx(list(expected["probabilities"].values()), abs=1e-5)
    assert str(Path(sys.prefix)).encode() not in (folder / "model.onnx").read_bytes()


@pytest.mark.parametrize("kind", ["t5", "bert"])
def test_onnx_is_tried_with_texts(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T5 needs an end-of-text token in each row; and a tokenizer may have more tokens than the model has rows."""
    monkeypatch.chdir(tmp_path)
    write_tiny(kind, Path("tiny"))
    tokenizer = AutoTokenizer.from_pretrained("tiny")
    tokenizer.add_tokens([f"unused{number}" for number in range(900)])
    tokenizer.save_pretrained("tiny")
    flags = (
        "--trainer.max_epochs=1",
        "--data.train_limit=16",
        "--data.validation_limit=8",
        "--trainer.accelerator=cpu",
    )
    fit = ("fit", "--data.task=mrpc", "--data.source=demo", "--model.name_or_path=tiny", *flags)
    assert glue_lit(monkeypatch, *fit, "--trainer.precision=32-true") == 0
    assert glue_lit(monkeypatch, "export", "--output=onnx", "--format=onnx") == 0
    assert Path("onnx/model.onnx").is_file()


@pytest.mark.parametrize("where", ["torch.onnx.export", "glue_lit.outputs.onnx_export.onnx_logits"])
def test_a_failed_onnx_export_is_reported_and_writes_nothing(
    where: str, trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        if where == "torch.onnx.export":  # as it does, for its developers
            print("def forward(self, arg0_1):")
            logging.getLogger("torch.fx.experimental.symbolic_shapes").warning("Unable to find user code")
        raise RuntimeError("Step 1/3. Next steps: create an issue") from ValueError("no operator\nlike it")

    monkeypatch.setattr(where, fail)
    assert (
        glue_lit(monkeypatch, "export", "--run", trained["sst2"].path, f"--output={tmp_path}/onnx", "--format=onnx")
        == 1
    )
    out, error = capsys.readouterr()
    assert "def forward" not in out
    assert "Next steps" not in error
    assert "a model of the architecture bert cannot be exported as ONNX" in error
    assert "no operator like it" in error
    assert len(error.splitlines()) == 1
    assert [*tmp_path.iterdir()] == []


def test_the_loss_of_8_bit_weights_is_measured(
    trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run, folder = trained["sst2"], tmp_path / "onnx"
    flags = ("--output", folder, "--format=onnx", "--quantize=int8")
    assert glue_lit(monkeypatch, "export", "--run", run.path, *flags) == 0
    out, err = capfd.readouterr()
    accuracy = json.loads(run.metrics.read_text())["metrics"]["val/accuracy"]
    assert f"validation, accuracy: {accuracy:.4f}, with 8-bit weights 0." in out
    assert "Size with 8-bit weights" in out
    assert err == ""
    card = (folder / "README.md").read_text()
    assert "8\\-bit weights" in card
    assert 'InferenceSession("onnx/model.onnx")' in card
    assert sorted(path.name for path in folder.glob("model*")) == ["model.onnx"]


def test_overwriting_takes_only_exported_models(
    trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ("export", "--run", trained["sst2"].path, "--output", tmp_path / "model")
    (tmp_path / "model").mkdir()
    assert glue_lit(monkeypatch, *export) == 0  # an empty one is as good as none
    before = (tmp_path / "model" / "README.md").stat().st_ino
    assert glue_lit(monkeypatch, *export) == 2
    assert "is not empty" in capsys.readouterr().err
    assert (tmp_path / "model" / "README.md").stat().st_ino == before
    assert glue_lit(monkeypatch, *export, "--overwrite") == 0
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("")
    export = (*export[:-1], tmp_path / "home")
    assert glue_lit(monkeypatch, *export, "--overwrite") == 2
    assert "is not an exported model" in capsys.readouterr().err
    assert (tmp_path / "home" / "thesis.tex").is_file()
    (tmp_path / "home" / "config.json").write_text("{}")  # as many a project has
    assert glue_lit(monkeypatch, *export, "--overwrite") == 2
    assert "holds 'thesis.tex', which no export wrote" in capsys.readouterr().err
    assert (tmp_path / "home" / "thesis.tex").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "model"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--quantize", "int8"], "--quantize goes with --format onnx"),
        (["--private"], "--private goes with --push_to_hub"),
        (["--format", "tflite"], "invalid choice: 'tflite'"),
        (["--ckpt_path", "no.ckpt"], "there is no file 'no.ckpt'"),
    ],
)
def test_bad_input_is_one_message(
    trained: dict[str, Run], flags: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert glue_lit(monkeypatch, "export", "--run", trained["sst2"].path, "--output", tmp_path / "x", *flags) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def push(run: Run, folder: Path, hub: Hub, name: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    command = ("export", "--run", run.path, "--output", folder, "--push_to_hub", name)
    return warm.run("-m", "glue_lit", *command, **hub.environment, HF_TOKEN=token)


def test_an_export_is_uploaded_to_the_hub(trained: dict[str, Run], tmp_path: Path, hub: Hub) -> None:
    result = push(trained["sst2"], tmp_path / "model", hub, "my-model")
    assert result.returncode == 0, result.stderr
    assert f"On the Hub {hub.url}/me/my-model\n" in result.stdout  # without an owner it is the user's own
    uploaded = hub.repositories["models", "me/my-model"]
    assert uploaded.files == {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert b'pipeline("text-classification", "me/my-model")' in uploaded.files["README.md"]
    assert not uploaded.private


PUSHES = """
import sys
from pathlib import Path
from glue_lit.outputs.hub_upload import upload_folder
from glue_lit.errors import UsageError

for name, private in (("me/public-0", 0), ("me/public-1", 1), ("me/public-2", 2), ("me/closed", 1), ("alone", 1)):
    try:
        upload_folder(Path(sys.argv[1]), name, private)
        print(name, "uploaded")
    except UsageError as error:
        print(name, error)
"""


def test_private_uploads_onto_a_public_repository_are_refused(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "config.json").write_text("{}")
    for number in range(3):
        hub.repositories["models", f"me/public-{number}"] = Repository({})
    result = warm.run("-c", PUSHES, tmp_path, **hub.environment, HF_TOKEN=TOKEN)
    assert result.returncode == 0, result.stderr
    said = result.stdout.splitlines()
    assert said[1].startswith("me/public-1 --private: me/public-1 is there already and public, so nothing was uploaded")
    assert "say `--private --private` to make this one private" in said[1]
    assert [said[0], *said[2:]] == [f"{name} uploaded" for name in ("me/public-0", "me/public-2", "me/closed", "alone")]
    found = {name: (set(r.files), r.private) for (_, name), r in hub.repositories.items() if name.startswith("me/")}
    assert found == {
        "me/public-0": ({"config.json"}, False), "me/public-1": (set(), False), "me/public-2": ({"config.json"}, True),
        "me/closed": ({"config.json"}, True), "me/alone": ({"config.json"}, True),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "token", "advice"),
    [
        ("me/model", "hf_expired", "Log in with `hf auth login`"),
        ("somebody/model", TOKEN, "The token may not write there"),
    ],
)
def test_a_refusal_of_the_hub_is_one_message(
    trained: dict[str, Run], tmp_path: Path, hub: Hub, name: str, token: str, advice: str
) -> None:
    result = push(trained["sst2"], tmp_path / "model", hub, name, token)
    assert result.returncode == 1
    assert f"--push_to_hub {name}: not uploaded; {tmp_path / 'model'} is kept. {advice}" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "model" / "model.safetensors").is_file()
