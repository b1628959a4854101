"""Predictions as a file: CSV, TSV, JSON Lines, JSON or Parquet, by the ending of its name."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

from glue_lit.errors import UsageError
from glue_lit.system.files import open_atomic_binary

Record = Mapping[str, Any]
Chunks = Iterable[Sequence[Record]]
_PROBABILITY = "probability_"
_OURS = ("idx", "row", "id", "label", "labels", "probabilities", "score", "gold")
_WHOLE, _REAL = ("idx", "row"), ("score",)
_IN_TSV = str.maketrans("\t\n\r", "   ")


def text_keys(columns: Sequence[str]) -> list[str]:
    """The names of text columns in a prediction; ``text_`` stands before one that a prediction has already."""
    return [f"text_{name}" if name in _OURS or name.startswith(_PROBABILITY) else name for name in columns]


def check_ending(output: str) -> None:
    """Stop at a file name whose ending is no format; a device or a pipe has none.

    Raises:
        UsageError: It names the endings that there are.
    """
    path = Path(output)
    if path.suffix.lower() in FORMATS or (path.exists() and not path.is_file()):
        return
    ending = f"its name ends with {path.suffix!r}" if path.suffix else "its name has no ending"
    raise UsageError(f"--output: {output}: {ending}. Allowed: {', '.join(FORMATS)}, or - for standard output.")


def write_predictions(path: Path, chunks: Chunks, keys: Sequence[str]) -> None:
    """Write predictions in the format of the file's ending, chunk by chunk; the file is replaced at the end.

    CSV, TSV and Parquet have a column for the probability of each label, ``probability_LABEL``. Several labels of a row
    are a list in Parquet, and in CSV and TSV a text such as ``a;b`` (``a|b`` if a label contains a semicolon, and JSON
    if one contains both).

    Args:
        path: The file.
        chunks: The predictions.
        keys: The first columns, empty in a prediction without such a key.

    Raises:
        RunError: It cannot be written.
    """
    with open_atomic_binary(path) as file:
        FORMATS.get(path.suffix.lower(), _write_lines)(file, chunks, keys)


def _text(file: IO[bytes]) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, encoding="utf-8", newline="")


def _write_lines(file: IO[bytes], chunks: Chunks, keys: Sequence[str]) -> None:
    with _text(file) as text:
        for chunk in chunks:
            text.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in chunk)


def _write_array(file: IO[bytes], chunks: Chunks, keys: Sequence[str]) -> None:
    with _text(file) as text:
        before = "[\n"
        for record in (record for chunk in chunks for record in chunk):
            text.write(before + json.dumps(record, ensure_ascii=False))
            before = ",\n"
        text.write("\n]\n" if before == ",\n" else "[]\n")


def _write_csv(file: IO[bytes], chunks: Chunks, keys: Sequence[str]) -> None:
    with _text(file) as text:
        csv.writer(text, lineterminator="\n").writerows(_cells(chunks, keys))


def _write_tsv(file: IO[bytes], chunks: Chunks, keys: Sequence[str]) -> None:
    with _text(file) as text:
        for cells in _cells(chunks, keys):
            text.write("\t".join(str(cell).translate(_IN_TSV) for cell in cells) + "\n")


def _write_parquet(file: IO[bytes], chunks: Chunks, keys: Sequence[str]) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    def kind(name: str) -> Any:
        is_real = name in _REAL or name.startswith(_PROBABILITY)
        if name == "labels":
            return pyarrow.list_(pyarrow.string())
        return pyarrow.float64() if is_real else pyarrow.int64() if name in _WHOLE else pyarrow.string()

    rows = ([_flat(record, keys) for record in chunk] for chunk in chunks)
    first = next(rows, [])
    schema = pyarrow.schema([(name, kind(name)) for name in (first[0] if first else keys)])
    with ParquetWriter(file, schema) as writer:
        for part in chain([first], rows):
            writer.write_table(pyarrow.Table.from_pylist(part, schema))


def _cells(chunks: Chunks, keys: Sequence[str]) -> Iterator[Iterable[Any]]:
    """The header, then the cells of each prediction."""
    for number, record in enumerate(record for chunk in chunks for record in chunk):
        row = _flat(record, keys)
        if "labels" in row:
            row["labels"] = _as_text(row["labels"], record["probabilities"])
        if not number:
            yield row.keys()
        yield row.values()


def _as_text(labels: Sequence[str], all_labels: Iterable[str]) -> str:
    separator = next((one for one in ";|" if not any(one in label for label in all_labels)), None)
    return json.dumps(labels, ensure_ascii=False) if separator is None else separator.join(labels)


def _flat(record: Record, keys: Sequence[str]) -> dict[str, Any]:
    """A prediction without nested values."""
    flat = dict.fromkeys(keys, "") | {name: value for name, value in record.items() if name != "probabilities"}
    return flat | {f"{_PROBABILITY}{label}": p for label, p in record.get("probabilities", {}).items()}


FORMATS: dict[str, Callable[[IO[bytes], Chunks, Sequence[str]], None]] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".jsonl": _write_lines,
    ".ndjson": _write_lines,
    ".json": _write_array,
    ".parquet": _write_parquet,
}
