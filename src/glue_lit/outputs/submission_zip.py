"""Write and check the zip that the GLUE server takes."""

import io
import math
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from glue_lit.errors import DataError
from glue_lit.outputs.submission import ENTRIES, HEADER, Entry
from glue_lit.system.console import count_of
from glue_lit.system.files import check_regular, open_atomic_binary
from glue_lit.tasks.glue import TaskSpec

_SHOWN = 5  # problems of one file that are listed
_LARGEST = 50_000_000  # bytes of a zip; a submission has 1 MB packed and 4 MB unpacked
_LINE = 64  # bytes that a line may have on average; 390964, a tab and not_entailment are 21
_DATE = (1980, 1, 1, 0, 0, 0)  # the same predictions give the same zip
_INDEX = re.compile("[0-9]{1,9}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass
class Findings:
    """Problems of one file, and its predictions."""

    name: str  # as messages name the file
    whole: list[str] = field(default_factory=list)  # problems of the file as a whole
    lines: list[str] = field(default_factory=list)  # problems of its lines, the first few
    count: int = 0  # of all problems
    labels: Counter[str] = field(default_factory=Counter)  # how often it predicts each label
    scores: list[float] = field(default_factory=list)  # its predictions, where the task has scores

    def add(self, problem: str, line: int | None = None) -> None:
        """Add a problem, of a line or of the whole file."""
        self.count += 1
        if line is None:
            self.whole.append(f"{self.name}: {problem}")
        elif len(self.lines) < _SHOWN:
            self.lines.append(f"{self.name}, line {line}: {problem}")

    @property
    def messages(self) -> list[str]:
        """A line for each stored problem, and one with the number of others."""
        more = self.count - len(self.whole) - len(self.lines)
        return [*self.whole, *self.lines, *([f"{self.name}: and {more:,} more"] if more else [])]

    @property
    def predicted(self) -> str:
        """A summary of its predictions."""
        if self.scores:
            mean = math.fsum(self.scores) / len(self.scores)
            return f"{min(self.scores):.3f} to {max(self.scores):.3f}, mean {mean:.3f}"
        return ", ".join(f"{label}: {count:,}" for label, count in sorted(self.labels.items()))


def write_zip(path: Path, texts: Mapping[str, str]) -> None:
    """Check the zip with `check_zip` and write it atomically.

    Raises:
        DataError: It is not a valid submission.
        RunError: It cannot be written; an earlier file of that name is kept.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in ENTRIES:
            if name in texts:
                member = zipfile.ZipInfo(name, _DATE)
                member.create_system, member.external_attr = 3, 0o100644 << 16  # Unix, readable by all
                archive.writestr(member, texts[name], zipfile.ZIP_DEFLATED)
    if problems := [message for findings in check_zip(content) for message in findings.messages]:
        raise DataError(f"The submission would not be valid: {'; '.join(problems)}.")
    with open_atomic_binary(path) as file:
        file.write(content.getvalue())


def check_zip(file: Path | io.BytesIO) -> list[Findings]:
    """Problems of each file of a submission, and of other files in the zip.

    At most the size of a valid file is unpacked, whatever size the zip claims.

    Raises:
        DataError: The file cannot be read, or is not a zip.
    """
    try:
        if isinstance(file, Path):
            check_regular(file)
            if (size := file.stat().st_size) > _LARGEST:
                raise DataError(f"{file}: {size:,} bytes are too many for a submission, which has about a million.")
        with zipfile.ZipFile(file) as archive:
            return _check_members(archive)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}).") from None
    except Exception as error:  # zipfile raises many classes for a malformed directory
        raise DataError(f"{file}: not a zip file, or a damaged one ({str(error) or type(error).__name__}).") from None


def _check_members(archive: zipfile.ZipFile) -> list[Findings]:
    members = [member for member in archive.infolist() if not member.is_dir()]
    times = Counter(member.filename for member in members)
    found: dict[str, Findings] = {}
    extra: list[str] = []
    for name in sorted(times, key=lambda name: name not in ENTRIES):  # a right name before a wrong one
        meant = _meant(name)
        if meant is None or meant in found:
            extra.append(name)
            continue
        findings = found[meant] = Findings(name if name == meant else repr(name[:100]))
        if name != meant:
            inside = re.split(r"[/\\]", name)[-1] == meant
            findings.add("must be at the top of the zip, not in a folder" if inside else f"must be called {meant}")
        if times[name] > 1:
            findings.add(f"there are {times[name]} files of this name")
        _check_member(ENTRIES[meant], archive, archive.getinfo(name), findings)
    for name in ENTRIES:
        if name not in found:
            found[name] = Findings(name)
            found[name].add("missing")
    others = Findings("zip")
    for name in extra[:_SHOWN]:
        others.add(f"{name[:100]!r} does not belong in a submission; remove it")
    others.count = len(extra)
    return [*(found[name] for name in ENTRIES), *([others] if extra else [])]


def _meant(name: str) -> str | None:
    """The file that a name stands for, whatever its folder, case and punctuation; ``None`` for hidden files."""
    last = re.split(r"[/\\]", name)[-1]
    return None if last.startswith(".") else _PLAIN.get(_plain(last))


def _plain(name: str) -> str:
    """Letters and digits of a name without its extension."""
    return re.sub("[^a-z0-9]", "", name.rpartition(".")[0].lower() or name.lower())


_PLAIN = {_plain(name): name for name in ENTRIES}


def _check_member(entry: Entry, archive: zipfile.ZipFile, member: zipfile.ZipInfo, findings: Findings) -> None:
    most = _LINE * (entry.rows + 1)
    if member.flag_bits & 1:
        return findings.add("is encrypted; zip it without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return findings.add("is compressed with an unusual method; zip it with deflate")
    try:
        with archive.open(member) as file:
            raw = file.read(most + 1)  # not all, since the size that a zip claims may be wrong
    except Exception as error:  # zipfile and zlib raise many classes for damaged content
        return findings.add(f"is damaged ({error}); create the zip again")
    if len(raw) > most:
        return findings.add(f"is larger than {most:,} bytes, which a file of {entry.rows:,} rows cannot be")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return findings.add("is UTF-16; save it as UTF-8")
    return _check_rows(entry, raw, findings)


def _check_rows(entry: Entry, raw: bytes, findings: Findings) -> None:
    lines = [0] * entry.rows  # line of each index, 0 if it is missing
    count, before = 0, -1
    for number, line in enumerate(io.BytesIO(raw), start=1):
        try:
            text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            findings.add(f"byte 0x{error.object[error.start]:02x} is not UTF-8", number)
            count += 1
            continue
        if number == 1 and _is_header(text, findings):
            continue
        count += 1
        cells = text.split("\t")
        if len(cells) != 2:
            findings.add(f"{count_of(len(cells), 'column')}, 2 are needed (separated by a tab): {text[:50]!r}", number)
            continue
        if wrong := _wrong_index(cells[0], lines, before):
            findings.add(wrong, number)
        if _INDEX.fullmatch(cells[0]) and (index := int(cells[0])) < entry.rows:
            lines[index], before = lines[index] or number, index
        if wrong := _wrong_prediction(entry.task, cells[1], findings):
            findings.add(wrong, number)
    if not raw:
        findings.add("is empty")
    elif count != entry.rows:
        findings.add(f"{count_of(count, 'row')}, {entry.rows:,} are needed")
    if count:
        _add_missing(lines, findings)


def _is_header(text: str, findings: Findings) -> bool:
    """Whether the first line is a header, even a wrong one, rather than a row."""
    if text.startswith("\ufeff"):
        findings.add("a byte order mark; save the file as UTF-8 without one", 1)
        text = text.removeprefix("\ufeff")
    if text != HEADER:
        findings.add(f"{text[:50]!r}, the header {HEADER!r} is needed", 1)
    return not _INDEX.fullmatch(text.partition("\t")[0])


def _wrong_index(index: str, lines: list[int], before: int) -> str:
    if not _INDEX.fullmatch(index):
        return f"index {index[:50]!r} is not a number from 0 to {len(lines) - 1}"
    number = int(index)
    if number >= len(lines):
        return f"index {number}, the last one is {len(lines) - 1}"
    if lines[number]:
        return f"index {number} appears twice, first on line {lines[number]}"
    return f"index {number} comes after {before}; rows must be in order" if number < before else ""


def _wrong_prediction(task: TaskSpec, prediction: str, findings: Findings) -> str:
    if not task.is_regression:
        findings.labels[prediction if prediction in task.file_labels else "other"] += 1
        allowed = ", ".join(task.file_labels)
        return "" if prediction in task.file_labels else f"prediction {prediction[:50]!r}, allowed: {allowed}"
    low, high = task.score_range or (-math.inf, math.inf)
    score = float(prediction) if _NUMBER.fullmatch(prediction) else math.nan
    if not low <= score <= high:  # true for nan too
        return f"prediction {prediction[:50]!r}, allowed: a number from {low:g} to {high:g}"
    findings.scores.append(score)
    return ""


def _add_missing(lines: list[int], findings: Findings) -> None:
    """Report missing indices, consecutive ones as a range."""
    missing = [index for index, line in enumerate(lines) if not line]
    starts = [index for index in missing if index == 0 or lines[index - 1]]
    for start in starts[:_SHOWN]:
        end = next((index for index in range(start, len(lines)) if lines[index]), len(lines)) - 1
        findings.add(f"index {start} is missing" if end == start else f"index {start} to {end} are missing")
    if len(starts) > _SHOWN:
        findings.add(f"{len(missing):,} indices are missing in total")
