"""Read the entries of a list of metrics, such as ``fbeta(beta=2, positive=spam)`` or a class of torchmetrics."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from glue_lit.errors import UsageError, did_you_mean
from glue_lit.tasks.chosen_metrics import Metric
from glue_lit.tasks.metrics import METRICS, PARAMETERS, Average, Kind, MetricSpec, metrics_for

Entry = str | Mapping[str, Any]  # of a list of metrics: a name with its parameters, or a class with its arguments
_CALL = re.compile(r"\s*([\w.-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)
_PARAMETER = re.compile(r"\s*(\w+)\s*=\s*(\"[^\"]*\"|'[^']*'|[^,]*?)\s*(?:,|$)")
_LOGGED = re.compile(r"[A-Za-z][\w.-]*")
_K = "2"  # of top-k accuracy, as in scikit-learn
_KEYS = ("class_path", "init_args", "name", "mode")  # of an entry with a class


@dataclass(frozen=True)
class Target:
    """What the metrics of a task compare.

    Attributes:
        kind: The kind of the task; ``None`` if it is not known.
        labels: Names of its labels.
        written: The labels as the data write them, in the same order; empty if they are the names.
        positive: Number of the positive label.
        is_known: Whether the labels are known, so that a metric can be checked against them.
    """

    kind: Kind | None = "classification"
    labels: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    positive: int = 1
    is_known: bool = True

    def number_of(self, label: str) -> int | None:
        """Number of a label, given by its name or as the data write it; ``None`` if there is no such label."""
        return next((known.index(label) for known in (self.labels, self.written) if label in known), None)


def name_of(entry: Entry) -> str:
    """An entry in a line of text."""
    return entry if isinstance(entry, str) else str(entry.get("name") or entry.get("class_path"))


def entry_text(entry: Entry) -> str:
    """An entry as text; a class as JSON."""
    return entry if isinstance(entry, str) else json.dumps(entry)


def entry_of_text(text: Any) -> Any:
    """The entry of `entry_text`."""
    try:
        return json.loads(text) if isinstance(text, str) and text.startswith("{") else text
    except ValueError:
        return text


def join_entries(entries: Iterable[Entry]) -> list[Entry]:
    """Join the parts of entries that YAML or the command line split at a comma within parentheses."""
    joined: list[Entry] = []
    for entry in entries:
        before = joined[-1] if joined else None
        if isinstance(before, str) and isinstance(entry, str) and before.count("(") > before.count(")"):
            joined[-1] = f"{before},{entry}"
        else:
            joined.append(entry)
    return joined


def parse_metrics(entries: Iterable[Entry], target: Target, setting: str) -> tuple[Metric, ...]:
    """Read the entries of a list of metrics; two that are equal count as one.

    Args:
        entries: The entries.
        target: What they compare.
        setting: The setting, for messages.

    Raises:
        UsageError: There is no such metric or parameter, or it does not fit the task.
    """
    found: dict[str, Metric] = {}
    for entry in join_entries(entries):
        metric = parse_metric(entry, target, setting)
        if found.setdefault(metric.logged, metric) != metric:
            how = "Give one of them a `name`" if metric.class_path else "Leave one of them out"
            raise UsageError(f"{setting}: two metrics would be logged as {metric.logged}. {how}.")
    return tuple(found.values())


def parse_metric(entry: Entry, target: Target, setting: str = "metrics") -> Metric:
    """Read one entry; see `parse_metrics`."""
    if isinstance(entry, Mapping):
        return _of_class(entry, setting)
    match = _CALL.fullmatch(str(entry))
    name, average = _plain_name(match[1] if match else str(entry))
    if match is None or name not in metrics_for(target.kind):
        raise UsageError(_unknown(str(entry), name, target, setting))
    where = f"{setting}: {entry!r}"
    given = _parameters(match[2] or "", METRICS[name], where)
    if average is not None and given.setdefault("average", average) != average:
        raise UsageError(f"{where}: it names two averages. Leave one of them out.")
    _check_parameters(name, given, target, where)
    return _with_parameters(name, given, target)


def _plain_name(name: str) -> tuple[str, str | None]:
    """``macro_f1`` as ``f1`` and ``macro``."""
    average, _, rest = name.partition("_")
    is_short = average in get_args(Average) and rest in METRICS and METRICS[rest].is_of_positive
    return (rest, average) if is_short else (name, None)


def _unknown(entry: str, name: str, target: Target, setting: str) -> str:
    allowed = metrics_for(target.kind)
    what = "" if target.kind is None else f" for {target.kind}"
    if target.kind == "multi_label":
        what = " for any number of labels a row (multi_label)"
    elif target.kind == "ordinal":
        what = " for labels in order (ordinal)"
    elif target.kind == "classification" and target.is_known:
        what = f" for {len(target.labels)} labels"
    return (
        f"{setting}: {entry!r} is not a metric{what}.{did_you_mean(name, allowed)} Allowed: {', '.join(allowed)}, "
        "or a class_path of torchmetrics; `glue-lit metrics` describes them."
    )


def _parameters(text: str, spec: MetricSpec, where: str) -> dict[str, str]:
    given: dict[str, str] = {}
    while text.strip():
        match = _PARAMETER.match(text)
        if match is None or match[1] not in spec.parameters or match[1] in given:
            name = match[1] if match else text.strip()
            what = f"{name} is given twice" if name in given else f"{name!r} is none of its parameters"
            listed = "; ".join(f"{each}, {PARAMETERS[each]}" for each in spec.parameters) or "none"
            raise UsageError(f"{where}: {what}.{did_you_mean(name, spec.parameters)} Allowed: {listed}.")
        given[match[1]] = match[2][1:-1] if match[2][:1] in ("'", '"') else match[2]
        text = text[match.end() :]
    return given


def _check_parameters(name: str, given: Mapping[str, str], target: Target, where: str) -> None:
    labels, known, k = target.labels, target.is_known, _number(given.get("k", _K))
    is_wrong = {
        "average": given.get("average", "macro") not in _averages(target),
        "beta": not 0 < _number(given.get("beta", "1")) < math.inf,
        "k": "k" in METRICS[name].parameters and not (k >= 1 and k % 1 == 0 and (k < len(labels) or not known)),
        "positive": known and "positive" in given and target.number_of(given["positive"]) is None,
    }
    for parameter in (parameter for parameter, wrong in is_wrong.items() if wrong):
        got, allowed = given.get(parameter, _K), PARAMETERS[parameter]
        if parameter == "positive":
            raise UsageError(
                f"{where}: {got!r} is not a label.{did_you_mean(got, labels)} Allowed: {', '.join(labels[:20])}."
            )
        raise UsageError(f"{where}: {parameter} is {got!r}, allowed: {allowed}.")
    if "average" in given and "positive" in given:
        raise UsageError(f"{where}: give either positive, for one label, or average, for all.")
    has_many = target.kind == "multi_label" or (known and len(labels) > 2)
    if has_many and METRICS[name].is_of_positive and not {"average", "positive"} & set(given):
        what = f"{len(labels)} labels" if known else "several labels"
        *others, last = sorted(f"{average}_{name}" for average in _averages(target))
        raise UsageError(
            f"{where} is not a metric for {what}, since it describes one. Allowed: {', '.join(others)} and {last} "
            f"for all of them, {name}(positive=LABEL) for one."
        )


def _averages(target: Target) -> tuple[str, ...]:
    """The averages that a kind of task allows."""
    return tuple(one for one in get_args(Average) if one != "samples" or target.kind in ("multi_label", None))


def _with_parameters(name: str, given: Mapping[str, str], target: Target) -> Metric:
    average: Any = given.get("average")
    positive = target.number_of(given["positive"]) if "positive" in given else None
    is_one_of = target.kind != "multi_label"
    if is_one_of and positive is None and average is None and (METRICS[name].is_of_positive or len(target.labels) == 2):
        positive = target.positive
    parts = [f"{_number(given[key]):g}" for key in ("beta", "k") if key in given]
    parts += [re.sub(r"[^\w.-]+", "-", given["positive"])] if "positive" in given else []
    logged = "_".join([*([average] if average else []), name, *parts])
    beta, k = _number(given.get("beta", "1")), int(_number(given.get("k", _K)))
    return Metric(name, logged, positive, average, beta, k, names_label="positive" in given)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _of_class(entry: Mapping[str, Any], setting: str) -> Metric:
    path, arguments = entry.get("class_path"), entry.get("init_args") or {}
    name, mode = entry.get("name"), entry.get("mode")
    is_right = set(entry) <= set(_KEYS) and isinstance(path, str) and isinstance(arguments, Mapping)
    if not is_right or mode not in (None, "max", "min"):
        raise UsageError(
            f"{setting}: got {dict(entry)}, allowed: a class_path of torchmetrics with its init_args and, if you like, "
            "a name and a mode (max or min is best)."
        )
    logged = str(path).rpartition(".")[2] if name is None else str(name)
    if not _LOGGED.fullmatch(logged) or logged in METRICS or logged == "loss":
        raise UsageError(
            f"{setting}: the name {logged!r} is taken or not plain. Allowed: letters, digits, '_', '-', '.'."
        )
    return Metric(logged, logged, class_path=str(path), init_args=dict(arguments), mode=mode)
