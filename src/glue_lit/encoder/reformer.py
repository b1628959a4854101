"""Reformer's random numbers, drawn so that a training is reproducible and a text always has the same score."""

from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

HASH_SEED = 0  # of the hashing in evaluation, unless the configuration has one


def make_reproducible(model: Any) -> None:
    """Make a Reformer draw from torch's generator in training and hash the same way in each evaluation, in place.

    In transformers, each forward pass of a layer takes a seed from the operating system for the dropout that the
    backward pass repeats, and attention sorts tokens into buckets by random vectors. Other models do not change.
    """
    if model.config.model_type != "reformer":
        return
    for layer in _layers(model, "ReformerLayer"):
        layer._init_attention_seed = MethodType(_draw_attention_seed, layer)
        layer._init_feed_forward_seed = MethodType(_draw_feed_forward_seed, layer)
    for attention in _layers(model, "LSHSelfAttention"):
        attention.evaluation_seed = HASH_SEED if model.config.hash_seed is None else model.config.hash_seed
        attention._hash_vectors = MethodType(_hash_vectors, attention)


def record_hash_seed(config: Any) -> None:
    """Write the evaluation's seed into a Reformer's configuration, so that other programs hash the same way."""
    if config.model_type == "reformer" and config.hash_seed is None:
        config.hash_seed = HASH_SEED


def _layers(model: nn.Module, kind: str) -> Iterator[Any]:
    return (module for module in model.modules() if type(module).__name__ == kind)


def _draw_attention_seed(self: Any) -> None:
    self.attention_seed = _draw_seed()


def _draw_feed_forward_seed(self: Any) -> None:
    self.feed_forward_seed = _draw_seed()


def _draw_seed() -> int:
    seed = int(torch.randint(2**62, ()))
    torch.manual_seed(seed)
    return seed


def _hash_vectors(self: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Sort vectors into buckets, with a fixed seed in evaluation; in training, it would repeat the dropout masks."""
    self.hash_seed = None if self.training else self.evaluation_seed
    buckets: Tensor = type(self)._hash_vectors(self, *args, **kwargs)
    return buckets
