"""Load a model's pretrained weights from its files."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from glue_lit.encoder import pretrained, structure
from glue_lit.encoder.architectures import attention
from glue_lit.encoder.quantization import prepare_quantized, quantized_layers, quantized_loading
from glue_lit.encoder.waiting_weights import Loaded, load_waiting


def load_weights(config: Any, hparams: Mapping[str, Any], **options: Any) -> tuple[Any, dict[str, Any]]:
    """Load a model's pretrained weights in float32, or its linear layers in 4 bits.

    Args:
        config: The model's configuration.
        hparams: Those of `SequenceClassifier`, which name the model.
        options: More options for ``from_pretrained``.

    Returns:
        The model, and transformers' report on its weights.

    Raises:
        ModelError: It cannot be loaded.
    """
    pretrained.download_weights(hparams["name_or_path"], hparams["revision"])
    if hparams["quantization"] is None:
        return _load(config, hparams, options)
    model, loaded = _load(config, hparams, options | quantized_loading(config))
    if new := _new_in_4_bits(model, loaded):
        model, loaded = _load(config, hparams, options | quantized_loading(config, new))
    prepare_quantized(model)
    return model, loaded


def _load(config: Any, hparams: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    if structure.is_wanted():
        with torch.device("cpu"):
            model, loaded = _load_mapped(config, hparams, options, "auto")  # other types would be converted, in memory
        structure.remove_values(model)
        return model, loaded
    if (waiting := _load_waiting(config, hparams)) is not None:
        return waiting
    model, loaded = _load_mapped(config, hparams, options, torch.float32)
    # The alignment of mapped tensors can change the last bit of a product. A resumed fit must give the same results,
    # wherever its weights come from.
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return model, loaded


def _load_waiting(config: Any, hparams: Mapping[str, Any]) -> Loaded | None:
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    if (
        type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
        or hparams["trust_remote_code"]
        or hparams["quantization"] is not None
    ):
        return None
    name = hparams["name_or_path"]

    def load(state: dict[str, Tensor]) -> Loaded:
        with pretrained.quiet():
            model, loaded = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)].from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **attention(hparams),
            )
        model.name_or_path = model.config.name_or_path = pretrained.resolve(name)
        return model, loaded

    return load_waiting(pretrained.weight_files(name, hparams["revision"]), load)


def _load_mapped(
    config: Any, hparams: Mapping[str, Any], options: Mapping[str, Any], dtype: torch.dtype | str
) -> tuple[Any, dict[str, Any]]:
    """The model, whose tensors are mapped from the files if they have that type there, and transformers' report."""
    from transformers import AutoModelForSequenceClassification

    loaded: tuple[Any, dict[str, Any]] = pretrained.load(
        "model",
        AutoModelForSequenceClassification.from_pretrained,
        hparams["name_or_path"],
        config=config,
        dtype=dtype,
        ignore_mismatched_sizes=True,  # the head of another task
        output_loading_info=True,
        revision=hparams["revision"],
        trust_remote_code=hparams["trust_remote_code"],
        **attention(hparams),
        **options,
    )
    return loaded


def _new_in_4_bits(model: nn.Module, loaded: Mapping[str, Any]) -> set[str]:
    """Names of layers in 4 bits without pretrained weights, which are trained and so need whole ones."""
    return quantized_layers(model).keys() & {name.rpartition(".")[0] for name in not_loaded(loaded)}


def not_loaded(loaded: Mapping[str, Any]) -> frozenset[str]:
    """Names of parameters that are not those of the files, from transformers' report."""
    return frozenset(loaded["missing_keys"]) | {key[0] for key in loaded["mismatched_keys"]}
