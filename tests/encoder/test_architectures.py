"""Models built from a configuration: own code runs only if the user trusts it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import glue_lit

from glue_lit.data.rows import Rows
from glue_lit.encoder.architectures import empty_model
from glue_lit.errors import ModelError
from glue_lit.outputs.predictor import Predictor

CODE = """
from transformers import BertConfig, BertForSequenceClassification, BertModel
open({trace!r}, "w").close()
class OwnConfig(BertConfig):
    model_type = "own"
class OwnModel(BertModel):
    config_class = OwnConfig
class OwnClassifier(BertForSequenceClassification):
    config_class = OwnConfig
"""
TOKENS = """
from transformers import BertTokenizerFast
class OwnTokenizer(BertTokenizerFast):
    pass
"""
AUTO = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel", "AutoModelForSequenceClassification": "own.OwnClassifier"}  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [{}, {"model_type": "nothing"}, {"model_type": "bert", "vocab_size": []}, {"model_type": "bert", "hidden_size": 0},
     {"model_type": "bert", "hidden_size": -8}, {"model_type": "bert", "num_labels": 10**12}],
)  # fmt: skip
def test_invented_configurations_are_one_message(values: dict[str, Any]) -> None:
    hparams = {"trust_remote_code": False, "attention": None}
    with pytest.raises(ModelError, match="The checkpoint's configuration"):
        empty_model(values, hparams)


def test_code_for_a_kind_that_transformers_knows(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    values = json.loads((tiny_model / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "own.py").write_text(CODE.format(trace=str(tmp_path / "ran")).replace("OwnConfig\n", "BertConfig\n"))
    values["auto_map"] = {"AutoModelForSequenceClassification": "own.OwnClassifier"}
    where = {"name_or_path": str(tmp_path), "revision": "main", "attention": None}
    for trusted, name in ((False, "BertForSequenceClassification"), (True, "OwnClassifier"), (True, "OwnClassifier")):
        model = empty_model(values, where | {"trust_remote_code": trusted})
        assert type(model).__name__ == name
        assert (tmp_path / "ran").exists() is trusted


@pytest.mark.parametrize("tokens_too", [False, True])
def test_a_model_with_code_from_its_training_to_its_export(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tokens_too: bool,
) -> None:  # fmt: skip
    """A model type that transformers does not know; each command without the flag says how to trust the code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    trace, trust = tmp_path / "ran", "--model.trust_remote_code=true"
    shutil.copytree(tiny_model, "own")
    config = json.loads(Path("own/config.json").read_text(encoding="utf-8"))
    Path("own/config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": AUTO}))
    Path("own/own.py").write_text(CODE.format(trace=str(trace)))
    if tokens_too:
        Path("own/own_tokens.py").write_text(TOKENS)
        settings = json.loads(Path("own/tokenizer_config.json").read_text(encoding="utf-8"))
        settings |= {
            "auto_map": {"AutoTokenizer": [None, "own_tokens.OwnTokenizer"]},
            "tokenizer_class": "OwnTokenizer",
        }
        Path("own/tokenizer_config.json").write_text(json.dumps(settings))
    short = ("--data.source=demo", "--data.train_limit=32", "--data.validation_limit=20", "--trainer.accelerator=cpu",
             "--trainer.precision=32-true")  # fmt: skip
    fit = ("fit", "--data.task=sst2", "--model.name_or_path=own", "--trainer.max_epochs=1", *short)

    def refused(*command: object) -> None:
        trace.unlink(missing_ok=True)
        capsys.readouterr()
        assert glue_lit(monkeypatch, *command) == 1
        error = capsys.readouterr().err
        assert "pass `--model.trust_remote_code true`" in error
        assert len(error.splitlines()) == 1
        assert not trace.exists()

    refused(*fit)
    assert glue_lit(monkeypatch, *fit, trust) == 0
    assert trace.exists()
    run = Path("lightning_logs/sst2/version_0")
    recorded = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert glue_lit(monkeypatch, "validate", "--ckpt_path=best") == 0  # the run's configuration trusts it
    capsys.readouterr()
    assert glue_lit(monkeypatch, "validate", "--ckpt_path=best", "--json") == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == pytest.approx(recorded)
    assert glue_lit(monkeypatch, *fit, trust, "--trainer.max_epochs=2", "--ckpt_path=last") == 0

    refused("predict", "--text=fine", "--ckpt_path=best")
    assert glue_lit(monkeypatch, "predict", "--text=fine", "--ckpt_path=best", trust, "--calibrate") == 0
    split = ("predict", "--ckpt_path=best", "--data.predict_split=validation")
    assert glue_lit(monkeypatch, *split, "--calibrate", trust) == 0
    (run / "calibration.json").unlink()
    refused(*split, "--calibrate", "--model.trust_remote_code=false")

    other = ("fit", "--data.task=rte", "--model.init_from", run, "--trainer.max_epochs=1", *short)
    refused(*other)
    assert glue_lit(monkeypatch, *other, trust) == 0

    export = ("export", "--run", run, "--output=exported")
    refused(*export)
    assert glue_lit(monkeypatch, *export, trust) == 0
    assert glue_lit(monkeypatch, *export, trust, "--overwrite") == 0  # its code was written by an export
    assert (
        glue_lit(monkeypatch, *export[:-1], "--output=own", trust, "--overwrite") == 2
    )  # its code was written by its author
    assert Path("own/own.py").is_file()
    assert "trust_remote_code=True" in Path("exported/README.md").read_text(encoding="utf-8")
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("exported", trust_remote_code=True)
    assert (type(tokenizer).__name__ == "OwnTokenizer") is tokens_too
    tokens = tokenizer(["a fine room"], return_tensors="pt")
    with torch.inference_mode():
        model = AutoModelForSequenceClassification.from_pretrained("exported", trust_remote_code=True).eval()
        theirs = model(**tokens).logits
    assert type(model).__name__ == "OwnClassifier"
    rows = [(Rows(["a fine room"], None, [None]), None)]
    ours, _ = next(Predictor(run / "checkpoints" / "best.ckpt", trust_remote_code=True).logits(rows))
    assert torch.allclose(ours, theirs, atol=1e-6)
