"""The Hugging Face model inside a classifier: with pretrained weights, or as a checkpoint describes it."""

import json
from collections.abc import Mapping
from typing import Any

import torch

from glue_lit import pretrained
from glue_lit.errors import ModelError
from glue_lit.tasks import TaskSpec


def build_pretrained(task: TaskSpec, hparams: Mapping[str, Any]) -> Any:
    """A model with pretrained weights and a new head for the task's labels.

    Raises:
        ModelError: It cannot be loaded.
    """
    from transformers import AutoModelForSequenceClassification

    names = task.labels or ("score",)
    return pretrained.load(
        "model",
        AutoModelForSequenceClassification.from_pretrained,
        hparams["name_or_path"],
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
        problem_type="regression" if task.is_regression else "single_label_classification",
        dtype=torch.float32,  # else a checkpoint stored in half precision is trained in it
        ignore_mismatched_sizes=True,  # the head of another task
        revision=hparams["revision"],
        trust_remote_code=hparams["trust_remote_code"],
        **_attention(hparams),
    )


def build_from_architecture(task: TaskSpec, hparams: Mapping[str, Any], architecture: str) -> Any:
    """A model as a checkpoint's ``architecture`` (JSON) describes it, to be filled with the checkpoint's weights.

    Raises:
        ModelError: Its labels are not the task's.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    values = json.loads(architecture)
    labels = tuple(name for _, name in sorted(values["id2label"].items(), key=lambda item: int(item[0])))
    if labels != (task.labels or ("score",)):
        raise ModelError(
            f"The checkpoint's labels are {', '.join(labels)}; task {task.name} has "
            f"{', '.join(task.labels) or 'a score'}. Take a run of this task, or another data.task."
        )
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    with pretrained.quiet():
        return AutoModelForSequenceClassification.from_config(
            config, dtype=torch.float32, trust_remote_code=hparams["trust_remote_code"], **_attention(hparams)
        )


def _attention(hparams: Mapping[str, Any]) -> dict[str, str]:
    return {"attn_implementation": hparams["attention"]} if hparams["attention"] else {}
