"""The recipe of a run: every setting that changes what comes out is on the model card and in the report."""

import inspect
from typing import Any

import pytest
import yaml
from lightning.pytorch import Trainer

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.engine.search_space import nest_keys
from glue_lit.outputs.model_card import model_card
from glue_lit.runs.recipe import SETTINGS, recipe
from glue_lit.tasks.glue import TASKS
from glue_lit.training.callbacks.checkpoints import BestCheckpoint
from glue_lit.training.classifier import SequenceClassifier

# What is left out: the task, which has a place of its own; the machine; the run's place; evaluation; what is refused.
OTHERS = {
    "model": {"self", "task", "custom", "architecture"},
    "data": {
        "self", "task", "custom", "tokenizer", "revision", "trust_remote_code", "eval_batch_size", "test_limit",
        "predict_split", "num_workers", "cache_dir",
    },
    "checkpoint": {"self"},
    "trainer": {
        "self", "accelerator", "devices", "num_nodes", "logger", "fast_dev_run", "limit_test_batches",
        "limit_predict_batches", "overfit_batches", "num_sanity_val_steps", "log_every_n_steps", "enable_checkpointing",
        "enable_progress_bar", "enable_model_summary", "benchmark", "inference_mode", "use_distributed_sampler",
        "profiler", "detect_anomaly", "barebones", "sync_batchnorm", "reload_dataloaders_every_n_epochs",
        "default_root_dir", "enable_autolog_hparams", "model_registry",
    },
}  # fmt: skip
CLASSES = {"model": SequenceClassifier, "data": GLUEDataModule, "checkpoint": BestCheckpoint, "trainer": Trainer}
PART_OF_BATCH = {"data.tokens_per_batch", "trainer.accumulate_grad_batches"}


@pytest.mark.parametrize("section", CLASSES)
def test_every_setting_is_in_the_recipe_or_left_out_on_purpose(section: str) -> None:
    keys = {f"{section}.{name}" for name in inspect.signature(CLASSES[section].__init__).parameters}
    named = {setting.key for setting in SETTINGS if setting.key.startswith(f"{section}.")} - {
        "data.custom.class_weights"
    }
    left_out = {f"{section}.{name}" for name in OTHERS[section]}
    assert not named & left_out
    assert keys == named | left_out | {key for key in PART_OF_BATCH if key.startswith(section)}


def test_settings_without_effect_are_left_out() -> None:
    defaults: dict[str, Any] = {
        f"{section}.{name}": parameter.default
        for section, klass in CLASSES.items()
        for name, parameter in inspect.signature(klass.__init__).parameters.items()
        if name not in OTHERS[section]
    }
    assert recipe(nest_keys(defaults)) == {
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
    "Frozen layers": "0",
    "Dropout": "0.0",
    "R-Drop": "1.0",
    "Label smoothing": "0.1",
    "Moving average of weights": "0.99",
    "Attention": "eager",
    "Layer decay": "0.9",
    "Adapter": "LoraConfig (r 8, target_modules query, value)",
    "Class weights": "0.5, 2.0",
    "Pairs in both orders": "yes",
    "Batch size per device": "16 x 2",
    "Training rows, at most": "2,000",
    "Steps, at most": "1,500",
    "Batches of an epoch": "1",
    "Callbacks": "Timer (duration 00:01:00:00)",
    "Seed": "1234",
}


def test_what_was_changed_is_shown() -> None:
    assert recipe(nest_keys(CHANGED)) == SHOWN
    tokens = {"data": {"tokens_per_batch": 4096, "batch_size": 16}}
    assert recipe(tokens) == {"Batch size per device": "4,096 tokens"}


def test_the_model_card_has_all_of_it() -> None:
    record = {"model": "bert", "epochs": 3, "steps": 1500, "device": {"processes": 4}, "config": nest_keys(CHANGED)}
    front, _, body = model_card(TASKS["mrpc"], 128, record, {}).removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(front)["library_name"] == "transformers"
    table = body.split("## Recipe\n| setting | value |\n|---|---|\n")[1].split("\n\n")[0]
    rows = dict(line.strip("| ").replace("\\", "").split(" | ") for line in table.splitlines())
    done = {"Epochs done": "3", "Steps done": "1,500", "Devices": "4"}
    assert rows == SHOWN | {"Model": "bert"} | done


def test_a_configuration_of_the_wrong_types() -> None:
    odd = {"model": None, "data": ["x"], "trainer": {"callbacks": "Timer", "max_epochs": {}}, "seed_everything": True}
    assert recipe(odd) == {"Callbacks": "Timer", "Seed": "True"}


def test_a_scheduled_accumulation_is_described() -> None:
    kind = "lightning.pytorch.callbacks.GradientAccumulationScheduler"
    trainer = {"callbacks": [{"class_path": kind, "init_args": {"scheduling": {0: 1, "4": 2}}}]}
    assert recipe({"trainer": trainer})["Callbacks"] == "GradientAccumulationScheduler (scheduling {0: 1, 4: 2})"
    trainer["callbacks"][0]["init_args"] = {"scheduling": {"odd": [1]}}
    assert recipe({"trainer": trainer})["Callbacks"] == "GradientAccumulationScheduler"
