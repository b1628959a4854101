"""Reformer: reproducible training, new masks in each batch, and one score for a text."""

from pathlib import Path

import pytest
import torch
from tiny_folders import write_tiny
from transformers import AutoModelForSequenceClassification

from glue_lit import SequenceClassifier
from glue_lit.encoder.reformer import HASH_SEED, make_reproducible, record_hash_seed
from glue_lit.outputs.hugging_face import Trained, write_model

IDS = torch.randint(5, 200, (2, 64), generator=torch.Generator().manual_seed(1))
BATCH = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reformer")
    write_tiny("reformer", path)
    return path


def classifier(folder: Path) -> SequenceClassifier:
    torch.manual_seed(0)  # of the new head
    model = SequenceClassifier(task="mrpc", name_or_path=str(folder))
    model.configure_model()
    return model


def gradients(model: SequenceClassifier, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    model.zero_grad()
    model.train()(BATCH).square().sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_a_seed_decides_dropout_and_hashing(folder: Path) -> None:
    model = classifier(folder)
    first = gradients(model, 1)
    assert torch.equal(gradients(model, 1), first)
    assert not torch.allclose(gradients(model, 2), first)  # other masks
    assert torch.equal(gradients(classifier(folder), 1), first)


def test_a_hash_seed_does_not_fix_the_dropout_masks(folder: Path) -> None:
    model = classifier(folder)
    record_hash_seed(model.model.config)
    assert model.model.config.hash_seed == HASH_SEED
    make_reproducible(model.model)
    assert not torch.allclose(gradients(model, 2), gradients(model, 1))


def test_a_text_has_one_score_here_and_in_the_export(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    model = classifier(folder).eval()
    logits = []
    with torch.inference_mode():
        for seed in (1, 2):
            torch.manual_seed(seed)
            logits.append(model(BATCH))
        own = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        torch.manual_seed(3)
        assert not torch.equal(own(**BATCH).logits, own(**BATCH).logits)  # transformers alone gives new ones each time
        write_model(Trained(model, AutoTokenizer.from_pretrained(folder), 64, {}, {}), tmp_path)
        others = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
        torch.testing.assert_close(others(**BATCH).logits, logits[0], rtol=0, atol=1e-5)
    assert torch.equal(logits[0], logits[1])


def test_other_models_are_not_changed(tiny_model: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model)
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    make_reproducible(model)
    record_hash_seed(model.config)
    assert all(vars(module).keys() == before[name].keys() for name, module in model.named_modules())
    assert not hasattr(model.config, "hash_seed")
