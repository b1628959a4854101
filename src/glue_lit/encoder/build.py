"""Building the Hugging Face model of a classifier, with pretrained weights or from a checkpoint."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glue_lit.encoder import pretrained, structure
from glue_lit.encoder.adapters import add_adapters
from glue_lit.encoder.architectures import empty_model, set_padding
from glue_lit.encoder.base_weights import fill_in, keeps_base, load_base, record_base
from glue_lit.encoder.heads import check_trained, head_of, label_order, recorded_levels, reinitialize_head, reorder_head
from glue_lit.encoder.merging import merge_adapters
from glue_lit.encoder.weight_loading import load_weights, not_loaded
from glue_lit.errors import ModelError
from glue_lit.system.precisions import at_least_float32
from glue_lit.tasks.glue import TaskSpec
from glue_lit.tasks.metrics import Kind


class Built(NamedTuple):
    """A model to be trained.

    Attributes:
        model: The Hugging Face model.
        has_trained_head: Whether its head was trained on this task's labels.
        new: Names of the parameters without pretrained weights.
        commit: Commit of the pretrained weights on the Hub; ``None`` if they came from a folder.
        base: What a checkpoint says of the files of the weights (`record_base`); ``None`` if it holds all weights.
        not_loaded: Names of the parameters whose values do not come from these files.
    """

    model: Any
    has_trained_head: bool
    new: frozenset[str] = frozenset()
    commit: str | None = None
    base: dict[str, Any] | None = None
    not_loaded: frozenset[str] = frozenset()


def build_pretrained(
    task: TaskSpec, hparams: Mapping[str, Any], must_be_trained: bool = False, padding: int | None = None
) -> Built:
    """Build a model with pretrained weights.

    The head of a model that was fine-tuned on the task's labels is kept, with its outputs in the task's order by name;
    any other head is new.

    Args:
        task: Names the labels.
        hparams: Those of `SequenceClassifier`.
        must_be_trained: Whether to refuse a new head.
        padding: Padding id to write into the configuration; ``None`` to keep its own.

    Raises:
        ModelError: The model cannot be loaded, or its head is new and must not be.
    """
    model, loaded, labels = _load(task, hparams, padding)
    weight = _head_weight(model)
    has_head = weight is not None and weight not in loaded["missing_keys"]
    if must_be_trained:
        check_trained(hparams["name_or_path"], labels, task, has_head, recorded_levels(model.config))
    order = label_order(labels, task, recorded_levels(model.config)) if has_head else None
    if order is not None:
        reorder_head(model, order)
    elif has_head and weight not in {key[0] for key in loaded["mismatched_keys"]}:  # as many labels, but others
        reinitialize_head(model)
    commit = pretrained.commit_of(hparams["name_or_path"], hparams["revision"])
    base = record_base(hparams, commit) if hparams["peft"] is not None and keeps_base(hparams["peft"]) else None
    return Built(model, order is not None, frozenset(loaded["missing_keys"]), commit, base, not_loaded(loaded))


def _load(
    task: TaskSpec, hparams: Mapping[str, Any], padding: int | None
) -> tuple[Any, dict[str, Any], dict[int, str]]:
    """The model with the task's outputs, transformers' report on its weights, and its labels as loaded."""
    from transformers import AutoConfig

    where = {"revision": hparams["revision"], "trust_remote_code": hparams["trust_remote_code"]}
    config = pretrained.load("model", AutoConfig.from_pretrained, hparams["name_or_path"], **where)
    labels = dict(config.id2label)
    for name, value in _outputs(task).items():
        setattr(config, name, value)
    set_padding(config, padding)
    return *load_weights(config, hparams), labels


_PROBLEM_TYPES: dict[Kind, str] = {
    "classification": "single_label_classification", "multi_label": "multi_label_classification",
    "regression": "regression",
}  # fmt: skip


def _output_names(task: TaskSpec) -> tuple[str, ...]:
    return task.labels or ("score",)


def _outputs(task: TaskSpec) -> dict[str, Any]:
    """The part of a model's configuration that describes its outputs."""
    names = _output_names(task)
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
        "problem_type": _PROBLEM_TYPES[task.kind],
    }


def _head_weight(model: Any) -> str | None:
    """Parameter name of the head's weight."""
    head = head_of(model)
    weight = head[2].weight if head is not None else None
    return next((name for name, parameter in model.named_parameters() if parameter is weight), None)


def build_from_architecture(
    task: TaskSpec,
    hparams: Mapping[str, Any],
    architecture: str,
    padding: int | None = None,
    base: dict[str, Any] | None = None,
) -> Built:
    """Build the model that a checkpoint's ``architecture`` (JSON) describes, for the checkpoint's weights.

    ``base`` is what a checkpoint of adapters says of its base model, whose weights are then read.

    Raises:
        ModelError: Its labels are not the task's.
    """
    values = json.loads(architecture)
    names = sorted(values.get("id2label", {}).items(), key=lambda item: _label_number(item[0]))
    labels = tuple(str(name) for _, name in names)
    if labels != _output_names(task):
        raise ModelError(
            f"The checkpoint's labels are {', '.join(labels)}; task {task.name} has "
            f"{', '.join(task.labels) or 'a score'}. Use a run of this task, or another data.task."
        )
    return _restored(values, hparams, base, padding)


def _restored(
    values: dict[str, Any], hparams: Mapping[str, Any], base: dict[str, Any] | None, padding: int | None = None
) -> Built:
    if base is None:
        return Built(empty_model(values, hparams, padding), False)
    model, others = load_base(values, hparams, base, padding)
    return Built(model, False, base=base, not_loaded=others)


def _label_number(number: str) -> int:
    return int(number) if number.isdecimal() and len(number) < 10 else -1


def build_from_run(
    task: TaskSpec, hparams: Mapping[str, Any], saved: Mapping[str, Any], padding: int | None = None
) -> Built:
    """Build a model with the encoder of a checkpoint, its adapters merged.

    RoBERTa's recipe for RTE, MRPC and STS-B starts from MNLI in this way (Liu et al. 2019, section 5.1). The head is
    kept if its labels are the task's, with its outputs in the task's order by name. ``saved`` is the checkpoint's
    content; other arguments as in `build_pretrained`.
    """
    values = json.loads(saved["hyper_parameters"]["architecture"])
    own = saved["hyper_parameters"].get("custom") or {}
    levels = own.get("label_names") or own.get("labels") or () if own.get("kind") == "ordinal" else ()
    order = label_order(values["id2label"], task, levels)
    model = empty_model(values | _outputs(task), hparams, padding)
    if not structure.is_wanted():
        new = model.state_dict()
        weights = _weights_without_adapters(saved, hparams)
        fitting = {name: value for name, value in weights.items() if name in new and value.shape == new[name].shape}
        model.load_state_dict(fitting, strict=False)
    if order is not None:
        reorder_head(model, order)
    else:
        reinitialize_head(model)
    return Built(model, order is not None, commit=saved.get("glue_lit", {}).get("model_commit"))


def _weights_without_adapters(saved: Mapping[str, Any], hparams: Mapping[str, Any]) -> dict[str, Tensor]:
    weights = {name.removeprefix("model."): value for name, value in saved["state_dict"].items()}
    of_run = saved["hyper_parameters"]
    if of_run.get("peft") is None:
        return weights
    own = {**hparams, **{name: of_run.get(name, hparams[name]) for name in ("name_or_path", "revision")}}
    model = _restored(json.loads(of_run["architecture"]), own, of_run.get("base")).model
    add_adapters(model, of_run["peft"])
    fill_in({**saved, "state_dict": weights}, model, prefix="")
    model.load_state_dict(weights)
    merged_weights: dict[str, Tensor] = merge_adapters(model).state_dict()
    return merged_weights


def check_tokens(model: Any, ids: Tensor, name: str, types: Tensor | None = None) -> None:
    """Refuse a tokenizer whose tokens have no embedding in the model, because it belongs to another model.

    Args:
        model: The Hugging Face model.
        ids: Token ids from the tokenizer, int, of any shape.
        name: Name of the model, for the message.
        types: ``token_type_ids`` from the tokenizer, if it gives them.

    Raises:
        ModelError: A token, or its type, has no embedding.
    """
    kinds = None if types is None else getattr(model.config, "type_vocab_size", None)
    highest = int(types.max()) if types is not None and types.numel() else 0
    if isinstance(kinds, int) and 0 < kinds <= highest:
        raise ModelError(
            f"model.name_or_path: the tokenizer of {name!r} gives token type {highest}, but the model has only {kinds} "
            f"(0 to {kinds - 1}): they do not belong together. Take both from one model."
        )
    try:
        rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    except NotImplementedError:  # unknown for this architecture
        return
    largest = int(ids.max()) if ids.numel() else 0
    if isinstance(rows, int) and largest >= rows:
        raise ModelError(
            f"model.name_or_path: the tokenizer of {name!r} gives token {largest}, but the model has only {rows} (0 to "
            f"{rows - 1}): they do not belong together. Take both from one model."
        )


class Float32Linear(nn.Linear):
    """A linear layer that computes in float32 or better, whatever the precision of the model.

    In bfloat16, scores between 2 and 4 are multiples of 1/64, so that different scores become equal.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map ``input`` ``(..., in)`` to ``(..., out)`` in float32, or in float64 if that is its precision."""
        bias = None if self.bias is None else at_least_float32(self.bias)
        with torch.autocast(input.device.type, enabled=False):
            return F.linear(at_least_float32(input), at_least_float32(self.weight), bias)


def score_in_float32(model: Any) -> None:
    """Make the head of a model compute its logits in float32, in place."""
    found = head_of(model)
    if found is not None and type(found[2]) is nn.Linear:
        parent, name, layer = found
        head = Float32Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        head.weight, head.bias = layer.weight, layer.bias
        setattr(parent, name, head.train(layer.training))
