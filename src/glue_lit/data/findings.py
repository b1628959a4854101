"""Look for what a user may want to correct in the data. Nothing is changed: training uses the data as they are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.cut_texts import CutTexts
from glue_lit.data.finding import ExaminedSplit, Finding, quoted
from glue_lit.data.label_texts import find_look_alikes
from glue_lit.data.large_arrays import GrowingArray
from glue_lit.data.rendering import render
from glue_lit.data.row_texts import TextColumnBuilder
from glue_lit.data.rows import Split
from glue_lit.data.text_hashes import cached_hashes, hash_texts
from glue_lit.errors import DataError
from glue_lit.tasks.custom import CustomTask
from glue_lit.tasks.spec import TaskSpec


def find_in_fit(
    parts: Sequence[ExaminedSplit], task: TaskSpec, custom: CustomTask, test: Split | None, cache: Path
) -> Iterator[Finding]:
    """Examine the labels and texts of a fit.

    Args:
        parts: The training rows, then the validation rows.
        task: Their task.
        custom: Settings of a task of the user's own.
        test: A test split that is not loaded, to be compared with the training rows.
        cache: Folder in which the hashes of the test rows are kept.
    """
    is_own = bool(custom.text_columns)
    for found in _find_in_texts(parts[0], parts[1:], task, custom, test, cache):
        yield found if is_own else replace(found, advice="GLUE's own: published scores have it, too")


def _find_in_texts(
    train: ExaminedSplit,
    others: Sequence[ExaminedSplit],
    task: TaskSpec,
    custom: CustomTask,
    test: Split | None,
    cache: Path,
) -> Iterator[Finding]:
    if not task.is_regression:
        header = render(task.inputs, task.inputs.columns, "", lambda value, *_: str(value))
        yield from find_in_labels(train, header, custom.label_column)
        yield from find_contradictions(train)
    if task.levels:
        rows_of = np.bincount(train.labels.astype(np.int64), minlength=len(task.levels))
        yield from _find_rare(train, task.levels, dict(zip(task.levels, rows_of.tolist(), strict=True)))
    yield from find_repeated(train, others)
    if test is not None:
        try:
            hashed = ExaminedSplit(test, *cached_hashes(test, cache))
        except DataError as error:
            yield Finding("test rows cannot be read", "", str(error), "Correct them before `glue-lit test`")
        else:
            yield from find_repeated(train, [hashed])


def find_in_labels(train: ExaminedSplit, columns: Sequence[str], label: str) -> Iterator[Finding]:
    """Find labels that only look different or have hardly a training row, and a header among the rows.

    Args:
        train: The training rows.
        columns: The texts of a row that repeats the header.
        label: Name of the label column.
    """
    names = train.split.labels
    labels: NDArray[Any] = train.labels
    if train.label_sets is not None:
        yield from _find_in_sets(train, train.label_sets[0])
        labels = train.label_sets[1]
    counts = dict(zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True))
    headers = train.rows_with(names.index(label)) if label in counts else np.array([], dtype=np.intp)
    headers = headers[train.hashes[headers] == hash_texts(*([column] for column in columns)).numpy()]
    if len(headers):
        if len(headers) == counts[label]:
            del counts[label]
        yield Finding("header among training rows", plural(len(headers), "row"), train.place(headers[0]), "Take it out")
    if groups := find_look_alikes(list(counts)):
        rarest = [sorted(group, key=lambda name: counts[name])[:2] for group in groups[:3]]
        yield Finding(
            "labels written in several ways",
            f"{len(counts)} labels, {len(counts) - sum(map(len, groups)) + len(groups)} if written alike",
            "; ".join(f"{_example(train, names, rare)} and {quoted(usual)}" for rare, usual in rarest),
            "Write them alike if they mean the same",
        )
    yield from _find_rare(train, names, counts)


def _find_rare(train: ExaminedSplit, names: Sequence[str], counts: Mapping[str, int]) -> Iterator[Finding]:
    """Find labels with hardly a training row; ``names`` are all labels in the order of their numbers."""
    for count, what, advice in (
        (1, "labels with one training row", "Too few to learn from: add rows, or correct the label"),
        (0, "labels without a training row", "Add rows, or take them out of data.custom.labels"),
    ):
        if few := [name for name, found in counts.items() if found == count]:
            number = f"{len(few):,} of {plural(len(counts), 'label')}"
            yield Finding(what, number, _example(train, names, few[0]), advice)


def _find_in_sets(train: ExaminedSplit, offsets: NDArray[np.int64]) -> Iterator[Finding]:
    """Find rows without any label."""
    if len(bare := np.flatnonzero(offsets[1:] == offsets[:-1])):
        count = f"{len(bare):,} of {plural(len(train), 'row')} ({len(bare) / len(train):.0%})"
        yield Finding("training rows without any label", count, train.place(bare[0]), "Right if no label fits them")


def _example(train: ExaminedSplit, names: Sequence[str], name: str) -> str:
    rows = train.rows_with(names.index(name))
    return f"{quoted(name)} ({train.place(rows[0])})" if len(rows) else quoted(name)


def find_contradictions(train: ExaminedSplit) -> Iterator[Finding]:
    """Find equal texts with different labels."""
    codes, texts, rows, shown = train.label_codes, 0, 0, None
    for order in train.sorted_shares():
        hashes, labels = train.hashes[order], codes[order]
        starts = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
        mixed = np.flatnonzero(np.minimum.reduceat(labels, starts) != np.maximum.reduceat(labels, starts))
        if not len(mixed):
            continue
        ends = np.append(starts[1:], len(hashes))
        texts, rows = texts + len(mixed), rows + int((ends - starts)[mixed].sum())
        one = mixed[np.argmin(order[starts[mixed]])]
        first, end = int(starts[one]), int(ends[one])
        other = first + int(np.flatnonzero(labels[first:end] != labels[first])[0])
        shown = min(shown or (len(train), 0), (int(order[first]), int(order[other])))  # the first in the file
    if shown is not None:
        one, two = shown
        yield Finding(
            "equal texts, different labels",
            f"{plural(texts, 'text')}, {plural(rows, 'row')}",
            f"{train.place(one)}: {train.label_words(one)}, {train.place(two, train.split)}: {train.label_words(two)}",
            "Decide on one label: a model cannot learn both",
        )


def find_repeated(train: ExaminedSplit, others: Sequence[ExaminedSplit]) -> Iterator[Finding]:
    """Find rows of other splits whose texts are those of training rows."""
    for part in others:
        count, shown = 0, None
        for order, rows in zip(train.sorted_shares(), part.shares(train.number_of_shares), strict=True):
            known = train.hashes[order]
            at = np.searchsorted(known, part.hashes[rows])
            found = np.flatnonzero(known[np.minimum(at, len(known) - 1)] == part.hashes[rows]) if len(known) else at[:0]
            if len(found):
                count += len(found)
                shown = min(shown or (len(part), 0), (int(rows[found[0]]), int(order[at[found[0]]])))
        if shown is not None:
            row, twin = shown
            yield Finding(
                f"{part.split.name} rows also in train",
                f"{count:,} of {plural(len(part), 'row')} ({count / len(part):.0%})",
                f"{part.place(row)}, as {train.place(twin, part.split)}",
                "Leave them in one split: their scores are too good",
            )


def find_cut(
    parts: Sequence[ExaminedSplit], max_length: int, longest: int, truncation: str = "head"
) -> Iterator[Finding]:
    """Find texts that are cut.

    Args:
        parts: The splits, tokenised.
        max_length: Tokens at which they are cut.
        longest: Tokens that the model takes.
        truncation: What is kept of them.
    """
    both = ", `--data.truncation head_tail` keeps their ends, too" if truncation == "head" else ""
    for part in parts:
        store = part.store
        if store is None or store.cut is None or not len(store.cut):
            continue
        cut = CutTexts(*store.cut.tolist())
        share = cut.tokens / (cut.tokens + int(store.offsets[len(part)]))
        about = "" if cut.is_exact else "about "
        advice = f"The model takes no more: shorten them, or take a model for longer texts{both}"
        if max_length < longest:
            advice = f"`--data.max_length {min(cut.length, longest)}` keeps more of them"
        yield Finding(
            f"{part.split.name} texts cut at {max_length:,} tokens{'' if truncation == 'head' else ', in the middle'}",
            f"{about}{cut.rows:,} of {plural(len(part), 'row')}, {share:.1%} of all tokens",
            f"{part.place(cut.longest)}: {cut.length:,} tokens",
            advice,
        )


def find_length_above(wanted: int | None, longest: int) -> Iterator[Finding]:
    """Find a requested length that the model does not take."""
    if wanted is not None and wanted > longest:
        yield Finding(
            "data.max_length above the model's",
            f"{wanted:,} tokens, the model takes {longest:,}",
            "",
            f"Texts are cut at {longest:,}: `--data.max_length {longest}`, or a model for longer texts",
        )


def find_in_ids(part: ExaminedSplit, folder: Path) -> Iterator[Finding]:
    """Find rows without an id, and rows with the id of another row; the ids are read again.

    Args:
        part: The split.
        folder: Folder for temporary files, which hold the ids of many rows.
    """
    name, builder, hashed = part.split.name, TextColumnBuilder(folder), GrowingArray("int64", folder)
    for rows in part.split.parts():
        builder.add(rows.ids or [])
        hashed.append([_hash(own) for own in rows.ids or []])
    ids, hashes = builder.column(), hashed.array()
    if len(missing := np.flatnonzero(hashes == _hash(""))):
        count = plural(len(missing), "row")
        yield Finding(f"{name} rows without an id", count, part.place(missing[0]), "Give each row an id of its own")
    order = np.argsort(hashes, kind="stable")
    order = order[hashes[order] != _hash("")]
    ranked = hashes[order]
    later = np.flatnonzero(ranked[1:] == ranked[:-1]) + 1  # of equal ids, all but the first row
    if len(later):
        row = order[later].min()
        first = order[np.searchsorted(ranked, hashes[row])]
        example = f"{part.place(row)}: {quoted(ids[row])}, as in {part.place(first, part.split)}"
        count = plural(len(later), "row")
        yield Finding(f"{name} rows with another row's id", count, example, "Give each row an id of its own")


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)


def plural(count: int, noun: str) -> str:
    """A number with its noun: ``1 row``, ``2,000 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
