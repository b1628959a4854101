"""The model card: the Hub reads its front matter, and no name in a record is taken for Markdown or HTML."""

import pytest
from huggingface_hub import ModelCard

from glue_lit.outputs.model_card import model_card
from glue_lit.tasks.glue import TASKS

HOSTILE = ("<img src=x onerror=alert(1)>", "a|b: [x](y) `c` #", "no", "1e5", "---\nlibrary_name: other", "x\u2028y")


def test_the_hub_reads_the_scores() -> None:
    scores = {"val_matched/accuracy": 0.75, "val_matched/loss": 1e-7, "val_mismatched/accuracy": None}
    data = ModelCard(model_card(TASKS["mnli"], 128, {"model": "bert", "metrics": scores}, {}, "my-model")).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-classification")
    assert data.tags == ["glue-lit", "text-classification"]
    assert data.model_name == "bert on mnli"
    assert data.eval_results is not None
    found = [(r.metric_name, r.metric_type, r.metric_value, r.verified) for r in data.eval_results]
    assert found == [("val_matched/accuracy", "accuracy", 0.75, None), ("val_matched/loss", "loss", 1e-7, None)]
    (kinds,) = {(r.task_type, r.dataset_type, r.dataset_name) for r in data.eval_results}
    assert kinds == ("text-classification", "glue", TASKS["mnli"].title)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(name: str) -> None:
    record = {"model": name, "metrics": {"val/accuracy": 0.5}, "positive": name, "versions": {name: name}}
    record |= {"recipe": {name: name}, "config": {}, "data": {"splits": {name: {"origin": name, "rows": 1}}}}
    text = model_card(TASKS["rte"], 128, record, {name: name}, "my-model")
    data = ModelCard(text).data
    assert data.model_name == f"{name} on rte"
    assert data.library_name == "transformers"
    body = text.split("\n---\n", 1)[1]
    assert "<img" not in body
    assert "](" not in body
    tables = [line for line in body.splitlines() if line.startswith("|")]
    assert len(tables) == 2 * 4 + 1 + 1 + 2 + 1  # heads; then scores, export, recipe (with the model), data
    assert {line.replace("\\|", "").count("|") for line in tables} == {3, 6}


def test_a_checkpoint_outside_a_run_has_a_card_without_scores() -> None:
    text = model_card(TASKS["stsb"], 128, {}, {}, "my-model")
    assert ModelCard(text).data.eval_results is None
    assert text.startswith("---\nlibrary_name: transformers\n")
    assert "# encoder on stsb\n" in text
    assert "## Recipe" not in text
