"""The Hugging Face model inside a classifier: with pretrained weights, or as a checkpoint describes it."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glue_lit.encoder import pretrained
from glue_lit.encoder.adapters import add_adapters
from glue_lit.encoder.architectures import attention, empty_model, set_padding
from glue_lit.encoder.heads import check_trained, head_of, label_order, reinitialize_head, reorder_head
from glue_lit.encoder.merging import merge_adapters
from glue_lit.errors import ModelError
from glue_lit.system.precisions import at_least_float32
from glue_lit.tasks.glue import TaskSpec


class Built(NamedTuple):
    """A model to be trained.

    Attributes:
        model: The Hugging Face model.
        has_trained_head: Whether its head is one of this task.
        new: Names of the parameters that there were no weights for.
        commit: The commit on the Hub that the pretrained weights are of; ``None`` where they came from a folder.
    """

    model: Any
    has_trained_head: bool
    new: frozenset[str] = frozenset()
    commit: str | None = None


def build_pretrained(
    task: TaskSpec, hparams: Mapping[str, Any], must_be_trained: bool = False, padding: int | None = None
) -> Built:
    """A model with pretrained weights.

    The head of a model that was fine-tuned on the same labels is kept, its outputs put into the task's order by
    their names; any other is new.

    Args:
        task: Names the labels.
        hparams: Those of `SequenceClassifier`.
        must_be_trained: Stop where the head is new.
        padding: The padding id that its configuration is given; ``None`` for its own.

    Raises:
        ModelError: It cannot be loaded, or its head is new and must not be.
    """
    model, loaded, labels = _load(task, hparams, padding)
    weight = _head_weight(model)
    has_head = weight is not None and weight not in loaded["missing_keys"]
    if must_be_trained:
        check_trained(hparams["name_or_path"], labels, task, has_head)
    order = label_order(labels, task) if has_head else None
    if order is not None:
        reorder_head(model, order)
    elif has_head and weight not in {key[0] for key in loaded["mismatched_keys"]}:  # of as many labels, and others
        reinitialize_head(model)
    commit = pretrained.commit_of(hparams["name_or_path"], hparams["revision"])
    return Built(model, order is not None, frozenset(loaded["missing_keys"]), commit)


def _load(
    task: TaskSpec, hparams: Mapping[str, Any], padding: int | None
) -> tuple[Any, dict[str, Any], dict[int, str]]:
    """The model with the task's outputs, what transformers says of its weights, and the labels that it had before."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    where = {"revision": hparams["revision"], "trust_remote_code": hparams["trust_remote_code"]}
    config = pretrained.load("model", AutoConfig.from_pretrained, hparams["name_or_path"], **where)
    labels = dict(config.id2label)
    for name, value in _outputs(task).items():
        setattr(config, name, value)
    set_padding(config, padding)
    model, loaded = pretrained.load(
        "model",
        AutoModelForSequenceClassification.from_pretrained,
        hparams["name_or_path"],
        config=config,
        dtype=torch.float32,  # else a checkpoint stored in half precision is trained in it
        ignore_mismatched_sizes=True,  # the head of another task
        output_loading_info=True,
        **where,
        **attention(hparams),
    )
    # They lie in the file's memory, at places where a product can differ in its last bit from a resumed fit's.
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return model, loaded, labels


def _names(task: TaskSpec) -> tuple[str, ...]:
    """What a model of a task calls its outputs."""
    return task.labels or ("score",)


def _outputs(task: TaskSpec) -> dict[str, Any]:
    """The part of a model's configuration that says what its outputs are."""
    names = _names(task)
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
        "problem_type": "regression" if task.is_regression else "single_label_classification",
    }


def _head_weight(model: Any) -> str | None:
    """The name of the head's matrix among the parameters."""
    found = head_of(model)
    weight = found[2].weight if found is not None else None
    return next((name for name, parameter in model.named_parameters() if parameter is weight), None)


def build_from_architecture(
    task: TaskSpec, hparams: Mapping[str, Any], architecture: str, padding: int | None = None
) -> Any:
    """A model as a checkpoint's ``architecture`` (JSON) describes it, to be filled with the checkpoint's weights.

    Raises:
        ModelError: Its labels are not the task's.
    """
    values = json.loads(architecture)
    labels = tuple(
        str(name) for _, name in sorted(values.get("id2label", {}).items(), key=lambda item: _place(item[0]))
    )
    if labels != _names(task):
        raise ModelError(
            f"The checkpoint's labels are {', '.join(labels)}; task {task.name} has "
            f"{', '.join(task.labels) or 'a score'}. Take a run of this task, or another data.task."
        )
    return empty_model(values, hparams, padding)


def _place(number: str) -> int:
    return int(number) if number.isdecimal() and len(number) < 10 else -1


def build_from_run(
    task: TaskSpec, hparams: Mapping[str, Any], saved: Mapping[str, Any], padding: int | None = None
) -> Built:
    """A model with the encoder of a checkpoint, adapters merged into it.

    As in RoBERTa's recipe for RTE, MRPC and STS-B, which start from MNLI (Liu et al. 2019, section 5.1). The head is
    kept where the labels are the task's, in the task's order by their names.

    Args:
        task: Names the labels.
        hparams: Those of `SequenceClassifier`.
        saved: The checkpoint's content.
        padding: The padding id that its configuration is given; ``None`` for its own.
    """
    values = json.loads(saved["hyper_parameters"]["architecture"])
    order = label_order(values["id2label"], task)
    model = empty_model(values | _outputs(task), hparams, padding)
    fresh = model.state_dict()
    weights = _whole_weights(saved, hparams)
    fitting = {name: value for name, value in weights.items() if name in fresh and value.shape == fresh[name].shape}
    model.load_state_dict(fitting, strict=False)
    if order is not None:
        reorder_head(model, order)
    else:
        reinitialize_head(model)
    return Built(model, order is not None, commit=saved.get("glue_lit", {}).get("model_commit"))


def _whole_weights(saved: Mapping[str, Any], hparams: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in a checkpoint by the model's own names, with adapters merged."""
    weights = {name.removeprefix("model."): value for name, value in saved["state_dict"].items()}
    of_run = saved["hyper_parameters"]
    if of_run.get("peft") is None:
        return weights
    model = empty_model(json.loads(of_run["architecture"]), hparams)
    add_adapters(model, of_run["peft"])
    model.load_state_dict(weights)
    merged_weights: dict[str, Tensor] = merge_adapters(model).state_dict()
    return merged_weights


def check_tokens(model: Any, ids: Tensor, name: str, types: Tensor | None = None) -> None:
    """Stop at a tokenizer of another model, whose tokens this one does not have.

    Args:
        model: The Hugging Face model.
        ids: What the tokenizer gives, int, of any shape.
        name: The model's, for the message.
        types: The ``token_type_ids`` that it gives, if it does.

    Raises:
        ModelError: A token, or its type, has no embedding.
    """
    kinds = None if types is None else getattr(model.config, "type_vocab_size", None)
    highest = int(types.max()) if types is not None and types.numel() else 0
    if isinstance(kinds, int) and 0 < kinds <= highest:
        raise ModelError(
            f"model.name_or_path: the tokenizer of {name!r} gives a token the type {highest}, and the model knows "
            f"{kinds} (0 to {kinds - 1}): they do not belong together. Take both from one model."
        )
    try:
        rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    except NotImplementedError:  # an architecture that does not say
        return
    largest = int(ids.max()) if ids.numel() else 0
    if isinstance(rows, int) and largest >= rows:
        raise ModelError(
            f"model.name_or_path: the tokenizer of {name!r} gives token {largest}, and the model knows {rows} (0 to "
            f"{rows - 1}): they do not belong together. Take both from one model."
        )


class Float32Linear(nn.Linear):
    """A linear layer that computes in float32 at least, whatever the precision around it.

    In bfloat16 a score between 2 and 4 can only be a multiple of 1/64: equal scores that are not equal.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``input`` ``(..., in)`` to float32 ``(..., out)``, or float64 if it is in that."""
        bias = None if self.bias is None else at_least_float32(self.bias)
        with torch.autocast(input.device.type, enabled=False):
            return F.linear(at_least_float32(input), at_least_float32(self.weight), bias)


def score_in_float32(model: Any) -> None:
    """Let the layer that gives the logits compute them in float32; the model is changed in place."""
    found = head_of(model)
    if found is not None and type(found[2]) is nn.Linear:
        parent, name, layer = found
        head = Float32Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        head.weight, head.bias = layer.weight, layer.bias
        setattr(parent, name, head.train(layer.training))
