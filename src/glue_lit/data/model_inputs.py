"""What a model takes of its tokenizer: which inputs, which padding, how many tokens, batches of which lengths."""

from collections.abc import Iterator, Mapping
from typing import Any

from glue_lit.errors import ModelError

SHORTEST = 4  # tokens, as for data.max_length
LONGEST = 1_000_000  # tokens, where neither tokenizer nor model names a limit (XLNet, T5, BLOOM): none, as an integer
# Their position numbers start after the padding id, so the table holds that many positions less, and another padding
# id would move every token to another position.
POSITIONS_AFTER_PADDING = {
    "camembert", "data2vec-text", "esm", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip
# Names of the number of positions: a class of transformers says which is its own (attribute_map), code may have any.
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "n_ctx", "seq_length")
_NO_TEXT = {"vision_config", "audio_config"}
# They compare segments with each other, of any number, and have no table of them.
_RELATIVE_SEGMENTS = {"funnel", "xlnet"}
# They take the last position for the whole text, which therefore has to be a token.
_PADDED_LEFT = {"xlnet"}
# Their logits for a text depend on how much padding stands behind it, in evaluation and in any precision: they mix
# positions without a look at the mask (convolutions over the tokens in convbert, canine and mobilebert, a Fourier
# transform in fnet, block-sparse and hashed attention whose blocks follow from the length in bigbird, mra,
# nystromformer, reformer and yoso) or build a mask of their own (t5gemma's decoder).
_DEPENDENT_ON_PADDING = {
    "big_bird", "bigbird_pegasus", "canine", "convbert", "fnet", "mobilebert", "mra", "nystromformer", "reformer",
    "t5gemma", "t5gemma2", "yoso",
}  # fmt: skip


def needs_equal_lengths(config: Mapping[str, Any]) -> bool:
    """Whether a model is to be evaluated in batches without padding, because its logits depend on it."""
    return _kind(config) in _DEPENDENT_ON_PADDING


def adapt_tokenizer(tokenizer: Any, config: Mapping[str, Any]) -> Any:
    """Set a tokenizer up for its model, in place, also where it is saved and loaded again: token types and padding.

    What transformers' classes of tokenizers say (``model_input_names``) leaves out the segments of a pair for ALBERT,
    XLNet, BigBird and others; and a decoder's tokenizer may have no padding token, or pad before the text.

    Args:
        tokenizer: A Hugging Face tokenizer.
        config: The model's configuration.

    Returns:
        The tokenizer.

    Raises:
        ModelError: Nothing can be padded with.
    """
    takes = takes_segments(config)
    others = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
    if takes is not None and takes != ("token_type_ids" in tokenizer.model_input_names):
        _keep(tokenizer, "model_input_names", [others[0], "token_type_ids", *others[1:]] if takes else others)
    token = _padding_token(tokenizer, config)
    if token != tokenizer.pad_token:
        tokenizer.pad_token = token
    if tokenizer.padding_side == "left" and _class_of(config) and _kind(config) not in _PADDED_LEFT:
        _keep(tokenizer, "padding_side", "right")  # positions are counted from the left, also those of the padding
    return tokenizer


def _keep(tokenizer: Any, name: str, value: Any) -> None:
    """Set an attribute, which is saved only where it is among the values that the tokenizer was made from, too."""
    setattr(tokenizer, name, value)
    tokenizer.init_kwargs[name] = value


def takes_segments(config: Mapping[str, Any]) -> bool | None:
    """Whether a model has types of tokens, for the texts of a pair; ``None`` if its configuration does not say.

    With one row in the table, or none, all tokens are of the same type.
    """
    if _kind(config) in _RELATIVE_SEGMENTS:
        return True
    rows = config.get("type_vocab_size")
    return rows > 1 if isinstance(rows, int) else None


# ---------------------------------------------------------------- padding


def _padding_token(tokenizer: Any, config: Mapping[str, Any]) -> str:
    """What to pad with: the padding token that the model knows, else what transformers' examples take in its place."""
    words, named = _text_value(config, "vocab_size"), _text_value(config, "pad_token_id")
    special = [*tokenizer.all_special_ids, *getattr(tokenizer, "added_tokens_decoder", {})]
    named = named if named in special else None  # an ordinary word would be cut out of the texts
    for number in (tokenizer.pad_token_id, named, tokenizer.eos_token_id, tokenizer.unk_token_id):
        if isinstance(number, int) and (not isinstance(words, int) or number < words):
            own = number == tokenizer.pad_token_id
            return str(tokenizer.pad_token if own else tokenizer.convert_ids_to_tokens(number))
    raise ModelError(
        "model.name_or_path: the tokenizer has no token to fill batches up with: none for padding, none for the end of "
        "a text, none for unknown words. Give it one (`tokenizer.pad_token = ...`), and save it beside the model."
    )


def missing_padding_id(tokenizer: Any, config: Mapping[str, Any]) -> int | None:
    """The padding id to be written into a model's configuration; ``None`` if what it has is right.

    A decoder takes the last token that is not padding for the whole text, by the id that its configuration names.

    Args:
        tokenizer: Set up by `adapt_tokenizer`.
        config: The model's configuration.
    """
    named = _text_value(config, "pad_token_id")
    if named == tokenizer.pad_token_id or (isinstance(named, int) and _kind(config) in POSITIONS_AFTER_PADDING):
        return None
    return int(tokenizer.pad_token_id)


def describe_padding(tokenizer: Any, config: Mapping[str, Any]) -> str | None:
    """What there is to say about the padding, if the model's configuration is changed for it."""
    if (number := missing_padding_id(tokenizer, config)) is None:
        return None
    named = _text_value(config, "pad_token_id")
    why = "names none" if named is None else f"names {named}, which is another token of the tokenizer"
    return f"Padding with {tokenizer.pad_token!r} ({number}): the model's configuration {why}"


# ---------------------------------------------------------------- lengths


def longest_input(tokenizer: Any, config: Mapping[str, Any], wanted: int | None) -> int:
    """Longest input in tokens: the least of what the user, the tokenizer and the model allow.

    Raises:
        ModelError: No text has room in it.
    """
    # The tokenizer's own limit alone is not enough: it can be 1e30, which truncates nothing.
    limits = [LONGEST, wanted, tokenizer.model_max_length, *_positions(config, tokenizer)]
    longest = int(min(limit for limit in limits if limit is not None))
    if longest < SHORTEST:
        raise ModelError(
            f"model.name_or_path: inputs of this model have {longest} tokens at most, in which no text has room "
            f"(allowed: {SHORTEST} or more). See max_position_embeddings in its config.json and model_max_length in "
            "its tokenizer_config.json."
        )
    return longest


def _positions(config: Mapping[str, Any], tokenizer: Any) -> Iterator[int]:
    """How many tokens the model, and each part of it that reads text, has positions for."""
    for part in _text_parts(config):
        names: tuple[str, ...] = _POSITIONS
        if (known := _class_of(part)) is not None:
            own = known.attribute_map.get("max_position_embeddings", "max_position_embeddings")
            names = (own, "max_seq_len") if known.model_type == "mpt" else (own,)
        positions = next((part[name] for name in names if isinstance(part.get(name), int)), 0)
        if positions > 0:  # -1 and 0: relative positions, no limit
            named = part.get("pad_token_id")
            padding = named if isinstance(named, int) else tokenizer.pad_token_id
            yield positions - (padding + 1 if _kind(part) in POSITIONS_AFTER_PADDING else 0)


# ---------------------------------------------------------------- configurations


def _text_parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A configuration and those within it, but for what sees or hears."""
    yield config
    for name, part in config.items():
        if isinstance(part, Mapping) and "model_type" in part and name not in _NO_TEXT:
            yield from _text_parts(part)


def _text_value(config: Mapping[str, Any], name: str) -> Any:
    """A value of the configuration of the part that reads text: ``text_config`` of a model of several kinds."""
    text = config.get("text_config")
    return text.get(name) if isinstance(text, Mapping) and name in text else config.get(name)


def _kind(config: Mapping[str, Any]) -> str:
    kind = config.get("model_type")
    return kind if isinstance(kind, str) else ""  # a checkpoint may be anybody's


def _class_of(config: Mapping[str, Any]) -> Any:
    """The class that transformers has for a configuration; ``None`` for one that is made by code of its own."""
    from transformers import CONFIG_MAPPING

    try:
        return CONFIG_MAPPING[_kind(config)]
    except KeyError:
        return None
