"""What sets runs apart: settings that differ, and what each came to."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glue_lit.runs.listing import RunFacts, finite_number
from glue_lit.runs.reading import read_config
from glue_lit.runs.run import Run

MISSING = object()  # a run that does not have a value; `None` is a value
Values = tuple[Any, ...]

# Of `metrics.json`, beside the metrics: these whether they differ or not, and of the other sections what differs.
NOT_COMPARABLE = "not comparable"  # a run that has the hash of its file, beside one that has that of its rows
_ALWAYS = ("best.epoch", "best.step", "epochs", "steps", "wall_seconds", "train_samples_per_second")
_WHERE_DIFFERENT = ("model_commit", "skipped_steps", "parameters.", "device.", "versions.", "git", "data.")


@dataclass(frozen=True)
class Comparison:
    """Runs side by side; each value is a tuple with one for each run, ``MISSING`` where a run has none.

    Attributes:
        runs: Those compared.
        settings: How many settings there are in all.
        config: The settings that differ, by dotted key.
        results: State, metrics and times, and what differs in versions, code, device and data.
        problems: What is wrong with a run's files, by its path; such a run is left out of what they would say.
    """

    runs: tuple[RunFacts, ...]
    settings: int
    config: dict[str, Values]
    results: dict[str, Values]
    problems: dict[str, str]


def compare_runs(runs: Sequence[RunFacts]) -> Comparison:
    """Compare runs by their files."""
    problems = {str(facts.path): facts.problem for facts in runs if facts.problem}
    configs: list[dict[str, Any] | None] = []
    for facts in runs:
        # A damaged file costs nothing where the record of a finished run has the same.
        read, problem = read_config(Run(facts.path))
        found = read or facts.record.get("config")
        if problem:
            problems[str(facts.path)] = problem
        configs.append(flatten(found) if isinstance(found, dict) and found else None)
    config = _side_by_side(configs)
    return Comparison(
        runs=tuple(runs),
        settings=len(config),
        config={key: values for key, values in config.items() if _differ(_of_those_with_a_file(values, configs))},
        results=_results(runs),
        problems=problems,
    )


def _results(runs: Sequence[RunFacts]) -> dict[str, Values]:
    """What each run came to; those without a record are still there, with their state."""
    records = [flatten(dict(facts.record)) if facts.record else None for facts in runs]
    rows = _side_by_side(records)
    known = {key: _of_those_with_a_file(values, records) for key, values in rows.items()}
    metrics = {key.removeprefix("metrics."): row for key, row in rows.items() if key.startswith("metrics.")}
    always = {key: rows[key] for key in _ALWAYS if key in rows}
    others = {key: row for key, row in rows.items() if key.startswith(_WHERE_DIFFERENT) and _differ(known[key])}
    others = _of_rows(others, rows, known)
    return {"state": tuple(facts.state for facts in runs)} | metrics | always | others


def _of_rows(others: dict[str, Values], rows: Mapping[str, Values], known: Mapping[str, Values]) -> dict[str, Values]:
    """Compare data by the hash of their rows; older records have only the fingerprint of a file or data set.

    A fingerprint changes where the rows do not: with the format of a file, or with the README of a data set.
    """
    found = dict(others)
    for key in [key for key in rows if key.startswith("data.splits.") and key.endswith(".hash")]:
        prints = key.removesuffix("hash") + "fingerprint"
        is_older = any(value in (MISSING, None) for value in known[key])
        of_same_files = prints in known and not _differ(known[prints])
        found.pop(prints, None)
        if is_older and of_same_files:
            found.pop(key, None)
        elif is_older:
            older = (value in (MISSING, None) and print_ is not MISSING for value, print_ in _pairs(rows, key, prints))
            found[key] = tuple(NOT_COMPARABLE if old else v for old, v in zip(older, rows[key], strict=True))
    return found


def _pairs(rows: Mapping[str, Values], first: str, second: str) -> Iterator[tuple[Any, Any]]:
    return zip(rows[first], rows.get(second, (MISSING,) * len(rows[first])), strict=True)


def _side_by_side(files: Sequence[Mapping[str, Any] | None]) -> dict[str, Values]:
    keys = dict.fromkeys(key for values in files for key in values or ())
    return {key: tuple((values or {}).get(key, MISSING) for values in files) for key in keys}


def _of_those_with_a_file(values: Values, files: Sequence[Mapping[str, Any] | None]) -> Values:
    """A run whose file cannot be read differs in nothing; one whose file lacks the key does."""
    return tuple(value for value, file in zip(values, files, strict=True) if file is not None)


def _differ(values: Values) -> bool:
    return any(not _same(values[0], other) for other in values[1:])


def _same(one: Any, other: Any) -> bool:
    if finite_number(one) is not None and finite_number(other) is not None:
        return bool(one == other)  # 1 and 1.0
    return format_value(one) == format_value(other)


def format_value(value: Any) -> str:
    """A value in a cell of a table: texts as they are, the others as in JSON."""
    if value is MISSING:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def format_result(value: Any) -> str:
    """The same with six digits of a measured value."""
    return f"{value:.6g}" if isinstance(value, float) else format_value(value)


def flatten(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Sections as dotted keys: ``{"model": {"warmup": 0}}`` becomes ``{"model.warmup": 0}``; lists stay whole."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, dict) and value
        found |= flatten(inner, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found
