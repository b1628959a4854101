"""Models with random weights, a tokenizer and rows of random words: what a benchmark without the Hub needs."""

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# The shapes of distilbert-base, bert-base, bert-large and ModernBERT-base are their classes' defaults or given here.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert-base": ("bert", {}),
    "distilbert": ("distilbert", {}),
    "modernbert-base": ("modernbert", {}),
    "bert-large": (
        "bert",
        {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    ),
}
_TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
TINY: dict[str, tuple[str, dict[str, Any]]] = {"tiny-bert": ("bert", {**_TINY, "vocab_size": 600})}
# Words of a text: the mean and the deviation of their logarithm. CoLA's are those of its training file; MNLI's give
# pairs of 38 tokens on average.
_WORDS = {"CoLA": ((2.15, 0.41),), "MNLI": ((2.9, 0.65), (2.4, 0.4))}


def make_models(folder: Path, shapes: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, str]:
    """Write each model with its tokenizer into a folder; returns the folders by the models' names."""
    folders = {}
    for name, (kind, sizes) in shapes.items():
        special = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
        config = CONFIG_MAPPING[kind](**sizes, **special)
        torch.manual_seed(0)
        model = AutoModel.from_config(config)
        model.save_pretrained(folder / name)
        _tokenizer(config.vocab_size).save_pretrained(folder / name)
        folders[name] = str(folder / name)
    return folders


def _tokenizer(size: int) -> PreTrainedTokenizerFast:
    """A tokenizer for which every word is one token."""
    words = [*_SPECIAL, *(f"w{n}" for n in range(size - len(_SPECIAL)))]
    inner = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=512, **named)


def make_rows(folder: Path, train: int, dev: int) -> None:
    """Write training and dev files of CoLA and MNLI as GLUE has them, with texts of random words."""
    draw, numbers = random.Random(0), np.random.default_rng(0)

    def texts(task: str, count: int) -> list[list[str]]:
        columns = []
        for mean, deviation in _WORDS[task]:
            lengths = np.clip(numbers.lognormal(mean, deviation, count), 2, 200).astype(int)
            columns.append([" ".join(f"w{draw.randrange(500)}" for _ in range(length)) for length in lengths])
        return [list(row) for row in zip(*columns, strict=True)]

    def write(name: str, rows: list[list[str]]) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n").writerows(rows)

    for split, count in (("train", train), ("dev", dev)):
        write(f"CoLA/{split}.tsv", [["x", str(draw.randrange(2)), "", *text] for text in texts("CoLA", count)])
    labels = ("entailment", "neutral", "contradiction")
    # `dev.tsv` is for the other side, which reads one dev file for each task
    for split, count in (("train", train), ("dev", dev), ("dev_matched", dev), ("dev_mismatched", 2)):
        rows = [[*text, draw.choice(labels)] for text in texts("MNLI", count)]
        write(f"MNLI/{split}.tsv", [["sentence1", "sentence2", "gold_label"], *rows])
