"""Pairs of sentences with the similarity that an encoder of sentences gives them: a corpus to start STS-B from.

    python examples/silver.py path/to/glue silver.csv [MODEL]
    glue-lit suite --config configs/suite/all-minilm-l6-v2.yaml --data.source path/to/glue

A sentence encoder knows how alike two sentences are once each is a vector, but has never read two texts as one input,
as a GLUE classifier does. Here it labels pairs for that classifier: its cosine, times 5, is the score of the pair. Liu
et al. 2022 ("Trans-Encoder", https://arxiv.org/abs/2109.13059, section 3) found that the pupil goes beyond its teacher.
Each sentence of the training files of STS-B, MRPC and RTE stands beside another: its nearest, one of the next nine or
one of the next 990, so that there are all degrees of likeness. No label is read, and no row of a dev or test file.
"""

import csv
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

from glue_lit.encoder.pretrained import load
from glue_lit.errors import GlueLitError

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
COLUMNS = {"STS-B": (7, 8), "MRPC": (3, 4), "RTE": (1, 2)}
MOST_WORDS = 40
RANKS = ((0, 1), (1, 10), (10, 1000))  # nearest first: a partner comes out of one of these ranges


def sentences(glue: Path) -> list[str]:
    """Sentences of the training files, each once, in order."""
    found: dict[str, None] = {}
    for folder, columns in COLUMNS.items():
        with (glue / folder / "train.tsv").open(encoding="utf-8-sig", newline="") as file:
            rows: Iterator[list[str]] = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            next(rows)
            found |= {row[column].strip(): None for row in rows for column in columns}
    return [text for text in found if 0 < len(text.split()) <= MOST_WORDS]


@torch.inference_mode()
def embed(texts: list[str], name_or_path: str, batch: int = 64) -> torch.Tensor:
    """Unit vectors ``(sentences, width)``: the mean over tokens, as this encoder was trained."""
    tokenizer = load("tokenizer", AutoTokenizer.from_pretrained, name_or_path)
    model = load("model", AutoModel.from_pretrained, name_or_path).eval()
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    vectors = torch.empty(len(texts), model.config.hidden_size)
    for start in range(0, len(order), batch):
        places = order[start : start + batch]
        tokens = tokenizer(
            [texts[place] for place in places], padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        mask = tokens["attention_mask"].unsqueeze(-1)
        hidden = model(**tokens).last_hidden_state
        vectors[places] = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    return vectors


def pairs(texts: list[str], vectors: torch.Tensor, rng: random.Random) -> Iterator[tuple[str, str, float]]:
    """Each sentence with a partner out of one of `RANKS`, and five times their cosine, from 0 up."""
    most = min(RANKS[-1][1] + 1, len(texts))
    for start in range(0, len(texts), 1024):
        near = (vectors[start : start + 1024] @ vectors.T).topk(most)
        for place, (scores, others) in enumerate(zip(near.values.tolist(), near.indices.tolist(), strict=True), start):
            first, last = rng.choice(RANKS)
            found = [(score, other) for score, other in zip(scores, others, strict=True) if other != place]
            if found[first:last]:
                score, other = rng.choice(found[first:last])
                yield texts[place], texts[other], round(5 * max(score, 0.0), 3)


def main() -> None:
    """Write the corpus."""
    if len(sys.argv) not in (3, 4):
        raise SystemExit("usage: python examples/silver.py GLUE_FOLDER OUTPUT.csv [MODEL]")
    try:
        texts = sentences(Path(sys.argv[1]))
    except FileNotFoundError as error:
        raise SystemExit(f"{error.filename} is not there: name the folder of the official GLUE files.") from None
    rng = random.Random(0)
    begun, wall = time.process_time(), time.monotonic()
    try:
        vectors = embed(texts, sys.argv[3] if len(sys.argv) == 4 else MODEL)
    except GlueLitError as error:
        raise SystemExit(str(error)) from None
    labelled = list(pairs(texts, vectors, rng))
    rng.shuffle(labelled)
    with Path(sys.argv[2]).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("sentence1", "sentence2", "score"), *labelled])
    cost = {"processor_seconds": time.process_time() - begun, "wall_seconds": time.monotonic() - wall}
    Path(sys.argv[2]).with_suffix(".cost.json").write_text(json.dumps(cost) + "\n", encoding="utf-8")
    print(f"{sys.argv[2]}: {len(labelled):,} pairs of {len(texts):,} sentences")


if __name__ == "__main__":
    main()
