"""Compute only the first token in the last layer, where the head reads no other: the same logits for less work.

Keys and values are still those of all tokens; query, attention's output and feed-forward are of one. In a small encoder
of few layers this saves a tenth of the work.
"""

from functools import cache
from typing import Any

from torch import Tensor, nn

from glue_lit.encoder.packing import Packing, first_tokens

# Classifiers whose heads read only the first token, each with the list of their layers.
_STACKS = {
    "BertForSequenceClassification": "encoder",
    "CamembertForSequenceClassification": "encoder",
    "DistilBertForSequenceClassification": "transformer",
    "ElectraForSequenceClassification": "encoder",
    "RobertaForSequenceClassification": "encoder",
    "XLMRobertaForSequenceClassification": "encoder",
}


def shorten_last_layer(model: Any) -> None:
    """Let a Hugging Face model's last layer compute only the first token when it is asked to, in place.

    Names and weights of its modules do not change. Models that are not known to read only the first token, decoders and
    attention other than PyTorch's (``sdpa``) stay as they are.
    """
    layers, config = _layers(model), model.config
    if layers and config._attn_implementation == "sdpa" and not getattr(config, "is_decoder", False):
        kind: Any = type(layers[-1])
        layers[-1].__class__ = _with_first_token(kind)


def first_token_only(model: Any) -> dict[str, bool]:
    """The argument that asks a model for its first token only; none for a model that computes all.

    Code that calls the model without it gets the hidden states of all tokens.
    """
    layers = _layers(model)
    return {"first_token_only": True} if layers and isinstance(layers[-1], _FirstToken) else {}


def _layers(model: Any) -> Any:
    """The layers of a model whose head reads only the first token; empty for others."""
    kind = type(model)
    stack = _STACKS.get(kind.__name__) if kind.__module__.startswith("transformers.models.") else None
    return () if stack is None else getattr(model.base_model, stack).layer


class _FirstToken:
    """A layer of BERT or DistilBERT that can compute only the first token."""

    def forward(
        self: Any,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        *args: Any,
        first_token_only: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        """The states after the layer: ``(batch, length, width)``, or ``(batch, 1, width)`` of the first token.

        Those of a padding-free batch (`Packing`) are ``(1, tokens, width)``, or again ``(batch, 1, width)``.
        """
        states: Tensor
        if not first_token_only:
            states = super().forward(hidden_states, attention_mask, *args, **kwargs)  # type: ignore[misc]
            return states
        packing = kwargs.get("packing")
        first = hidden_states[:, :1] if packing is None else first_tokens(hidden_states, kwargs["cu_seq_lens_q"])
        mask = None if attention_mask is None else attention_mask[:, :, :1]
        if hasattr(self, "ffn"):  # DistilBERT
            layer = self.attention
            seen = _attend(layer, (layer.q_lin, layer.k_lin, layer.v_lin), first, hidden_states, mask, packing)
            seen = self.sa_layer_norm(layer.out_lin(seen) + first)
            states = self.output_layer_norm(self.ffn.ff_chunk(seen) + seen)
            return states
        layer = self.attention.self
        seen = _attend(layer, (layer.query, layer.key, layer.value), first, hidden_states, mask, packing)
        states = self.feed_forward_chunk(self.attention.output(seen, first))
        return states


def _attend(
    attention: Any, projections: tuple[nn.Module, nn.Module, nn.Module], first: Tensor, states: Tensor,
    mask: Tensor | None, packing: Packing | None,
) -> Tensor:  # fmt: skip
    """What the first token ``(batch, 1, width)`` sees of all tokens ``(batch, length, width)``, or of those packed."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    query, key, value = (
        projection(tokens).view(len(tokens), tokens.shape[1], -1, attention.attention_head_size).transpose(1, 2)
        for projection, tokens in zip(projections, (first, states, states), strict=True)
    )
    if packing is not None:
        key, value, mask = packing.padded(key), packing.padded(value), packing.attention_mask()
    dropout = attention.dropout.p if attention.training else 0.0
    seen: Tensor
    seen, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](
        attention, query, key, value, mask, dropout=dropout, scaling=attention.scaling
    )
    return seen.flatten(2)


@cache
def _with_first_token(layer: type[nn.Module]) -> type[nn.Module]:
    """A subclass of a layer's class, of the same name, since libraries that shard or wrap layers find them by it."""
    return type(layer.__name__, (_FirstToken, layer), {"__qualname__": layer.__qualname__})
