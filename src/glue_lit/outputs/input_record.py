"""What an export says about how a row becomes the model's input, and how a score tells a label."""

import json
from collections.abc import Iterator
from typing import Any

from glue_lit.data.head_tail import HeadTail, Truncation
from glue_lit.data.window_settings import Windows
from glue_lit.tasks.glue import TaskSpec

KEY = "glue_lit"  # in config.json


def input_record(task: TaskSpec, max_length: int, truncation: Truncation) -> dict[str, Any]:
    """The columns, templates and truncation for ``config.json``; empty if a tokenizer's usual call makes the inputs.

    Columns and templates are as in ``data.custom``, with the separator token written out.
    """
    inputs = task.inputs
    record: dict[str, Any] = {}
    if not inputs.is_plain:
        record |= {
            "columns": list(inputs.columns),
            "text": [part.spelled for parts in inputs.texts for part in parts],
        }
        record |= {"text_separator": inputs.separator} if len(inputs.texts[0]) > 1 else {}
    return record | ({} if truncation == "head" else {"truncation": truncation, "max_length": max_length})


def window_record(windows: Windows | None, length: int) -> dict[str, Any]:
    """The windows that documents are scored by, for ``config.json``; empty without windows."""
    if windows is None:
        return {}
    return {"windows": {"length": length, "stride": windows.stride, "pooling": windows.pooling}}


def output_record(task: TaskSpec) -> dict[str, Any]:
    """The labels in order and the scores between them, for ``config.json``; empty for other tasks."""
    return {"labels": [*task.levels], "cut_points": [*task.cut_points]} if task.levels else {}


def describe_output(task: TaskSpec) -> str:
    """Markdown for the model card: how a score tells a label; empty for tasks without labels in order."""
    if not task.levels:
        return ""
    return (
        "\n## Labels\nThe model gives a score, which tells one of the labels in order: the first below the lowest cut "
        f"point, then the next at each. Labels and cut points are in `config.json` (`{KEY}`).\n\n"
        "```python\nfrom bisect import bisect_right\n\n"
        f'label = config.{KEY}["labels"][bisect_right(config.{KEY}["cut_points"], score)]\n```\n'
    )


def record_inputs(config: Any, record: dict[str, Any]) -> None:
    """Put the record into a model's configuration, in place of that of the model that it was trained from."""
    if record:
        setattr(config, KEY, record)
    elif hasattr(config, KEY):
        delattr(config, KEY)


def describe_inputs(task: TaskSpec, tokenizer: Any, max_length: int, truncation: Truncation) -> str:
    """Markdown for the model card: how texts are made and cut; empty if a tokenizer's usual call does that."""
    lines = [*_describe_texts(input_record(task, max_length, "head"))]
    lines += [] if truncation == "head" else _describe_cut(task, tokenizer, max_length)
    return "".join(f"{line}\n" for line in (["", "## Inputs", *lines] if lines else []))


def _describe_texts(record: dict[str, Any]) -> Iterator[str]:
    if not record:
        return
    texts = "\n".join(json.dumps(text, ensure_ascii=False) for text in record["text"])
    yield f"The model reads texts that are made of columns (`{KEY}` in `config.json`):\n"
    yield f"```text\n{texts.replace('```', '` ` `')}\n```\n"
    if "text_separator" in record:
        yield f"They are joined into one text by {record['text_separator']!r}; empty ones are left out."
    elif len(record["text"]) > 1:
        yield "The first is the first text of a pair, the second is the second."
    yield "Braces stand for the value of a column; those that are text are doubled. A missing value is an empty text, a"
    yield "list is written with commas, and 3.0 as 3."


def _describe_cut(task: TaskSpec, tokenizer: Any, max_length: int) -> Iterator[str]:
    yield f"\nOf an input of more than {max_length} tokens, the model reads the start and the end (`head_tail`)."
    yield "A pipeline of transformers cuts the end off, so its results for long texts differ. Truncate them yourself:"
    if len(task.text_columns) > 1:
        yield "of each text as many tokens as `longest_first` keeps, a quarter (128 of 510) of them from its start."
        return
    first, last = HeadTail(tokenizer, max_length).ends
    yield (
        f'\n```python\nids = tokenizer(text, truncation=False)["input_ids"]\nif len(ids) > {max_length}:\n'
        f"    ids = ids[:{first}] + ids[-{last}:]\n```"
    )
