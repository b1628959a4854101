"""``glue-lit show``: random examples of a task, as the notebook's ``show_random_elements`` prints them."""

import random
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_args, get_origin

import yaml

from glue_lit.cli.commands.flags import Flags
from glue_lit.data.custom_task import complete_task
from glue_lit.data.rows import Label, Rows, Split
from glue_lit.data.sources import open_split
from glue_lit.errors import UsageError, did_you_mean
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.config_file import check_config
from glue_lit.runs.config_paths import text_to_copy
from glue_lit.runs.config_values import read_config
from glue_lit.system.console import print_json, print_table
from glue_lit.tasks.custom import CustomTask, parse_custom_task, resolve_task
from glue_lit.tasks.glue import TaskSpec

_HELP = {
    "text": "text column(s), for data of your own",
    "text_separator": "text between joined columns",
    "label": "label column(s), for data of your own",
    "kind": "kind of the task, for data of your own",
    "id": "column that identifies the rows, for data of your own",
}
_TYPES = {field.name: (field.type, *get_args(field.type)) for field in fields(CustomTask)}
_LISTS = [key for key, types in _TYPES.items() if any(list in (each, get_origin(each)) for each in types)]
_VALUES = ("metrics", "class_weights", *(key for key, types in _TYPES.items() if {int, float, bool} & set(types)))


def _options(arguments: Sequence[str]) -> Any:
    parser = Flags("glue-lit show", description="Print random examples of a task.", allow_abbrev=False)
    parser.add_argument("--config", action="append", default=[], help="file, or shipped configuration, with data.*")
    parser.add_argument("--data.task", dest="task", help="task to show; `glue-lit tasks` lists them")
    parser.add_argument("--data.source", dest="source", help="hub (default), demo, a GLUE folder, or data of your own")
    for key in _TYPES:
        nargs = "+" if key in _LISTS else None
        words = _HELP.get(key, "for data of your own, as `glue-lit fit --help` says")
        parser.add_argument(f"--data.custom.{key}", dest=key, metavar=key.upper(), nargs=nargs, help=words)
    parser.add_argument("--split", help="split to show (default: train, or the first that the task has)")
    parser.add_argument("-n", type=int, default=10, help="number of examples (default: 10)")
    parser.add_argument("--seed", type=int, help="draw the same examples again")
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    return parser.parse_args(arguments)


def main() -> None:
    """Print the examples."""
    line = CommandLine(sys.argv[2:]).with_found_configs()
    options = _options(line.words)
    custom = _custom(options)
    name = line.setting("data.task") if options.task is None else options.task
    source = line.setting("data.source") if options.source is None else options.source
    name, source = "cola" if name is None else name, "hub" if source is None else source
    if custom.text_columns:
        custom = complete_task(name, custom, source)
    task = resolve_task(name, custom)
    opened = open_split(task, source, options.split or next(iter(task.files)), custom)
    if options.n < 1:
        raise UsageError(f"-n: got {options.n}, allowed: 1 or more.")
    rows = opened.read()
    picks = random.Random(options.seed).sample(range(len(rows)), min(options.n, len(rows)))
    _print(task, opened, rows, picks, options.json)


def _print(task: TaskSpec, split: Split, rows: Rows, picks: Sequence[int], as_json: bool) -> None:
    """Print some examples with their position, the line or row that they stand on, and their id."""
    places = split.places(rows, picks)
    own: list[dict[str, Any]] = [{"idx": pick} for pick in picks]
    if places is not None:
        own = [{"idx": pick, "row": number} for pick, number in zip(picks, places.numbers, strict=True)]
        own = [of | {"id": name} for of, name in zip(own, places.ids, strict=True)] if places.ids is not None else own
    texts, labels = rows.texts_at(picks), [rows.labels[pick] for pick in picks]
    if as_json:
        values = zip(own, texts, labels, strict=True)
        print_json([{**of, **dict(zip(task.text_columns, t, strict=True)), "label": _value(task, label)}
                    for of, t, label in values])  # fmt: skip
        return
    table = [(*map(str, of.values()), *t, _label(task, label)) for of, t, label in zip(own, texts, labels, strict=True)]
    names = [split.unit if name == "row" else name for name in own[0]]
    title = f"{task.name}, {split.name}: {len(picks)} of {len(rows):,} rows"
    print_table(title, (*names, *task.text_columns, "label"), table, right=("idx", split.unit))


def _custom(options: Any) -> CustomTask:
    """The columns of a task of the user's own, from flags and then files."""
    values: dict[str, Any] = {}
    for file in options.config:
        check_config(file)
        data = read_config(text_to_copy(file)).get("data")
        data = {} if data is None else data
        if not isinstance(data, dict):
            raise UsageError(f"--config {file}: data is {data!r}, allowed: keys as `task` and `source`.")
        for key in ("task", "source"):
            if not isinstance(value := data.get(key), str | None):
                raise UsageError(f"--config {file}: data.{key} is {value!r}, allowed: a name.")
        found = data.get("custom") or {}
        if not isinstance(found, dict):
            raise UsageError(f"--config {file}: data.custom is {found!r}, allowed: keys as `text` and `label`.")
        values |= found
    values |= {key: _read(key, value) for key in _TYPES if (value := getattr(options, key)) is not None}
    try:
        return parse_custom_task(values)
    except TypeError:
        known = [field.name for field in fields(CustomTask)]
        wrong = next(str(key) for key in values if key not in known)
        raise UsageError(
            f"data.custom.{wrong}: there is no such key.{did_you_mean(wrong, known)} The keys are: {', '.join(known)}."
        ) from None


def _read(key: str, value: str | list[str]) -> Any:
    """The value of a flag: texts where the key is one of names, else as in a configuration file."""
    words = [value] if isinstance(value, str) else value
    try:
        read = [read_config(word) for word in words] if key in _VALUES else words
    except yaml.YAMLError:
        raise UsageError(f"data.custom.{key}: got {' '.join(words)}, which a configuration file cannot have.") from None
    is_list = key in ("labels", "label_names", "metrics") or len(read) > 1
    return read if is_list else read[0]


def _label(task: TaskSpec, label: Label) -> str:
    if label is None:
        return "(hidden)"
    value = _value(task, label)
    return (
        f"{value:g}"
        if isinstance(value, float | int)
        else "; ".join(value) or "(none)"
        if isinstance(value, list)
        else str(value)
    )


def _value(task: TaskSpec, label: Label) -> str | float | list[str] | None:
    if isinstance(label, tuple):
        return [task.labels[number] for number in label]
    if label is None or (task.is_regression and not task.levels):
        return label
    return (task.levels or task.labels)[int(label)]
