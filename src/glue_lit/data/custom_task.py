"""What a task of the user's own leaves open, read from its data; and lines that say what was read and assumed."""

from collections.abc import Iterator

from glue_lit.data.custom_labels import Labelled, checked, complete
from glue_lit.data.custom_split import check_all_labelled, find_table
from glue_lit.data.label_texts import have_decimal_commas, is_number, label_of, look_alikes, number_in
from glue_lit.data.sources import open_tables
from glue_lit.errors import UsageError
from glue_lit.tasks.custom import CustomTask, check_task_name


def complete_task(name: str, custom: CustomTask, source: str) -> CustomTask:
    """Read from the data what the user has not said: kind, labels, metrics, weights.

    Raises:
        DataError: The data are not what the settings say, or nothing can be made of them.
        UsageError: The settings contradict themselves.
    """
    check_task_name(name)
    if len(custom.text_columns) > 2 or len({*custom.text_columns, custom.label}) <= len(custom.text_columns):
        raise UsageError(
            f"data.custom: text is {', '.join(custom.text_columns)} and label {custom.label}. "
            "Allowed: one or two text columns, and a label column that is none of them."
        )
    if not 0 < custom.validation_fraction < 1:
        raise UsageError(
            f"data.custom.validation_fraction: got {custom.validation_fraction}, allowed: above 0, below 1."
        )
    if custom.is_complete:
        return checked(custom)
    table = find_table(open_tables(custom, source), "train", source)
    rows = [(number, label_of(value)) for number, (value,) in table.rows([custom.label])]
    labels, places = [label for _, label in rows], [number for number, _ in rows]
    labelled = Labelled(labels, places, table.place, table.class_names.get(custom.label, ()), table.separator)
    check_all_labelled(custom, labelled)
    return complete(custom, labelled)


def describe_task(custom: CustomTask, source: str) -> Iterator[str]:
    """Lines that say what was read from the data, and what was assumed of the labels."""
    columns = " and ".join(custom.text_columns)
    if custom.kind == "regression":
        yield f"{columns} -> {custom.label}, a number (regression); metrics: {', '.join(custom.metrics or ())}"
    else:
        names = custom.label_names or custom.labels or []
        listed = ", ".join(names[:10]) + (f" ... ({len(names)} labels)" if len(names) > 10 else "")
        yield f"{columns} -> {custom.label}, one of {listed}; metrics: {', '.join(custom.metrics or ())}"
    yield from describe_labels(custom)
    if "validation" not in open_tables(custom, source):
        how = "at random" if custom.kind == "regression" else "stratified by label, one of each at least,"
        yield (
            f"No validation rows are given: {custom.validation_fraction:.0%} of the training rows are held out, {how} "
            f"(data.custom.split_seed {custom.split_seed})"
        )


def describe_labels(custom: CustomTask) -> Iterator[str]:
    """Lines that say what was assumed of the labels."""
    labels = custom.labels or []
    if custom.decimal_comma:
        yield "The labels are read as numbers with a decimal comma: 3,5 is 3.5 (data.custom.decimal_comma)"
    if len(labels) == 2 and "f1" in (custom.metrics or ()):
        name = (custom.label_names or labels)[labels.index(custom.positive or labels[-1])]
        yield f"F1 is of the label {name}; `--data.custom.positive LABEL` chooses the other one"
    if codes := [label for label in labels if number_in(label) is not None and not is_number(label)]:
        yield f"{', '.join(codes[:3])} and the like are taken for codes, not for numbers (data.custom.kind)"
    if labels and have_decimal_commas(labels, ";"):
        yield f"{', '.join(labels[:3])} are taken for classes; `--data.custom.decimal_comma true` makes them numbers"
    for group in look_alikes(labels)[:3]:
        yield (
            f"{' and '.join(map(repr, group[:5]))} differ only in how they are written, and count as {len(group)} "
            "labels. If they are one, write them alike"
        )
