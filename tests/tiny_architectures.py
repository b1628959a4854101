"""A tiny configuration of many of transformers' architectures, each with three layers of width 16 and 64 tokens."""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification

_COMMON = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "num_labels": 2}
# The names that architectures have for the same sizes.
_BERT = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
_SHORT = {"max_position_embeddings": 64}
_DISTILBERT = {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32}
_XLM = {"emb_dim": 16, "n_layers": 3, "n_heads": 2, "max_position_embeddings": 64}
_GPT = {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 64}
_LLAMA = {**_BERT, **_SHORT, "num_key_value_heads": 2}
_BART = {
    "d_model": 16, "encoder_layers": 3, "decoder_layers": 3, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 64, "decoder_start_token_id": 2,
}  # fmt: skip
_RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
_SIZES: dict[str, dict[str, Any]] = {
    "albert": {**_BERT, **_SHORT, "embedding_size": 8},
    "bart": _BART,
    "big_bird": {**_BERT, **_SHORT, "block_size": 4, "num_random_blocks": 1},
    "bigbird_pegasus": {**_BART, "block_size": 4, "num_random_blocks": 1},
    "bloom": {"hidden_size": 16, "n_layer": 3, "n_head": 2},
    "canine": {**_BERT, **_SHORT, "num_hash_buckets": 32, "num_hash_functions": 2},
    "convbert": {**_BERT, **_SHORT, "embedding_size": 8},
    "ctrl": {"n_embd": 16, "dff": 32, "n_layer": 3, "n_head": 2, "n_positions": 64},
    "deberta": {**_BERT, **_SHORT, **_RELATIVE},
    "deberta-v2": {**_BERT, **_SHORT, **_RELATIVE, "norm_rel_ebd": "layer_norm", "conv_kernel_size": 3},
    "distilbert": _DISTILBERT,
    "electra": {**_BERT, **_SHORT, "embedding_size": 8},
    "esm": {**_BERT, **_SHORT, "mask_token_id": 4, "position_embedding_type": "absolute"},
    "flaubert": _XLM,
    "fnet": {**_BERT, **_SHORT},
    "funnel": {"block_sizes": [1, 1, 1], "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32},
    "gpt2": _GPT,
    "gpt_neox": {**_BERT, **_SHORT},
    "lilt": {**_BERT, **_SHORT, "hidden_size": 24},
    "llama": _LLAMA,
    "longformer": {**_BERT, **_SHORT, "attention_window": 8},
    "luke": {**_BERT, **_SHORT, "entity_vocab_size": 8, "entity_emb_size": 8},
    "mbart": _BART,
    "megatron-bert": {**_BERT, **_SHORT},
    "modernbert": {**_BERT, **_SHORT, "global_attn_every_n_layers": 2, "local_attention": 8, "sep_token_id": 2},
    "mpnet": {**_BERT, **_SHORT},
    "openai-gpt": _GPT,
    "opt": {**_BERT, **_SHORT, "ffn_dim": 32, "word_embed_proj_dim": 8},
    "perceiver": {"d_model": 16, "d_latents": 16, "num_latents": 4, "num_self_attends_per_block": 3,
                  "num_self_attention_heads": 2, "num_cross_attention_heads": 2, **_SHORT},
    "reformer": {"hidden_size": 16, "attention_head_size": 8, "num_attention_heads": 2, "feed_forward_size": 16,
                 "attn_layers": ["local", "local", "local"], "local_attn_chunk_length": 8, "axial_pos_embds": False,
                 "is_decoder": False, **_SHORT},
    "roberta-prelayernorm": {**_BERT, **_SHORT},
    "roformer": {**_BERT, **_SHORT, "embedding_size": 8},
    "squeezebert": {**_BERT, **_SHORT, "embedding_size": 16, "q_groups": 2, "k_groups": 2, "v_groups": 2,
                    "post_attention_groups": 1, "intermediate_groups": 2, "output_groups": 2},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 3, "num_heads": 2, "decoder_start_token_id": 0},
    "xlm": _XLM,
    "xlm-roberta-xl": {**_BERT, **_SHORT},
    "xlnet": {"d_model": 16, "n_layer": 3, "n_head": 2, "d_inner": 32},
    "xmod": {**_BERT, **_SHORT, "languages": ["en_XX", "de_DE"], "default_language": "en_XX"},
}  # fmt: skip


def tiny_config(name: str, **changes: Any) -> Any:
    """The configuration of an architecture, by its ``model_type``."""
    return CONFIG_MAPPING[name](**{**_COMMON, **_SIZES.get(name, {**_BERT, **_SHORT}), **changes})


def tiny_architecture(name: str, **changes: Any) -> Any:
    """A classifier with random weights, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForSequenceClassification.from_config(tiny_config(name, **changes))


def tiny_folder(name: str, folder: Path, tokenizer: Path, **changes: Any) -> Path:
    """A model's folder with the weights of an architecture, and the tokenizer of the fixture ``tiny_model``."""
    tiny_architecture(name, vocab_size=168, **changes).save_pretrained(folder)
    for file in tokenizer.glob("*token*"):
        shutil.copy(file, folder)
    return folder


# Two rows that every architecture takes: each ends with the end-of-text token, one is padded.
IDS = torch.tensor([[1, 5, 6, 7, 8, 9, 12, 2], [1, 9, 8, 7, 6, 2, 0, 0]])
MASK = IDS.ne(0).long()
