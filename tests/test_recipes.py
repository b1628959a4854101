"""The recipes: each says what its source says, names its model and task, and trains a model of its architecture."""

import json
import math
import re
import string
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    BertConfig,
    BertTokenizerFast,
    DebertaV2Config,
    DebertaV2TokenizerFast,
    DistilBertConfig,
    DistilBertTokenizerFast,
    ModernBertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizerFast,
)

from glue_lit.__main__ import main
from glue_lit.cli.configure import ConfiguredCLI
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.data.tokenizers import load_tokenizer, pack, unpack
from glue_lit.encoder.heads import head_of
from glue_lit.encoder.layers import parameter_depths
from glue_lit.errors import ModelError
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.config_file import check_config
from glue_lit.training.classifier import SequenceClassifier

REPOSITORY = Path(__file__).resolve().parents[1]
RECIPES = sorted((REPOSITORY / "configs" / "recipes").rglob("*.yaml"))
OWN = "all-minilm-l6-v2"  # found and measured here: benchmarks/LEDGER.md
OUR_RECIPES = [recipe for recipe in RECIPES if recipe.parent.name == OWN]
PUBLISHED_RECIPES = [recipe for recipe in RECIPES if recipe.parent.name != OWN]
MODELS = {
    "distilbert-base-uncased": "distilbert-base-uncased",
    "bert-base-cased": "bert-base-cased",
    "roberta-base": "roberta-base",
    "deberta-v3-base": "microsoft/deberta-v3-base",
    "modernbert-base": "answerdotai/ModernBERT-base",
}

# ---------------------------------------------------------------- what the sources say

# Copied from the sources a second time: learning rate, batch, epochs, warm-up (a share below 1), longest input.
NOTEBOOK = (2e-5, 16, 5, 0, None)
RUN_GLUE = (2e-5, 32, 3, 0, 128)
PUBLISHED: dict[str, dict[str, tuple[float, int, int, float, int | None]]] = {
    "distilbert-base-uncased": dict.fromkeys(("cola", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"), NOTEBOOK)
    | {"sst2": (1e-5, 32, 3, 600, 128)},
    "bert-base-cased": dict.fromkeys(("cola", "sst2", "stsb", "qqp", "mnli", "qnli", "rte"), RUN_GLUE)
    | dict.fromkeys(("mrpc", "wnli"), (2e-5, 32, 5, 0, 128)),
    "roberta-base": {
        "mnli": (1e-5, 32, 10, 7432 / 123873, None),
        "qnli": (1e-5, 32, 10, 1986 / 33112, None),
        "qqp": (1e-5, 32, 10, 28318 / 113272, None),
        "rte": (2e-5, 16, 10, 122 / 2036, None),
        "sst2": (1e-5, 32, 10, 1256 / 20935, None),
        "mrpc": (1e-5, 16, 10, 137 / 2296, None),
        "cola": (1e-5, 16, 10, 320 / 5336, None),
        "stsb": (2e-5, 16, 10, 214 / 3598, None),
    },
    "deberta-v3-base": {
        "mnli": (1.5e-5, 64, 3, 1000, 256),
        "qnli": (2e-5, 32, 4, 500, None),  # 512: as many as the model takes
        "qqp": (2e-5, 64, 8, 500, 320),
        "rte": (2e-5, 32, 6, 100, 320),
        "sst2": (2e-5, 32, 6, 100, 128),
        "mrpc": (2e-5, 32, 6, 50, 128),
        "cola": (2e-5, 32, 6, 100, 64),
        "stsb": (2e-5, 32, 6, 100, 128),
    },
    "modernbert-base": {
        "mnli": (5e-5, 64, 1, 0.06, 256),
        "qnli": (8e-5, 64, 2, 0.06, 256),
        "qqp": (5e-5, 64, 10, 0.06, 256),
        "rte": (5e-5, 64, 3, 0.06, 256),
        "sst2": (8e-5, 64, 2, 0.06, 256),
        "mrpc": (5e-5, 64, 10, 0.06, 256),
        "cola": (8e-5, 64, 5, 0.06, 256),
        "stsb": (8e-5, 64, 10, 0.06, 256),
    },
}
# Weight decay, beta2, epsilon, clipping: the same for all tasks of a model.
OPTIMIZER = {
    "distilbert-base-uncased": (0.01, 0.999, 1e-8, 1.0),
    "bert-base-cased": (0.0, 0.999, 1e-8, 1.0),
    "roberta-base": (0.1, 0.98, 1e-6, 0.0),
    "deberta-v3-base": (0.01, 0.999, 1e-6, 1.0),
    "modernbert-base": (None, 0.98, 1e-6, 1.0),
}
# ModernBERT's table 6; its optimizer does not multiply it by the learning rate.
DECAY_PER_STEP = {
    "cola": 1e-6, "mnli": 5e-6, "mrpc": 5e-6, "qnli": 5e-6, "qqp": 5e-6, "rte": 1e-5, "sst2": 1e-5, "stsb": 5e-6
}  # fmt: skip
# Whose sources start from MNLI.
STARTS = {
    (model, task)
    for model in ("roberta-base", "deberta-v3-base", "modernbert-base")
    for task in ("rte", "mrpc", "stsb")
}

Parse = Callable[..., Any]


@pytest.fixture(scope="module")
def parse() -> Parse:
    """What the command's own parser makes of ``fit`` and some arguments."""

    class HasParserError(Exception):
        pass

    found = []

    class Command(ConfiguredCLI):
        def parse_arguments(self, parser: Any, args: Any) -> None:
            found.append(parser)
            raise HasParserError

    with pytest.raises(HasParserError):
        Command(CommandLine([], "fit"))
    return lambda *arguments: found[0].parse_args(["fit", *map(str, arguments)]).fit


def name_of(recipe: Path) -> str:
    return f"{recipe.parent.name}-{recipe.stem}"


def test_there_is_a_recipe_for_each_task_of_a_source() -> None:
    assert {(r.parent.name, r.stem) for r in PUBLISHED_RECIPES} == {
        (m, task) for m, tasks in PUBLISHED.items() for task in tasks
    }


@pytest.mark.parametrize("recipe", PUBLISHED_RECIPES, ids=name_of)
def test_a_recipe_has_the_values_of_its_source(recipe: Path, parse: Parse) -> None:
    check_config(str(recipe))
    found = parse("--config", recipe)
    model, data = found.model, found.data
    assert (model.name_or_path, data.task) == (MODELS[recipe.parent.name], recipe.stem)
    rate, batch, epochs, warmup, length = PUBLISHED[recipe.parent.name][recipe.stem]
    assert (model.learning_rate, data.batch_size, found.trainer.max_epochs, data.max_length) == (
        rate,
        batch,
        epochs,
        length,
    )
    assert model.warmup == pytest.approx(warmup, abs=0.001)
    decay, beta2, eps, clipping = OPTIMIZER[recipe.parent.name]
    if decay is None:
        assert model.weight_decay * rate == pytest.approx(DECAY_PER_STEP[recipe.stem])
    else:
        assert model.weight_decay == decay
    assert (model.schedule, model.adam_beta1, model.adam_beta2) == ("linear", 0.9, beta2)
    assert (model.adam_eps, model.max_grad_norm) == (eps, clipping)


@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
def test_a_recipe_sets_no_default(recipe: Path, parse: Parse) -> None:
    default = parse()
    for section, values in yaml.safe_load(recipe.read_text(encoding="utf-8")).items():
        for key, value in values.items():
            if key not in ("name_or_path", "task"):  # which say what the recipe is for
                assert default[section][key] != value, f"{section}.{key}"


@pytest.mark.parametrize("recipe", PUBLISHED_RECIPES, ids=name_of)
def test_the_comment_of_a_recipe_names_its_source_and_our_changes(
    recipe: Path, parse: Parse, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    comment = " ".join(line.removeprefix("#").strip() for line in lines)
    assert re.search(r"Source: .*(https://|on the Hub)", comment)
    assert "Ours: " in comment
    assert ("Start: from the encoder of an MNLI run" in comment) is ((recipe.parent.name, recipe.stem) in STARTS)
    command = lines[1].removeprefix("#   glue-lit fit ").split()
    assert command[:2] == ["--config", recipe.relative_to(REPOSITORY).as_posix()]
    assert ("--model.init_from" in command) is ((recipe.parent.name, recipe.stem) in STARTS)
    monkeypatch.chdir(REPOSITORY)
    assert parse(*command).data.task == recipe.stem


@pytest.mark.parametrize("recipe", OUR_RECIPES, ids=name_of)
def test_the_suite_trains_our_recipe_unchanged(recipe: Path, parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    check_config(str(recipe))
    lines = recipe.read_text(encoding="utf-8").splitlines()
    command = (
        next(line for line in lines if line.startswith("#   glue-lit fit ")).removeprefix("#   glue-lit fit ").split()
    )
    assert command[:2] == ["--config", recipe.relative_to(REPOSITORY).as_posix()]
    monkeypatch.chdir(REPOSITORY)
    found = parse(*command)
    suite = yaml.safe_load((REPOSITORY / "configs" / "suite" / f"{OWN}.yaml").read_text(encoding="utf-8"))["suite"]
    starts = suite["init_from"]
    if recipe.stem not in suite["tasks"]:  # what others start from: a file of the suite, or a run that it finds there
        run = f"{found.trainer.default_root_dir}/lightning_logs/{found.data.task}/version_0"
        assert {recipe.relative_to(REPOSITORY).as_posix(), run} & set(starts.values())
        return
    assert found.data.task == recipe.stem
    assert REPOSITORY / suite["recipes"].replace("{task}", recipe.stem) == recipe
    # What the suite does by itself is said in the file: the run or the model to start from.
    start, name = starts.get(recipe.stem), "sentence-transformers/all-MiniLM-L6-v2"
    if start is None or "/" in start:
        assert found.model.name_or_path == name
        expected = f"lightning_logs/{Path(start).stem}/version_0" if start and start.endswith(".yaml") else start
        assert found.model.init_from == expected
    else:
        assert (found.model.name_or_path, found.model.init_from) == (start, None)


# ---------------------------------------------------------------- one of each architecture, small

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
LENGTH = {"max_position_embeddings": 64}
CHARACTERS = string.ascii_letters + string.digits


def word_pieces() -> dict[str, int]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, *(f"##{c}" for c in CHARACTERS)]
    return {word: number for number, word in enumerate([*words, *string.punctuation])}


def byte_pieces(*special: str) -> dict[str, int]:
    return {piece: number for number, piece in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}


def distilbert() -> tuple[Any, Any]:
    words = word_pieces()
    config = DistilBertConfig(vocab_size=len(words), dim=32, n_layers=2, n_heads=2, hidden_dim=64, **LENGTH)
    return config, DistilBertTokenizerFast(vocab=words, model_max_length=64)


def bert() -> tuple[Any, Any]:
    words = word_pieces()
    tokenizer = BertTokenizerFast(vocab=words, do_lower_case=False, model_max_length=64)
    return BertConfig(vocab_size=len(words), **LENGTH, **SMALL), tokenizer


def roberta() -> tuple[Any, Any]:
    """Positions begin after the padding id, so that 62 tokens are what it takes."""
    pieces = byte_pieces("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    config = RobertaConfig(vocab_size=len(pieces), pad_token_id=1, type_vocab_size=1, **LENGTH, **SMALL)
    return config, RobertaTokenizerFast(vocab=pieces, merges=[])


def deberta() -> tuple[Any, Any]:
    """As deberta-v3-base: relative positions in buckets, no position embeddings, a tokenizer without a limit."""
    special = [("[PAD]", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[UNK]", 0.0)]
    pieces = [*special, ("▁", -2.0), *((c, -4.0) for c in string.printable[:94])]
    tokenizer = DebertaV2TokenizerFast(vocab=pieces, unk_id=3)
    config = DebertaV2Config(
        vocab_size=len(tokenizer), relative_attention=True, position_buckets=16, pos_att_type=["p2c", "c2p"],
        share_att_key=True, norm_rel_ebd="layer_norm", position_biased_input=False, type_vocab_size=0,
        pooler_hidden_size=32, **LENGTH, **SMALL,
    )  # fmt: skip
    return config, tokenizer


def modernbert() -> tuple[Any, Any]:
    """A layer that attends to all, then one with a window that is shorter than the inputs."""
    pieces = byte_pieces("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
    tokenizer = Tokenizer(models.BPE(vocab=pieces, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    config = ModernBertConfig(
        vocab_size=len(pieces), global_attn_every_n_layers=2, local_attention=8, pad_token_id=3, bos_token_id=1,
        eos_token_id=2, cls_token_id=1, sep_token_id=2, **LENGTH, **SMALL,
    )  # fmt: skip
    names = {
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
    }
    inputs = ["input_ids", "attention_mask"]
    return config, PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **names)


ARCHITECTURES = {
    "distilbert-base-uncased": distilbert,
    "bert-base-cased": bert,
    "roberta-base": roberta,
    "deberta-v3-base": deberta,
    "modernbert-base": modernbert,
}


def small_model(name: str, folder: Path) -> Path:
    """A folder with random weights of the architecture, and a tokenizer of its kind that knows characters."""
    config, tokenizer = ARCHITECTURES[name]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Watched:
    """A fit's weights before it, and its last loss and logits as training leaves them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fit = Trainer.fit

        @wraps(fit)  # whose signature the command reads
        def watched_fit(trainer: Trainer, model: SequenceClassifier, datamodule: GLUEDataModule, **more: Any) -> None:
            self.before = {name: value.clone() for name, value in model.model.state_dict().items()}
            fit(trainer, model, datamodule=datamodule, **more)
            assert model.parts.curves.last_loss is not None
            self.loss, self.steps = float(model.parts.curves.last_loss), trainer.global_step
            self.after = {name: value.clone() for name, value in model.model.state_dict().items()}
            self.batch = datamodule.dataset("validation_matched").__getitems__(range(9))
            self.logits = logits(model, self.batch)

        monkeypatch.setattr(Trainer, "fit", watched_fit)

    def changed(self, classifier: SequenceClassifier, part: Iterable[torch.nn.Parameter]) -> bool:
        """Whether training has moved a weight of a part of the model."""
        weights = {id(parameter) for parameter in part}
        names = [name for name, parameter in classifier.model.named_parameters() if id(parameter) in weights]
        return any(not torch.equal(self.before[name], self.after[name]) for name in names)


@torch.no_grad()
def logits(classifier: SequenceClassifier, batch: Any) -> torch.Tensor:
    found: torch.Tensor = classifier.eval()(batch)
    return found


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_recipe_trains_a_model_of_its_architecture(
    name: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = small_model(name, tmp_path / "model")
    recipe = REPOSITORY / "configs" / "recipes" / name / "mnli.yaml"
    settings = {
        "model.name_or_path": folder,
        "data.source": "demo",
        "data.train_limit": 2 * PUBLISHED[name]["mnli"][1],  # so that two steps are an epoch, and it is validated
        "data.validation_limit": 9,
        "trainer.max_steps": 2,
        "trainer.accelerator": "cpu",
        "trainer.precision": precision,
    }
    watched = Watched(monkeypatch)
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    monkeypatch.setattr(sys, "argv", ["glue-lit", "fit", "--config", str(recipe), *arguments])
    main()
    out, err = capsys.readouterr()
    assert "Warning" not in out + err
    assert watched.steps == 2
    assert math.isfinite(watched.loss)

    best = tmp_path / "lightning_logs" / "mnli" / "version_0" / "checkpoints" / "best.ckpt"
    loaded = SequenceClassifier.load_from_checkpoint(best, weights_only=True)
    assert torch.equal(logits(loaded, watched.batch), watched.logits)
    assert watched.batch["input_ids"].shape[1] <= 64  # some are longer
    head = head_of(loaded.model)
    assert head is not None
    depths, layers = parameter_depths(loaded.model)
    assert layers == 2
    for depth in range(layers + 2):
        assert watched.changed(loaded, [p for p in loaded.model.parameters() if depths[id(p)] == depth])
    assert watched.changed(loaded, head[2].parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_tokenizer_of_an_architecture_survives_a_checkpoint(name: str, tmp_path: Path) -> None:
    folder = small_model(name, tmp_path)
    tokenizer = load_tokenizer(str(folder), "main", False)
    again = unpack(pack(tokenizer), json.loads((folder / "config.json").read_text())["model_type"])
    texts = ["The cat, sat.", "Nobody  is\tünder the mat\n"], ["No", ""]
    expected = tokenizer(*texts)
    assert again(*texts).data == expected.data
    assert tokenizer.unk_token_id not in expected["input_ids"][0]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_rate_of_dropout_is_that_of_all_its_dropouts(name: str, tmp_path: Path) -> None:
    folder = str(small_model(name, tmp_path))
    for rate in (0.0, 0.25):
        classifier = SequenceClassifier("rte", folder, dropout=rate)
        classifier.configure_model()
        modules = dict(classifier.model.named_modules())
        assert {module.p for module in modules.values() if isinstance(module, torch.nn.Dropout)} == {rate}
        assert not any("drop" in name and isinstance(module, torch.nn.Identity) for name, module in modules.items())
        inputs = {"input_ids": torch.arange(5, 45).view(2, 20), "attention_mask": torch.ones(2, 20, dtype=torch.int64)}
        with torch.no_grad():
            assert torch.equal(classifier(inputs), classifier(inputs)) is (rate == 0)


def test_the_tokenizer_of_deberta_v3_is_a_sentencepiece_model(tmp_path: Path) -> None:
    """On the Hub it has no tokenizer.json, only spm.model."""
    from sentencepiece import sentencepiece_model_pb2

    folder = small_model("deberta-v3-base", tmp_path)
    expected = load_tokenizer(str(folder), "main", False)
    pieces = sorted(expected.get_vocab().items(), key=lambda item: item[1])
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    proto = sentencepiece_model_pb2.ModelProto()
    for piece, number in pieces[:99]:  # [MASK] is none of them
        kind = {0: 3, 1: 3, 2: 3, 3: 2}.get(number, 1)  # control, control, control, unknown; the others are normal
        proto.pieces.add(piece=piece, score=0.0 if number < 4 else -2.0 if number == 4 else -4.0, type=kind)
    proto.trainer_spec.model_type, proto.trainer_spec.unk_id = 1, 3
    (folder / "spm.model").write_bytes(proto.SerializeToString())
    tokenizer = load_tokenizer(str(folder), "main", False)
    texts = ["The cat, sat.", "Nobody is ünder the mat"], ["No", "A man."]
    assert tokenizer(*texts).data == expected(*texts).data
    assert unpack(pack(tokenizer), "deberta-v2")(*texts).data == expected(*texts).data


def test_an_attention_that_an_architecture_does_not_have_is_reported(tmp_path: Path) -> None:
    classifier = SequenceClassifier("rte", str(small_model("deberta-v3-base", tmp_path)), attention="sdpa")
    with pytest.raises(ModelError, match=r"Leave model\.attention out, .* `--model.attention eager`"):
        classifier.configure_model()
