"""Pairs in both orders: each row twice, with the tokens of its swapped texts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.errors import UsageError


def module(tiny_model: Path, **options: Any) -> GLUEDataModule:
    return GLUEDataModule(**{"tokenizer": str(tiny_model), "source": "demo", "task": "stsb", **options})


@pytest.mark.parametrize("limit", [None, 12])
def test_each_pair_comes_in_both_orders(tiny_model: Path, limit: int | None) -> None:
    once, both = (module(tiny_model, train_limit=limit, both_orders=on).dataset("train") for on in (False, True))
    rows = module(tiny_model).splits.split("train").read()
    assert rows.texts_b is not None
    assert len(both) == 2 * len(once)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    batch = both[list(range(len(both)))]
    for number in range(len(both)):
        row = int(batch["idx"][number]) % len(rows)
        texts = [rows.texts_a[row], rows.texts_b[row]]
        expected = tokenizer(*(texts if number < len(once) else texts[::-1]), truncation=True)
        length = int(batch["attention_mask"][number].sum())
        assert batch["input_ids"][number, :length].tolist() == expected["input_ids"]
        assert batch["token_type_ids"][number, :length].tolist() == expected["token_type_ids"]
        assert float(batch["labels"][number]) == pytest.approx(float(rows.labels[row] or 0))


def test_training_rows_are_predicted_once_each(tiny_model: Path) -> None:
    data = module(tiny_model, both_orders=True, predict_split="train", train_limit=12)
    data.setup("predict")
    seen = torch.cat([batch["idx"] for loader in data.predict_dataloader() for batch in loader])
    assert len(seen) == len(set(seen.tolist())) == 12
    assert len(data.dataset("train")) == 24  # for a fit


def test_validation_rows_come_in_one_order(tiny_model: Path) -> None:
    once, both = (module(tiny_model, both_orders=on).dataset("validation") for on in (False, True))
    assert torch.equal(once.store.input_ids, both.store.input_ids)


def test_a_single_text_has_one_order(tiny_model: Path) -> None:
    with pytest.raises(
        UsageError, match=r"data\.both_orders: an example of cola has one text, and this setting is for pairs\."
    ):
        module(tiny_model, task="cola", both_orders=True)
