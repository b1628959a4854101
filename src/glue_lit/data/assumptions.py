"""What was assumed of the labels of a task of the user's own, in words."""

from collections.abc import Iterator

from glue_lit.data.label_texts import have_decimal_commas, is_number, look_alikes, number_in
from glue_lit.tasks.custom import CustomTask


def says_of_labels(custom: CustomTask) -> Iterator[str]:
    """What was assumed of the labels, a line each."""
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
