"""Frozen layers in 4 bits, beside which adapters are trained (QLoRA, Dettmers et al. 2023), and back to float32."""

import copy
from collections.abc import Collection, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn

from glue_lit.encoder import pretrained
from glue_lit.errors import ModelError, UsageError

Quantization = Literal["4bit"]
_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
_INSTALL = "`pip install 'glue-lit[quantization]'`"


def check_quantization(settings: Mapping[str, Any]) -> None:
    """Refuse 4 bits beside settings that need other weights.

    Args:
        settings: The hyperparameters of `SequenceClassifier`.

    Raises:
        UsageError: It does not go with another setting.
        ModelError: A package is not installed.
    """
    if settings["quantization"] is None:
        return
    got, peft = f"model.quantization: got {settings['quantization']}", settings["peft"] or {}
    if not peft or peft.get("peft_type") != "LORA":
        what = f"model.peft is {peft['peft_type']}" if peft else "nothing else is trained"
        raise UsageError(f"{got}, which freezes the model, and {what}. Pass `--model.peft peft.LoraConfig` too.")
    if isinstance(begin := peft.get("init_lora_weights"), str) and begin not in ("gaussian", "orthogonal"):
        raise UsageError(
            f"{got}, and model.peft.init_args.init_lora_weights {begin}, which changes the frozen weights. Allowed: "
            "true, false, gaussian, orthogonal."
        )
    for name, why in (("init_from", "which takes its weights from a run"), ("average", "which averages all weights")):
        if settings[name]:
            raise UsageError(f"{got}, and model.{name} {settings[name]}, {why}. Leave one of them out.")
    check_installed()


def check_installed() -> None:
    """Refuse 4 bits without the packages for it.

    Raises:
        ModelError: One is not installed.
    """
    for package in ("bitsandbytes", "accelerate"):
        if find_spec(package) is None:
            raise ModelError(f"model.quantization needs the package {package}: {_INSTALL}.")


def check_quantized_precision(quantization: str | None, precision: str) -> None:
    """Refuse a precision of the Trainer that would round what is trained beside layers in 4 bits.

    Raises:
        UsageError: It is refused.
    """
    if quantization is not None and precision not in _PRECISIONS:
        raise UsageError(
            f"trainer.precision: got {precision}, allowed with model.quantization: {', '.join(_PRECISIONS)}."
        )


def quantized_loading(config: Any, skipped: Collection[str] = ()) -> dict[str, Any]:
    """The options of ``from_pretrained`` that load the encoder's linear layers in 4 bits (NF4, double quantization).

    Args:
        config: The model's configuration.
        skipped: Modules of the encoder to leave in float32; the head always is.

    Raises:
        ModelError: A package is not installed.
    """
    from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig

    check_installed()
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(copy.deepcopy(config))
    outside = [name for name, _ in model.named_children() if name != model.base_model_prefix]
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,  # mixed precision multiplies in its own
        llm_int8_skip_modules=[*outside, *skipped],
    )
    return {"quantization_config": settings, "device_map": {"": "cpu"}}  # the trainer moves it


def prepare_quantized(model: Any) -> None:
    """Let layers in 4 bits compute the same in training and evaluation, and the configuration be that of the model.

    Raises:
        ModelError: No layer is in 4 bits.
    """
    layers = quantized_layers(model)
    if not layers:
        raise ModelError(
            f"model.quantization: the encoder of the architecture {model.config.model_type} has no linear layers of "
            "PyTorch's own, so there is nothing to quantize. Leave it out."
        )
    for layer in layers.values():
        layer.support_avx512bf16_for_cpu = False  # in evaluation only, and it rounds to bfloat16
    del model.config.quantization_config  # an export has whole weights


def quantized_layers(model: nn.Module) -> dict[str, Any]:
    """The layers in 4 bits by their names, adapted ones with the name of the layer within the adapter."""
    return {
        name: module
        for name, module in model.named_modules()
        if type(module).__name__ == "Linear4bit" and not hasattr(module, "base_layer")  # peft's have the same name
    }


def dequantized(model: Any) -> Any:
    """Return a copy of a model, with its adapters, whose layers in 4 bits are in float32; the model if it has none.

    The copy computes the same: a layer in 4 bits multiplies with these weights.
    """
    layers = quantized_layers(model)
    if not layers:
        return model
    from peft import inject_adapter_in_model

    copied = type(model)(copy.deepcopy(model.config)).float()
    with pretrained.quiet():
        for config in getattr(model, "peft_config", {}).values():
            inject_adapter_in_model(copy.deepcopy(config), copied)
    expected = copied.state_dict()
    weights = {name: value for name, value in model.state_dict().items() if name in expected}
    weights |= {f"{name}.weight": _whole_weight(layer) for name, layer in layers.items()}
    copied.load_state_dict(weights)
    copied.name_or_path = model.name_or_path
    return copied.train(model.training)


def _whole_weight(layer: Any) -> Tensor:
    """The weight of a layer in 4 bits, in float32 and as its architecture has it."""
    functional = import_module("bitsandbytes.functional")
    weight: Tensor = functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
    is_transposed = getattr(layer, "source_cls", nn.Linear).__name__ == "Conv1D"  # that of GPT-2
    return weight.t() if is_transposed else weight


def whole_size(parameter: Tensor) -> int:
    """Number of weights of a parameter; two of a layer in 4 bits share a byte."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else state.shape.numel()
