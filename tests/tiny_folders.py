"""A tiny random model with a fitting tokenizer, for every architecture that transformers classifies texts with."""

import string
from pathlib import Path
from typing import Any

# Architectures of the mapping that are not tried here.
LEFT_OUT = {"layoutlmv2": "needs detectron2, and an image of each page"}

LAYERS = 2
LENGTH = 64  # positions

# Sizes by the names that configurations have for them.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "dim", "emb_dim", "n_embd", "embedding_size", "word_embed_proj_dim",
                     "pooler_hidden_size", "input_embedding_size", "output_embedding_size", "d_latents"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers",
                     "num_decoder_layers", "num_self_attends_per_block"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head", "num_heads", "encoder_attention_heads",
                     "decoder_attention_heads", "num_key_value_heads", "num_kv_heads", "num_self_attention_heads",
                     "num_cross_attention_heads", "linear_num_key_heads", "linear_num_value_heads"), 2),
    **dict.fromkeys(("intermediate_size", "d_ff", "d_inner", "ffn_dim", "hidden_dim", "dff", "encoder_ffn_dim",
                     "decoder_ffn_dim", "feed_forward_size", "ffn_hidden_size"), 64),
    **dict.fromkeys(("head_dim", "d_head", "d_kv", "attention_head_size", "v_head_dim", "kv_channels",
                     "q_lora_rank", "kv_lora_rank", "linear_key_head_dim", "linear_value_head_dim"), 16),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "rotary_dim"), 8),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok",), 2),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace"), 1),
    **dict.fromkeys(("sliding_window", "window_size"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), LENGTH),
    "initializer_range": 0.2,  # so that outputs of different texts are well apart
    "init_std": 0.2,
    "embed_init_std": 0.2,
    "num_latents": 8,
    # of pages and of images, which texts alone do not touch
    "max_2d_position_embeddings": 32,
    "max_xpath_tag_unit_embeddings": 220,
    "xpath_unit_hidden_size": 4,
    "image_size": 32,
    "input_size": 32,
    "depth": 1,
    "out_hidden_size": 32,
    "num_position_embeddings": 4,
    "query_pre_attn_scalar": 16,
}  # fmt: skip

# Sizes that do not follow from a setting's name.
_GEMMA = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 16, "query_pre_attn_scalar": 16, "vocab_size": 261, "sliding_window": 16,
    "max_position_embeddings": LENGTH, "pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0,
    "initializer_range": 0.2,
}  # fmt: skip
_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_OWN: dict[str, dict[str, Any]] = {
    "axk1": {"head_dim": 8},
    "canine": {"num_hash_buckets": 64, "local_transformer_stride": 16},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE}},
    "deepseek_v2": {"head_dim": 8, "num_experts_per_tok": 2},
    "deepseek_v3": {"head_dim": 8},
    "esm": {"pad_token_id": 1, "mask_token_id": 4},
    "funnel": {"block_sizes": [1, 1], "num_decoder_layers": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 4, "mamba_dt_rank": 4},
    "layoutlmv3": {"coordinate_size": 6, "shape_size": 4, "type_vocab_size": 1},
    "lilt": {"hidden_size": 48},
    "luke": {"entity_vocab_size": 16, "entity_emb_size": 8},
    "ministral": {"head_dim": 16},
    "mobilebert": {"num_feedforward_networks": 2, "intra_bottleneck_size": 32, "true_hidden_size": 32},
    "mvp": {"prompt_length": 4, "prompt_mid_dim": 16},
    "nemotron": {"head_dim": 16, "num_key_value_heads": 2},
    "qwen3_5_text": {"layer_types": ["linear_attention", "full_attention"]},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"]},
    "reformer": {
        "attn_layers": ["local", "lsh"], "axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 16],
        "local_attn_chunk_length": 16, "lsh_attn_chunk_length": 16, "num_buckets": 4,
    },
    "roc_bert": {"pronunciation_vocab_size": 16, "pronunciation_embed_dim": 16, "shape_vocab_size": 16,
                 "shape_embed_dim": 16},
    "t5": {"decoder_start_token_id": 0},
    "t5gemma": {"encoder": _GEMMA, "decoder": _GEMMA | {"cross_attention_hidden_size": 32}, "initializer_range": 0.2},
    "xmod": {"default_language": "en_XX"},
    "yoso": {"num_hash": 8, "hash_code_len": 4},
    "zamba": {"attention_hidden_size": 64, "attention_head_dim": 32, "mamba_d_state": 4, "mamba_dt_rank": 4,
              "num_hidden_layers": 3, "layers_block_type": ["linear_attention", "hybrid", "hybrid"]},
    "zamba2": {"mamba_d_state": 4, "n_mamba_heads": 2, "num_mem_blocks": 1, "num_hidden_layers": 3,
               "layers_block_type": ["linear_attention", "hybrid", "hybrid"]},
}  # fmt: skip


# Published with one kind of segment, where configurations have two by default.
for _kind in ("camembert", "data2vec-text", "ibert", "lilt", "longformer", "luke", "roberta", "roberta-prelayernorm",
              "xlm-roberta", "xmod"):  # fmt: skip
    _OWN[_kind] = _OWN.get(_kind, {}) | {"type_vocab_size": 1}


def architectures() -> list[str]:
    """The kinds of models in the table, as configurations have them in ``model_type``."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

    return sorted(set(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES) - set(LEFT_OUT))


def write_tiny(kind: str, folder: Path) -> None:
    """Write a model of an architecture, drawn at random, and its tokenizer as a folder of Hugging Face's."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification

    from glue_lit.encoder import pretrained

    with pretrained.quiet(), torch.random.fork_rng(devices=[]):
        usual = CONFIG_MAPPING[kind]()
        tokenizer = tokenizer_of(kind, getattr(usual.get_text_config(), "pad_token_id", None) is not None)
        config = CONFIG_MAPPING[kind](**_sizes(kind, usual.to_dict(), tokenizer))
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _sizes(kind: str, usual: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    """The configuration's values: small sizes, and the tokenizer's special tokens where there are some by default."""
    small = {name: size for name, size in _SIZES.items() if usual.get(name) is not None}
    if "vocab_size" in usual:
        small["vocab_size"] = len(tokenizer)
    for token in ("pad", "bos", "eos", "cls", "sep", "mask", "decoder_start"):
        name = f"{token}_token_id"
        number = getattr(tokenizer, name if token != "decoder_start" else "eos_token_id", None)
        if usual.get(name) is not None:
            small[name] = number
    for name in ("text_config", "vision_config", "encoder", "decoder"):
        if isinstance(part := usual.get(name), dict):
            own = part["model_type"]
            small[name] = {"model_type": own} | _sizes(own, part, tokenizer)
    return small | _OWN.get(kind, {})


def tokenizer_of(kind: str, has_padding: bool) -> Any:
    """A tokenizer that spells words out, of the class that transformers has for the architecture where it can be made.

    Args:
        kind: Kind of the model.
        has_padding: Whether the architecture has a padding token; most decoders have none.
    """
    import transformers
    from tokenizers import models
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    found = getattr(transformers, TOKENIZER_MAPPING_NAMES.get(kind) or "", None)
    if kind in ("canine", "perceiver"):  # characters and bytes, which need no training
        return found(model_max_length=LENGTH)
    model = getattr(found, "model", None)
    if kind in _BY_THE_TOKENIZER_OF:
        return tokenizer_of(_BY_THE_TOKENIZER_OF[kind], has_padding)
    if model is models.WordPiece:
        first = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"] if kind == "mpnet" else _BERT
        return found(vocab=_numbered([*first, *_PIECES]), model_max_length=LENGTH)
    if model is models.Unigram:
        return found(vocab=[*((word, 0.0) for word in _FIRST.get(kind, _ROBERTA)), *_UNIGRAM], model_max_length=LENGTH)
    if found is not None and found.__name__ in (
        "RobertaTokenizer",
        "DebertaTokenizer",
        "LukeTokenizer",
        "MvpTokenizer",
    ):
        return found(vocab=_numbered([*_FIRST.get(kind, _ROBERTA), *_bytes()]), merges=[], model_max_length=LENGTH)
    return _generic(has_padding or kind in _PADDED)


_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
_FIRST = {
    "albert": ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
    "big_bird": ["<pad>", "</s>", "<s>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
    "deberta": _BERT,
    "deberta-v2": ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"],
    "fnet": ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
    "mt5": ["<pad>", "</s>", "<unk>"],
    "rembert": ["<pad>", "[CLS]", "[SEP]", "<unk>", "[MASK]"],
    "t5": ["<pad>", "</s>", "<unk>"],
    "xlnet": ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>"],
    "yoso": ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
}
# Published with the tokenizer of another, or with one of their own that numbers the texts of a pair in the same way.
_BY_THE_TOKENIZER_OF = {"nystromformer": "albert", "roc_bert": "bert", "roformer": "bert"}
_PIECES = [
    *string.ascii_lowercase, *string.digits, *(f"##{c}" for c in string.ascii_lowercase + string.digits),
    *string.punctuation,
]  # fmt: skip
_UNIGRAM = [(piece, -4.0) for piece in ("▁", *string.ascii_letters, *string.digits, *string.punctuation)]
_PADDED = (
    "esm",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "qwen3_next",
    "qwen3_5",
    "qwen3_5_text",
)  # by their tokenizers


def _numbered(words: list[str]) -> dict[str, int]:
    return {word: number for number, word in enumerate(words)}


def _bytes() -> list[str]:
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def _generic(has_padding: bool) -> Any:
    """Bytes: with RoBERTa's special tokens around a text, or with an end-of-text token alone, and no padding."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = _ROBERTA if has_padding else ["<|endoftext|>"]
    backend = Tokenizer(models.BPE(vocab=_numbered([*special, *_bytes()]), merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if not has_padding:
        return PreTrainedTokenizerFast(
            tokenizer_object=backend, bos_token=special[0], eos_token=special[0], model_max_length=LENGTH
        )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = dict(zip(("bos", "pad", "eos", "unk", "mask"), special, strict=True)) | {"cls": "<s>", "sep": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=LENGTH, **{f"{name}_token": word for name, word in names.items()}
    )
