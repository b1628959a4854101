"""A text's scores do not depend on what it is batched with: decoders, and models that look at the padding."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import glue_lit
from lightning.pytorch import Trainer
from tiny_folders import architectures, write_tiny
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    pipeline,
)

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.data.batches import TokenDataset
from glue_lit.data.model_inputs import needs_equal_lengths
from glue_lit.data.rows import Rows
from glue_lit.data.sources import open_split
from glue_lit.data.tokenizers import load_config, pack
from glue_lit.data.tokens import tokenise
from glue_lit.outputs.hugging_face import load_trained, write_model
from glue_lit.outputs.onnx_export import onnx_logits
from glue_lit.outputs.predictor import Predictor
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.tasks.glue import get_task

_DECODER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_GROUPED = _DECODER | {"num_key_value_heads": 2, "head_dim": 8}
DECODERS: dict[str, dict[str, Any]] = {
    "qwen2": _GROUPED, "qwen3": _GROUPED, "mistral": _GROUPED, "llama": _GROUPED, "phi": _DECODER, "gpt_neox": _DECODER,
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "openai-gpt": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
}  # fmt: skip
_ENCODER = _DECODER | {"max_position_embeddings": 64}
DEPENDENT: dict[str, dict[str, Any]] = {
    "convbert": _ENCODER | {"embedding_size": 32}, "fnet": _ENCODER, "yoso": _ENCODER,
    "mobilebert": _ENCODER | {"embedding_size": 16, "true_hidden_size": 32, "intra_bottleneck_size": 32},
    "nystromformer": _ENCODER,
}  # fmt: skip
TEXTS = ["a", "some more words", "b c", "the longest text of them all, with a tail", "two", "ab c"]

Write = Callable[..., Path]


@pytest.fixture
def write_model_folder(tiny_model: Path, tmp_path: Path) -> Write:
    """A folder with a random model of a kind, whose tokenizer has the special tokens that are named."""

    def write(kind: str, sizes: dict[str, Any], **special: str) -> Path:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(tiny_model / "tokenizer.json"), unk_token="[UNK]", padding_side="left", **special
        )
        others = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": None} | sizes
        config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **others)
        torch.manual_seed(0)
        model = AutoModel.from_config(config)
        with torch.no_grad():  # untrained ones say nearly the same of all texts
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.15)
        model.save_pretrained(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return write


def fitted(folder: Path, tmp_path: Path, max_length: int | None = 40) -> Path:
    """The checkpoint of a fit of two steps, and of its validation."""
    filter_warnings()
    data = GLUEDataModule(
        "sst2", str(folder), "demo", train_limit=32, validation_limit=20, max_length=max_length, cache_dir=str(tmp_path)
    )
    model = SequenceClassifier("sst2", str(folder), learning_rate=1e-3)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", precision="32-true", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, data)
    alone = trainer.validate(
        model, GLUEDataModule(**data.hparams | {"eval_batch_size": 1, "custom": {}}), verbose=False
    )
    assert trainer.validate(model, data, verbose=False)[0] == pytest.approx(alone[0], abs=1e-5)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    return tmp_path / "x.ckpt"


def rows(texts: list[str]) -> list[tuple[Rows, None]]:
    return [(Rows(texts, None, [None] * len(texts)), None)]


def logits(predictor: Predictor, texts: list[str]) -> torch.Tensor:
    return next(predictor.logits(rows(texts)))[0]


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_without_a_padding_token(kind: str, write_model_folder: Write, tmp_path: Path) -> None:
    special = {} if kind == "openai-gpt" else {"eos_token": "[SEP]"}
    checkpoint = fitted(write_model_folder(kind, DECODERS[kind], **special), tmp_path)
    predictor = Predictor(checkpoint)
    found = logits(predictor, TEXTS)
    assert float(found.std(dim=0).min()) > 1e-3  # they differ, so a wrong token would show
    for number, text in enumerate(TEXTS):
        assert torch.allclose(logits(predictor, [text])[0], found[number], atol=1e-5)
    saved = torch.load(checkpoint, weights_only=True)
    number = 1 if kind == "openai-gpt" else 3
    assert json.loads(saved["hyper_parameters"]["architecture"])["pad_token_id"] == number

    write_model(load_trained(checkpoint, None), tmp_path / "exported")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "exported").eval()
    assert (model.config.pad_token_id, tokenizer.pad_token_id) == (number, number)
    with torch.inference_mode():
        theirs = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    assert torch.allclose(theirs, found, atol=1e-5)


def test_texts_that_end_in_the_padding_token(write_model_folder: Write, tmp_path: Path) -> None:
    """The token before it counts, alone and in a batch, for transformers, too."""
    folder = write_model_folder("llama", DECODERS["llama"], eos_token="[SEP]")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ending = TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", tokenizer.eos_token_id)])
    tokenizer.backend_tokenizer.post_processor = ending
    tokenizer.save_pretrained(folder)
    predictor = Predictor(checkpoint := fitted(folder, tmp_path))
    found = logits(predictor, TEXTS)
    for number, text in enumerate(TEXTS):
        assert torch.allclose(logits(predictor, [text])[0], found[number], atol=1e-5)
    write_model(load_trained(checkpoint, None), tmp_path / "exported")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
    assert tokenizer(TEXTS[0])["input_ids"][-1] == tokenizer.pad_token_id
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "exported").eval()
    with torch.inference_mode():
        assert torch.allclose(model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits, found, atol=1e-5)


UNLIMITED: dict[str, dict[str, Any]] = {
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
}


@pytest.mark.parametrize("kind", UNLIMITED)
def test_a_model_without_a_maximum_length(kind: str, write_model_folder: Write, tmp_path: Path) -> None:
    ends = {"eos_token": "[SEP]"} if kind == "bloom" else {"pad_token": "[PAD]"}
    folder = write_model_folder(kind, UNLIMITED[kind] | ({} if kind == "bloom" else {"pad_token_id": 0}), **ends)
    predictor = Predictor(fitted(folder, tmp_path, max_length=None))
    texts = [*TEXTS, "a very long one " * 20]
    found = logits(predictor, texts)
    for number, text in enumerate(texts):
        assert torch.allclose(logits(predictor, [text])[0], found[number], atol=1e-5)


def test_the_padding_id_of_another_token_is_repaired_and_reported(
    write_model_folder: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the training to the checkpoint, and in a checkpoint that was written with the wrong one."""
    monkeypatch.chdir(tmp_path)
    folder = write_model_folder("qwen3", DECODERS["qwen3"] | {"pad_token_id": 7}, pad_token="[PAD]")
    fit = ("--data.task=sst2", "--data.source=demo", f"--model.name_or_path={folder}", "--data.train_limit=32")
    others = ("--data.validation_limit=20", "--trainer.max_epochs=1", "--trainer.precision=32-true")
    assert glue_lit(monkeypatch, "fit", *fit, *others, "--trainer.accelerator=cpu") == 0
    said = "Padding with '[PAD]' (0): the model's configuration names 7, which is another token of the tokenizer\n"
    assert said in capsys.readouterr().out
    assert glue_lit(monkeypatch, "fit", *fit, *others, "--trainer.accelerator=cpu", "--ckpt_path=last") == 0
    assert "Padding with" not in capsys.readouterr().out  # the checkpoint has the right one
    checkpoint = next(tmp_path.rglob("best.ckpt"))
    saved = torch.load(checkpoint, weights_only=True)
    own = saved["hyper_parameters"]
    assert json.loads(own["architecture"])["pad_token_id"] == 0
    expected = logits(Predictor(checkpoint), TEXTS)
    own["architecture"] = json.dumps(json.loads(own["architecture"]) | {"pad_token_id": 7})
    torch.save(saved, "old.ckpt")
    assert torch.equal(logits(Predictor(Path("old.ckpt")), TEXTS), expected)
    assert glue_lit(monkeypatch, "validate", "--ckpt_path=best", "--json") == 0
    scores = json.loads(capsys.readouterr().out)["metrics"]
    torch.save(saved, checkpoint)
    assert glue_lit(monkeypatch, "validate", "--ckpt_path=best", "--json") == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == scores


def test_a_padding_id_within_a_configuration_of_several(write_model_folder: Write, tmp_path: Path) -> None:
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = _GROUPED | {"vocab_size": 200, "pad_token_id": 7, "layer_types": ["sliding_attention", "full_attention"]}
    sizes = {"text_config": text, "vision_config": vision | {"image_size": 28, "patch_size": 14}}
    folder = write_model_folder("gemma3", sizes, pad_token="[PAD]")
    found = Predictor(fitted(folder, tmp_path))
    saved = json.loads(torch.load(tmp_path / "x.ckpt", weights_only=True)["hyper_parameters"]["architecture"])
    assert saved["text_config"]["pad_token_id"] == 0
    together = logits(found, TEXTS)
    for number, text_of_it in enumerate(TEXTS):
        assert torch.allclose(logits(found, [text_of_it])[0], together[number], atol=1e-5)


@pytest.mark.parametrize("kind", DEPENDENT)
def test_a_model_that_depends_on_padding_is_scored_without_padding(
    kind: str, write_model_folder: Write, tmp_path: Path
) -> None:
    folder = write_model_folder(kind, DEPENDENT[kind] | {"pad_token_id": 0}, pad_token="[PAD]")
    predictor = Predictor(fitted(folder, tmp_path))
    found = logits(predictor, TEXTS)
    for number, text in enumerate(TEXTS):
        assert torch.allclose(logits(predictor, [text])[0], found[number], atol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    classifier = predictor._replicas[0]
    with torch.inference_mode():
        padded = classifier(dict(tokenizer(TEXTS, padding=True, padding_side="right", return_tensors="pt")))
    assert not torch.allclose(padded, found, atol=1e-4)  # so it has to be


# ---------------------------------------------------------------- segments


def test_segments_of_pairs_from_training_to_export(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an architecture whose tokenizer's class names none: each way to score a pair uses both segments."""
    monkeypatch.chdir(tmp_path)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tiny_model / "tokenizer.json"), pad_token="[PAD]", unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"], model_max_length=64,
    )  # fmt: skip
    tokenizer.save_pretrained("albert")
    config = AutoConfig.for_model("albert", vocab_size=len(tokenizer), embedding_size=16, **_ENCODER)
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    with torch.no_grad():
        model.embeddings.token_type_embeddings.weight.normal_()
    model.save_pretrained("albert")
    fit = ("--data.task=rte", "--data.source=demo", "--model.name_or_path=albert", "--data.train_limit=32")
    others = ("--trainer.max_epochs=1", "--trainer.precision=32-true", "--trainer.accelerator=cpu")
    assert glue_lit(monkeypatch, "fit", *fit, *others, "--data.validation_limit=20") == 0
    for format in ("transformers", "onnx"):
        assert glue_lit(monkeypatch, "export", "--output", format, "--format", format) == 0
    split = ("--data.predict_split=validation", "--data.validation_limit=null")
    assert glue_lit(monkeypatch, "predict", "--ckpt_path=best", *split) == 0
    lines = next(tmp_path.rglob("validation.jsonl")).read_text(encoding="utf-8").splitlines()
    predicted = [json.loads(line)["probabilities"] for line in lines[:8]]
    texts = open_split(get_task("rte"), "demo", "validation").read()
    pairs = list(zip(texts.texts_a[:8], texts.texts_b or (), strict=False))

    classify = pipeline("text-classification", "transformers", top_k=None)
    given = [{"text": a, "text_pair": b} for a, b in pairs]
    theirs = [{one["label"]: one["score"] for one in row} for row in classify(given, truncation=True, batch_size=8)]
    onnx = onnx_logits(Path("onnx/model.onnx"))
    read = AutoTokenizer.from_pretrained("onnx")
    inputs = read(*map(list, zip(*pairs, strict=True)), truncation=True, padding=True, return_tensors="pt")
    capsys.readouterr()
    assert glue_lit(monkeypatch, "predict", "--text", pairs[0][0], "--text_pair", pairs[0][1], "--json") == 0
    alone = json.loads(capsys.readouterr().out)["probabilities"]
    for number, (row, of_onnx) in enumerate(zip(predicted, onnx(inputs).softmax(dim=1).tolist(), strict=True)):
        assert theirs[number] == pytest.approx(row, abs=1e-5)
        assert of_onnx == pytest.approx(list(row.values()), abs=1e-4)
    assert alone == pytest.approx(predicted[0], abs=1e-5)

    exported = AutoModelForSequenceClassification.from_pretrained("transformers").eval()
    with torch.inference_mode():
        plain = exported(**inputs | {"token_type_ids": torch.zeros_like(inputs["input_ids"])}).logits.softmax(dim=1)
    assert float((plain - torch.tensor([list(row.values()) for row in predicted])).abs().max()) > 1e-4


def test_a_checkpoint_trained_without_segments_is_resumed_without(tiny_model: Path) -> None:
    names = ["input_ids", "attention_mask"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tiny_model / "tokenizer.json"), pad_token="[PAD]", model_input_names=names
    )
    architecture = json.dumps({"model_type": "albert", "type_vocab_size": 2, "pad_token_id": 0})
    data = GLUEDataModule("rte", "nowhere", "demo")
    data.use_checkpoint(
        {"hyper_parameters": {"architecture": architecture}, "GLUEDataModule": {"tokenizer": pack(tokenizer)}}
    )
    assert data.tokenizer.model_input_names == names
    assert "token_type_ids" not in data.dataset("validation")[[0, 1]]


def test_a_fit_padded_with_the_end_of_text_token_is_resumed_exactly(
    write_model_folder: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedding of the padding token has no gradient, before a resume as after it."""
    monkeypatch.chdir(tmp_path)
    folder = write_model_folder("qwen2", DECODERS["qwen2"], eos_token="[SEP]")
    settings = {"data.task": "rte", "data.source": "demo", "model.name_or_path": folder, "model.schedule": "constant",
                "data.train_limit": 32, "data.validation_limit": 20, "model.learning_rate": 1e-2,
                "trainer.accelerator": "cpu", "trainer.precision": "32-true"}  # fmt: skip
    fit = [f"--{name}={value}" for name, value in settings.items()]
    assert glue_lit(monkeypatch, "fit", *fit, "--trainer.max_epochs=2") == 0
    assert glue_lit(monkeypatch, "fit", *fit, "--trainer.max_epochs=1") == 0
    assert glue_lit(monkeypatch, "fit", "--ckpt_path=last", "--trainer.max_epochs=2") == 0
    whole, cut = (
        torch.load(path, weights_only=True)["state_dict"] for path in sorted(tmp_path.rglob("last.ckpt"))
    )  # fmt: skip
    assert whole.keys() == cut.keys()
    for name, value in whole.items():
        assert torch.equal(value, cut[name]), name


@pytest.mark.slow
def test_logits_of_no_other_architecture_depend_on_padding(tmp_path: Path) -> None:
    """Each one that is not evaluated in batches of equal lengths gives a text the same logits in a padded batch."""
    texts = rows(TEXTS)[0][0]
    wrong, compared = {}, 0
    for kind in architectures():
        folder = str(tmp_path / kind)
        write_tiny(kind, tmp_path / kind)
        data = GLUEDataModule("sst2", folder, "demo")
        if needs_equal_lengths(load_config(folder, "main", False)):
            continue
        classifier = SequenceClassifier("sst2", folder)
        classifier.build_model(padding=data.padding)
        classifier.eval()
        store = tokenise(texts, data.tokenizer, data.max_length, is_regression=False)
        dataset = TokenDataset(store, torch.arange(len(TEXTS)), data.tokenizer)
        with torch.inference_mode():
            together = classifier(dataset[range(len(TEXTS))])
            alone = torch.cat([classifier(dataset[[number]]) for number in range(len(TEXTS))])
        compared += 1
        if not torch.allclose(together, alone, atol=1e-5):
            wrong[kind] = float((together - alone).abs().max())
    assert not wrong
    assert compared > 50
