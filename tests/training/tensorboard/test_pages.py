"""TensorBoard's pages of a fit, read back from its event files."""

import json
import re
import sys
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import warm
from command_line import glue_lit as command
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.pr_curve import metadata as pr_metadata

from glue_lit.training.tensorboard import pages
from glue_lit.training.tensorboard.hparams import HPARAMS_FILE
from glue_lit.training.tensorboard.pages import TensorBoardPages

HOSTILE = '<script>alert("x")</script> | **a** _b_ `c` [d](e) <img src=x>\nnext'


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(tiny_model: Path, task: str, *more: str) -> list[str]:
    return [
        "fit", f"--data.task={task}", "--data.source=demo", f"--model.name_or_path={tiny_model}",
        "--model.learning_rate=1e-3", "--data.train_limit=32", "--data.validation_limit=21", "--trainer.max_epochs=2",
        "--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.log_every_n_steps=1", *more,
    ]  # fmt: skip


def events(run: Path) -> EventAccumulator:
    found = EventAccumulator(str(run), size_guidance=dict.fromkeys(("images", "tensors", "scalars"), 0))
    found.Reload()
    return found


def text(found: EventAccumulator, tag: str) -> str:
    return str(found.Tensors(tag)[-1].tensor_proto.string_val[0].decode())


def test_pages_of_a_classification(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(monkeypatch, *settings(tiny_model, "mnli")) == 0
    run = Path("lightning_logs/mnli/version_0")
    found = events(run)
    tags = found.Tags()
    assert {"val_matched/confusion_matrix", "val_mismatched/confusion_matrix"} == set(tags["images"])
    assert [event.step for event in found.Images("val_matched/confusion_matrix")] == [2, 4]
    assert found.Images("val_matched/confusion_matrix")[0].encoded_image_string.startswith(b"\x89PNG")
    assert [event.step for event in found.Scalars("val_matched/accuracy")] == [2, 4]

    curves = found.PluginTagToContent(pr_metadata.PLUGIN_NAME)
    labels = ("entailment", "neutral", "contradiction")
    assert set(curves) == {f"{prefix}/{label}" for prefix in ("val_matched", "val_mismatched") for label in labels}
    assert "are wrong. The most confident mistakes:" in text(found, "val_matched/hard_rows/text_summary")
    assert "| certainty | line |" in text(found, "val_matched/hard_rows/text_summary")

    # HParams compares the scores of the best checkpoint
    best = json.loads((run / "metrics.json").read_text())["metrics"]
    for name in ("accuracy", "loss"):
        value = found.Scalars(f"val_matched/best_{name}")[-1].value
        assert value == pytest.approx(best[f"val_matched/{name}"], abs=1e-6)
    assert "epoch" not in tags["scalars"]
    assert "hp_metric" not in tags["scalars"]


def test_hyperparameters_and_charts(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sgd = ("--model.optimizer=torch.optim.SGD", "--model.optimizer.init_args.momentum=0.9")
    assert command(monkeypatch, *settings(tiny_model, "cola"), *sgd) == 0
    found = events(Path("lightning_logs/cola/version_0"))
    content = found.PluginTagToContent("hparams")
    begun = plugin_data_pb2.HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info
    values = {name: value.number_value or value.string_value for name, value in begun.hparams.items()}
    assert values["learning_rate"] == 1e-3
    assert values["max_epochs"] == 2
    assert values["seed"] == 42
    assert values["task"] == "cola"
    assert values["optimizer"] == "SGD (momentum 0.9)"
    assert values["train_limit"] == 32
    assert "adam_beta1" not in values  # a default
    experiment = plugin_data_pb2.HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment
    metrics = {info.name.tag for info in experiment.metric_infos}
    assert metrics == {"val/best_matthews_correlation", "val/best_loss"} <= set(found.Tags()["scalars"])
    charts = text(found, "custom_scalars__config__")
    assert all(f"^{tag}$" in charts for tag in ("train/loss", "val/loss", "val/matthews_correlation"))


def learning_rate(run: Path) -> float:
    """As the page HParams shows it."""
    content = events(run).PluginTagToContent("hparams")["_hparams_/session_start_info"]
    begun = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    return float(begun.hparams["learning_rate"].number_value)


def test_hyperparameters_are_those_of_the_resumed_fit(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(monkeypatch, *settings(tiny_model, "cola", "--trainer.max_epochs=1")) == 0
    run = Path("lightning_logs/cola/version_0")
    assert learning_rate(run) == 1e-3
    # an older version wrote them into the file of the curves
    curves = next(path for path in run.glob("*tfevents*") if path.name != HPARAMS_FILE)
    (run / HPARAMS_FILE).replace(curves.with_name("events.out.tfevents.1.older"))
    goes_on = ("fit", "--ckpt_path=last", "--trainer.max_epochs")
    assert command(monkeypatch, *goes_on, "2", "--model.learning_rate=3e-4") == 0
    assert learning_rate(run) == 3e-4
    assert command(monkeypatch, *goes_on, "3", "--model.learning_rate=2e-4") == 0
    assert learning_rate(run) == 2e-4
    # in any order: the files of fits within the same second are read by their names
    assert sorted(event.step for event in events(run).Scalars("val/loss")) == [2, 4, 6]


def test_pages_of_a_regression(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(monkeypatch, *settings(tiny_model, "stsb")) == 0
    found = events(Path("lightning_logs/stsb/version_0"))
    assert found.Tags()["images"] == ["val/predicted_against_gold"]
    assert "The scores furthest off, of 21 rows:" in text(found, "val/hard_rows/text_summary")
    assert pr_metadata.PLUGIN_NAME not in found.summary_metadata.values()
    assert {"val/best_pearson", "val/best_spearmanr"} <= set(found.Tags()["scalars"])


@pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated:DeprecationWarning")
def test_hostile_rows_are_text(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"text": f"{HOSTILE} {number}", "label": ("<b>x</b>", "y|z")[number % 2], "key": f"<i>{number}|"}
        for number in range(40)
    ]
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = (
        "--data.source=mine.jsonl",
        "--data.custom.text=text",
        "--data.custom.label=label",
        "--data.custom.id=key",
    )
    assert command(monkeypatch, *settings(tiny_model, "mine", *options)) == 0
    found = events(Path("lightning_logs/mine/version_0"))
    markdown = text(found, "val/hard_rows/text_summary")
    assert "&#60;script&#62;" in markdown
    shown = re.findall(r"\| (\d+) \| &#60;i&#62;(\d+)&#124; \|", markdown)
    assert shown
    assert all(int(line) == int(number) + 1 for line, number in shown)

    # as TensorBoard renders it
    from tensorboard.plugin_util import markdown_to_safe_html

    html = markdown_to_safe_html(markdown)
    assert not [tag for tag in ("<script", "<img", "<b>", "<strong", "<em", "<code", "<a ") if tag in html]
    line = next(line for line in html.splitlines() if "script" in line)
    assert line.startswith("<td>")
    assert " ".join(HOSTILE.split()) in unescape(line)


def test_without_matplotlib_there_is_no_picture(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.startswith(("glue_lit.evaluation.report.canvas", "glue_lit.evaluation.report.outcome_figures")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("glue_lit.evaluation.report.canvas", raising=False)
    monkeypatch.delattr("glue_lit.evaluation.report.outcome_figures", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert command(monkeypatch, *settings(tiny_model, "rte", "--trainer.max_epochs=1")) == 0
    found = events(Path("lightning_logs/rte/version_0"))
    assert found.Tags()["images"] == []
    assert "val/hard_rows/text_summary" in found.Tags()["tensors"]


@pytest.mark.parametrize(
    "options",
    [("--trainer.logger=false",), ("--trainer.fast_dev_run=true",), ("--trainer.num_sanity_val_steps=2",)],
    ids=["no-logger", "fast-dev-run", "sanity-check"],
)
def test_empty_pages_are_left_out(options: tuple[str, ...], tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    monkeypatch.setattr(TensorBoardPages, "_show", lambda *arguments: shown.append(arguments[-1]))
    assert command(monkeypatch, *settings(tiny_model, "rte", "--trainer.max_epochs=1", *options)) == 0
    assert shown == ([2] if "sanity" in options[0] else [])


def test_pages_change_no_loss(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = []
    for version in range(2):
        if version:
            monkeypatch.setattr(pages, "tensorboard_loggers", lambda trainer: [])
        assert command(monkeypatch, *settings(tiny_model, "rte")) == 0
        path = Path(f"lightning_logs/rte/version_{version}/checkpoints/last.ckpt")
        weights.append(torch.load(path, weights_only=True)["state_dict"])
        losses = events(path.parents[1]).Scalars("train/loss")
        weights.append({str(event.step): torch.tensor(event.value) for event in losses})
    for one, other in zip(weights[:2], weights[2:], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)
    assert not events(Path("lightning_logs/rte/version_1")).Tags()["images"]


def test_two_processes_show_each_row_once(tiny_model: Path, tmp_path: Path) -> None:
    arguments = settings(tiny_model, "rte", "--trainer.devices=2", "--trainer.strategy=ddp", "--data.eval_batch_size=2")
    done = warm.run("-m", "glue_lit", *arguments)
    assert done.returncode == 0, done.stderr
    run = Path("lightning_logs/rte/version_0")
    assert len([*run.glob("events*")]) == 2  # the curves and the hyperparameters
    found = events(run)
    assert [event.step for event in found.Images("val/confusion_matrix")] == [1, 2]
    said = text(found, "val/hard_rows/text_summary")
    accuracy = json.loads((run / "metrics.json").read_text())["metrics"]["val/accuracy"]
    last = found.Scalars("val/accuracy")[-1].value
    assert f"{round(21 * (1 - last))} of 21 rows are wrong" in said
    assert found.Scalars("val/best_accuracy")[-1].value == pytest.approx(accuracy)


def test_a_resumed_fit_writes_its_charts_once(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(monkeypatch, *settings(tiny_model, "rte", "--trainer.max_epochs=1")) == 0
    assert command(monkeypatch, "fit", "--ckpt_path=last", "--trainer.max_epochs=3") == 0
    found = events(Path("lightning_logs/rte/version_0"))
    assert len(found.Tensors("custom_scalars__config__")) == 1
    assert [event.step for event in found.Images("val/confusion_matrix")] == [2, 4, 6]
    scores = [event.value for event in found.Scalars("val/accuracy")]
    best = [event.value for event in found.Scalars("val/best_accuracy")]
    assert best == np.maximum.accumulate(scores).tolist()


def test_the_commonest_of_many_labels_have_curves() -> None:
    from glue_lit.evaluation.predictions import Predictions

    gold = np.repeat(np.arange(20), np.arange(20) + 1)
    many: Any = Predictions(np.arange(len(gold)), gold, gold, np.full((len(gold), 20), 0.05))
    assert pages._labels_with_curve(many) == list(range(8, 20))


def test_both_of_two_labels_have_a_curve() -> None:
    from glue_lit.evaluation.predictions import Predictions

    gold = np.array([0, 1, 1])
    two = Predictions(np.arange(3), gold, gold, np.full((3, 2), 0.5))
    assert pages._labels_with_curve(two) == [0, 1]
