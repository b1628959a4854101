"""Which parameters are frozen, and how fast the others learn, for many architectures."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_architectures import IDS, MASK, tiny_architecture

from glue_lit.encoder.layers import check_same_groups, freeze_layers, layered_groups, parameter_depths
from glue_lit.errors import ModelError, RunError, UsageError
from glue_lit.training.classifier import SequenceClassifier
from glue_lit.training.optimizer import parameter_groups

# For each architecture: parts before the layers, lists of layers (# is the number; a decoder's follow its encoder's), and
# parts after the layers, including the head. "3:name" is a part that belongs to the third layer.
TABLE = {
    "bert": ("bert.embeddings", "bert.encoder.layer.#", "bert.pooler classifier"),
    "roberta": ("roberta.embeddings", "roberta.encoder.layer.#", "classifier"),
    "distilbert": ("distilbert.embeddings", "distilbert.transformer.layer.#", "pre_classifier classifier"),
    "electra": ("electra.embeddings electra.embeddings_project", "electra.encoder.layer.#", "classifier"),
    "convbert": ("convbert.embeddings convbert.embeddings_project", "convbert.encoder.layer.#", "classifier"),
    "roformer": (
        "roformer.embeddings roformer.embeddings_project roformer.encoder.embed_positions",
        "roformer.encoder.layer.#",
        "classifier",
    ),
    "deberta": ("deberta.embeddings deberta.encoder.rel_embeddings", "deberta.encoder.layer.#", "pooler classifier"),
    "deberta-v2": (
        "deberta.embeddings deberta.encoder.rel_embeddings deberta.encoder.LayerNorm",
        "deberta.encoder.layer.# 1:deberta.encoder.conv",
        "pooler classifier",
    ),
    "mpnet": ("mpnet.embeddings mpnet.encoder.relative_attention_bias", "mpnet.encoder.layer.#", "classifier"),
    "squeezebert": ("transformer.embeddings", "transformer.encoder.layers.#", "transformer.pooler classifier"),
    "modernbert": ("model.embeddings", "model.layers.#", "model.final_norm head classifier"),
    "esm": (
        "esm.embeddings", "esm.encoder.layer.#", "esm.encoder.emb_layer_norm_after esm.contact_head classifier"
    ),
    "longformer": ("longformer.embeddings", "longformer.encoder.layer.#", "classifier"),
    "luke": ("luke.embeddings luke.entity_embeddings", "luke.encoder.layer.#", "luke.pooler classifier"),
    "lilt": ("lilt.embeddings lilt.layout_embeddings", "lilt.encoder.layer.#", "classifier"),
    "megatron-bert": ("bert.embeddings", "bert.encoder.layer.#", "bert.encoder.ln bert.pooler classifier"),
    "roberta-prelayernorm": (
        "roberta_prelayernorm.embeddings",
        "roberta_prelayernorm.encoder.layer.#",
        "roberta_prelayernorm.LayerNorm classifier",
    ),
    "xlm-roberta-xl": ("roberta.embeddings", "roberta.encoder.layer.#", "roberta.encoder.LayerNorm classifier"),
    "xmod": ("roberta.embeddings", "roberta.encoder.layer.#", "classifier"),
    "fnet": ("fnet.embeddings", "fnet.encoder.layer.#", "fnet.pooler classifier"),
    "funnel": ("funnel.embeddings", "funnel.encoder.blocks.#.0", "classifier"),
    "xlnet": ("transformer.mask_emb transformer.word_embedding", "transformer.layer.#", "sequence_summary logits_proj"),
    "xlm": (
        "transformer.position_embeddings transformer.embeddings transformer.layer_norm_emb",
        "transformer.attentions.# transformer.layer_norm1.# transformer.ffns.# transformer.layer_norm2.#",
        "sequence_summary",
    ),
    "flaubert": (
        "transformer.position_embeddings transformer.embeddings transformer.layer_norm_emb",
        "transformer.attentions.# transformer.layer_norm1.# transformer.ffns.# transformer.layer_norm2.#",
        "sequence_summary",
    ),
    "reformer": ("reformer.embeddings", "reformer.encoder.layers.#", "reformer.encoder.layer_norm classifier"),
    "ctrl": ("transformer.w", "transformer.h.#", "transformer.layernorm classifier"),
    "gpt2": ("transformer.wte transformer.wpe", "transformer.h.#", "transformer.ln_f score"),
    "openai-gpt": ("transformer.tokens_embed transformer.positions_embed", "transformer.h.#", "score"),
    "opt": (
        "model.decoder.embed_tokens model.decoder.embed_positions model.decoder.project_in",
        "model.decoder.layers.#",
        "model.decoder.project_out model.decoder.final_layer_norm score",
    ),
    "bloom": (
        "transformer.word_embeddings transformer.word_embeddings_layernorm",
        "transformer.h.#",
        "transformer.ln_f score",
    ),
    "gpt_neox": ("gpt_neox.embed_in", "gpt_neox.layers.#", "gpt_neox.final_layer_norm score"),
    "llama": ("model.embed_tokens", "model.layers.#", "model.norm score"),
    "bart": (
        "model.shared model.encoder.embed_positions model.encoder.layernorm_embedding "
        "model.decoder.embed_positions model.decoder.layernorm_embedding",
        "model.encoder.layers.# model.decoder.layers.#",
        "classification_head",
    ),
    "mbart": (
        "model.shared model.encoder.embed_positions model.encoder.layernorm_embedding "
        "model.decoder.embed_positions model.decoder.layernorm_embedding",
        "model.encoder.layers.# model.decoder.layers.# 3:model.encoder.layer_norm",
        "model.decoder.layer_norm classification_head",
    ),
    "t5": (
        "transformer.shared",
        "transformer.encoder.block.# transformer.decoder.block.# 3:transformer.encoder.final_layer_norm",
        "transformer.decoder.final_layer_norm classification_head",
    ),
}  # fmt: skip
LAYERS = {name: 6 if ".decoder." in layers and ".encoder." in layers else 3 for name, (_, layers, _) in TABLE.items()}


def written_depth(name: str, parameter: str) -> int:
    """Depth of a parameter by the table: 0 for embeddings, then the layers, then the head."""
    below, layers, above = TABLE[name]
    found = [0 for path in below.split() if parameter.startswith(f"{path}.") or parameter == path]
    found += [LAYERS[name] + 1 for path in above.split() if parameter.startswith(f"{path}.")]
    for path in layers.split():
        if "#" not in path:
            depth, _, path = path.partition(":")
            found += [int(depth)] * parameter.startswith(f"{path}.")
        elif match := re.match(re.escape(path).replace(r"\#", r"(\d+)") + r"\.", parameter):
            found.append(int(match[1]) + 1 + 3 * (LAYERS[name] == 6 and ".decoder." in path))
    assert len(found) == 1, f"{name}: the table has {parameter} {len(found)} times"
    return found[0]


@pytest.mark.parametrize("name", TABLE)
def test_each_parameter_has_the_layer_of_the_table(name: str) -> None:
    model = tiny_architecture(name)
    depths, layers = parameter_depths(model)
    assert layers == LAYERS[name]
    assert {n: depths[id(p)] for n, p in model.named_parameters()} == {
        n: written_depth(name, n) for n, _ in model.named_parameters()
    }


# SqueezeBERT calls no layer as a module, and Reformer records no graph between its layers.
@pytest.mark.parametrize("name", [name for name in TABLE if name not in ("squeezebert", "reformer")])
def test_the_layers_of_the_table_are_those_that_the_model_computes(name: str) -> None:
    """Other parameters are below the first layer whose input depends on them, and above all layers if none does."""
    model = tiny_architecture(name).eval()
    inputs: dict[int, list[torch.Tensor]] = {}
    for path, module in model.named_modules():
        if any(re.fullmatch(re.escape(p).replace(r"\#", r"\d+"), path) for p in TABLE[name][1].split()):
            number = written_depth(name, next(f"{path}.{n}" for n, _ in module.named_parameters()))

            def keep(_: Any, args: Any, kwargs: Any, number: int = number) -> None:
                found = [t for t in (*args, *kwargs.values()) if isinstance(t, torch.Tensor) and t.requires_grad]
                inputs.setdefault(number, []).extend(found)

            module.register_forward_pre_hook(keep, with_kwargs=True)
    logits = model(input_ids=IDS, attention_mask=MASK).logits
    beside = {n: p for n, p in model.named_parameters() if p.requires_grad and not re.search(r"\.\d+\.", n)}

    def depends(tensors: list[torch.Tensor]) -> set[str]:
        total = sum((tensor.double().sum() for tensor in tensors), torch.zeros((), dtype=torch.double))
        found = torch.autograd.grad(total, list(beside.values()), retain_graph=True, allow_unused=True)
        return {n for n, gradient in zip(beside, found, strict=True) if gradient is not None}

    assert set(inputs) == set(range(1, LAYERS[name] + 1))
    first: dict[str, int] = {}
    for number in sorted(inputs):
        first |= {n: number for n in depends(inputs[number]) if n not in first}
    judged = depends([logits])
    assert judged
    for n in judged:
        depth, computed = written_depth(name, n), first.get(n, LAYERS[name] + 2) - 1
        # the positions of a decoder enter its own first layer, but count as embeddings
        assert depth == computed or (depth == 0 and LAYERS[name] == 6 and computed == 3), n


@pytest.mark.parametrize("name", ["bert", "electra", "xlm", "t5"])
def test_each_layer_has_its_rate(name: str) -> None:
    model = tiny_architecture(name)
    groups = layered_groups(parameter_groups(model, 0.1), model, 1e-3, 0.5)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(rates) == len(list(model.parameters()))
    top = LAYERS[name] + 1
    for parameter_name, parameter in model.named_parameters():
        expected = (1e-3 * 0.5 ** (top - written_depth(name, parameter_name)), 0.1 if parameter.ndim >= 2 else 0.0)
        assert rates[id(parameter)] == pytest.approx(expected), parameter_name
    assert groups[0]["lr"] == 1e-3
    assert all(group["lr"] == pytest.approx(1e-3 * group["lr_scale"]) for group in groups)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("bert", [2, 2, 6, 10, 6, 10, 6, 10, 3, 2]),
        ("roberta", [2, 2, 6, 10, 6, 10, 6, 10, 3, 2]),
        ("distilbert", [2, 2, 6, 10, 6, 10, 6, 10, 2, 2]),
    ],
)
def test_parameter_groups_are_those_of_older_checkpoints(name: str, sizes: list[int]) -> None:
    """Number, order and members of groups decide which parameter gets which moments when a fit is resumed."""
    model = tiny_architecture(name)
    groups = layered_groups(parameter_groups(model, 0.1), model, 1e-3, 0.5)
    assert [len(group["params"]) for group in groups] == sizes
    names = ["head", "layer_02", "layer_01", "layer_00", "embeddings"]
    assert [group["name"] for group in groups] == [n for n in names for _ in range(2)]
    place = {id(p): number for number, p in enumerate(model.parameters())}
    for group in groups:
        places = [place[id(p)] for p in group["params"]]
        assert places == sorted(places)


def test_without_decay_nothing_changes() -> None:
    model = tiny_architecture("bert")
    groups = parameter_groups(model, 0.1)
    assert layered_groups(groups, model, 1e-3, 1.0) is groups


@pytest.mark.parametrize("name", ["bert", "electra", "deberta-v2", "gpt2", "xlm", "t5"])
@pytest.mark.parametrize("count", [0, 2, 3])
def test_frozen_parts_stay_as_they_are(name: str, count: int) -> None:
    model = tiny_architecture(name)
    freeze_layers(model, count)
    for parameter_name, parameter in model.named_parameters():
        assert parameter.requires_grad is (written_depth(name, parameter_name) > count), parameter_name


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("albert", {}, "they share weights, or are not all of one kind"),
        ("canine", {}, "and there are: initial_char_encoder, encoder, final_char_encoder"),
        ("perceiver", {}, "they share weights, or are not all of one kind"),
        ("layoutlmv3", {"input_size": 32, "patch_size": 16}, "it is not known where cls_token belongs"),
    ],
)
def test_layers_that_cannot_be_told_apart(name: str, changes: dict[str, Any], why: str) -> None:
    model = tiny_architecture(name, **changes)
    for use in (lambda: freeze_layers(model, 0), lambda: layered_groups(parameter_groups(model, 0.1), model, 1.0, 0.9)):
        with pytest.raises(ModelError, match=rf"got a {name}, whose layers cannot be told apart: .*{why}") as error:
            use()
        assert str(error.value).endswith("Leave both out.")
    assert all(parameter.requires_grad for parameter in model.parameters())
    groups = parameter_groups(model, 0.1)
    assert layered_groups(groups, model, 1.0, 1.0) is groups


def test_layers_of_a_model_that_shares_them_in_part() -> None:
    model = tiny_architecture("bert")
    model.bert.encoder.layer[2] = model.bert.encoder.layer[0]
    with pytest.raises(ModelError, match="they share weights"):
        parameter_depths(model)
    albert = tiny_architecture("albert", num_hidden_groups=3)
    depths, layers = parameter_depths(albert)
    assert layers == 3
    assert depths[id(albert.albert.encoder.embedding_hidden_mapping_in.weight)] == 0


def test_freeze_and_layer_decay_out_of_range_are_refused() -> None:
    with pytest.raises(ModelError, match=r"model.freeze: got 4, allowed: 0 \(embeddings only\) to 3 layers"):
        freeze_layers(tiny_architecture("bert"), 4)
    for decay in (0.0, 1.5, -1.0):
        with pytest.raises(UsageError, match=r"model\.layer_decay: got"):
            SequenceClassifier("cola", layer_decay=decay)


def test_a_checkpoint_with_other_groups_is_refused() -> None:
    groups = [{"params": [torch.zeros(1)] * 3}, {"params": [torch.zeros(1)]}]
    check_same_groups(groups, {"optimizer_states": [{"param_groups": [{"params": [0, 1, 2]}, {"params": [3]}]}]}, "xlm")
    for before in ([[0, 1, 2, 3]], [[0, 1], [2, 3]], [[0, 1, 2, 4], [3]]):
        checkpoint = {"optimizer_states": [{"param_groups": [{"params": numbers} for numbers in before]}]}
        with pytest.raises(
            RunError, match=r"it would be 4 in 2 now\. .* Older runs of a xlm .*`--model.init_from RUN`"
        ):
            check_same_groups(groups, checkpoint, "xlm")


def test_a_frozen_embedding_has_no_trained_rows(tiny_model: Path) -> None:
    classifier = SequenceClassifier("cola", str(tiny_model), freeze=1)
    classifier.configure_model()
    names = {name for name, p in classifier.model.named_parameters() if not p.requires_grad}
    assert names
    assert all("embeddings" in name or "layer.0." in name for name in names)
    assert torch.is_grad_enabled()
