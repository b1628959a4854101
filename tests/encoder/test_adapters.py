"""Adapters: trained weights compared with peft's own wrapper, checkpoints, and merging."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from command_line import glue_lit
from tiny_architectures import tiny_architecture
from tiny_folders import write_tiny
from transformers import AutoModelForSequenceClassification, DistilBertConfig, RobertaConfig

from glue_lit.encoder.adapters import METHODS, add_adapters, check_same_adapters, plain_settings, requested_adapters
from glue_lit.encoder.merging import merge_adapters
from glue_lit.encoder.trained_embedding import parameter_counts
from glue_lit.errors import GlueLitError, ModelError, UsageError
from glue_lit.runs.run import Run
from glue_lit.training.classifier import SequenceClassifier

SETTINGS: dict[str, dict[str, Any]] = {
    "LORA": {"r": 4, "lora_dropout": 0.1}, "FOURIERFT": {"n_frequency": 50}, "BOFT": {"boft_block_size": 4}
}  # fmt: skip
IDS = torch.randint(5, 60, (4, 9), generator=torch.Generator().manual_seed(1))


def settings_of(method: str, **settings: Any) -> dict[str, Any]:
    config = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(method)]
    return plain_settings(config(**SETTINGS.get(method, {}) | settings))


def built(name: str, tiny_model: Path) -> Any:
    """A model with random weights, the same at every call."""
    torch.manual_seed(0)
    small = {"vocab_size": 70, "num_labels": 2}
    if name == "bert":
        return AutoModelForSequenceClassification.from_pretrained(tiny_model).eval()
    if name == "roberta":
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        return AutoModelForSequenceClassification.from_config(RobertaConfig(**small, **sizes)).eval()
    return AutoModelForSequenceClassification.from_config(
        DistilBertConfig(**small, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
    ).eval()


def train(model: Any, steps: int = 4) -> None:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        model.train()(input_ids=IDS, labels=torch.tensor([0, 1, 1, 0])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


@pytest.mark.parametrize("method", METHODS)
def test_adapters_are_trained_saved_and_merged(method: str, tiny_model: Path) -> None:
    plain, model = built("bert", tiny_model), built("bert", tiny_model)
    settings = add_adapters(model, settings_of(method))
    train(model)
    found = model(input_ids=IDS).logits
    assert (found - plain(input_ids=IDS).logits).abs().max() > 1e-3
    for name, value in plain.bert.named_parameters():  # the encoder itself does not change
        path, _, leaf = name.rpartition(".")
        module = model.bert.get_submodule(path)
        torch.testing.assert_close(getattr(getattr(module, "base_layer", module), leaf), value, rtol=0, atol=0)
    assert not torch.equal(model.classifier.weight, plain.classifier.weight)

    assert json.loads(json.dumps(settings)) == settings
    again = built("bert", tiny_model)
    torch.manual_seed(17)
    assert add_adapters(again, settings) == settings
    again.eval().load_state_dict(model.state_dict())
    torch.testing.assert_close(again(input_ids=IDS).logits, found, rtol=0, atol=0)

    whole = merge_adapters(model)
    assert whole.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(whole(input_ids=IDS).logits, found, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model(input_ids=IDS).logits, found, rtol=0, atol=0)  # the model itself does not change


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # within peft's own wrapper
@pytest.mark.parametrize("name", ["bert", "roberta"])
@pytest.mark.parametrize("targets", [None, "all-linear", ["value"]])
def test_the_same_weights_are_trained_as_with_peft_alone(name: str, targets: Any, tiny_model: Path) -> None:
    model, theirs = built(name, tiny_model), built(name, tiny_model)
    add_adapters(model, settings_of("LORA", target_modules=targets))
    wrapped = peft.get_peft_model(theirs, peft.LoraConfig(r=4, target_modules=targets, task_type="SEQ_CLS"))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == wrapped.get_nb_trainable_parameters()[0]
    assert parameter_counts(model)[1] == wrapped.get_nb_trainable_parameters()[0]


def test_the_whole_head_is_trained(tiny_model: Path) -> None:
    model = built("distilbert", tiny_model)
    add_adapters(model, settings_of("LORA"))
    trained = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad and "lora" not in name}
    assert trained == {"pre_classifier", "classifier"}


def test_new_weights_of_the_encoder_are_trained(tiny_model: Path) -> None:
    model = built("bert", tiny_model)
    found = add_adapters(model, settings_of("LORA"), new={"bert.pooler.dense.weight", "classifier.weight"})
    assert found["modules_to_save"] == ["bert.pooler.dense"]
    for other in (model, again := built("bert", tiny_model)):
        if other is again:
            add_adapters(again, found)
        assert other.bert.pooler.dense.weight.requires_grad
        assert other.bert.pooler.dense.bias.requires_grad
    named = built("bert", tiny_model)
    add_adapters(named, settings_of("LORA", modules_to_save=["LayerNorm"]))
    assert all(p.requires_grad == ("lora" in n or "LayerNorm" in n or n.startswith("classifier"))
               for n, p in named.named_parameters())  # fmt: skip


def test_an_architecture_unknown_to_peft_has_adapters_in_all_layers(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = built("bert", tiny_model)
    monkeypatch.setattr(type(model.config), "model_type", "own")
    assert add_adapters(model, settings_of("LORA"))["target_modules"]
    assert any("intermediate.dense.lora_A" in name for name, _ in model.named_parameters())


def test_the_adapters_of_experts_are_merged(tmp_path: Path) -> None:
    """Adapters of a mixture of experts are nested."""
    write_tiny("mixtral", tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    add_adapters(model, settings_of("LORA", lora_dropout=0.0))
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    model.config.pad_token_id = 0
    with torch.inference_mode():
        assert torch.allclose(merge_adapters(model)(IDS).logits, model(IDS).logits, atol=1e-5)


def test_an_encoder_without_linear_layers_of_pytorch(tmp_path: Path) -> None:
    """I-BERT has its own class of linear layers."""
    write_tiny("ibert", tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    with pytest.raises(ModelError, match="encoder of the architecture ibert has no linear layers of PyTorch's own"):
        add_adapters(model, settings_of("LORA"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            settings_of("LORA", target_modules=["nothing"]),
            "target_modules: got ['nothing']; the encoder's layers are dense, key, query, value.",
        ),
        (settings_of("LORA", modules_to_save=["nix"]), "the model has no module nix"),
        (settings_of("LORA") | {"init_lora_weights": "eva"}, "got eva, which needs a pass over the data"),
        (settings_of("BOFT", boft_block_size=5), "BOFT cannot be used with this model"),
        ({"peft_type": "VERA"}, "got the method VERA, allowed: LORA, IA3"),
        ({"peft_type": "LORA", "newer": 1}, "unexpected keyword argument 'newer'"),
        ({}, "got the method None"),
    ],
)
def test_unusable_adapters_are_refused(settings: dict[str, Any], message: str, tiny_model: Path) -> None:
    with pytest.raises(GlueLitError) as error:
        add_adapters(built("bert", tiny_model), settings)
    assert message in str(error.value)


def test_settings_are_of_peft() -> None:
    with pytest.raises(UsageError, match="allowed: a configuration of peft"):
        SequenceClassifier("cola", peft=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"model\.freeze and model\.peft: give only one"):
        SequenceClassifier("cola", peft=peft.LoraConfig(), freeze=2)  # type: ignore[arg-type]


def test_without_peft_an_error_says_how_to_install_it(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of("LORA")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match="needs the package peft: `pip install peft`"):
        add_adapters(built("bert", tiny_model), settings)


def test_a_checkpoint_keeps_its_method() -> None:
    kept = settings_of("LORA", target_modules=["query"]) | {"modules_to_save": ["pooler"]}
    assert check_same_adapters(None, kept) is kept
    assert check_same_adapters(None, None) is None
    assert check_same_adapters(settings_of("LORA"), kept) is kept
    assert check_same_adapters(settings_of("LORA", modules_to_save=["pooler"]), kept) is kept
    for asked, message in (
        (settings_of("LORA", r=8), "the checkpoint has r 4, got 8"),
        (settings_of("IA3"), "the checkpoint has peft_type 'LORA', got 'IA3'"),
        (settings_of("LORA", modules_to_save=["embeddings"]), "the checkpoint has modules_to_save"),
    ):
        with pytest.raises(UsageError, match=message):
            check_same_adapters(asked, kept)
    with pytest.raises(UsageError, match="the checkpoint has peft_type None, got 'LORA'"):
        check_same_adapters(settings_of("LORA"), None)


@pytest.mark.parametrize("method", ["LORA", "IA3", "FOURIERFT"])
@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_values_set_by_peft_make_no_other_method(name: str, method: str) -> None:
    asked = settings_of(method)
    kept = add_adapters(tiny_architecture(name), asked)
    saved = {"glue_lit": {"peft": asked}}
    assert requested_adapters(saved) == asked
    for before in (asked, None):  # None in older checkpoints
        assert check_same_adapters(asked, kept, before) is kept
        assert check_same_adapters(kept, kept, before) is kept
    with pytest.raises(UsageError, match=r"Leave model\.peft as it was"):
        check_same_adapters(asked | {"target_modules": ["other"]}, kept, asked)
    if method == "LORA":
        assert kept["fan_in_fan_out"] is (name == "gpt2")
        with pytest.raises(UsageError, match="the checkpoint has r 8, got 4"):
            check_same_adapters(asked | {"r": 4}, kept | {"r": 8}, asked | {"r": 8})
    assert requested_adapters({"glue_lit": {"peft": 3}}) is requested_adapters({}) is None


# -------------------------------------------------------------------- the command


def probabilities_in(path: Path) -> list[dict[str, float]]:
    return [json.loads(line)["probabilities"] for line in path.read_text().splitlines()]


FIT = ("--data.source=demo", "--data.train_limit=64", "--data.validation_limit=50", "--trainer.accelerator=cpu",
       "--trainer.precision=32-true", "--model.learning_rate=3e-2")  # fmt: skip
ADAPTERS = {
    "lora": ("--model.peft.class_path=peft.LoraConfig", "--model.peft.init_args.r=4"),
    "ia3": ("--model.peft.class_path=peft.IA3Config",),
}


@pytest.mark.parametrize("method", ADAPTERS)
def test_from_fit_to_export(
    method: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first = ("fit", "--data.task=sst2", f"--model.name_or_path={tiny_model}", *FIT, *ADAPTERS[method])
    assert glue_lit(monkeypatch, *first, "--trainer.max_epochs=2") == 0
    assert "M trained), on 1 x cpu" in capsys.readouterr().out
    run = Run(Path("lightning_logs/sst2/version_0"))
    record = json.loads(run.metrics.read_text())
    assert 0 < record["parameters"]["trained"] < record["parameters"]["total"] / 5

    assert glue_lit(monkeypatch, "validate", "--run", run.path) == 0  # the run is enough
    assert f"{record['metrics']['val/loss']:.6f}" in capsys.readouterr().out
    assert glue_lit(monkeypatch, "predict", "--run", run.path, "--data.predict_split=validation") == 0
    probabilities = probabilities_in(run.predictions / "validation.jsonl")

    assert glue_lit(monkeypatch, "export", "--run", run.path, "--output", "model") == 0
    assert not [name for name in Path("model").iterdir() if "adapter" in name.name]
    card = Path("model/README.md").read_text()
    assert re.search(rf"\| Adapter \| {ADAPTERS[method][0].rpartition('.')[2]}", card)
    assert glue_lit(monkeypatch, "validate", "--model.name_or_path=model", "--data.task=sst2", "--data.source=demo",
                    "--data.validation_limit=50") == 0  # fmt: skip
    assert f"{record['metrics']['val/accuracy']:.6f}" in capsys.readouterr().out
    assert glue_lit(monkeypatch, "predict", "--model.name_or_path=model", "--data.task=sst2", "--data.source=demo",
                    "--data.predict_split=validation", "--data.validation_limit=50") == 0  # fmt: skip
    again = probabilities_in(Path("predictions/sst2-validation.jsonl"))
    for one, other in zip(again, probabilities, strict=True):
        assert one == pytest.approx(other, abs=1e-5)

    # a fit of another task that starts from the run: the adapters become part of the encoder
    capsys.readouterr()
    start = ("fit", "--data.task=cola", f"--model.init_from={run.path}", *FIT, "--trainer.max_epochs=1")
    assert glue_lit(monkeypatch, *start, "--model.learning_rate=1e-30") == 0
    assert "trained)" not in capsys.readouterr().out
    whole = SequenceClassifier.load_from_checkpoint(run.checkpoint("best"), weights_only=True)
    other = SequenceClassifier.load_from_checkpoint(Run(Path("lightning_logs/cola/version_0")).checkpoint("best"))
    for name, value in merge_adapters(whole.model).base_model.state_dict().items():
        torch.testing.assert_close(other.model.base_model.state_dict()[name], value, rtol=1e-5, atol=1e-6)

    # a resumed fit keeps its method
    assert glue_lit(monkeypatch, "fit", "--run", run.path, "--ckpt_path=last", "--trainer.max_epochs=3") == 0
    assert glue_lit(monkeypatch, "fit", "--run", run.path, "--ckpt_path=last", "--trainer.max_epochs=4",
                    "--model.peft.class_path=peft.LoHaConfig") == 2  # fmt: skip
    assert "Leave model.peft as it was" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.peft=pefd.LoraConfig"], "--model.peft: there is no class pefd.LoraConfig (No module named 'pefd')"),
        (["--model.peft=LoraConfig"], "--model.peft: got 'LoraConfig', allowed: PeftMethod or null. Did you mean 'peft.LoraConfig'?"),
        (["--model.peft=LoRA"], "A class is named with its package: PACKAGE.CLASS"),
        (["--model.peft.class_path=peft.LoraConfg"], "there is no class peft.LoraConfg (module 'peft' has no attribute"),
        (["--model.peft.class_path=lightning.Trainer"], "--model.peft.class_path: lightning.Trainer is not a PeftMethod"),
        (["--model.peft.r=8"], "--model.peft.r: no class is named. Name it first: `--model.peft.class_path PACKAGE.CLASS`"),
        ([*ADAPTERS["lora"], "--model.peft.init_args.q=8"], "--model.peft.init_args.q: the class has no setting q."),
        ([*ADAPTERS["lora"], "--model.peft.init_args.r=x"], "--model.peft.init_args.r: got 'x', allowed: int."),
        (["--config=own.yaml"], "model.peft (own.yaml, line 2): the class has no setting q. `glue-lit fit --model.peft.help"),
        (["--model.peft.class_path=peft.PrefixTuningConfig"], "got the method PREFIX_TUNING, allowed: LORA, IA3"),
    ],
)  # fmt: skip
def test_wrong_adapter_flags_are_one_message(
    flags: list[str], message: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("model:\n  peft:\n    class_path: peft.LoraConfig\n    init_args:\n      q: 3\n")
    assert glue_lit(monkeypatch, "fit", "--data.task=sst2", f"--model.name_or_path={tiny_model}", *FIT, *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not Path("lightning_logs").exists()
