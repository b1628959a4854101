"""GLUE and other data sets from the Hugging Face Hub, or from the cache of ``datasets``."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from glue_lit.data.class_labels import names_in_features
from glue_lit.data.file_kinds import looks_like_file
from glue_lit.data.rows import Label, Rows, Split
from glue_lit.data.source import Source
from glue_lit.data.table import NumberedRow, Table
from glue_lit.data.tables import FORMATS, SPLIT_NAMES
from glue_lit.errors import DataError
from glue_lit.system import hub
from glue_lit.system.hub_cache import cached_commit, snapshot, unwritable_cache
from glue_lit.system.hub_errors import explain_hub_error
from glue_lit.system.system_errors import explain_system_error
from glue_lit.tasks.glue import TaskSpec

REPOSITORY = "nyu-mll/glue"


def commit_of(data: Any) -> str | None:
    """The commit on the Hub that a ``datasets.Dataset`` was made from; ``None`` if it does not say."""
    sources = [str(url) for url in (getattr(data.info, "download_checksums", None) or {})]
    sources += [str(file.get("filename", "")) for file in data.cache_files]  # .../0.0.0/COMMIT/glue-train.arrow
    for pattern in (r"@([0-9a-f]{40})/", r"[/\\]([0-9a-f]{40})[/\\][^/\\]+$"):
        if found := [match[1] for source in sources if (match := re.search(pattern, source))]:
            return found[0]
    return None


def _load(what: str, advice: str, name: str, configuration: str | None, **options: Any) -> Any:
    """Call ``datasets.load_dataset`` quietly; any failure becomes a `DataError`."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # otherwise each load is reported to another host

    is_new = cached_commit("dataset", name, "main") is None

    def load(commit: str | None) -> Any:
        if is_new and not datasets.config.HF_HUB_OFFLINE:
            hub.announce("dataset", name, commit)
        return datasets.load_dataset(name, configuration, revision=commit, **options)

    return _from_hub(what, advice, name, load)


@lru_cache(maxsize=1)  # a fit opens the tables several times
def _load_data_set(location: str) -> Any:
    name, _, configuration = location.partition(":")
    return _load(location, "pass a file or folder", name, configuration or None)


def _from_hub(what: str, advice: str, name: str, load: Callable[[str | None], Any]) -> Any:
    """Call a loader with the commit of a data set, without network if the Hub does not answer."""
    try:
        found = hub.find("dataset", name)
        with hub.asking(found):
            return hub.retrying(partial(load, found.commit))
    except Exception as error:  # a dozen types, down to httpx's; the user only needs the message
        raise DataError(f"data.source hub: could not load {what}: {_explain(error, name, advice)}") from error


def _find_shards(configuration: str, split: str, commit: str | None) -> list[Path]:
    """Find or download the Parquet files of one split of GLUE; empty if offline and the cache lacks some."""
    from huggingface_hub import constants

    if commit is None:
        return []
    files = sorted(snapshot("dataset", REPOSITORY, commit).glob(f"{configuration}/{split}-*-of-*.parquet"))
    if files and len(files) == int(files[0].stem.rpartition("-")[2]):
        return files
    if constants.HF_HUB_OFFLINE:
        return []
    return hub.download("dataset", REPOSITORY, commit, f"{configuration}/{split}-*.parquet")


def _explain(error: Exception, name: str, advice: str) -> str:
    if (reason := explain_system_error(error) or unwritable_cache()) is not None:
        return reason
    if (configurations := re.search(r"(?:available configs|Available): \[(.*?)\]", str(error))) is not None:
        names = re.findall(r"'([^']+)'", configurations[1])
        return f"its configurations are {', '.join(names)}. Name one of them: `--data.source {name}:{names[0]}`."
    said = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    if "scripts are no longer supported" in said:
        return (
            "its rows are made by a script, which `datasets` no longer runs. Use another copy of the data, "
            f"or {advice}."
        )
    if (refusal := explain_hub_error(error, "dataset", name)) is not None:
        return f"{refusal} Or {advice}."
    return f"{said}. Check the network (and HF_HUB_OFFLINE), or {advice}."


class HubTable(Table):
    """A split of a ``datasets.Dataset``, in which the data set's names replace class numbers.

    Args:
        data: A ``datasets.Dataset``.
        origin: Its name, for messages.
    """

    unit = "row"

    def __init__(self, data: Any, origin: str) -> None:
        self.data = data
        self.commit = commit_of(data)
        super().__init__(Path(origin))
        self.class_names = names_in_features(data.features)

    def fingerprint(self) -> str:
        """The fingerprint that `datasets` computes."""
        return str(self.data._fingerprint)

    def _read_columns(self) -> tuple[str, ...]:
        if len(self.data) == 0:
            raise self._empty()
        return tuple(self.data.column_names)

    def _rows(self, columns: Sequence[str]) -> Iterator[NumberedRow]:
        for number, row in enumerate(self.data.select_columns(list(dict.fromkeys(columns))), start=1):
            yield self._numbered(number, columns, [row[column] for column in columns])


def rows_from_dataset(task: TaskSpec, data: Any, origin: str) -> Rows:
    """Read the rows of a ``datasets.Dataset`` in the format of GLUE on the Hub, where -1 is a hidden label.

    Raises:
        DataError: A column is missing, or a label is not one of the task's.
    """
    missing = [column for column in (*task.text_columns, "label") if column not in data.column_names]
    if missing:
        raise DataError(f"{origin}: no column {missing[0]!r}; the columns are {', '.join(data.column_names)}.")
    if len(data) == 0:
        raise DataError(f"{origin}: the split is empty; at least one row is needed.")
    # By name, not by number: another copy of the data may order its classes differently.
    names = getattr(data.features["label"], "names", None) or list(task.labels)
    unknown = sorted(set(names) - set(task.labels))
    if unknown:
        raise DataError(f"{origin}: label {unknown[0]!r} is not one of task {task.name}: {', '.join(task.labels)}.")
    order = [task.labels.index(name) for name in names]
    labels = [_parse_label(task, order, value, f"{origin}, row {row}") for row, value in enumerate(data["label"], 1)]
    return Rows.from_columns([list(data[column]) for column in task.text_columns], labels, range(1, len(labels) + 1))


def _read_shards(task: TaskSpec, files: Sequence[Path], origin: str) -> Rows:
    from datasets import Dataset
    from pyarrow import ArrowException, parquet

    try:
        data = Dataset(parquet.read_table([str(file) for file in files]))
    except (ArrowException, OSError) as error:
        raise DataError(f"{origin}: {files[0]} cannot be read ({error}). Remove it to download it again.") from error
    return rows_from_dataset(task, data, origin)


def _parse_label(task: TaskSpec, order: list[int], value: Any, place: str) -> Label:
    if value is None or value == -1:
        return None
    if task.is_regression:
        return float(value)
    if not 0 <= int(value) < len(order):
        raise DataError(f"{place}: label {value} is not one of task {task.name}: 0 to {len(order) - 1}.")
    return order[int(value)]


class HubSource(Source):
    """GLUE on the Hub, or another data set there."""

    glue = "hub"
    custom = "the name of a data set on the Hub (name:configuration)"

    def matches(self, location: str, is_custom: bool) -> bool:
        """Whether the location is ``hub`` or, for a user's own task, can be the name of a data set."""
        if not is_custom:
            return location == "hub"
        return location not in ("hub", "demo") and not looks_like_file(location, FORMATS)

    def open_split(self, task: TaskSpec, location: str, split: str) -> Split:
        """Download a split of GLUE, or find it in the cache (always, under ``HF_HUB_OFFLINE=1``)."""
        advice = "read the official files with `--data.source FOLDER`, or try `--data.source demo`"
        what, origin = f"{REPOSITORY} ({task.hub_name}, {split})", f"{REPOSITORY}/{task.hub_name}:{split}"
        download = partial(_find_shards, task.hub_name, split)
        files = _from_hub(what, advice, REPOSITORY, download)
        if not files:  # `datasets` may have the split in a cache of its own
            data = _load(what, advice, REPOSITORY, task.hub_name, split=split)
            read = partial(rows_from_dataset, task, data, origin)
            return Split(split, origin, data._fingerprint, read, labels=task.file_labels, commit=commit_of(data))
        commit = files[0].parents[1].name
        read = partial(_read_shards, task, files, origin)
        return Split(split, origin, f"{commit}/{origin}", read, labels=task.file_labels, commit=commit)

    def open_tables(self, location: str) -> dict[str, Table]:
        """Find the splits of the data set ``name`` or ``name:configuration`` that have usual names."""
        data = _load_data_set(location)
        tables: dict[str, Table] = {
            split: HubTable(data[alias], f"{location}:{alias}")
            for split, aliases in SPLIT_NAMES.items()
            for alias in aliases
            if alias in data
        }
        if not tables:
            raise DataError(f"data.source: {location} has no train, validation or test split, but {', '.join(data)}.")
        return tables
