"""An encoder that has learned which words of a sentence are wrong: where CoLA starts from.

    python examples/grammar.py path/to/glue grammar-encoder [MODEL]
    glue-lit fit --config configs/recipes/all-minilm-l6-v2/cola.yaml --model.name_or_path grammar-encoder

An encoder that was trained to embed what sentences mean has lost what makes them English. Here it sees every sentence
of the training files of CoLA (those that are acceptable), MRPC, STS-B, RTE and WNLI beside itself with one or two words
dropped, doubled, moved, exchanged, put in, replaced (by another of its kind: he for him, who for which; by one that
follows the same word elsewhere; by any) or with another ending. It is asked whether the sentence is as it was (Warstadt
et al. 2019, "Neural Network Acceptability Judgments", section 5.1), and of each token whether it is at fault, as
ELECTRA's discriminator is (Clark et al. 2020, https://arxiv.org/abs/2003.10555, section 2), which teaches more a
sentence. No label but CoLA's is read, and no row of a dev or test file. It takes a quarter of an hour on one
core that has instructions for bfloat16, and longer on others.
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
IN_BFLOAT16 = fast_precision("cpu") == "bf16-mixed"  # without instructions for it, it takes several times as long
TOKEN_WEIGHT = 10.0  # of the loss over tokens against that over sentences: most tokens are right, so it is small


class Row(NamedTuple):
    """A sentence as it is trained on: tokens, which are wrong (-1: not asked), whether it is as it was."""

    tokens: list[int]
    wrong: list[int]
    as_it_was: int


def batches(found: Counter[str], corrupt: Corruption, tokenizer: Any) -> list[list[Row]]:
    """An epoch: each sentence beside each of its corruptions, in batches of like lengths, in any order."""
    pieces: dict[str, list[int]] = {}

    def row(tokens: list[Token], as_it_was: int) -> Row:
        ids, wrong = [tokenizer.cls_token_id], [-1]
        for token in tokens:
            if token.text not in pieces:
                pieces[token.text] = tokenizer(token.text, add_special_tokens=False)["input_ids"]
            ids += pieces[token.text]
            wrong += [int(token.wrong)] * len(pieces[token.text])
        return Row([*ids, tokenizer.sep_token_id], [*wrong, -1], as_it_was)

    rows = []
    for sentence, times in found.items():
        good = row([Token(text) for text in split(sentence)], 1)
        for _ in range(times):
            bad = corrupt(sentence)
            if bad is not None:
                rows += [good, row(bad, 0)]
    rng = corrupt.rng
    rng.shuffle(rows)
    found_batches = []
    for start in range(0, len(rows), 64 * BATCH):
        part = sorted(rows[start : start + 64 * BATCH], key=lambda row: len(row.tokens))
        found_batches += [part[place : place + BATCH] for place in range(0, len(part), BATCH)]
    rng.shuffle(found_batches)
    return found_batches


class Discriminator(torch.nn.Module):
    """The classifier, with a second head that says of each token whether it is wrong."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.of_tokens = torch.nn.Linear(model.config.hidden_size, 1)

    def loss(self, rows: list[Row]) -> torch.Tensor:
        """Of a batch: that over sentences, and `TOKEN_WEIGHT` times that over tokens; a scalar."""
        longest = max(len(row.tokens) for row in rows)
        padding = self.model.config.pad_token_id
        ids = torch.tensor([row.tokens + [padding] * (longest - len(row.tokens)) for row in rows])
        wrong = torch.tensor([row.wrong + [-1] * (longest - len(row.tokens)) for row in rows])
        mask = torch.tensor([[1] * len(row.tokens) + [0] * (longest - len(row.tokens)) for row in rows])
        with torch.autocast("cpu", torch.bfloat16, enabled=IN_BFLOAT16):
            out = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            of_tokens = self.of_tokens(out.hidden_states[-1]).squeeze(-1)
        asked = wrong >= 0
        tokens = F.binary_cross_entropy_with_logits(of_tokens.float()[asked], wrong[asked].float())
        return F.cross_entropy(out.logits.float(), torch.tensor([row.as_it_was for row in rows])) + (
            TOKEN_WEIGHT * tokens
        )


def train(model: Any, tokenizer: Any, found: Counter[str], seed: int = 0) -> float:
    """Train ``model`` in place; returns the mean loss of the last batches."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    corrupt = Corruption(found, rng)
    rows = [batch for _ in range(EPOCHS) for batch in batches(found, corrupt, tokenizer)]
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
    """Train, and write the encoder with its tokenizer."""
    if len(sys.argv) not in (3, 4):
        raise SystemExit("usage: python examples/grammar.py GLUE_FOLDER OUTPUT_FOLDER [MODEL]")
    try:
        found = sentences(Path(sys.argv[1]))
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
    train(model, tokenizer, found)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    cost = {"processor_seconds": time.process_time() - begun, "wall_seconds": time.monotonic() - wall}
    (output / "cost.json").write_text(json.dumps(cost) + "\n", encoding="utf-8")
    print(f"{output}: trained on {len(found):,} sentences and what goes wrong in them")


if __name__ == "__main__":
    main()
