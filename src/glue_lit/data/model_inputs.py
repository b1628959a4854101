"""Fit a tokenizer to its model: inputs, padding, longest input, and whether batches need equal lengths."""

from collections.abc import Iterator, Mapping
from typing import Any

from glue_lit.errors import ModelError

SHORTEST = 4  # tokens, as for data.max_length
LONGEST = 1_000_000  # tokens, if neither tokenizer nor model has a limit (XLNet, T5, BLOOM)
# Models that number positions from padding id + 1: so many positions of the table are lost, and another padding id
# would move each token to another position.
POSITIONS_AFTER_PADDING = {
    "camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip
# Keys for the number of positions. A class of transformers names its own (attribute_map); other code may use any.
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "n_ctx", "seq_length")
_NO_TEXT = {"vision_config", "audio_config"}
# Models that only compare segments: they take any number of them and have no table.
_RELATIVE_SEGMENTS = {"funnel", "xlnet"}
# Models that classify by the last position, which therefore must not be padding.
_PADDED_LEFT = {"xlnet"}
# Models whose logits depend on padding, even in evaluation and in float32. Convolutions over tokens (convbert, canine,
# mobilebert) and a Fourier transform (fnet) ignore the mask; blocks of sparse or hashed attention depend on the length
# (bigbird, mra, nystromformer, reformer, yoso); t5gemma's decoder builds a mask of its own.
_DEPENDENT_ON_PADDING = {
    "big_bird", "bigbird_pegasus", "canine", "convbert", "fnet", "mobilebert", "mra", "nystromformer", "reformer",
    "t5gemma", "t5gemma2", "yoso",
}  # fmt: skip


def needs_equal_lengths(config: Mapping[str, Any]) -> bool:
    """Whether a model's logits depend on padding, so that it is evaluated in batches of equal lengths."""
    return _kind(config) in _DEPENDENT_ON_PADDING


def adapt_tokenizer(tokenizer: Any, config: Mapping[str, Any]) -> Any:
    """Set a tokenizer's token types and padding for its model, in place; they are kept when it is saved.

    The ``model_input_names`` of tokenizers in transformers lack the segments of a pair for ALBERT, XLNet, BigBird and
    others, and the tokenizer of a decoder may have no padding token, or pad before the text.

    Args:
        tokenizer: A Hugging Face tokenizer.
        config: The model's configuration.

    Returns:
        The tokenizer.

    Raises:
        ModelError: No token can serve as padding.
    """
    takes = takes_segments(config)
    others = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
    if takes is not None and takes != ("token_type_ids" in tokenizer.model_input_names):
        _set_and_keep(tokenizer, "model_input_names", [others[0], "token_type_ids", *others[1:]] if takes else others)
    token = _padding_token(tokenizer, config)
    if token != tokenizer.pad_token:
        tokenizer.pad_token = token
    if tokenizer.padding_side == "left" and _class_of(config) and _kind(config) not in _PADDED_LEFT:
        _set_and_keep(tokenizer, "padding_side", "right")  # positions, also of padding, are numbered from the left
    return tokenizer


def _set_and_keep(tokenizer: Any, name: str, value: Any) -> None:
    """Set an attribute so that it is saved; a tokenizer saves only those in its ``init_kwargs``."""
    setattr(tokenizer, name, value)
    tokenizer.init_kwargs[name] = value


def takes_segments(config: Mapping[str, Any]) -> bool | None:
    """Whether a model has token types for the texts of a pair; ``None`` if its configuration does not say."""
    if _kind(config) in _RELATIVE_SEGMENTS:
        return True
    types = config.get("type_vocab_size")
    return types > 1 if isinstance(types, int) else None


# ---------------------------------------------------------------- padding


def _padding_token(tokenizer: Any, config: Mapping[str, Any]) -> str:
    """The padding token if the model has an embedding for it, else a substitute, as in transformers' examples."""
    size, named = _text_value(config, "vocab_size"), _text_value(config, "pad_token_id")
    special = [*tokenizer.all_special_ids, *getattr(tokenizer, "added_tokens_decoder", {})]
    named = named if named in special else None  # as padding, an ordinary word would vanish from the texts
    for number in (tokenizer.pad_token_id, named, tokenizer.eos_token_id, tokenizer.unk_token_id):
        if isinstance(number, int) and (not isinstance(size, int) or number < size):
            own = number == tokenizer.pad_token_id
            return str(tokenizer.pad_token if own else tokenizer.convert_ids_to_tokens(number))
    raise ModelError(
        "model.name_or_path: the tokenizer has no token to pad batches with: no padding token, no end of text, no "
        "unknown word. Give it one (`tokenizer.pad_token = ...`), and save it beside the model."
    )


def missing_padding_id(tokenizer: Any, config: Mapping[str, Any]) -> int | None:
    """The padding id that a model's configuration lacks; ``None`` if its own is right.

    A decoder classifies by the last token that is not padding, which it finds by the id in its configuration.

    Args:
        tokenizer: Adapted by `adapt_tokenizer`.
        config: The model's configuration.
    """
    named = _text_value(config, "pad_token_id")
    if named == tokenizer.pad_token_id or (isinstance(named, int) and _kind(config) in POSITIONS_AFTER_PADDING):
        return None
    return int(tokenizer.pad_token_id)


def describe_padding(tokenizer: Any, config: Mapping[str, Any]) -> str | None:
    """Say which padding id is written into the model's configuration; ``None`` if none is."""
    if (number := missing_padding_id(tokenizer, config)) is None:
        return None
    named = _text_value(config, "pad_token_id")
    why = "names none" if named is None else f"names {named}, which is another token of the tokenizer"
    return f"Padding with {tokenizer.pad_token!r} ({number}): the model's configuration {why}"


# ---------------------------------------------------------------- lengths


def longest_input(tokenizer: Any, config: Mapping[str, Any], wanted: int | None) -> int:
    """Longest input in tokens: the least of what the user, the tokenizer and the model allow.

    Raises:
        ModelError: It is too short for any text.
    """
    # The tokenizer's own limit may be 1e30.
    limits = [LONGEST, wanted, tokenizer.model_max_length, *_positions(config, tokenizer)]
    longest = int(min(limit for limit in limits if limit is not None))
    if longest < SHORTEST:
        raise ModelError(
            f"model.name_or_path: inputs of this model have {longest} tokens at most, too few for any text "
            f"(allowed: {SHORTEST} or more). See max_position_embeddings in its config.json and model_max_length in "
            "its tokenizer_config.json."
        )
    return longest


def _positions(config: Mapping[str, Any], tokenizer: Any) -> Iterator[int]:
    """Number of tokens that the model, and each part of it that reads text, has positions for."""
    for part in _text_parts(config):
        names: tuple[str, ...] = _POSITIONS
        if (known := _class_of(part)) is not None:
            own = known.attribute_map.get("max_position_embeddings", "max_position_embeddings")
            names = (own, "max_seq_len") if known.model_type == "mpt" else (own,)
        positions = next((part[name] for name in names if isinstance(part.get(name), int)), 0)
        if positions > 0:  # -1 and 0 stand for relative positions, which have no limit
            named = part.get("pad_token_id")
            padding = named if isinstance(named, int) else tokenizer.pad_token_id
            yield positions - (padding + 1 if _kind(part) in POSITIONS_AFTER_PADDING else 0)


# ---------------------------------------------------------------- configurations


def _text_parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A configuration and those within it, except for images and audio."""
    yield config
    for name, part in config.items():
        if isinstance(part, Mapping) and "model_type" in part and name not in _NO_TEXT:
            yield from _text_parts(part)


def _text_value(config: Mapping[str, Any], name: str) -> Any:
    """A value of the part that reads text, which in a multimodal model is described by ``text_config``."""
    text = config.get("text_config")
    return text.get(name) if isinstance(text, Mapping) and name in text else config.get(name)


def _kind(config: Mapping[str, Any]) -> str:
    kind = config.get("model_type")
    return kind if isinstance(kind, str) else ""  # a checkpoint may hold any value


def _class_of(config: Mapping[str, Any]) -> Any:
    """The class of a configuration in transformers; ``None`` for one whose code comes with the model."""
    from transformers import CONFIG_MAPPING

    try:
        return CONFIG_MAPPING[_kind(config)]  # a lazy mapping, whose `get` finds nothing
    except KeyError:
        return None
