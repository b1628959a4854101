"""Heads that were trained elsewhere: their labels are matched by name."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from glue_lit.encoder.build import build_pretrained
from glue_lit.encoder.heads import check_trained, head_of, label_order
from glue_lit.errors import ModelError
from glue_lit.tasks.glue import get_task
from glue_lit.training.classifier import SequenceClassifier


@pytest.mark.parametrize(
    ("task", "names", "order"),
    [
        ("mnli", ["entailment", "neutral", "contradiction"], [0, 1, 2]),
        ("mnli", ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"], [2, 1, 0]),
        ("mnli", ["contradiction", "entailment", "neutral"], [1, 2, 0]),
        ("rte", ["not entailment", "Entailment"], [1, 0]),
        ("rte", ["not-entailment", "entailment"], [1, 0]),
        ("rte", ["LABEL_0", "LABEL_1"], None),
        ("rte", ["entailment", "neutral", "contradiction"], None),
        ("mnli", ["entailment", "neutral", "neutral"], None),
        ("cola", ["negative", "positive"], None),
        ("stsb", ["LABEL_0"], [0]),
        ("stsb", ["a", "b"], None),
    ],
)
def test_labels_are_matched_by_name(task: str, names: list[str], order: list[int] | None) -> None:
    assert label_order(dict(enumerate(names)), get_task(task)) == order
    assert label_order({str(n): name for n, name in enumerate(names)}, get_task(task)) == order


@pytest.mark.parametrize("labels", [("-1", "0", "1"), ("A", "A-", "B_"), ("+", "-"), ("c", "c++")])
def test_signs_that_tell_labels_apart_are_kept(labels: tuple[str, ...]) -> None:
    task = replace(get_task("mnli"), labels=labels, file_labels=labels)
    assert label_order(dict(enumerate(labels)), task) == list(range(len(labels)))
    assert label_order(dict(enumerate(reversed(labels))), task) == list(range(len(labels)))[::-1]
    assert label_order({0: "-1", 1: "0"}, replace(task, labels=("0", "1"))) is None


@pytest.mark.parametrize(
    "labels", [("a-b", "a b"), ("Yes", "yes"), ("A", "a", "a_b", "a b"), ("e", "\u00e9"), ("co-op", "coop", "Coop")]
)
def test_labels_that_differ_only_in_how_they_are_written(labels: tuple[str, ...]) -> None:
    task = replace(get_task("mnli"), labels=labels, file_labels=labels)
    assert label_order(dict(enumerate(labels)), task) == list(range(len(labels)))
    assert label_order(dict(enumerate(reversed(labels))), task) == list(range(len(labels)))[::-1]
    assert label_order(dict(enumerate(label.upper() for label in labels)), task) is None or labels == ("e", "\u00e9")


def test_labels_in_order_have_the_same_order() -> None:
    task = replace(get_task("stsb"), levels=("poor", "fair", "good"))
    assert label_order({0: "LABEL_0"}, task) == label_order({0: "LABEL_0"}, task, ["poor", "fair", "good"]) == [0]
    for others in (["good", "fair", "poor"], ["poor", "good"]):
        assert label_order({0: "LABEL_0"}, task, others) is None
    assert label_order({0: "LABEL_0"}, get_task("stsb"), ["poor", "fair", "good"]) is None
    with pytest.raises(
        ModelError, match=r"are good, fair, poor; task stsb has poor, fair, good\. .* by name and order"
    ):
        check_trained("own", {0: "LABEL_0"}, task, True, ["good", "fair", "poor"])


def test_labels_in_composed_and_in_single_characters() -> None:
    task = replace(get_task("sst2"), labels=("caf\u00e9", "tea"), file_labels=("0", "1"))
    assert label_order({0: "tea", 1: "cafe\u0301"}, task) == [1, 0]


def fine_tuned(tiny_model: Path, folder: Path, names: list[str], model_type: str = "bert") -> Any:
    """A folder with a classifier for these labels, and the model itself."""
    torch.manual_seed(3)
    model = AutoModelForSequenceClassification.from_pretrained(
        tiny_model, num_labels=len(names), id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)}
    ).eval()
    model.classifier.weight.data.normal_()
    model.classifier.bias.data.normal_()
    model.save_pretrained(folder)
    for file in tiny_model.glob("*token*"):
        shutil.copy(file, folder)
    return model


def hparams(folder: Path) -> dict[str, Any]:
    return dict(SequenceClassifier("mnli", str(folder)).hparams)


@pytest.mark.parametrize(
    "names", [["contradiction", "neutral", "entailment"], ["Neutral", "Contradiction", "Entailment"]]
)
def test_outputs_come_in_the_tasks_order(tiny_model: Path, tmp_path: Path, names: list[str]) -> None:
    theirs = fine_tuned(tiny_model, tmp_path / "model", names)
    ours, kept, *_ = build_pretrained(get_task("mnli"), hparams(tmp_path / "model"))
    assert kept
    inputs = AutoTokenizer.from_pretrained(tmp_path / "model")(["A man."], ["No man."], return_tensors="pt")
    with torch.no_grad():
        expected, found = theirs(**inputs).logits[0], ours.eval()(**inputs).logits[0]
    by_name = {name.lower(): float(value) for name, value in zip(names, expected, strict=True)}
    assert {ours.config.id2label[n]: float(v) for n, v in enumerate(found)} == pytest.approx(by_name)
    assert list(ours.config.id2label.values()) == ["entailment", "neutral", "contradiction"]


@pytest.mark.parametrize("names", [["negative", "positive", "none"], ["LABEL_0", "LABEL_1", "LABEL_2"]])
def test_a_head_for_other_labels_is_new(tiny_model: Path, tmp_path: Path, names: list[str]) -> None:
    theirs = fine_tuned(tiny_model, tmp_path / "model", names)
    ours, kept, *_ = build_pretrained(get_task("mnli"), hparams(tmp_path / "model"))
    found = head_of(ours)
    assert not kept
    assert found is not None
    assert not torch.equal(found[2].weight, theirs.classifier.weight)
    assert float(found[2].weight.detach().std()) == pytest.approx(0.02, abs=0.01)
    assert not found[2].bias.any()
    assert torch.equal(ours.bert.embeddings.word_embeddings.weight, theirs.bert.embeddings.word_embeddings.weight)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["negative", "positive", "none"],
            "are negative, positive, none; task mnli has entailment, neutral, contradiction",
        ),
        (["LABEL_0", "LABEL_1", "LABEL_2"], "write their names into id2label in its config.json"),
        (["entailment", "not_entailment"], "are entailment, not_entailment; task mnli has entailment"),
    ],
)
def test_nothing_is_scored_with_a_head_for_other_labels(
    tiny_model: Path, tmp_path: Path, names: list[str], message: str
) -> None:
    fine_tuned(tiny_model, tmp_path / "model", names)
    with pytest.raises(ModelError, match=re.escape(message)):
        build_pretrained(get_task("mnli"), hparams(tmp_path / "model"), must_be_trained=True)


def test_nothing_is_scored_without_a_head(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no classification head"):
        build_pretrained(get_task("mnli"), hparams(tiny_model), must_be_trained=True)
    fine_tuned(tiny_model, tmp_path / "model", ["entailment", "neutral", "contradiction"])
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["architectures"] = ["BertModel"]  # the weights decide, not the name of the architecture
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    build_pretrained(get_task("mnli"), hparams(tmp_path / "model"), must_be_trained=True)
