"""The recipe of a run: every setting that changes what comes out is on the model card and in the report."""

import inspect
from typing import Any

import pytest
import yaml
from lightning.pytorch import Trainer

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.engine.search_space import nest_keys
from glue_lit.outputs.model_card import model_card
from glue_lit.runs.settings import Setting, settings_of
from glue_lit.tasks.glue import TASKS
from glue_lit.training.callbacks.checkpoints import BestCheckpoint
from glue_lit.training.classifier import SequenceClassifier
from glue_lit.training.provenance import recipe_of

# What the recipe leaves out of Lightning's: the machine, the place of the run, evaluation, what is refused.
OF_TRAINER = {
    "accelerator", "accumulate_grad_batches", "devices", "num_nodes", "logger", "fast_dev_run", "limit_test_batches",
    "limit_predict_batches", "overfit_batches", "num_sanity_val_steps", "log_every_n_steps", "enable_checkpointing",
    "enable_progress_bar", "enable_model_summary", "benchmark", "inference_mode", "use_distributed_sampler",
    "profiler", "detect_anomaly", "barebones", "sync_batchnorm", "reload_dataloaders_every_n_epochs",
    "default_root_dir", "enable_autolog_hparams", "model_registry",
}  # fmt: skip

CLASSES: dict[str, Any] = {
    "model": SequenceClassifier, "data": GLUEDataModule, "checkpoint": BestCheckpoint, "trainer": Trainer,
}  # fmt: skip


def test_every_trainer_setting_changes_the_recipe_or_is_left_out_on_purpose() -> None:
    names = [*inspect.signature(Trainer.__init__).parameters][1:]
    assert {name for name in names if not recipe_of({"trainer": {name: "odd"}})} == OF_TRAINER


@pytest.mark.parametrize(("section", "owner"), [("model", SequenceClassifier), ("data", GLUEDataModule)])
def test_every_setting_of_ours_is_in_the_recipe_unless_described_otherwise(section: str, owner: type) -> None:
    for name, setting in settings_of(owner).items():
        assert (list(recipe_of({section: {name: "odd"}})) == [setting.label]) is (setting.card != "never"), name


def test_settings_stand_in_places_of_their_own() -> None:
    owners = (SequenceClassifier, GLUEDataModule, BestCheckpoint)
    rows = [setting.row for owner in owners for setting in settings_of(owner).values() if setting.card != "never"]
    assert len(set(rows)) == len(rows)
    assert max(rows) < Setting().row


def test_settings_without_effect_are_left_out() -> None:
    defaults: dict[str, Any] = {
        f"{section}.{name}": parameter.default
        for section, owner in CLASSES.items()
        for name, parameter in inspect.signature(owner.__init__).parameters.items()
        if name != "self" and (section, name) != ("data", "custom")
    }
    assert recipe_of(nest_keys(defaults)) == {
        "Model": "distilbert-base-uncased",
        "Learning rate": "2e-05",
        "Schedule": "linear",
        "Warm-up": "0.0",
        "Weight decay": "0.01",
        "Adam beta 1": "0.9",
        "Adam beta 2": "0.999",
        "Adam epsilon": "1e-08",
        "Largest gradient norm": "1.0",
        "Batch size per device": "16",
        "Batches of like lengths": "yes",
        "Data": "hub",
    }


CHANGED = {
    "model.name_or_path": "/home/me/models/bert",
    "model.freeze": 0,
    "model.dropout": 0.0,
    "model.r_drop": 1.0,
    "model.label_smoothing": 0.1,
    "model.average": 0.99,
    "model.attention": "eager",
    "model.layer_decay": 0.9,
    "model.peft": {"class_path": "peft.LoraConfig", "init_args": {"r": 8, "target_modules": ["query", "value"], "bias": "none"}},
    "data.custom.class_weights": [0.5, 2.0],
    "data.both_orders": True,
    "data.batch_size": 16,
    "data.train_limit": 2000,
    "trainer.accumulate_grad_batches": 2,
    "trainer.max_steps": 1500,
    "trainer.limit_train_batches": 1,
    "trainer.callbacks": [{"class_path": "lightning.pytorch.callbacks.Timer", "init_args": {"duration": "00:01:00:00"}}],
    "seed_everything": 1234,
}  # fmt: skip
SHOWN = {
    "Model": "models/bert",
    "Adapter": "LoraConfig (r 8, target_modules query, value)",
    "Frozen layers": "0",
    "Attention": "eager",
    "Dropout": "0.0",
    "Layer decay": "0.9",
    "Label smoothing": "0.1",
    "R-Drop": "1.0",
    "Moving average of weights": "0.99",
    "Class weights": "0.5, 2.0",
    "Batch size per device": "16 x 2",
    "Steps, at most": "1,500",
    "Batches of an epoch": "1",
    "Callbacks": "Timer (duration 00:01:00:00)",
    "Seed": "1234",
    "Training rows, at most": "2,000",
    "Pairs in both orders": "yes",
}


def test_settings_of_adamw_are_left_out_beside_an_optimizer_that_has_none() -> None:
    model = {"adam_beta1": 0.9, "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9}}}
    assert recipe_of({"model": model}) == {"Optimizer": "SGD (momentum 0.9)"}
    model["optimizer"] = {"class_path": "torch.optim.Muon"}
    assert recipe_of({"model": model}) == {"Optimizer": "Muon", "Adam beta 1": "0.9"}


def test_what_was_changed_is_shown() -> None:
    assert [*recipe_of(nest_keys(CHANGED)).items()] == [*SHOWN.items()]
    tokens = {"data": {"tokens_per_batch": 4096, "batch_size": 16}}
    assert recipe_of(tokens) == {"Batch size per device": "4,096 tokens"}


def test_the_model_card_has_all_of_it() -> None:
    record = {"model": "bert", "epochs": 3, "steps": 1500, "device": {"processes": 4}, "config": nest_keys(CHANGED)}
    front, _, body = model_card(TASKS["mrpc"], 128, record, {}, "my-model").removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(front)["library_name"] == "transformers"
    table = body.split("## Recipe\n| setting | value |\n|---|---|\n")[1].split("\n\n")[0]
    rows = dict(line.strip("| ").replace("\\", "").split(" | ") for line in table.splitlines())
    done = {"Epochs done": "3", "Steps done": "1,500", "Devices": "4"}
    assert rows == SHOWN | {"Model": "bert"} | done


def test_a_configuration_of_the_wrong_types() -> None:
    odd = {"model": None, "data": ["x"], "trainer": {"callbacks": "Timer", "max_epochs": {}}, "seed_everything": True}
    assert recipe_of(odd) == {"Callbacks": "Timer", "Seed": "True"}


def test_a_scheduled_accumulation_is_described() -> None:
    kind = "lightning.pytorch.callbacks.GradientAccumulationScheduler"
    trainer = {"callbacks": [{"class_path": kind, "init_args": {"scheduling": {0: 1, "4": 2}}}]}
    assert recipe_of({"trainer": trainer})["Callbacks"] == "GradientAccumulationScheduler (scheduling {0: 1, 4: 2})"
    trainer["callbacks"][0]["init_args"] = {"scheduling": {"odd": [1]}}
    assert recipe_of({"trainer": trainer})["Callbacks"] == "GradientAccumulationScheduler"
