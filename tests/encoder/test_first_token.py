"""The last layer computes only the first token, and logits, losses and gradients are those of the plain model."""

from typing import Any

import pytest
import torch
from tiny_architectures import IDS, MASK, tiny_architecture
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from glue_lit.encoder.adapters import add_adapters
from glue_lit.encoder.cheap_dropout import set_dropout
from glue_lit.encoder.first_token import shorten_last_layer
from glue_lit.encoder.gradient_checkpointing import checkpoint_gradients
from glue_lit.encoder.limits import compute_logits

ARCHITECTURES = ["bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta"]
LABELS = torch.tensor([0, 1])


def inputs() -> dict[str, Tensor]:
    return {"input_ids": IDS, "attention_mask": MASK}


def pair(name: str, **changes: Any) -> tuple[Any, Any]:
    """A plain model, and the same model with a short last layer."""
    plain, short = tiny_architecture(name, **changes), tiny_architecture(name, **changes)
    shorten_last_layer(short)
    return plain, short


def results(model: Any) -> tuple[dict[str, Tensor], int]:
    """Logits, loss and gradients of a batch, and the floating-point operations that they took."""
    with FlopCounterMode(display=False) as counter:
        logits = compute_logits(model, inputs())
        loss = torch.nn.functional.cross_entropy(logits, LABELS)
        loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"logits": logits.detach(), "loss": loss.detach(), **gradients}, counter.get_total_flops()


def assert_same_for_less(plain: Any, short: Any) -> None:
    (expected, all_work), (found, work) = results(plain), results(short)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-6, atol=1e-6, msg=key)
    assert work < all_work


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_same_logits_loss_and_gradients(name: str) -> None:
    plain, short = pair(name)
    assert short.state_dict().keys() == plain.state_dict().keys()
    assert str(short) == str(plain)
    for model in (plain, short):
        set_dropout(model, 0.0)
        model.train()
    assert_same_for_less(plain, short)
    for model in (plain, short):
        model.zero_grad()
    assert_same_for_less(plain.eval(), short.eval())


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_same_with_adapters_checkpointing_and_feed_forward_in_chunks(name: str) -> None:
    plain, short = pair(name, chunk_size_feed_forward=4)
    for model in (plain, short):
        set_dropout(model, 0.0)
        torch.manual_seed(1)
        add_adapters(model, {"peft_type": "LORA", "r": 2, "target_modules": "all-linear", "init_lora_weights": False})
        checkpoint_gradients(model)
        model.train().double()  # the adapters' random weights make large gradients
    assert_same_for_less(plain, short)


def test_dropout_keeps_its_distribution() -> None:
    """The mean over many masks is the same; a layer without dropout, or with another rate, is far away."""
    plain, short = pair("bert", num_hidden_layers=1, attention_probs_dropout_prob=0.3, hidden_dropout_prob=0.0)
    several = {name: value[1:].repeat(20_000, 1) for name, value in inputs().items()}
    means = []
    for model, is_training in ((plain, True), (short, True), (plain, False)):
        torch.manual_seed(0)
        model.train(is_training)
        with torch.no_grad():
            logits = compute_logits(model, several)
        means.append((logits.double().mean(), logits.double().std()))
    (mean, deviation), (found, found_deviation), (_, without) = means
    assert float(abs(found - mean)) < 5 * float(deviation) / 20_000**0.5
    assert float(found_deviation / deviation) == pytest.approx(1, abs=0.03)
    assert without < deviation


def test_hidden_states_of_all_tokens_for_who_calls_the_model_itself() -> None:
    plain, short = pair("bert")
    expected = plain.eval()(**inputs(), output_hidden_states=True).hidden_states
    found = short.eval()(**inputs(), output_hidden_states=True).hidden_states
    assert [state.shape for state in found] == [state.shape for state in expected]
    torch.testing.assert_close(found[-1], expected[-1])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mpnet", {}),  # unknown
        ("bert", {"attn_implementation": "eager"}),
        ("bert", {"is_decoder": True}),
        ("bert", {"num_hidden_layers": 0}),
    ],
)
def test_other_models_stay_as_they_are(name: str, changes: dict[str, Any]) -> None:
    plain, short = pair(name, **changes)
    for model in (plain, short):
        model.eval()
    assert torch.equal(compute_logits(short, inputs()), compute_logits(plain, inputs()))
    assert [type(module) for module in short.modules()] == [type(module) for module in plain.modules()]


def test_a_class_of_its_own_may_have_another_head() -> None:
    from transformers import BertForSequenceClassification

    class Mean(BertForSequenceClassification):
        """A model whose code comes with it, as far as its class tells."""

    model = Mean(tiny_architecture("bert").config)
    before = [type(module) for module in model.modules()]
    shorten_last_layer(model)
    assert [type(module) for module in model.modules()] == before
