"""Padding-free batches: the texts of a batch one after the other, as one row without padding.

The model computes layers, norms and embeddings for real tokens only. FlashAttention gets the texts' bounds
(``cu_seq_lens``), so that each attends to itself; for PyTorch's attention (``sdpa``), queries, keys and values are
padded within the attention alone. The heads of these models read token 0 of each row of the encoder's states, so the
states are reduced to those of each text's first token.
"""

import inspect
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from glue_lit.errors import ModelError

# Classifiers whose heads read only the first token and whose layers hand these arguments to the attention, each with
# the part of its encoder that gives the states that the head reads; empty for the encoder itself.
_STATES = {
    "BertForSequenceClassification": "encoder",
    "CamembertForSequenceClassification": "encoder",
    "DistilBertForSequenceClassification": "transformer",
    "ElectraForSequenceClassification": "encoder",
    "ModernBertForSequenceClassification": "",
    "RobertaForSequenceClassification": "encoder",
    "XLMRobertaForSequenceClassification": "encoder",
}
ARCHITECTURES = ("bert", "camembert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta")
_NOT_BY_TEXT = ("eager", "flex_attention")  # attention that would let the texts see each other
PACKED = frozenset({"cu_seq_lens", "position_ids"})  # keys that only such batches have


@dataclass(frozen=True)
class Packing:
    """Where the tokens of a packed batch would be in the padded batch.

    Attributes:
        mask: Which places of the padded batch hold a token, ``(batch, length)`` bool.
        tokens: The token at each place, ``(batch, length)`` int64; any where there is none.
        places: The place of each token in the flattened padded batch, ``(tokens,)`` int64.
    """

    mask: Tensor
    tokens: Tensor
    places: Tensor

    def padded(self, states: Tensor) -> Tensor:
        """Pad ``(1, heads, tokens, size)`` to ``(batch, heads, length, size)``."""
        found = states.transpose(1, 2)[0].index_select(0, self.tokens.flatten())
        return found.view(*self.tokens.shape, *found.shape[1:]).transpose(1, 2)

    def packed(self, states: Tensor) -> Tensor:
        """Pack ``(batch, length, heads, size)`` to ``(1, tokens, heads, size)``."""
        return states.flatten(0, 1).index_select(0, self.places)[None]

    def attention_mask(self, window: int | None = None) -> Tensor:
        """Which key each query sees, ``(batch, 1, length or 1, length)`` bool; at least one.

        Args:
            window: Distance from which on a token's query does not see a key; ``None`` for none.
        """
        seen = self.mask[:, None, None]
        if window is None:
            return seen
        at = torch.arange(self.mask.shape[1], device=self.mask.device)
        return seen & (((at[:, None] - at).abs() < window) | ~self.mask[:, None, :, None])


def check_can_be_packed(config: Mapping[str, Any], attention: str | None) -> None:
    """Refuse padding-free batches for a model that would mix the texts of a batch.

    Args:
        config: The model's configuration.
        attention: The attention's implementation; ``None`` for transformers' choice.

    Raises:
        ModelError: The architecture, its head or the attention is not known to work.
    """
    kind = config["model_type"]
    reason = ""
    if kind not in ARCHITECTURES:
        reason = f"a model of the architecture {kind}"
    elif config.get("is_decoder"):
        reason = f"a model of the architecture {kind} that is a decoder"
    elif kind == "modernbert" and config.get("classifier_pooling", "cls") != "cls":
        reason = f"a modernbert whose head takes the {config['classifier_pooling']} over all tokens"
    elif kind == "modernbert" and _has_old_modernbert():
        reason = "the modernbert of this transformers, which is too old,"
    if reason:
        raise ModelError(
            f"data.padding_free: got true, but {reason} is not known to keep the texts of such a batch apart. Allowed: "
            f"{', '.join(ARCHITECTURES)}, with a head that reads the first token. Leave data.padding_free out."
        )
    if attention in _NOT_BY_TEXT:
        raise ModelError(
            f"data.padding_free: got true, but with model.attention {attention} each text would attend to the others. "
            "Allowed: sdpa (the default), flash_attention_2, flash_attention_3. Pass one of them, or leave "
            "data.padding_free out."
        )


def _has_old_modernbert() -> bool:
    """Whether the installed transformers has a ModernBERT that takes other bounds of texts, as 5.0 does."""
    from transformers import ModernBertModel

    return "sliding_window_mask" in inspect.signature(ModernBertModel.forward).parameters


def allow_packing(model: Any) -> None:
    """Let a Hugging Face model take padding-free batches, in place; others are not known to keep texts apart."""
    if (part := _states_of(model)) is None:
        return
    with suppress(ModelError):
        check_can_be_packed(_values(model), None)
        part.register_forward_hook(_keep_first_tokens, with_kwargs=True)
        model.takes_packed = True


def _values(model: Any) -> dict[str, Any]:
    values: dict[str, Any] = model.config.to_dict() | {"model_type": model.config.model_type}
    return values


def _states_of(model: Any) -> nn.Module | None:
    kind = type(model)
    name = _STATES.get(kind.__name__) if kind.__module__.startswith("transformers.models.") else None
    if name is None:
        return None
    found: nn.Module = getattr(model.base_model, name) if name else model.base_model
    return found


def _keep_first_tokens(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    """Reduce an encoder's states of all tokens ``(1, tokens, width)`` to ``(batch, 1, width)``."""
    bounds = kwargs.get("cu_seq_lens_q")
    if bounds is not None and not kwargs.get("first_token_only"):
        output.last_hidden_state = first_tokens(output.last_hidden_state, bounds)
    return output


def first_tokens(states: Tensor, bounds: Tensor) -> Tensor:
    """States of the first token of each text ``(batch, 1, width)``, out of those of all ``(1, tokens, width)``."""
    return states[0].index_select(0, bounds[:-1])[:, None]


def packed_inputs(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments with which a model computes a padding-free batch (`TokenDataset`).

    Args:
        model: A Hugging Face model.
        batch: ``input_ids``, ``position_ids`` and perhaps ``token_type_ids``, ``(1, tokens)`` each; ``cu_seq_lens``
            ``(batch + 1,)``; ``attention_mask`` ``(batch, length)``, that of the padded batch.

    Raises:
        ModelError: The model is not known to keep the texts apart.
    """
    config, bounds, mask = model.config, batch["cu_seq_lens"], batch["attention_mask"]
    if not getattr(model, "takes_packed", False) or config._attn_implementation in _NOT_BY_TEXT:
        check_can_be_packed(_values(model), config._attn_implementation)
        raise ModelError(
            f"data.padding_free: got true, but the code of this {config.model_type} is not that of transformers, and "
            "may read other tokens than the first. Leave data.padding_free out."
        )
    longest = mask.shape[1]
    found: dict[str, Any] = {name: batch[name] for name in ("input_ids", "token_type_ids") if name in batch}
    found |= {"position_ids": _positions(model, batch), "cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds}
    found |= {"max_length_q": longest, "max_length_k": longest}
    if config.model_type == "modernbert":  # else transformers makes a mask of tokens x tokens
        found["attention_mask"] = dict.fromkeys(("full_attention", "sliding_attention"))
    if config._attn_implementation == "sdpa":
        found["packing"] = _packing(batch["position_ids"], bounds, mask)
    return found


def _packing(positions: Tensor, bounds: Tensor, mask: Tensor) -> Packing:
    length = mask.shape[1]
    text = (positions[0] == 0).cumsum(0) - 1
    at = torch.arange(length, device=mask.device)
    tokens = (bounds[:-1, None].long() + at).clamp(max=positions.shape[1] - 1)
    return Packing(mask.bool(), tokens, text * length + positions[0])


def _positions(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """The numbers of the tokens' position embeddings, ``(1, tokens)``."""
    positions = batch["position_ids"]
    embeddings = model.base_model.embeddings
    if not hasattr(embeddings, "create_position_ids_from_input_ids"):
        return positions
    # RoBERTa counts from the padding id on, and leaves out the padding's token, which a text may hold, too.
    start: int = embeddings.padding_idx
    is_counted = batch["input_ids"].ne(start).long()
    before = is_counted.cumsum(1) - is_counted
    first = torch.arange(positions.shape[1], device=positions.device) - positions
    counted = before - before.gather(1, first) + 1
    return counted * is_counted + start
