"""What an export says about how the columns of a row become the model's texts."""

from collections.abc import Iterator
from typing import Any

from glue_lit.tasks.glue import TaskSpec

KEY = "glue_lit"  # in config.json


def input_record(task: TaskSpec) -> dict[str, Any]:
    """The columns and templates for ``config.json``, with the separator token written out; empty if texts are columns.

    A file of settings of `fit` has the same text under ``data.custom``.
    """
    inputs = task.inputs
    if inputs.is_plain:
        return {}
    joins = len(inputs.texts[0]) > 1
    return {
        "columns": list(inputs.columns),
        "text": [part.spelled for parts in inputs.texts for part in parts],
    } | ({"text_separator": inputs.separator} if joins else {})


def record_inputs(config: Any, record: dict[str, Any]) -> None:
    """Put the record into a model's configuration, in place of that of the model that it was trained from."""
    if record:
        setattr(config, KEY, record)
    elif hasattr(config, KEY):
        delattr(config, KEY)


def describe_inputs(task: TaskSpec) -> Iterator[str]:
    """Markdown for the model card: how texts are made; nothing if they are columns as they are."""
    record = input_record(task)
    if not record:
        return
    texts = "\n".join(record["text"])
    yield f"\n## Inputs\nThe model reads texts that are made of columns (`{KEY}` in `config.json`):\n"
    yield f"```text\n{texts.replace('```', '` ` `')}\n```"
    if "text_separator" in record:
        yield f"\nThey are joined into one text by {record['text_separator']!r}; empty ones are left out."
    elif len(record["text"]) > 1:
        yield "\nThe first is the first text of a pair, the second is the second."
    yield "\nIn a template, a missing value is an empty text; braces that are text are doubled."
