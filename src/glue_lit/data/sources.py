"""The data sources: `SOURCES` lists them, and ``data.source`` selects one.

Every source gives the same `Rows` for the same split. Opening a split is cheap and gives its fingerprint; the split is
read only if its tokens are not cached.
"""

from pathlib import Path

from glue_lit.data.class_labels import are_class_numbers
from glue_lit.data.custom_split import open_custom_split
from glue_lit.data.file_kinds import kind_by_name, similar_file
from glue_lit.data.folder import DemoSource, FileSource, FolderSource
from glue_lit.data.hub import HubSource
from glue_lit.data.rows import Split
from glue_lit.data.source import Source
from glue_lit.data.table import Table
from glue_lit.data.tables import open_table
from glue_lit.errors import RULE_OF_PATHS, DataError, did_you_mean
from glue_lit.tasks.custom import NO_TASK, CustomTask
from glue_lit.tasks.spec import TaskSpec

SOURCES: dict[str, Source] = {
    "hub": HubSource(),
    "demo": DemoSource(),
    "folder": FolderSource(),
    "file": FileSource(),
}


def source_values(is_custom: bool) -> list[str]:
    """Descriptions of the values that ``data.source`` may have, for GLUE's tasks or for a user's own."""
    return [words for source in SOURCES.values() if (words := source.custom if is_custom else source.glue)]


def find_source(location: str, is_custom: bool) -> Source:
    """Find the source that ``data.source`` names: the one with that name, else the first that matches.

    Raises:
        DataError: There is none.
    """
    allowed = {name: source for name, source in SOURCES.items() if (source.custom if is_custom else source.glue)}
    named = [allowed[location]] if location in allowed else []
    for source in (*named, *allowed.values()):
        if source.matches(location, is_custom):
            return source
    path, values = Path(location).expanduser(), source_values(is_custom)
    problem = f"{location} is a file." if path.is_file() else f"there is no file or folder {location!r}."
    hint = "" if path.is_file() else similar_file(path) or did_you_mean(location, values)
    if is_custom and not hint and (kind := kind_by_name(location)) is not None:
        hint = f" It would be {kind.name}, which is not read. {kind.advice}."
    rule = "" if path.is_file() or path.is_absolute() else f" {RULE_OF_PATHS}"
    raise DataError(f"data.source: {problem}{hint} Allowed: {', '.join(values)}.{rule}")


def open_split(task: TaskSpec, source: str, split: str, custom: CustomTask = NO_TASK) -> Split:
    """Find a split of a GLUE task, or of a user's own task, in a source, without reading its rows.

    Raises:
        DataError: The task has no such split, or the source does not hold it.
    """
    if custom.text_columns:
        return open_custom_split(task, custom, open_tables(custom, source), source, split)
    if split not in task.files:
        raise DataError(
            f"Task {task.name} has no split {split!r}.{did_you_mean(split, task.files)} "
            f"Its splits are: {', '.join(task.files)}."
        )
    return find_source(source, is_custom=False).open_split(task, source, split)


def open_tables(custom: CustomTask, source: str) -> dict[str, Table]:
    """Find the tables of a user's own task by split, including the files that its settings name.

    Raises:
        DataError: There are none, or two for one split.
    """
    tables = find_source(source, is_custom=True).open_tables(source)
    for split, file in (("validation", custom.validation_file), ("test", custom.test_file)):
        if file is not None:
            path = Path(file).expanduser()
            if not path.is_file():
                raise DataError(
                    f"data.custom.{split}_file: there is no file {file!r}.{similar_file(path)} {RULE_OF_PATHS}"
                )
            tables[split] = open_table(path)
    for table in tables.values():
        if are_class_numbers(custom.labels, table.class_names.get(custom.label_column, ())):
            names = table.class_names.items()
            table.class_names = {name: found for name, found in names if name != custom.label_column}
        labels = custom.label_columns if custom.kind in (None, "multi_label") else ()
        table.list_columns = (*labels, *custom.inputs.list_columns)
    return tables
