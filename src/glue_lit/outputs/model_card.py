"""The model card of an export: what the model does, how well, and how it came about."""

import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glue_lit.runs.config_values import dump_config
from glue_lit.runs.recipe import recorded_recipe
from glue_lit.tasks.glue import TaskSpec
from glue_lit.training.provenance import recipe_of

_LIMITS = """It was fitted to one data set, and its figures hold for texts like those. The validation rows picked the
checkpoint, so new rows will score a little lower. It learned whatever biases the data and the base model have;
look at its mistakes on your own rows before you rely on it."""


def model_card(
    task: TaskSpec,
    max_length: int,
    record: Mapping[str, Any] | None,
    notes: Mapping[str, str],
    place: str,
    is_onnx: bool = False,
    has_code: bool = False,
) -> str:
    """The card as Markdown with the front matter that the Hub reads.

    Args:
        task: What the model was trained for.
        max_length: Longest input in tokens.
        record: The run's ``metrics.json``; ``None`` for a checkpoint outside any run.
        notes: Further figures of the export, by name.
        place: What the model is loaded by: the name of its folder, or ``owner/name`` on the Hub.
        is_onnx: Whether the weights are in ``model.onnx``.
        has_code: Whether the folder has code that makes the model.
    """
    record = record or {}
    usage = _usage_of_onnx(task, place) if is_onnx else _usage(task, max_length, place, has_code)
    front = dump_config(_front_matter(task, record))
    return f"---\n{front}---\n" + "\n".join(_body(task, record, notes, usage)) + "\n"


def _front_matter(task: TaskSpec, record: Mapping[str, Any]) -> dict[str, Any]:
    front: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["glue-lit", "text-classification"],
    }
    if record.get("model_commit"):
        front |= {"base_model": record["model"], "base_model_relation": "finetune"}
    if data_sets := _data_sets(record):
        front["datasets"] = data_sets
    scores = {name: value for name, value in (record.get("metrics") or {}).items() if value is not None}
    if scores:
        data = {"name": task.title, "type": next(iter(data_sets), "glue" if task.hub_name else task.name)}
        metrics = [{"type": n.partition("/")[2], "name": n, "value": v} for n, v in scores.items()]
        result = {"task": {"type": "text-classification"}, "dataset": data, "metrics": metrics}
        front["model-index"] = [{"name": f"{_base(record)} on {task.name}", "results": [result]}]
    return front


def _data_sets(record: Mapping[str, Any]) -> list[str]:
    """The data sets on the Hub that rows came from: ``nyu-mll/glue`` of ``nyu-mll/glue/cola:train``."""
    splits = ((record.get("data") or {}).get("splits") or {}).values()
    origins = [str(split["origin"]).partition(":")[0] for split in splits if split.get("commit")]
    return list(dict.fromkeys("/".join(origin.split("/")[:2]) for origin in origins))


def _base(record: Mapping[str, Any]) -> str:
    """The name of the base model; of a folder, its last part alone."""
    name = str(record.get("model") or "encoder")
    return Path(name).name if Path(name).is_absolute() else name


def plain(text: object) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~$-])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False))


def _body(task: TaskSpec, record: Mapping[str, Any], notes: Mapping[str, str], usage: str) -> Iterator[str]:
    yield f"# {plain(_base(record))} on {plain(task.name)}"
    what = "a number" if task.is_regression else f"one of {', '.join(map(plain, task.labels))}"
    yield f"{plain(task.title)}: {' and '.join(map(plain, task.text_columns))} to {what}."
    yield usage
    if record.get("metrics"):
        yield "## Scores\n| split and metric | value |\n|---|---|"
        yield from (f"| {plain(name)} | {_figure(value)} |" for name, value in record["metrics"].items())
        yield f"\nF1 is of the label {plain(record['positive'])}.\n" if record.get("positive") else ""
    if notes:
        yield from (
            "## This export\n| what | figure |\n|---|---|",
            *(f"| {plain(k)} | {plain(v)} |" for k, v in notes.items()),
            "",
        )
    yield from _origin(record)
    yield f"\n## Limits\n{_LIMITS}"


def _usage(task: TaskSpec, max_length: int, place: str, has_code: bool) -> str:
    """Code that loads the folder."""
    given = '{"text": "...", "text_pair": "..."}' if len(task.text_columns) > 1 else '"..."'
    trust = ", trust_remote_code=True" if has_code else ""
    return (
        "\n```python\nfrom transformers import pipeline\n\n"
        f'classify = pipeline("text-classification", {json.dumps(place)}{trust})'
        f"{'  # runs the code in it' if has_code else ''}\n"
        f"classify({given}, truncation=True)  # inputs of more than {max_length} tokens are cut\n```\n"
    )


def _usage_of_onnx(task: TaskSpec, place: str) -> str:
    """Code that loads the folder of an ONNX model."""
    pair = ', ["..."]' if len(task.text_columns) > 1 else ""
    is_on_hub = "/" in place
    download = "from huggingface_hub import hf_hub_download\n" if is_on_hub else ""
    file = f'hf_hub_download({json.dumps(place)}, "model.onnx")' if is_on_hub else json.dumps(f"{place}/model.onnx")
    return (
        f"\n```python\n{download}from onnxruntime import InferenceSession\nfrom transformers import AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({json.dumps(place)})\n"
        f"session = InferenceSession({file})\n"
        f'inputs = tokenizer(["..."]{pair}, truncation=True, padding=True, return_tensors="np")\n'
        "names = {given.name for given in session.get_inputs()}\n"
        "(logits,) = session.run(None, {name: inputs[name] for name in names})\n```\n"
    )


def _figure(value: Any) -> str:
    return "undefined" if value is None else f"{value:.6f}"


def _origin(record: Mapping[str, Any]) -> Iterator[str]:
    """Recipe, data and versions, as far as the run tells."""
    config = record.get("config")
    recipe = recorded_recipe(record, config) or recipe_of(config or {})
    settings = {"Model": ""} | recipe | {"Model": _base(record)}
    if record.get("model_commit"):
        settings["Model's commit"] = str(record["model_commit"])
    done = {"Epochs done": record.get("epochs"), "Steps done": record.get("steps")}
    done["Devices"] = (record.get("device") or {}).get("processes")
    settings |= {key: f"{value:,}" for key, value in done.items() if isinstance(value, int)}
    if record:
        yield "## Recipe\n| setting | value |\n|---|---|"
        yield from (f"| {plain(key)} | {plain(value)} |" for key, value in settings.items())
        yield "\n## Data\n| split | from | commit | rows | hash of the rows |\n|---|---|---|---|---|"
    for name, split in ((record.get("data") or {}).get("splits") or {}).items():
        origin = plain(Path(split["origin"]).name)
        hashed = split.get("hash") or f"of the file: {split.get('fingerprint')}"  # as older versions have it
        yield f"| {plain(name)} | {origin} | {plain(split.get('commit') or '')} | {split['rows']:,} | {plain(hashed)} |"
    if record.get("versions"):
        yield "\n## Made with"
        yield ", ".join(f"{plain(name)} {plain(version)}" for name, version in record["versions"].items())
