"""BigBird's attention of a batch does not depend on the batches before it."""

import copy

import pytest
import torch
from tiny_architectures import tiny_architecture
from torch import Tensor, nn

from glue_lit.encoder.cheap_dropout import cheapen_dropout, set_dropout
from glue_lit.encoder.sparse_attention import choose_attention_by_length

LONG, SHORT = 48, 12  # attention is full up to 28 tokens, seven blocks of 4


def tokens(length: int) -> Tensor:
    ids = torch.randint(5, 60, (2, length), generator=torch.Generator().manual_seed(1))
    ids[:, -1] = 2
    return ids


@pytest.mark.parametrize("name", ["big_bird", "bigbird_pegasus"])
def test_each_batch_has_the_attention_for_its_length(name: str) -> None:
    model = tiny_architecture(name, attention_type="block_sparse").eval()
    alone = {length: copy.deepcopy(model)(input_ids=tokens(length)).logits for length in (LONG, SHORT)}
    names = set(model.state_dict())
    choose_attention_by_length(model)
    for length in (LONG, SHORT, LONG, SHORT):
        torch.testing.assert_close(model(input_ids=tokens(length)).logits, alone[length], rtol=0, atol=0)
    again = copy.deepcopy(model)
    torch.testing.assert_close(again(input_ids=tokens(LONG)).logits, alone[LONG], rtol=0, atol=0)
    assert set(model.state_dict()) == names


def test_switching_draws_no_random_numbers_and_keeps_dropout() -> None:
    model = tiny_architecture("big_bird", attention_type="block_sparse")
    choose_attention_by_length(model)
    set_dropout(model, 0.5)
    cheapen_dropout(model)
    losses = []
    for before in (SHORT, LONG):
        model.eval()(input_ids=tokens(before))
        model.bert.train()
        torch.manual_seed(3)
        losses.append(model.train()(input_ids=tokens(SHORT)).logits)
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)
    rates = {module.p for module in model.modules() if isinstance(module, nn.Dropout)}
    assert rates == {0.5}


def test_a_module_left_in_evaluation_returns_to_training() -> None:
    model = tiny_architecture("big_bird", attention_type="block_sparse").train()
    choose_attention_by_length(model)
    model.eval()(input_ids=tokens(SHORT))
    for module in model.modules():  # as Lightning does with the modules that it knew before the switch
        module.training = not hasattr(module, "query")
    model(input_ids=tokens(SHORT))
    assert all(module.training for module in model.modules())


def test_other_models_are_not_changed() -> None:
    for model in (tiny_architecture("bert"), tiny_architecture("big_bird", attention_type="original_full")):
        choose_attention_by_length(model)
        assert not any(module._forward_pre_hooks for module in model.modules())
