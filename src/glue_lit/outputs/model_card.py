"""The model card of an export: the task, how to load the model, its scores, and how it was trained."""

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from glue_lit.data.window_settings import Windows
from glue_lit.errors import enumerated
from glue_lit.outputs.window_card import describe_windows
from glue_lit.runs.config_values import dump_config
from glue_lit.runs.recipe import recorded_recipe
from glue_lit.tasks.glue import TaskSpec
from glue_lit.training.provenance import recipe_of

_LIMITS = """It was fine-tuned on one data set, and its scores hold for similar texts. The validation rows picked the
checkpoint, so new rows will score a little lower. It learned whatever biases the data and the base model have;
look at its mistakes on your own rows before you rely on it."""


def model_card(
    task: TaskSpec,
    max_length: int,
    record: Mapping[str, Any],
    notes: Mapping[str, str],
    place: str,
    inputs: str = "",
    is_onnx: bool = False,
    has_code: bool = False,
    windows: Windows | None = None,
) -> str:
    """The card as Markdown with the front matter that the Hub reads.

    Args:
        task: The task that the model was trained on.
        max_length: Longest input in tokens.
        record: The run's ``metrics.json``; empty without one.
        notes: Further figures of the export, by name.
        place: The name to load the model by: its folder, or ``owner/name`` on the Hub.
        inputs: Markdown that says how a row becomes the model's input.
        is_onnx: Whether the weights are in ``model.onnx``.
        has_code: Whether the folder holds code that builds the model.
        windows: The windows that it was trained on; ``None`` if long texts were cut.
    """
    usage = _usage_of_onnx(task, place) if is_onnx else _usage(task, max_length, place, has_code)
    usage += describe_windows(windows, max_length, place, is_onnx, has_code)
    front = dump_config(_front_matter(task, record).to_dict())  # type: ignore[no-untyped-call]
    return f"---\n{front}---\n" + "\n".join(_body(task, record, notes, usage + inputs)) + "\n"


def _front_matter(task: TaskSpec, record: Mapping[str, Any]) -> ModelCardData:
    data_sets = _data_sets(record)
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=next(iter(data_sets), "glue" if task.hub_name else task.name),
            dataset_name=task.title,
            metric_name=name,
            metric_value=value,
            **_metric_of_hub(task, name.partition("/")[2]),
        )
        for name, value in (record.get("metrics") or {}).items()
        if value is not None
    ]
    is_of_hub = bool(record.get("model_commit"))
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["glue-lit", "text-classification"],
        base_model=record["model"] if is_of_hub else None,
        base_model_relation="finetune" if is_of_hub else None,
        datasets=data_sets or None,
        model_name=f"{_base(record)} on {task.name}" if results else None,
        eval_results=results or None,
    )


def _metric_of_hub(task: TaskSpec, name: str) -> dict[str, Any]:
    """A metric's name among those of the Hub, if it has one, and its arguments."""
    if name not in task.metrics:  # the loss
        return {"metric_type": name}
    metric = task.metric(name)
    if not metric.spec.hub_id:
        return {"metric_type": name}
    return {"metric_type": metric.spec.hub_id} | (
        {"metric_args": {"average": metric.average}} if metric.average else {}
    )


def _data_sets(record: Mapping[str, Any]) -> list[str]:
    """The data sets on the Hub that rows came from, e.g. ``nyu-mll/glue`` for ``nyu-mll/glue/cola:train``."""
    splits = ((record.get("data") or {}).get("splits") or {}).values()
    origins = [str(split["origin"]).partition(":")[0] for split in splits if split.get("commit")]
    return list(dict.fromkeys("/".join(origin.split("/")[:2]) for origin in origins))


def _base(record: Mapping[str, Any]) -> str:
    """The name of the base model; for a folder, only its last part."""
    name = str(record.get("model") or "encoder")
    return Path(name).name if Path(name).is_absolute() else name


def plain(text: object) -> str:
    """Escape text for Markdown and HTML, on one line."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~$-])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False))


def _table(title: str, columns: str, rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    yield f"## {title}\n| {columns} |\n|{'---|' * (columns.count('|') + 1)}"
    yield from (f"| {' | '.join(map(plain, row))} |" for row in rows)


def _body(task: TaskSpec, record: Mapping[str, Any], notes: Mapping[str, str], usage: str) -> Iterator[str]:
    yield f"# {plain(_base(record))} on {plain(task.name)}"
    output = "a number" if task.is_regression else f"one of {', '.join(map(plain, task.labels))}"
    output = output.replace("one of", "any of", 1) if task.is_multi_label else output
    output = f"one of {', '.join(map(plain, task.levels))}, in order" if task.levels else output
    yield f"{plain(task.title)}: {enumerated(map(plain, task.inputs.columns))} to {output}."
    yield usage
    if task.is_multi_label:
        yield "A label is predicted where its probability is at least its threshold (`thresholds` in `config.json`).\n"
    if scores := record.get("metrics"):
        figures = {name: "undefined" if value is None else f"{value:.6f}" for name, value in scores.items()}
        yield from _table("Scores", "split and metric | value", figures.items())
        described = task.label_metrics or "F1"
        yield f"\n{described}: for the label {plain(record['positive'])}.\n" if record.get("positive") else ""
    if notes:
        yield from _table("This export", "what | figure", notes.items())
        yield ""
    if record:
        yield from _table("Recipe", "setting | value", _recipe(record).items())
        splits = ((record.get("data") or {}).get("splits") or {}).items()
        yield ""
        yield from _table("Data", "split | from | commit | rows | hash of the rows", (_split(*item) for item in splits))
    if versions := record.get("versions"):
        yield "\n## Made with"
        yield ", ".join(f"{plain(name)} {plain(version)}" for name, version in versions.items())
    yield f"\n## Limits\n{_LIMITS}"


def _recipe(record: Mapping[str, Any]) -> dict[str, str]:
    config = record.get("config")
    recipe = {"Model": ""} | (recorded_recipe(record, config) or recipe_of(config or {})) | {"Model": _base(record)}
    if record.get("model_commit"):
        recipe["Model's commit"] = str(record["model_commit"])
    done = {"Epochs done": record.get("epochs"), "Steps done": record.get("steps")}
    done["Devices"] = (record.get("device") or {}).get("processes")
    return recipe | {label: f"{value:,}" for label, value in done.items() if isinstance(value, int)}


def _split(name: str, split: Mapping[str, Any]) -> tuple[object, ...]:
    digest = split.get("hash") or f"of the file: {split.get('fingerprint')}"  # records of older versions
    return name, Path(split["origin"]).name, split.get("commit") or "", f"{split['rows']:,}", digest


def _usage(task: TaskSpec, max_length: int, place: str, has_code: bool) -> str:
    """Code that loads the folder."""
    given = '{"text": "...", "text_pair": "..."}' if len(task.text_columns) > 1 else '"..."'
    trust = ", trust_remote_code=True" if has_code else ""
    labels = ", top_k=None" if task.is_multi_label else ""
    return (
        "\n```python\nfrom transformers import pipeline\n\n"
        f'classify = pipeline("text-classification", {json.dumps(place)}{trust})'
        f"{'  # runs the code in it' if has_code else ''}\n"
        f"classify({given}{labels}, truncation=True)  # inputs of more than {max_length} tokens are truncated\n```\n"
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
