"""The zip that the GLUE server takes: its files, written and checked.

The format is that of the benchmark's own instructions (https://gluebenchmark.com/faq): one TSV file for each
test set, a header, the row's position and the predicted label as the training file writes it, except that
CoLA, SST-2, MRPC, QQP and WNLI take numbers and the inference tasks names.
"""

import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from glue_lit.errors import DataError, did_you_mean
from glue_lit.runs import whole_binary
from glue_lit.tasks import TASKS, TaskSpec

HEADER = "index\tprediction"
_SHOWN = 5  # problems of one file that are told one by one
_LARGEST = 100 << 20  # bytes of one file, unpacked: QQP's has 4 MB
_DATE = (1980, 1, 1, 0, 0, 0)  # the same predictions give the same zip


@dataclass(frozen=True)
class Entry:
    """One file of a submission.

    Attributes:
        name: Its name.
        task: Whose labels it holds.
        split: The test split that it predicts.
    """

    name: str
    task: TaskSpec
    split: str

    @property
    def rows(self) -> int:
        """Rows that it must have."""
        return self.task.files[self.split].rows

    @property
    def trained_as(self) -> str:
        """The task whose runs predict it."""
        return self.task.trained_as or self.task.name


def _entries() -> Iterator[Entry]:
    seen = set()
    for task in TASKS.values():
        for split, name in task.submission.items():
            if name not in seen:  # mnli-mm has the same files as mnli
                seen.add(name)
                yield Entry(name, task, split)


ENTRIES: dict[str, Entry] = {entry.name: entry for entry in _entries()}


def entry_text(entry: Entry, predictions: Path) -> str:
    """The file of an entry, from the predictions that `test` wrote; labels go by name.

    Raises:
        DataError: The predictions are not those of the official test rows (naming file and line).
    """
    written = dict(zip(entry.task.labels, entry.task.file_labels, strict=True))
    low, high = entry.task.score_range or (-math.inf, math.inf)
    lines = [HEADER]
    with predictions.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
                score = record["score"] if entry.task.is_regression else 0.0
                label = f"{min(max(score, low), high):.3f}" if entry.task.is_regression else written[record["label"]]
                if record["idx"] != number - 1 or not math.isfinite(score):
                    raise ValueError
            except (ValueError, KeyError, TypeError):
                allowed = "a score" if entry.task.is_regression else f"one of {', '.join(written)}"
                raise DataError(
                    f"{predictions}, line {number}: a prediction with idx {number - 1} and {allowed} is needed, got "
                    f"{line.strip()[:100]!r}. Delete the file, and it is made anew."
                ) from None
            lines.append(f"{number - 1}\t{label}")
    if len(lines) - 1 != entry.rows:
        raise DataError(
            f"{predictions}: {len(lines) - 1:,} rows, {entry.name} has {entry.rows:,}. Predict the official test rows "
            "(`--data.source hub` or a GLUE folder, no data.test_limit)."
        )
    return "\n".join(lines) + "\n"


def filled_text(entry: Entry) -> str:
    """The file of an entry without a run: the commonest training label on every row."""
    return "\n".join([HEADER, *(f"{row}\t{entry.task.most_common}" for row in range(entry.rows))]) + "\n"


def write_zip(path: Path, texts: Mapping[str, str]) -> None:
    """Write the zip whole or not at all, after the same check as `check_zip`.

    Raises:
        DataError: It would not be a submission.
        RunError: It cannot be written.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ENTRIES:
            if name in texts:
                archive.writestr(zipfile.ZipInfo(name, _DATE), texts[name], zipfile.ZIP_DEFLATED)
    if problems := check_zip(content):
        raise DataError("The submission would not be right:\n" + "\n".join(problems))
    with whole_binary(path) as file:
        file.write(content.getvalue())


def check_zip(file: Path | io.BytesIO) -> list[str]:
    """What is wrong with a submission, a line each; nothing if it is right.

    Raises:
        DataError: The file cannot be read, or is no zip.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            problems = _wrong_names([member.filename for member in members])
            for member in members:
                if (entry := ENTRIES.get(member.filename)) is not None:
                    problems += _shortened(entry.name, _wrong_content(entry, archive, member))
            return problems
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}).") from None
    except zipfile.BadZipFile as error:
        raise DataError(f"{file}: not a zip file ({error}).") from None


def _wrong_names(names: list[str]) -> list[str]:
    problems = []
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            problems.append(f"{name}: there are {names.count(name)} files of this name")
        if name not in ENTRIES:
            inside = Path(name).name in ENTRIES and "/" in name
            hint = " It must not lie in a folder." if inside else did_you_mean(name, ENTRIES)
            problems.append(f"{name}: no file of a submission.{hint}")
    missing = [name for name in ENTRIES if name not in names]
    return problems + [f"{name}: missing" for name in missing]


def _wrong_content(entry: Entry, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[str]:
    """What is wrong with one file."""
    if member.flag_bits & 1:
        yield "is encrypted"
        return
    if member.file_size > _LARGEST:
        yield f"has {member.file_size:,} bytes, more than any file of a submission"
        return
    try:
        raw = archive.read(member)
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError) as error:
        yield f"is damaged ({error})"
        return
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        yield f"line {raw.count(10, 0, error.start) + 1}: not UTF-8"
        return
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    if lines[0] != HEADER:
        start = "a byte order mark" if lines[0].startswith("\ufeff") else repr(lines[0][:50])
        yield f"line 1: {HEADER!r} is needed, got {start}"
    yield from _wrong_rows(entry, lines[1:])


def _wrong_rows(entry: Entry, lines: list[str]) -> Iterator[str]:
    seen: dict[int, int] = {}
    for number, line in enumerate(lines, start=2):
        cells = line.split("\t")
        if len(cells) != 2:
            yield f"line {number}: {len(cells)} columns, 2 are needed (separated by a tab): {line[:50]!r}"
            continue
        index, label = cells
        if not (index.isascii() and index.isdigit()):
            yield f"line {number}: index {index[:50]!r} is no number from 0 up"
        elif int(index) in seen:
            yield f"line {number}: index {int(index)} is there twice, first on line {seen[int(index)]}"
        else:
            seen[int(index)] = number
            if int(index) != number - 2:
                yield f"line {number}: index {int(index)}, {number - 2} is needed here"
        if wrong := _wrong_label(entry.task, label):
            yield f"line {number}: {wrong}"
    if len(lines) != entry.rows:
        yield f"{len(lines):,} rows, {entry.rows:,} are needed"


def _wrong_label(task: TaskSpec, label: str) -> str:
    if not task.is_regression:
        if label in task.file_labels:
            return ""
        return f"prediction {label[:50]!r}, allowed: {', '.join(task.file_labels)}"
    low, high = task.score_range or (-math.inf, math.inf)
    try:
        right = low <= float(label) <= high
    except ValueError:
        right = False
    return "" if right else f"prediction {label[:50]!r}, allowed: a number from {low:g} to {high:g}"


def _shortened(name: str, problems: Iterator[str]) -> list[str]:
    found = list(problems)
    more = [f"{name}: and {len(found) - _SHOWN:,} more"] if len(found) > _SHOWN else []
    return [f"{name}: {problem}" for problem in found[:_SHOWN]] + more
