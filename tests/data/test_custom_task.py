import pytest

from glue_lit.data.custom_task import describe_labels
from glue_lit.tasks.custom import CustomTask


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"labels": ["no", "yes"], "metrics": ["accuracy", "f1"]}, "F1 is of the label yes; `--data.custom.positive LABEL`"),
        ({"labels": ["no", "yes"], "metrics": ["f1"], "positive": "no"}, "F1 is of the label no"),
        ({"labels": ["0", "1"], "label_names": ["ham", "spam"], "metrics": ["f1"]}, "F1 is of the label spam"),
        ({"labels": ["2E65", "2E66", "x"]}, "2E65, 2E66 and the like are read as codes, not as numbers"),
        ({"labels": ["1,5", "2", "3"]}, "1,5, 2, 3 are read as classes; `--data.custom.decimal_comma true`"),
        ({"kind": "regression", "decimal_comma": True}, "3,5 is 3.5"),
    ],
)  # fmt: skip
def test_assumptions_about_own_data_are_printed(settings: dict[str, object], said: str) -> None:
    lines = list(describe_labels(CustomTask(text="text", **settings)))  # type: ignore[arg-type]
    assert len(lines) == 1
    assert said in lines[0]


def test_nothing_is_printed_where_nothing_was_assumed() -> None:
    for settings in (
        {"labels": ["a", "b", "c"]},
        {"labels": ["a", "b"], "metrics": ["accuracy"]},
        {"kind": "regression"},
    ):
        assert list(describe_labels(CustomTask(text="text", **settings))) == []  # type: ignore[arg-type]
