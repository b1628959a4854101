"""Parameter groups against the model's own names, steps and clipping against PyTorch's."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_fit import CutError, Fit, SaveAndCut
from torch import nn
from torch.nn.utils import get_total_norm
from torch.optim import AdamW
from transformers import AutoModelForSequenceClassification

from glue_lit.encoder.trained_embedding import find_trained_rows
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.chosen_optimizer import keep_kernels, scales_and_skips
from glue_lit.training.clipping import clip_with_norm
from glue_lit.training.optimizer import (
    build_adamw,
    parameter_groups,
    supports_fused,
)


@pytest.fixture
def classifier(tiny_model: Path) -> nn.Module:
    from glue_lit.encoder.pretrained import load

    return load("model", AutoModelForSequenceClassification.from_pretrained, str(tiny_model))  # type: ignore[no-any-return]


def _names(model: nn.Module, group: dict[str, object]) -> list[str]:
    wanted = [id(parameter) for parameter in group["params"]]  # type: ignore[attr-defined]
    assert len(wanted) == len(set(wanted))
    return [name for name, parameter in model.named_parameters() if id(parameter) in set(wanted)]


def test_only_biases_and_norms_are_without_weight_decay(classifier: nn.Module) -> None:
    decayed, spared = parameter_groups(classifier, 0.3)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)
    every = [name for name, _ in classifier.named_parameters()]
    # By name, as google-research/bert does it (exclude_from_weight_decay), while the code goes by shape.
    expected = [name for name in every if name.endswith(".bias") or "LayerNorm" in name]
    assert _names(classifier, spared) == expected
    assert _names(classifier, decayed) == [name for name in every if name not in expected]
    assert "classifier.weight" in _names(classifier, decayed)
    assert "bert.embeddings.LayerNorm.weight" in expected


def test_frozen_parameters_are_in_no_group(classifier: nn.Module) -> None:
    # AdamW's decay would shrink them although they get no gradient.
    classifier.bert.embeddings.requires_grad_(False)  # type: ignore[union-attr, operator]
    grouped = [name for group in parameter_groups(classifier, 0.01) for name in _names(classifier, group)]
    assert sorted(grouped) == sorted(name for name, p in classifier.named_parameters() if p.requires_grad)
    assert not any(name.startswith("bert.embeddings.") for name in grouped)


def test_adamw_takes_the_recipe_and_both_groups() -> None:
    layer = nn.Linear(3, 2)
    optimizer = build_adamw(parameter_groups(layer, 0.1), 2e-5, (0.8, 0.9), 1e-7, fused=True)
    assert isinstance(optimizer, AdamW)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (2e-5, (0.8, 0.9), 1e-7)


@pytest.mark.parametrize("fused", [False, True])
def test_the_fused_kernel_takes_the_same_step(fused: bool) -> None:
    torch.manual_seed(0)
    weights, gradient = torch.randn(4, 4), torch.randn(4, 4)
    results = []
    for groups in (parameter_groups, None):
        parameter = nn.Parameter(weights.clone())
        parameter.grad = gradient.clone()
        if groups is None:
            optimizer = AdamW([parameter], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
        else:
            optimizer = build_adamw([{"params": [parameter], "weight_decay": 0.1}], 0.1, (0.9, 0.99), 1e-8, fused=fused)
        optimizer.step()
        results.append(parameter.detach())
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize(
    ("device", "precision", "fits"),
    [
        ("cpu", "32-true", True),
        ("cuda", "bf16-mixed", True),
        ("cuda", "16-mixed", False),
        ("mps", "32-true", True),
        ("meta", "32-true", False),
    ],
)
def test_the_fused_kernel_is_used_where_it_exists(device: str, precision: str, fits: bool) -> None:
    assert supports_fused(torch.device(device), precision) is fits


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("limit", [0.5, 1.0, 1e6])
def test_clipping_is_that_of_torch(fused: bool, limit: float) -> None:
    torch.manual_seed(0)
    weights, results = [torch.randn(7, 5), torch.randn(9)], []
    gradients = [[5 * torch.randn_like(w) / (step + 1) for w in weights] for step in range(4)]
    for ours in (True, False):
        parameters = [nn.Parameter(w.clone()) for w in weights]
        optimizer = build_adamw([{"params": parameters, "weight_decay": 0.1}], 0.1, (0.9, 0.99), 1e-8, fused=fused)
        for step in gradients:
            for parameter, gradient in zip(parameters, step, strict=True):
                parameter.grad = gradient.clone()
            if ours:
                norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
                clip_with_norm(optimizer, parameters, norm, limit)
            else:
                torch.nn.utils.clip_grad_norm_(parameters, limit)
            optimizer.step()
        results.append(parameters)
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)


def test_a_gradient_within_the_limit_is_not_clipped() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = build_adamw([{"params": [parameter], "weight_decay": 0.0}], 0.1, (0.9, 0.99), 1e-8, fused=True)
    for norm, scaled in ((4.0, True), (0.5, False)):  # nothing is left of the step before
        parameter.grad = torch.ones(3)
        clip_with_norm(optimizer, [parameter], torch.tensor(norm), 1.0)
        optimizer.step()
        assert torch.equal(parameter.grad, torch.ones(3)) is not scaled


@pytest.mark.parametrize(("before", "now"), [(False, True), (True, False)])
def test_a_restored_state_does_not_change_how_a_step_is_computed(before: bool, now: bool) -> None:
    """As when a fit in 16-mixed, which is not fused, is resumed in bf16-mixed."""

    def begun(fused: bool) -> tuple[nn.Parameter, AdamW]:
        parameter = nn.Parameter(torch.ones(3))
        groups: list[dict[str, object]] = [{"params": [parameter], "weight_decay": 0.0}]
        optimizer = build_adamw(groups, 0.1, (0.9, 0.99), 1e-8, fused=fused)
        keep_kernels(optimizer)
        return parameter, optimizer

    results = []
    for kinds in ((before, now), (before, before)):
        parameter, optimizer = begun(kinds[0])
        for kind in kinds:
            state, weights = optimizer.state_dict(), parameter.detach().clone()
            parameter, optimizer = begun(kind)
            optimizer.load_state_dict(state)
            assert bool(optimizer.param_groups[0]["fused"]) is kind
            parameter.data.copy_(weights)
            parameter.grad = torch.tensor([3.0, 0.0, 4.0])
            clip_with_norm(optimizer, [parameter], torch.tensor(5.0), 1.0)
            optimizer.step()
        results.append(parameter.detach())
    torch.testing.assert_close(results[0], results[1])


def test_a_fused_step_on_mps_neither_scales_nor_skips() -> None:
    """Its kernels ignore both, so that the gradient has to be clipped before, and the host has to look at it."""
    optimizer = build_adamw([{"params": [nn.Parameter(torch.ones(3))]}], 0.1, (0.9, 0.99), 1e-8, fused=True)
    assert scales_and_skips(optimizer)
    optimizer.param_groups[0]["params"] = [SimpleNamespace(device=torch.device("mps"))]
    assert not scales_and_skips(optimizer)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_fit_leaves_the_unused_rows_decayed(is_stopped: bool, tmp_path: Path, tiny_model: Path) -> None:
    filter_warnings()
    fit = Fit(tmp_path, tiny_model, model={"weight_decay": 0.5}, max_epochs=1)
    hook = SaveAndCut("on_before_backward" if is_stopped else "on_fit_end", 8 if is_stopped else 1, tmp_path / "x.ckpt")
    fit.trainer.callbacks.append(hook)
    with pytest.raises(CutError):
        fit.run()
    table = find_trained_rows(fit.model)
    assert table is not None
    unused = torch.ones(table.num_embeddings, dtype=torch.bool).index_fill(0, table.tokens, False)
    found = dict(fit.model.model.named_parameters())["bert.embeddings.word_embeddings.weight"][unused].clone()
    assert torch.equal(found, table.table()[unused])
    before = AutoModelForSequenceClassification.from_pretrained(tiny_model).get_input_embeddings().weight[unused]
    assert (found.norm() < before.norm() * 0.999).item()
