"""Compare runs: the settings that differ, and the results of each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glue_lit.errors import RunError
from glue_lit.runs.listing import RunFacts, finite_number
from glue_lit.runs.reading import read_run_config
from glue_lit.runs.run import Run

MISSING = object()  # for a run without a value; `None` is a value
NOT_COMPARABLE = "not comparable"  # for a run with only a hash of its file, beside one with a hash of its rows
Values = tuple[Any, ...]

# Shown from `metrics.json` besides the metrics: these keys always, these sections if they differ.
_ALWAYS = ("best.epoch", "best.step", "epochs", "steps", "wall_seconds", "train_samples_per_second")
_WHERE_DIFFERENT = ("model_commit", "skipped_steps", "parameters.", "device.", "versions.", "git", "data.")


@dataclass(frozen=True)
class Comparison:
    """Runs side by side. Values are tuples with one element per run, ``MISSING`` for a run without the value.

    Attributes:
        runs: The runs.
        settings: Total number of settings.
        config: Settings that differ, by dotted key.
        results: State, metrics and times; differences of versions, code, device and data.
        problems: What is wrong with a run's files, by its path; values from a damaged file are ``MISSING``.
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
        try:
            found: Any = read_run_config(Run(facts.path))
        except RunError as error:
            problems[str(facts.path)] = str(error)
            found = facts.record.get("config")  # a copy, if the run has finished
        configs.append(flatten(found) if isinstance(found, dict) and found else None)
    config = _side_by_side(configs)
    return Comparison(
        runs=tuple(runs),
        settings=len(config),
        config={key: values for key, values in config.items() if _differ(_of_readable_files(values, configs))},
        results=_results(runs),
        problems=problems,
    )


def _results(runs: Sequence[RunFacts]) -> dict[str, Values]:
    """Results of each run; a run without a record has only its state."""
    records = [flatten(dict(facts.record)) if facts.record else None for facts in runs]
    rows = _side_by_side(records)
    known = {key: _of_readable_files(values, records) for key, values in rows.items()}
    metrics = {key.removeprefix("metrics."): row for key, row in rows.items() if key.startswith("metrics.")}
    always = {key: rows[key] for key in _ALWAYS if key in rows}
    others = {key: row for key, row in rows.items() if key.startswith(_WHERE_DIFFERENT) and _differ(known[key])}
    others = _compare_data(others, rows, known)
    return {"state": tuple(facts.state for facts in runs)} | metrics | always | others


def _compare_data(
    others: dict[str, Values], rows: Mapping[str, Values], known: Mapping[str, Values]
) -> dict[str, Values]:
    """Compare data by the hash of their rows; records of earlier versions have only the fingerprint of a file.

    A fingerprint may change while the rows stay the same, e.g. with the format of a file or the README of a data set.
    """
    found = dict(others)
    for key in [key for key in rows if key.startswith("data.splits.") and key.endswith(".hash")]:
        prints = key.removesuffix("hash") + "fingerprint"
        has_older_run = any(value in (MISSING, None) for value in known[key])
        are_same_files = prints in known and not _differ(known[prints])
        found.pop(prints, None)
        if has_older_run and are_same_files:
            found.pop(key, None)
        elif has_older_run:
            fingerprints = rows.get(prints, (MISSING,) * len(rows[key]))
            found[key] = tuple(
                NOT_COMPARABLE if value in (MISSING, None) and print_ is not MISSING else value
                for value, print_ in zip(rows[key], fingerprints, strict=True)
            )
    return found


def _side_by_side(files: Sequence[Mapping[str, Any] | None]) -> dict[str, Values]:
    keys = dict.fromkeys(key for values in files for key in values or ())
    return {key: tuple((values or {}).get(key, MISSING) for values in files) for key in keys}


def _of_readable_files(values: Values, files: Sequence[Mapping[str, Any] | None]) -> Values:
    """The values of runs with a readable file: an unreadable file is no difference, a missing key in a file is one."""
    return tuple(value for value, file in zip(values, files, strict=True) if file is not None)


def _differ(values: Values) -> bool:
    return any(not _same(values[0], other) for other in values[1:])


def _same(one: Any, other: Any) -> bool:
    if finite_number(one) is not None and finite_number(other) is not None:
        return bool(one == other)  # 1 and 1.0
    return format_value(one) == format_value(other)


def format_value(value: Any) -> str:
    """Format a value for a table: texts unchanged, others as JSON."""
    if value is MISSING:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def format_result(value: Any) -> str:
    """Format a value for a table, a measured number with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else format_value(value)


def flatten(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten sections to dotted keys: ``{"model": {"warmup": 0}}`` to ``{"model.warmup": 0}``; lists stay whole."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, dict) and value
        found |= flatten(inner, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found
