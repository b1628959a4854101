"""Folders and files as sources: GLUE's official layout, the demo corpus in it, and tables of the user's own."""

from pathlib import Path

from glue_lit.data.demo import CORPUS
from glue_lit.data.file_kinds import kind_by_name
from glue_lit.data.glue_files import open_glue_file
from glue_lit.data.rows import Split
from glue_lit.data.source import Source
from glue_lit.data.table import Table
from glue_lit.data.tables import FORMATS, SPLIT_NAMES, open_table
from glue_lit.errors import DataError
from glue_lit.tasks.spec import TaskSpec


class FolderSource(Source):
    """GLUE's files as they are downloaded, or one table of the user's own for each split."""

    glue = "a GLUE folder in the official layout (GLUE_FOLDER/CoLA/train.tsv)"
    custom = "a folder with train, validation and test files"

    def matches(self, location: str, is_custom: bool) -> bool:
        """Whether there is such a folder."""
        return Path(location).expanduser().is_dir()

    def open_split(self, task: TaskSpec, location: str, split: str) -> Split:
        """Find the file of the official layout."""
        return open_glue_file(task, Path(location).expanduser(), split)

    def open_tables(self, location: str) -> dict[str, Table]:
        """Find the files that are named after splits."""
        folder = Path(location).expanduser()
        tables: dict[str, Table] = {}
        candidates = sorted(path for path in folder.iterdir() if path.suffix.lower() in FORMATS)
        for split, names in SPLIT_NAMES.items():
            files = [path for path in candidates if path.stem.lower() in names]
            if len(files) > 1:
                raise DataError(f"data.source: {files[0]} and {files[1]} are both the {split} rows; keep one of them.")
            if files:
                tables[split] = open_table(files[0])
        if not tables:
            listed = ", ".join(path.name for path in sorted(folder.iterdir())[:20]) or "nothing"
            other = next((kind for path in sorted(folder.iterdir()) if (kind := kind_by_name(path.name))), None)
            hint = "" if other is None else f" {other.name[0].upper()}{other.name[1:]} is not read. {other.advice}."
            raise DataError(
                f"data.source: {folder} has no train, validation (dev) or test file; it holds {listed}.{hint} "
                f"Allowed: names such as train.csv, with {', '.join(FORMATS)}. Or pass one file."
            )
        return tables


class DemoSource(Source):
    """The demo corpus that ships with the package, in GLUE's layout."""

    glue = "demo"

    def matches(self, location: str, is_custom: bool) -> bool:
        """Whether the location is ``demo``."""
        return location == "demo"

    def open_split(self, task: TaskSpec, location: str, split: str) -> Split:
        """Find the file of the corpus."""
        return open_glue_file(task, CORPUS, split)


class FileSource(Source):
    """One table of the user's own, with the training rows."""

    custom = f"a file ({', '.join(FORMATS)})"

    def matches(self, location: str, is_custom: bool) -> bool:
        """Whether there is such a file."""
        return Path(location).expanduser().is_file()

    def open_tables(self, location: str) -> dict[str, Table]:
        """Open the file."""
        return {"train": open_table(Path(location).expanduser())}
