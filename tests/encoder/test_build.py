import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from glue_lit.encoder.build import build_from_architecture, check_tokens
from glue_lit.errors import ModelError
from glue_lit.tasks.glue import get_task


def test_a_tokenizer_of_another_model() -> None:
    model = SimpleNamespace(get_input_embeddings=lambda: nn.Embedding(10, 2))
    check_tokens(model, torch.tensor([0, 9]), "x")
    check_tokens(model, torch.tensor([]), "x")
    with pytest.raises(ModelError, match=r"tokenizer of 'x' gives token 10, but the model has only 10 \(0 to 9\)"):
        check_tokens(model, torch.tensor([0, 10]), "x")


def test_a_tokenizer_with_more_types_than_the_model() -> None:
    model = SimpleNamespace(get_input_embeddings=lambda: nn.Embedding(10, 2), config=SimpleNamespace(type_vocab_size=2))
    check_tokens(model, torch.tensor([9]), "x", torch.tensor([1], dtype=torch.uint8))
    check_tokens(model, torch.tensor([]), "x", torch.tensor([], dtype=torch.uint8))
    with pytest.raises(ModelError, match=r"of 'x' gives token type 2, but the model has only 2 \(0 to 1\)"):
        check_tokens(model, torch.tensor([9]), "x", torch.tensor([0, 2], dtype=torch.uint8))
    for others in ({}, {"type_vocab_size": 0}):  # without a table of token types
        model.config = SimpleNamespace(**others)
        check_tokens(model, torch.tensor([9]), "x", torch.tensor([2], dtype=torch.uint8))


def test_an_architecture_with_an_unknown_number_of_tokens_is_accepted() -> None:
    def unknown() -> Any:
        raise NotImplementedError

    check_tokens(SimpleNamespace(get_input_embeddings=unknown), torch.tensor([10**6]), "x")


def test_odd_label_names_of_a_checkpoint_are_one_message() -> None:
    hparams = {"trust_remote_code": False, "attention": None}
    for labels in ({"x": "a"}, {"0": None, "1": 3}, {}):
        with pytest.raises(ModelError, match="The checkpoint's labels are"):
            build_from_architecture(get_task("cola"), hparams, json.dumps({"model_type": "bert", "id2label": labels}))
