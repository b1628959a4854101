"""What an export records about texts that are made of columns or keep both ends."""

from types import SimpleNamespace

import pytest

from glue_lit.outputs.input_record import describe_inputs, input_record, record_inputs
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import TASKS


def test_a_task_of_plain_columns_needs_no_record() -> None:
    assert input_record(TASKS["rte"], 512, "head") == {}
    assert describe_inputs(TASKS["rte"], None, 512, "head") == ""


def test_joined_columns_and_their_separator_are_recorded() -> None:
    custom = CustomTask(
        text=["title", "odd{{x}}", "{n} EUR"], text_separator=" {sep} ", sep_token="</s>", kind="regression",
        metrics=["mae"],
    )  # fmt: skip
    task = resolve_task("goods", custom)
    assert input_record(task, 512, "head_tail") == {
        "columns": ["title", "odd{x}", "n"], "text": ["title", "odd{{x}}", "{n} EUR"], "text_separator": " </s> ",
        "truncation": "head_tail", "max_length": 512,
    }  # fmt: skip
    card = describe_inputs(task, None, 512, "head")
    assert '```text\n"title"\n"odd{{x}}"\n"{n} EUR"\n```' in card
    assert "joined into one text by ' </s> '; empty ones are left out" in card


@pytest.mark.parametrize("record", [{}, {"text": ["{a}"]}])
def test_the_record_of_the_base_model_is_replaced(record: dict[str, list[str]]) -> None:
    config = SimpleNamespace(glue_lit={"text": ["{old}"]})
    record_inputs(config, record)
    assert getattr(config, "glue_lit", {}) == record
