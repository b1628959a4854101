"""Gradient checkpointing: less memory in training, for about a third more computation."""

from typing import Any

from glue_lit.errors import ModelError


def checkpoint_gradients(model: Any) -> None:
    """Let a Hugging Face model keep only the inputs of its layers, and compute the rest again in the backward pass.

    Chen et al. 2016 (https://arxiv.org/abs/1604.06174). Dropout draws the same masks again, so that losses and
    gradients stay the same to the last bit. Evaluation does not change.

    Raises:
        ModelError: transformers has no checkpointing for the architecture.
    """
    if not model.supports_gradient_checkpointing:
        raise ModelError(
            f"model.gradient_checkpointing: got true, which transformers does not have for the architecture "
            f"{model.config.model_type}. Leave it out. Smaller batches with more of them a step need less memory, too: "
            "--data.batch_size 8 --trainer.accumulate_grad_batches 4."
        )
    # transformers up to 5.0 has the older of the two names only.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})  # the other kind needs inputs with a gradient, which frozen embeddings lack
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False  # a decoder's cache of keys and values would be computed twice
