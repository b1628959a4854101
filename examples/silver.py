"""Label pairs of sentences with the cosine similarity of a sentence encoder, as a start for STS-B.

    python examples/silver.py path/to/glue silver.csv [MODEL]
    glue-lit suite --config configs/suite/all-minilm-l6-v2.yaml --data.source path/to/glue

A sentence encoder compares two sentences by their vectors, but has never read two texts as one input, as a GLUE
classifier does. Here it labels pairs for that classifier: the score of a pair is five times its cosine. Liu et al. 2022
("Trans-Encoder", https://arxiv.org/abs/2109.13059, section 3) found that the student becomes better than its teacher.
Each sentence of the training files of STS-B, MRPC and RTE is paired with its nearest other, one of the next nine or one
of the next 990, so that there are all degrees of similarity. It reads no labels, and no row of a dev or test file.
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
RANKS = ((0, 1), (1, 10), (10, 1000))  # of neighbours, nearest first: a partner comes from one of these ranges


def sentences(glue: Path) -> list[str]:
    """The sentences of the training files, each once, in order."""
    unique: dict[str, None] = {}
    for folder, columns in COLUMNS.items():
        with (glue / folder / "train.tsv").open(encoding="utf-8-sig", newline="") as file:
            rows: Iterator[list[str]] = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            next(rows)
            unique |= {row[column].strip(): None for row in rows for column in columns}
    return [text for text in unique if 0 < len(text.split()) <= MOST_WORDS]


@torch.inference_mode()
def embed(texts: list[str], name_or_path: str, batch: int = 64) -> torch.Tensor:
    """Unit vectors ``(sentences, width)``: the mean over tokens, as this encoder was trained."""
    tokenizer = load("tokenizer", AutoTokenizer.from_pretrained, name_or_path)
    model = load("model", AutoModel.from_pretrained, name_or_path).eval()
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    vectors = torch.empty(len(texts), model.config.hidden_size)
    for start in range(0, len(order), batch):
        indices = order[start : start + batch]
        tokens = tokenizer(
            [texts[index] for index in indices], padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        mask = tokens["attention_mask"].unsqueeze(-1)
        hidden = model(**tokens).last_hidden_state
        vectors[indices] = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    return vectors


def pairs(texts: list[str], vectors: torch.Tensor, rng: random.Random) -> Iterator[tuple[str, str, float]]:
    """Pair each sentence with a neighbour of one of the `RANKS`; the score is five times the cosine, at least 0."""
    most = min(RANKS[-1][1] + 1, len(texts))
    for start in range(0, len(texts), 1024):
        near = (vectors[start : start + 1024] @ vectors.T).topk(most)
        for index, (scores, others) in enumerate(zip(near.values.tolist(), near.indices.tolist(), strict=True), start):
            first, last = rng.choice(RANKS)
            neighbours = [(score, other) for score, other in zip(scores, others, strict=True) if other != index]
            if neighbours[first:last]:
                score, other = rng.choice(neighbours[first:last])
                yield texts[index], texts[other], round(5 * max(score, 0.0), 3)


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
