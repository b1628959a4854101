"""Training only the rows in use gives the same as training the whole table."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from glue_lit.encoder.trained_embedding import (
    TrainedRows,
    align_moments,
    decay_unused_rows,
    find_trained_rows,
    saved_rows_in_use,
    train_rows_in_use,
)
from glue_lit.training.optimizer import build_adamw, parameter_groups

USED = torch.tensor([9, 0, 3, 4, 9, 17])  # 0 is padding


def model(**options: Any) -> Any:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=16, **options)  # fmt: skip
    return BertForSequenceClassification(config).train()


def batch(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = USED[torch.randint(len(USED), (4, 6), generator=generator)]
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.tensor([0, 1, 1, 0])}


def trained(network: Any, steps: int = 6, fused: bool = False, weight_decay: float = 0.5, at_once: bool = False) -> Any:
    optimizer = build_adamw(parameter_groups(network, weight_decay), 1e-2, (0.9, 0.99), 1e-8, fused=fused)
    if (table := find_trained_rows(network)) is not None:
        decay_unused_rows(optimizer, table, at_once)
    for step in range(steps):
        torch.manual_seed(step)  # dropout
        network(**batch(step)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


@pytest.mark.parametrize("fused", [False, True])
def test_same_weights_as_with_the_whole_table(fused: bool) -> None:
    whole, rows = model(), model()
    train_rows_in_use(rows, USED)
    table = find_trained_rows(rows)
    assert table is not None
    assert table.tokens.tolist() == [0, 3, 4, 9, 17]
    before = whole.bert.embeddings.word_embeddings.weight.detach().clone()
    trained(whole, fused=fused)
    trained(rows, fused=fused)
    ours, theirs = rows.state_dict(), whole.state_dict()
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        # AdamW's fused kernel rounds the decay differently
        torch.testing.assert_close(ours[name], value, rtol=1e-6 if fused else 0, atol=1e-7 if fused else 0)
    after = theirs["bert.embeddings.word_embeddings.weight"]
    unused = [row for row in range(40) if row not in USED]
    assert (after[unused] - before[unused]).abs().max() > 1e-3  # both have decayed
    assert not torch.equal(after[3], before[3])


@pytest.mark.parametrize("steps", [5, 64, 70])
@pytest.mark.parametrize("read", ["state_dict", "eval", "plain"])
def test_decays_that_are_put_off_give_the_same_bits(steps: int, read: str) -> None:
    tables = []
    for at_once in (True, False):
        network = model()
        train_rows_in_use(network, USED)
        trained(network, steps=steps, weight_decay=1e-3, at_once=at_once)
        table = find_trained_rows(network)
        assert table is not None
        if read == "state_dict":
            found = network.state_dict()[WORDS]
        elif read == "eval":
            ids = torch.arange(40)
            found = table.eval()(ids)
        else:
            found = table.plain().weight
        tables.append(found.detach().clone())
    assert torch.equal(*tables)


def test_a_put_off_decay_does_not_reach_weights_that_are_loaded_later() -> None:
    network = model()
    train_rows_in_use(network, USED)
    trained(network, weight_decay=0.5)
    given = model().state_dict()
    network.load_state_dict(given)
    assert torch.equal(network.state_dict()[WORDS], given[WORDS])


def test_optimizer_holds_the_rows_in_use_alone() -> None:
    network = model()
    train_rows_in_use(network, USED)
    optimizer = trained(network)
    shapes = [tuple(state["exp_avg"].shape) for state in optimizer.state_dict()["state"].values()]
    assert (5, 16) in shapes
    assert (40, 16) not in shapes


def test_evaluation_knows_every_token() -> None:
    whole, rows = model(), model()
    train_rows_in_use(rows, USED)
    trained(whole)
    trained(rows)
    ids = torch.arange(40).view(4, 10)
    with torch.no_grad():
        expected, found = whole.eval()(input_ids=ids).logits, rows.eval()(input_ids=ids).logits
    assert torch.equal(expected, found)


def test_a_foreign_token_in_training_is_an_error_not_a_wrong_row() -> None:
    network = model()
    train_rows_in_use(network, USED)
    with pytest.raises(IndexError):
        network(input_ids=torch.tensor([[3, 5]]))


def test_padding_has_no_gradient() -> None:
    network = model()
    train_rows_in_use(network, USED)
    network(**batch(0)).loss.backward()
    table = find_trained_rows(network)
    assert table is not None
    assert table.rows.grad is not None
    assert table.rows.grad[0].abs().sum() == 0
    assert table.rows.grad[1:].abs().sum() > 0


def test_the_state_is_that_of_the_plain_model(tmp_path: Path) -> None:
    network = model()
    train_rows_in_use(network, USED)
    trained(network)
    plain = model()
    plain.load_state_dict(network.state_dict())  # strict
    network.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    for other in (plain, loaded):
        assert torch.equal(other.get_input_embeddings().weight, network.state_dict()[WORDS])
    back = model()
    train_rows_in_use(back, torch.tensor([1, 2, 3]))
    back.load_state_dict(plain.state_dict())
    assert torch.equal(back.state_dict()[WORDS], plain.state_dict()[WORDS])
    assert torch.equal(back.bert.embeddings.word_embeddings.rows[2], plain.get_input_embeddings().weight[3])


WORDS = "bert.embeddings.word_embeddings.weight"


def test_a_second_fit_trains_other_rows() -> None:
    network = model()
    train_rows_in_use(network, USED)
    trained(network)
    before = network.state_dict()[WORDS]
    train_rows_in_use(network, torch.tensor([1, 2]))
    table = find_trained_rows(network)
    assert table is not None
    assert table.tokens.tolist() == [1, 2]
    assert torch.equal(network.state_dict()[WORDS], before)


def frozen(network: Any) -> None:
    network.get_input_embeddings().weight.requires_grad_(False)


def tied(network: Any) -> None:
    network.classifier.weight = network.get_input_embeddings().weight


def limited(network: Any) -> None:
    network.get_input_embeddings().max_norm = 1.0


def special(network: Any) -> None:
    class Scaled(nn.Embedding):
        pass

    network.set_input_embeddings(Scaled(40, 16))


@pytest.mark.parametrize("change", [frozen, tied, limited, special])
def test_an_unusual_embedding_is_not_replaced(change: Any) -> None:
    network = model()
    change(network)
    embedding = network.get_input_embeddings()
    train_rows_in_use(network, USED)
    assert network.get_input_embeddings() is embedding


@pytest.mark.parametrize("before", [USED.unique(), None])
def test_moments_follow_their_rows(before: Tensor | None) -> None:
    # The training data may change when a run is resumed: moments of rows that were in use are kept.
    first = model()
    if before is not None:
        train_rows_in_use(first, before)
    optimizer = trained(first)
    checkpoint = {"optimizer_states": [copy.deepcopy(optimizer.state_dict())], "glue_lit": {"rows": before}}
    if before is None:
        del checkpoint["glue_lit"]["rows"]  # type: ignore[attr-defined]
    more = torch.cat([USED, torch.tensor([1, 30])])
    second, whole = model(), model()
    train_rows_in_use(second, more)
    for network in (second, whole):
        network.load_state_dict(first.state_dict())
    assert (saved_rows_in_use(checkpoint) is None) == (before is None)
    align_moments(second, [p for group in parameter_groups(second, 0.0) for p in group["params"]], checkpoint)
    table = find_trained_rows(second)
    assert table is not None
    moments = checkpoint["optimizer_states"][0]["state"]  # type: ignore[index]
    number = [p is table.rows for p in second.parameters() if p.requires_grad and p.ndim >= 2].index(True)
    assert moments[number]["exp_avg"].shape == (7, 16)
    assert moments[number]["exp_avg"][table.tokens.tolist().index(30)].abs().sum() == 0
    old = optimizer.state_dict()["state"][number]["exp_avg"]
    place = 3 if before is None else int(torch.searchsorted(before, torch.tensor(3)))
    assert torch.equal(moments[number]["exp_avg"][table.tokens.tolist().index(3)], old[place])


def test_no_decay_without_a_step() -> None:
    network = model()
    train_rows_in_use(network, USED)
    table = find_trained_rows(network)
    assert table is not None
    before = table.weight.clone()
    optimizer = build_adamw(parameter_groups(network, 0.5), 1e-2, (0.9, 0.99), 1e-8, fused=False)
    decay_unused_rows(optimizer, table)
    network(**batch(0)).loss.backward()
    optimizer.zero_grad()  # as for a step that is skipped because its gradient is not finite
    optimizer.step()
    assert torch.equal(table.weight, before)


def test_trained_rows_are_an_embedding_by_type() -> None:
    embedding = nn.Embedding(5, 3, padding_idx=0)
    table = TrainedRows(embedding, torch.tensor([1, 2]))
    assert isinstance(table, nn.Embedding)
    assert isinstance(table.plain(), nn.Embedding)
    assert type(table.plain()) is nn.Embedding
    assert table.plain().padding_idx == 0
