import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DistilBertConfig, DistilBertModel

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.errors import ModelError, UsageError
from glue_lit.tasks.custom import CustomTask
from glue_lit.tasks.glue import TASKS
from glue_lit.training.batch_seeds import BatchSeeds
from glue_lit.training.divergence import DivergenceGuard
from glue_lit.training.lightning_internals.loops import FinalValidation
from glue_lit.training.optimizer import RecipeOptimizer
from glue_lit.training.position import Position
from glue_lit.training.tensorboard.points import TrainingCurves


def quiet_trainer(**options: object) -> Trainer:
    return Trainer(
        **{  # type: ignore[arg-type]
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "max_epochs": 1,
            **options,
        }
    )


def data(tiny_model: Path, task: str = "cola", **options: object) -> GLUEDataModule:
    limits = {"train_limit": 24, "validation_limit": 13, "test_limit": 7}
    return GLUEDataModule(task, str(tiny_model), source="demo", **{**limits, **options})  # type: ignore[arg-type]


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:.*number of training batches"),
    pytest.mark.filterwarnings("ignore:.*lr_scheduler.step"),
]


def built(tiny_model: Path, **options: object) -> SequenceClassifier:
    classifier = SequenceClassifier(name_or_path=str(tiny_model), **options)  # type: ignore[arg-type]
    classifier.configure_model()
    return classifier


@pytest.mark.parametrize("settings", [{}, {"peft": {"peft_type": "LORA", "r": 2}}])
def test_a_model_is_built_on_the_processor_whatever_the_default_device(
    tiny_model: Path, settings: dict[str, Any]
) -> None:
    """Lightning calls `configure_model` inside ``torch.device("cuda")``; each seed has one head on all devices."""
    torch.manual_seed(7)
    expected = built(tiny_model, **settings).state_dict()
    torch.manual_seed(7)
    with torch.device("meta"):
        found = built(tiny_model, **settings).state_dict()
    assert {value.device.type for value in found.values()} == {"cpu"}
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


@pytest.mark.parametrize("task", sorted(TASKS))
def test_head_and_config_fit_the_task(tiny_model: Path, task: str) -> None:
    config = built(tiny_model, task=task).model.config
    spec = TASKS[task]
    assert config.num_labels == spec.num_labels
    assert tuple(config.id2label.values()) == (spec.labels or ("score",))
    assert config.label2id == {name: number for number, name in config.id2label.items()}


def test_dropout_is_on_while_training(tiny_model: Path) -> None:
    # from_pretrained gives the model in eval mode, and Lightning would keep it so
    modes = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:  # type: ignore[no-untyped-def]
            modes.append({module.training for module in pl_module.model.modules()})

        def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0) -> None:  # type: ignore[no-untyped-def]
            modes.append({module.training for module in pl_module.model.modules()})

    trainer = quiet_trainer(callbacks=[Watch()], max_epochs=2)
    trainer.fit(SequenceClassifier("cola", str(tiny_model)), data(tiny_model))
    assert modes == [{True}, {True}, {False}] * 2


def test_half_precision_weights_are_trained_in_float32(tiny_model: Path, tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model, dtype=torch.float16)
    model.save_pretrained(tmp_path)
    assert {p.dtype for p in built(tmp_path).model.parameters()} == {torch.float32}


def test_a_head_of_another_task_is_replaced(tiny_model: Path, tmp_path: Path) -> None:
    AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=7).save_pretrained(tmp_path)
    assert built(tmp_path, task="mnli").model.config.num_labels == 3


def test_logits_equal_the_hugging_face_models(tiny_model: Path) -> None:
    classifier = built(tiny_model, task="rte").eval()
    batch = data(tiny_model, "rte").dataset("train").__getitems__(range(5))
    with torch.no_grad():
        expected = classifier.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            token_type_ids=batch["token_type_ids"],
            labels=batch["labels"],
        )
        logits = classifier(batch)
    assert torch.equal(logits, expected.logits)
    torch.testing.assert_close(classifier.loss.plain(logits, batch["labels"]), expected.loss)


def test_regression_loss_equals_hugging_faces(tiny_model: Path) -> None:
    classifier = built(tiny_model, task="stsb").eval()
    batch = data(tiny_model, "stsb").dataset("train").__getitems__(range(6))
    with torch.no_grad():
        inputs = {key: batch[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
        expected = classifier.model(**inputs, labels=batch["labels"]).loss
        torch.testing.assert_close(classifier.loss.plain(classifier(batch), batch["labels"]), expected)


def test_a_model_gets_only_what_its_forward_takes(tiny_model: Path, tmp_path: Path) -> None:
    # DistilBERT's forward takes no token types, and would silently swallow them.
    vocabulary = len(AutoTokenizer.from_pretrained(tiny_model))
    config = DistilBertConfig(vocab_size=vocabulary, dim=16, hidden_dim=16, n_layers=1, n_heads=2)
    DistilBertModel(config).save_pretrained(tmp_path)
    classifier = built(tmp_path).eval()
    batch = data(tiny_model).dataset("train").__getitems__([0, 1])
    assert "token_type_ids" in batch
    assert classifier.accepted & set(batch) == {"input_ids", "attention_mask"}
    assert classifier(batch).shape == (2, 2)


def test_gradients_are_clipped(tiny_model: Path) -> None:
    norms = []

    class Watch(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:  # type: ignore[no-untyped-def]
            grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
            norms.append(float(torch.stack([g.norm() for g in grads]).norm()))

    # Fused AdamW clips in its step, after on_before_optimizer_step: look after the step.
    class After(Callback):
        def on_train_start(self, trainer, pl_module) -> None:  # type: ignore[no-untyped-def]
            def look(*_: object) -> None:
                grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
                clipped.append(float(torch.stack([g.norm() for g in grads]).norm()))

            trainer.optimizers[0].register_step_post_hook(look)

    clipped: list[float] = []
    trainer = quiet_trainer(callbacks=[Watch(), After()], max_epochs=2)
    trainer.fit(SequenceClassifier("cola", str(tiny_model), max_grad_norm=0.01), data(tiny_model))
    assert min(norms) > 0.01
    assert len(clipped) == len(norms)
    assert max(clipped) <= 0.01 * (1 + 1e-4)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped_by_value(tiny_model: Path, precision: str) -> None:
    most = []

    class After(Callback):
        def on_train_start(self, trainer, pl_module) -> None:  # type: ignore[no-untyped-def]
            def look(*_: object) -> None:
                most.append(max(float(p.grad.abs().max()) for p in pl_module.parameters() if p.grad is not None))

            trainer.optimizers[0].register_step_post_hook(look)

    limits = {"gradient_clip_val": 0.001, "gradient_clip_algorithm": "value"}
    quiet_trainer(callbacks=[After()], precision=precision, **limits).fit(
        SequenceClassifier("cola", str(tiny_model)), data(tiny_model)
    )
    assert most
    assert max(most) == pytest.approx(0.001, rel=1e-5)


def test_training_twice_with_one_seed_gives_the_same_weights(tiny_model: Path) -> None:
    def train() -> dict[str, torch.Tensor]:
        seed_everything(7, verbose=False)
        classifier = SequenceClassifier("rte", str(tiny_model), learning_rate=1e-3)
        quiet_trainer().fit(classifier, data(tiny_model, "rte"))
        return classifier.state_dict()

    first, second = train(), train()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("task", ["stsb", "mnli"])
def test_scores_are_over_each_example_once(tiny_model: Path, task: str) -> None:
    # whatever the batch size, and with both of MNLI's splits by name
    def scores(size: int) -> dict[str, float]:
        seed_everything(1, verbose=False)
        classifier = SequenceClassifier(task, str(tiny_model))
        quiet_trainer().validate(classifier, data(tiny_model, task, eval_batch_size=size), verbose=False)
        return classifier.scores

    one, many = scores(1), scores(5)
    assert (
        set(one)
        == {
            "stsb": {"val/pearson", "val/spearmanr", "val/loss"},
            "mnli": {"val_matched/accuracy", "val_matched/loss", "val_mismatched/accuracy", "val_mismatched/loss"},
        }[task]
    )
    for name, value in one.items():
        # an untrained model's scores lie within 0.01 of each other, so rounding shows in their correlation
        correlation = name.endswith(("pearson", "spearmanr"))
        assert value == pytest.approx(many[name], abs=1e-2 if correlation else 1e-6), name


def test_a_checkpoint_needs_neither_hub_nor_base_weights(tiny_model: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    classifier, module = SequenceClassifier("rte", str(base)), data(tiny_model, "rte")
    trainer = quiet_trainer()
    classifier.builder.commit = "c0ffee"  # as if the base weights were from the Hub
    trainer.fit(classifier, module)
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    shutil.rmtree(base)

    loaded = SequenceClassifier.load_from_checkpoint(tmp_path / "saved.ckpt", weights_only=True)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in classifier.state_dict().items())
    assert loaded.model.config.label2id == {"entailment": 0, "not_entailment": 1}

    fresh = SequenceClassifier("rte", str(base))  # through the trainer, as the command does it
    fresh.use_architecture_of(torch.load(tmp_path / "saved.ckpt", weights_only=True))
    quiet_trainer().validate(fresh, module, ckpt_path=str(tmp_path / "saved.ckpt"), weights_only=True, verbose=False)
    quiet_trainer().validate(classifier, module, verbose=False)
    assert fresh.scores == classifier.scores

    next_one = SequenceClassifier("rte", str(base), init_from=str(tmp_path / "saved.ckpt"))
    next_one.configure_model()
    assert loaded.builder.commit == fresh.builder.commit == next_one.builder.commit == "c0ffee"


def test_a_checkpoint_of_other_labels_is_refused(tiny_model: Path) -> None:
    architecture = built(tiny_model, task="rte").model.config.to_json_string(use_diff=False)
    classifier = SequenceClassifier("wnli", str(tiny_model), architecture=architecture)
    # The same two names in another order would swap the predictions.
    with pytest.raises(ModelError, match="labels are entailment, not_entailment; task wnli has not_entailment, ent"):
        classifier.configure_model()


def test_hyper_parameters_are_plain_values(tiny_model: Path) -> None:
    # Checkpoints are read with weights_only, which refuses our classes.
    values = dict(SequenceClassifier("cola", str(tiny_model)).hparams)
    assert json.loads(json.dumps(values)) == values


@pytest.mark.parametrize("flag", ["learning_rate", "weight_decay", "warmup", "max_grad_norm", "r_drop"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_numbers_out_of_range(flag: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"model\.{flag}: got .*, allowed: a number from 0 up"):
        SequenceClassifier(**{flag: value})  # type: ignore[arg-type]


def test_unknown_model_says_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"could not load the model of 'no-such-model'\. HF_HUB_OFFLINE is set"):
        SequenceClassifier("cola", "no-such-model").configure_model()


def test_folder_without_a_model_lists_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ModelError, match=r"The folder holds notes\.txt; a model needs config\.json"):
        SequenceClassifier("cola", str(tmp_path)).configure_model()


@pytest.mark.parametrize("task", ["cola", "stsb"])
def test_scores_are_float32_in_bfloat16_too(tiny_model: Path, task: str) -> None:
    # In bfloat16 a score between 2 and 4 is a multiple of 1/64, so that different rows would tie.
    classifier = built(tiny_model, task=task).eval()
    batch = next(iter(data(tiny_model, task).train_dataloader()))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = classifier(batch)
        bare = classifier.model.classifier
        rounded = torch.nn.functional.linear(torch.ones(1, bare.in_features), bare.weight, bare.bias)
    assert rounded.dtype is torch.bfloat16  # what the plain layer gives
    assert logits.dtype is torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


def test_the_head_is_a_linear_layer_under_its_usual_names(tiny_model: Path) -> None:
    classifier = built(tiny_model)
    assert isinstance(classifier.model.classifier, torch.nn.Linear)
    plain = AutoModelForSequenceClassification.from_pretrained(tiny_model)
    assert list(classifier.model.state_dict()) == list(plain.state_dict())


def test_only_rows_in_use_are_trained(tiny_model: Path) -> None:
    shapes, tables = [], []

    class Watch(Callback):
        def on_train_end(self, trainer, pl_module) -> None:  # type: ignore[no-untyped-def]
            states = trainer.optimizers[0].state.values()
            shapes.extend(tuple(state["exp_avg"].shape) for state in states)

        def on_train_batch_end(self, trainer, pl_module, *_: object) -> None:  # type: ignore[no-untyped-def]
            tables.append(id(pl_module.model.get_input_embeddings()))

    classifier, module = SequenceClassifier("cola", str(tiny_model), weight_decay=0.5), data(tiny_model)
    quiet_trainer(callbacks=[Watch()]).fit(classifier, module)
    assert len(set(tables)) == 1
    assert (len(module.splits.training_tokens()), 32) in shapes
    before = AutoModelForSequenceClassification.from_pretrained(tiny_model).get_input_embeddings().weight
    after = classifier.state_dict()["model.bert.embeddings.word_embeddings.weight"]
    seen = torch.cat([batch["input_ids"].flatten() for batch in module.train_dataloader()]).unique()
    moved = (after - before).abs().amax(dim=1) > 1e-6
    assert moved[seen[seen != module.tokenizer.pad_token_id]].all()


def test_a_custom_optimizer_gets_the_whole_embedding(tiny_model: Path) -> None:
    class Own(SequenceClassifier):
        def configure_optimizers(self):  # type: ignore[no-untyped-def]
            return torch.optim.SGD(self.parameters(), lr=0.1)

    classifier = Own("cola", str(tiny_model))
    quiet_trainer().fit(classifier, data(tiny_model))
    assert type(classifier.model.get_input_embeddings()) is torch.nn.Embedding


def test_class_weights_do_not_depend_on_the_batch(tiny_model: Path) -> None:
    settings = CustomTask(
        text="text", kind="classification", labels=["a", "b", "c"], metrics=["accuracy"], class_weights=[0.5, 1.0, 3.0]
    ).settings()
    model = SequenceClassifier("reviews", str(tiny_model), custom=settings)
    torch.manual_seed(0)
    logits, labels = torch.randn(12, 3), torch.tensor([0, 1, 2] * 4)
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none") * torch.tensor([0.5, 1, 3])[labels]
    torch.testing.assert_close(model.loss(logits, labels), each.mean())
    halves = [model.loss(logits[half], labels[half]) for half in (slice(0, 6), slice(6, 12))]
    torch.testing.assert_close(sum(halves) / 2, each.mean())
    torch.testing.assert_close(model.loss.plain(logits, labels), torch.nn.functional.cross_entropy(logits, labels))


@pytest.mark.parametrize("task", ["cola", "stsb"])
def test_r_drop_takes_two_passes_with_masks_of_their_own(tiny_model: Path, task: str) -> None:
    def loss(**settings: float) -> float:
        """The loss of the first batch."""
        classifier = SequenceClassifier(task, str(tiny_model), **settings)  # type: ignore[arg-type]
        seed_everything(7)
        quiet_trainer(max_steps=1).fit(classifier, data(tiny_model, task))
        assert classifier.parts.curves.last_loss is not None
        return float(classifier.parts.curves.last_loss)

    plain = loss(dropout=0.0)
    assert loss(dropout=0.0, r_drop=5.0) == pytest.approx(plain)  # both passes are the same
    assert loss(dropout=0.5, r_drop=5.0) > loss(dropout=0.5, r_drop=1e-9)
    assert loss(dropout=0.0, label_smoothing=0.5) != plain or task == "stsb"


def test_dropout_has_the_given_rate(tiny_model: Path) -> None:
    def rates(**settings: float) -> set[float]:
        return {m.p for m in built(tiny_model, **settings).model.modules() if isinstance(m, torch.nn.Dropout)}

    assert rates() == {0.1}
    assert rates(dropout=0.3) == {0.3}
    for flag in ("dropout", "label_smoothing"):
        with pytest.raises(UsageError, match=rf"model\.{flag}: got 1\.0, allowed: from 0 up, below 1"):
            SequenceClassifier("cola", str(tiny_model), **{flag: 1.0})  # type: ignore[arg-type]


def test_a_plain_trainer_gets_the_parts_of_a_fit_once(tiny_model: Path) -> None:
    classifier, trainer = SequenceClassifier("cola", str(tiny_model)), quiet_trainer()
    for _ in range(2):
        trainer.fit(classifier, data(tiny_model))
        trainer.validate(classifier, data(tiny_model), verbose=False)
    kinds = (RecipeOptimizer, Position, BatchSeeds, DivergenceGuard, TrainingCurves, FinalValidation)
    for kind in kinds:
        assert sum(isinstance(callback, kind) for callback in trainer.callbacks) == 1, kind
    assert Position.of(trainer) is classifier.parts.position
    assert DivergenceGuard.of(trainer) is classifier.parts.guard
    assert TrainingCurves.of(trainer) is classifier.parts.curves
    assert Position.of(quiet_trainer()) is None


def test_building_the_model_changes_no_hyperparameter(tiny_model: Path) -> None:
    classifier = SequenceClassifier("cola", str(tiny_model), peft={"peft_type": "LORA", "r": 4})
    before = copy.deepcopy(dict(classifier.hparams))
    classifier.configure_model()
    assert dict(classifier.hparams) == before
    assert classifier.builder.peft is not None
    assert classifier.builder.peft["target_modules"]  # chosen by peft
