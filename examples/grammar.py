"""Train an encoder to find the wrong words of a sentence, as a start for CoLA.

    python examples/grammar.py path/to/glue grammar-encoder [MODEL]
    glue-lit fit --config configs/recipes/all-minilm-l6-v2/cola.yaml --model.name_or_path grammar-encoder

An encoder that was trained on the meaning of sentences has forgotten much of their grammar. Here it sees each sentence
of the training files of CoLA (the acceptable ones), MRPC, STS-B, RTE and WNLI beside a corrupted copy: one or two words
are dropped, doubled, moved, exchanged, inserted, given another ending, or replaced (by a word of the same kind, such as
he for him; by one that follows the same word elsewhere; by any word). It learns to tell the original from the copy
(Warstadt et al. 2019, "Neural Network Acceptability Judgments", section 5.1), and which tokens are wrong, as ELECTRA's
discriminator does (Clark et al. 2020, https://arxiv.org/abs/2003.10555, section 2), so that each sentence teaches more.
It reads no labels but CoLA's, and no row of a dev or test file. It takes a quarter of an hour on one core that has
instructions for bfloat16, and longer on others.
"""

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from corruption import Corruption, Token, sentences, split
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from glue_lit.encoder.pretrained import load
from glue_lit.errors import GlueLitError
from glue_lit.system.hardware import fast_precision, keep_freed_memory

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
EPOCHS = 2
BATCH = 32
LEARNING_RATE = 2e-4
WARMUP = 0.06  # share of the steps
IN_BFLOAT16 = fast_precision("cpu") == "bf16-mixed"  # several times as slow on processors without instructions for it
TOKEN_WEIGHT = 10.0  # of the loss over tokens, which is small because most tokens are right


class Row(NamedTuple):
    """A sentence of a batch: its tokens, which of them are wrong (-1: not asked), and whether it is the original."""

    tokens: list[int]
    wrong: list[int]
    is_original: int


def batches(counts: Counter[str], corrupt: Corruption, tokenizer: Any) -> list[list[Row]]:
    """The batches of an epoch: each sentence once for each corrupted copy, in batches of similar lengths, shuffled."""
    pieces: dict[str, list[int]] = {}

    def row(tokens: list[Token], is_original: int) -> Row:
        ids, wrong = [tokenizer.cls_token_id], [-1]
        for token in tokens:
            if token.text not in pieces:
                pieces[token.text] = tokenizer(token.text, add_special_tokens=False)["input_ids"]
            ids += pieces[token.text]
            wrong += [int(token.wrong)] * len(pieces[token.text])
        return Row([*ids, tokenizer.sep_token_id], [*wrong, -1], is_original)

    rows = []
    for sentence, times in counts.items():
        good = row([Token(text) for text in split(sentence)], 1)
        for _ in range(times):
            bad = corrupt(sentence)
            if bad is not None:
                rows += [good, row(bad, 0)]
    rng = corrupt.rng
    rng.shuffle(rows)
    batched = []
    for start in range(0, len(rows), 64 * BATCH):
        part = sorted(rows[start : start + 64 * BATCH], key=lambda row: len(row.tokens))
        batched += [part[first : first + BATCH] for first in range(0, len(part), BATCH)]
    rng.shuffle(batched)
    return batched


class Discriminator(torch.nn.Module):
    """The classifier, with a second head that finds wrong tokens."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.token_head = torch.nn.Linear(model.config.hidden_size, 1)

    def loss(self, rows: list[Row]) -> torch.Tensor:
        """The loss of a batch, a scalar: over sentences, plus `TOKEN_WEIGHT` times that over tokens."""
        longest = max(len(row.tokens) for row in rows)
        padding = self.model.config.pad_token_id
        ids = torch.tensor([row.tokens + [padding] * (longest - len(row.tokens)) for row in rows])
        wrong = torch.tensor([row.wrong + [-1] * (longest - len(row.tokens)) for row in rows])
        mask = torch.tensor([[1] * len(row.tokens) + [0] * (longest - len(row.tokens)) for row in rows])
        with torch.autocast("cpu", torch.bfloat16, enabled=IN_BFLOAT16):
            out = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            of_tokens = self.token_head(out.hidden_states[-1]).squeeze(-1)
        asked = wrong >= 0
        tokens = F.binary_cross_entropy_with_logits(of_tokens.float()[asked], wrong[asked].float())
        return F.cross_entropy(out.logits.float(), torch.tensor([row.is_original for row in rows])) + (
            TOKEN_WEIGHT * tokens
        )


def train(model: Any, tokenizer: Any, counts: Counter[str], seed: int = 0) -> float:
    """Train ``model`` in place, and return the mean loss of the last batches."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    corrupt = Corruption(counts, rng)
    rows = [batch for _ in range(EPOCHS) for batch in batches(counts, corrupt, tokenizer)]
    discriminator = Discriminator(model).train()
    optimizer = torch.optim.AdamW(discriminator.parameters(), lr=LEARNING_RATE)
    warmup = max(1, int(WARMUP * len(rows)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (len(rows) - step) / max(1, len(rows) - warmup))
    )
    last: list[float] = []
    for number, batch in enumerate(rows, 1):
        loss = discriminator.loss(batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(discriminator.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        last = [*last[-199:], loss.item()]
        if number % 200 == 0 or number == len(rows):
            print(f"step {number:,} of {len(rows):,}, loss {sum(last) / len(last):.4f}", flush=True)
    return sum(last) / len(last)


def main() -> None:
    """Train the encoder, and write it with its tokenizer."""
    if len(sys.argv) not in (3, 4):
        raise SystemExit("usage: python examples/grammar.py GLUE_FOLDER OUTPUT_FOLDER [MODEL]")
    try:
        counts = sentences(Path(sys.argv[1]))
    except FileNotFoundError as error:
        raise SystemExit(f"{error.filename} is not there: name the folder of the official GLUE files.") from None
    output, name = Path(sys.argv[2]), sys.argv[3] if len(sys.argv) == 4 else MODEL
    keep_freed_memory()
    begun, wall = time.process_time(), time.monotonic()
    try:
        tokenizer = load("tokenizer", AutoTokenizer.from_pretrained, name)
        model = load("model", AutoModelForSequenceClassification.from_pretrained, name, num_labels=2)
    except GlueLitError as error:
        raise SystemExit(str(error)) from None
    train(model, tokenizer, counts)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    cost = {"processor_seconds": time.process_time() - begun, "wall_seconds": time.monotonic() - wall}
    (output / "cost.json").write_text(json.dumps(cost) + "\n", encoding="utf-8")
    print(f"{output}: trained on {len(counts):,} sentences and corrupted copies of them")


if __name__ == "__main__":
    main()
