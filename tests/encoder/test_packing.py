"""Padding-free batches give the logits and gradients of padded ones, and models that would mix the texts are refused."""

import itertools
from typing import Any

import pytest
import torch
import transformers
from tiny_architectures import tiny_architecture, tiny_config
from torch import Tensor, nn
from transformers import AttentionInterface, BertForSequenceClassification

from glue_lit.encoder.cheap_attention import cheapen_attention, register_attention
from glue_lit.encoder.cheap_dropout import set_dropout
from glue_lit.encoder.first_token import shorten_last_layer
from glue_lit.encoder.flash_attention import check_attention_here
from glue_lit.encoder.gradient_checkpointing import checkpoint_gradients
from glue_lit.encoder.limits import compute_logits
from glue_lit.encoder.packing import ARCHITECTURES, _has_old_modernbert, allow_packing, check_can_be_packed
from glue_lit.errors import ModelError

PAD = 1
KNOWN = [name for name in ARCHITECTURES if name != "modernbert" or not _has_old_modernbert()]
LENGTHS = torch.tensor([8, 3, 20, 5, 1])  # ModernBERT's local layers see 4 tokens to each side
PLACES = torch.arange(int(LENGTHS.max())).expand(len(LENGTHS), -1)
MASK = LENGTHS[:, None] > PLACES


def tokens() -> Tensor:
    """Texts of random tokens, two of which hold the padding's token."""
    ids = torch.randint(3, 60, MASK.shape, generator=torch.Generator().manual_seed(1))
    ids[0, 3] = ids[3, 0] = PAD
    return ids.masked_fill(~MASK, PAD)


def padded() -> dict[str, Tensor]:
    return {"input_ids": tokens(), "attention_mask": MASK.long()}


def packed() -> dict[str, Tensor]:
    bounds = nn.functional.pad(LENGTHS.cumsum(0), (1, 0)).int()
    flat = {"input_ids": tokens()[MASK][None], "position_ids": PLACES[MASK][None]}
    return {**flat, "attention_mask": MASK.long(), "cu_seq_lens": bounds}


def in_segments(batch: dict[str, Tensor], first: int = 2) -> dict[str, Tensor]:
    """A batch whose texts are pairs, of which the first has some tokens."""
    positions = batch.get("position_ids", PLACES)
    return batch | {"token_type_ids": (positions >= first).long()}


def model_of(name: str, **changes: Any) -> Any:
    wide = {"initializer_cutoff_factor": 20.0} if name == "modernbert" else {}  # else its weights are tiny
    model = tiny_architecture(name, pad_token_id=PAD, initializer_range=0.5, **wide, **changes)
    register_attention()
    set_dropout(model, 0.0)
    allow_packing(model)
    return model.train().double()  # the wide weights make large gradients


def results(model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    logits = compute_logits(model, dict(batch))
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 1, 0, 1])).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"logits": logits.detach(), **gradients}


def assert_same(model: Any) -> None:
    expected, found = results(model, padded()), results(model, packed())
    assert found.keys() == expected.keys()
    assert expected["logits"].std(dim=0).min() > 0.1  # the texts differ
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-9, msg=key)


@pytest.mark.parametrize("name", KNOWN)
def test_same_logits_and_gradients(name: str) -> None:
    model = model_of(name)
    assert_same(model)
    cheapen_attention(model)
    shorten_last_layer(model)
    assert_same(model)


def test_pairs_of_texts_keep_their_segments() -> None:
    model = model_of("bert")
    expected, found = (compute_logits(model, in_segments(batch)) for batch in (padded(), packed()))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert (expected - compute_logits(model, padded())).abs().max() > 0.1


def test_same_with_gradient_checkpointing_and_in_evaluation() -> None:
    model = model_of("bert")
    checkpoint_gradients(model)
    assert_same(model)
    assert_same(model.eval())


def by_text(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, dropout: float = 0.0,
    scaling: float | None = None, sliding_window: int | None = None, cu_seq_lens_q: Any = None, max_length_q: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention of one text after the other, with the arguments that FlashAttention gets."""
    assert attention_mask is None
    assert max_length_q == kwargs["max_length_k"] == int(LENGTHS.max())
    assert torch.equal(cu_seq_lens_q, kwargs["cu_seq_lens_k"])
    found = []
    for start, end in itertools.pairwise(cu_seq_lens_q):
        q, k, v = (part[0, :, start:end] for part in (query, key, value))
        scores = q @ k.transpose(1, 2) * (q.shape[-1] ** -0.5 if scaling is None else scaling)
        if sliding_window is not None:  # transformers gives FlashAttention a window of one less to each side
            at = torch.arange(int(end - start))
            scores = scores.masked_fill((at[:, None] - at).abs() > sliding_window - 1, -torch.inf)
        found.append((scores.softmax(-1) @ v).transpose(0, 1))
    return torch.cat(found)[None], None


@pytest.mark.parametrize("name", KNOWN)
def test_attention_of_ones_own_gets_the_arguments_of_flash_attention(name: str) -> None:
    AttentionInterface.register("by_text", by_text)
    model = model_of(name)
    expected = results(model, padded())
    model.config._attn_implementation = "by_text"
    for key, value in results(model, packed()).items():
        torch.testing.assert_close(value, expected[key], rtol=1e-9, atol=1e-9, msg=key)


@pytest.mark.parametrize(
    ("name", "changes", "attention", "message"),
    [
        ("gpt2", {}, None, "a model of the architecture gpt2 is not known to keep the texts of such a batch apart. Al"),
        ("albert", {}, None, "a model of the architecture albert is not known"),
        ("bert", {"is_decoder": True}, None, "a model of the architecture bert that is a decoder is not"),
        ("modernbert", {"classifier_pooling": "mean"}, None, "a modernbert whose head takes the mean over all tokens"),
        ("bert", {}, "eager", "with model.attention eager each text would attend to the others. Allowed: sdpa (the "),
        ("bert", {}, "flex_attention", "with model.attention flex_attention each text would"),
    ],
)
def test_models_that_would_mix_the_texts_are_refused(
    name: str, changes: dict[str, Any], attention: str | None, message: str
) -> None:
    config = tiny_config(name, **changes)
    with pytest.raises(ModelError) as refused:
        check_can_be_packed(config.to_dict() | {"model_type": name}, attention)
    assert str(refused.value).startswith("data.padding_free: got true, but ")
    assert message in str(refused.value)
    if name in ("bert", "modernbert"):  # the same without the check beforehand
        model = model_of(name, **changes)
        model.config._attn_implementation = attention or "sdpa"
        with pytest.raises(ModelError) as also_refused:
            compute_logits(model, packed())
        assert str(also_refused.value) == str(refused.value)


def test_an_old_modernbert_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Any, input_ids: Tensor, sliding_window_mask: Tensor) -> None: ...

    monkeypatch.setattr(transformers.ModernBertModel, "forward", forward)
    with pytest.raises(ModelError, match=r"but the modernbert of this transformers, which is too old, is not known"):
        check_can_be_packed({"model_type": "modernbert"}, None)


def test_a_class_of_its_own_may_read_other_tokens() -> None:
    class Mean(BertForSequenceClassification):
        """A model whose code comes with it, as far as its class tells."""

    model = Mean(tiny_config("bert"))
    allow_packing(model)
    with pytest.raises(ModelError, match=r"the code of this bert is not that of transformers, and may read"):
        compute_logits(model, packed())


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("cpu", "bf16-mixed", "needs a GPU, and this is computed on cpu. Allowed here: sdpa (the default), eager."),
        ("cuda", "32-true", "computes in half precision, and trainer.precision is 32-true. Pass `--trainer.precision"),
        ("cuda", "bf16-mixed", "needs the package flash_attn or kernels, and neither is installed."),
    ],
)
def test_flash_attention_is_refused_where_it_cannot_run(
    device: str, precision: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glue_lit.encoder.flash_attention.find_spec", lambda name: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with pytest.raises(ModelError) as refused:
        check_attention_here("flash_attention_2", torch.device(device), precision)
    assert message in str(refused.value)
    check_attention_here("sdpa", torch.device(device), precision)
    check_attention_here(None, torch.device(device), precision)


@pytest.mark.parametrize(
    ("attention", "capability", "least"),
    [("flash_attention_2", (7, 5), "8.0"), ("flash_attention_3", (7, 0), "8.0"), ("flash_attention_4", (8, 9), "9.0")],
)
def test_flash_attention_is_refused_on_a_gpu_without_its_kernels(
    attention: str, capability: tuple[int, int], least: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The T4 and the V100 would fail at the first batch."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    message = f"needs a GPU of compute capability {least} or more, and Tesla T4 has {capability[0]}\\.{capability[1]}"
    with pytest.raises(ModelError, match=message):
        check_attention_here(attention, torch.device("cuda", 0), "bf16-mixed")
