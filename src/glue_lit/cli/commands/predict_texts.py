"""The part of ``glue-lit predict`` that predicts texts, files and standard input, and writes or prints the result."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from glue_lit.cli.commands.row_count import row_count
from glue_lit.data.given_texts import parse_line, texts_of_values
from glue_lit.data.texts_to_predict import (
    Example,
    chunk_arriving_texts,
    chunk_size,
    chunk_texts,
    file_texts,
    places_of,
    read_standard_input,
    stdin_texts,
    unlabelled_rows,
)
from glue_lit.errors import RunError, Stopped, UsageError, enumerated
from glue_lit.evaluation.thresholds import scaled_thresholds
from glue_lit.outputs.prediction_files import text_keys, write_predictions
from glue_lit.outputs.predictor import Predictor
from glue_lit.runs.run import Run
from glue_lit.system.console import count_of, note, print_table, say
from glue_lit.system.stopping import stopping_at_sigterm
from glue_lit.system.streams import is_utf8
from glue_lit.tasks.glue import TaskSpec
from glue_lit.training.callbacks.prediction_writer import prediction_lines

Record = dict[str, Any]


def predict_texts(predictor: Predictor, options: Any, temperature: float) -> None:
    """Predict the texts of the command line; print the result, or write it to a file.

    Raises:
        UsageError: The task takes one text and there are two, or the other way round.
    """
    task = predictor.task
    examples = [Example(texts, number) for number, texts in enumerate(_texts(task, options), start=1)]
    keys = _keys(task, task.text_columns) if options.with_texts else []
    found = _predicted(predictor, chunk_texts(examples, chunk_size(task.num_labels)), temperature, keys)
    if options.output not in (None, "-"):
        _write_file(found, Path(options.output), ["idx", *keys])
        return
    records = [record for chunk in found for record in chunk]
    if options.json or options.output == "-" or not sys.stdout.isatty():
        if len(records) == 1:
            del records[0]["idx"]
        _print_lines([records])
    elif len(records) > 1:
        _print_several(task, examples, records)
    elif task.levels:
        say(f"{records[0]['label']} (score {records[0]['score']:.4f})")
    elif task.is_regression:
        say(f"score {records[0]['score']:.4f}")
    else:
        ranked = sorted(records[0]["probabilities"].items(), key=lambda item: -item[1])
        print_table(task.name, ("label", "probability"), [(n, f"{p:.4f}") for n, p in ranked], right=("probability",))
        if task.is_multi_label:
            say(f"Labels      {', '.join(records[0]['labels']) or 'none'}")


def _keys(task: TaskSpec, columns: Sequence[str]) -> list[str]:
    """The names of the texts in a prediction; those that are made of columns have no name of their own."""
    return text_keys(columns) if task.inputs.is_plain else ["text", "text_pair"][: len(task.text_columns)]


def _texts(task: TaskSpec, options: Any) -> list[tuple[str, ...]]:
    first, second, columns = options.text, options.text_pair, task.inputs.columns
    if not task.inputs.takes_strings:
        if second is not None:
            raise UsageError("--text_pair: a text of this task has several columns. Pass them all as `--text JSON`.")
        return [parse_line(text, columns, task, "--text") for text in first]
    if (second is not None) != (len(task.text_columns) == 2):
        raise UsageError(
            f"--text: task {task.name} takes {' and '.join(task.text_columns)}: "
            + ("pass the second text as `--text_pair TEXT`." if second is None else "leave --text_pair out.")
        )
    if second is None:
        return [texts_of_values([text], columns, task, "--text") for text in first]
    if len(first) != len(second):
        raise UsageError(f"--text_pair: got {len(second)} for {len(first)} of --text. Each text needs a second one.")
    return [texts_of_values(pair, columns, task, "--text") for pair in zip(first, second, strict=True)]


def _print_several(task: TaskSpec, examples: Sequence[Example], records: Sequence[Record]) -> None:
    """Print a line for each text: its score, or its label or labels and their probabilities."""
    if task.levels:
        columns, cells = ["label", "score"], [[record["label"], f"{record['score']:.4f}"] for record in records]
    elif task.is_regression:
        columns, cells = ["score"], [[f"{record['score']:.4f}"] for record in records]
    elif task.is_multi_label:
        columns, cells = ["labels"], [[_with_probabilities(record)] for record in records]
    else:
        columns = ["label", "probability"]
        cells = [[record["label"], f"{record['probabilities'][record['label']]:.4f}"] for record in records]
    rows = [[*example.texts, *of_one] for example, of_one in zip(examples, cells, strict=True)]
    print_table(task.name, (*task.text_columns, *columns), rows, right=("score", "probability"))


def _with_probabilities(record: Record) -> str:
    return ", ".join(f"{label} {record['probabilities'][label]:.4f}" for label in record["labels"]) or "none"


def predict_file(predictor: Predictor, options: Any, temperature: float, run: Run | None, checkpoint: Path) -> None:
    """Predict a file or standard input, and write the predictions.

    Raises:
        UsageError: The number of text columns is not the task's.
        DataError: The file cannot be read, or lacks a column.
    """
    task, columns = predictor.task, tuple(options.columns or predictor.task.inputs.columns)
    if len(columns) != len(task.inputs.columns):
        parts = [part.strip() for column in columns for part in column.split(",")]
        hint = f" Names are separated by blanks: `--columns {' '.join(parts)}`." if len(parts) > len(columns) else ""
        raise UsageError(
            f"--columns: got {len(columns)} ({', '.join(map(repr, columns))}), task {task.name} takes "
            f"{enumerated(task.inputs.columns)}.{hint}"
        )
    size, file, id_column = chunk_size(task.num_labels), None, options.id or predictor.id_column
    if options.file == "-":
        lines = stdin_texts(read_standard_input(), columns, task, id_column)
        chunks: Iterable[list[Example]] = chunk_arriving_texts(lines, size)
        output = options.output or "-"
    else:
        file = options.file
        chunks = chunk_texts(file_texts(Path(file), columns, task, id_column, needs_id=options.id is not None), size)
        folder = run.predictions if run is not None else checkpoint.parent / "predictions"
        output = options.output or str(folder / f"{Path(options.file).name}.jsonl")
    keys = _keys(task, columns) if options.with_texts else []
    found = _predicted(predictor, chunks, temperature, keys, file)
    if output == "-":
        _print_lines(found)
        return
    row, own_id = [] if file is None else ["row"], [] if id_column is None else ["id"]
    _write_file(found, Path(output), ["idx", *row, *own_id, *keys])


def _predicted(
    predictor: Predictor,
    chunks: Iterable[Sequence[Example]],
    temperature: float,
    keys: Sequence[str],
    file: str | None = None,
) -> Iterator[list[Record]]:
    """The records of each chunk, with numbers that continue from chunk to chunk, and with the texts under ``keys``."""
    start, thresholds = 0, scaled_thresholds(predictor.thresholds, temperature)
    for logits, chunk in predictor.logits((unlabelled_rows(chunk), chunk) for chunk in chunks):
        count = len(chunk)
        idx = torch.arange(start, start + count)
        hidden = torch.full((count, 1) if predictor.task.is_multi_label else (count,), -1.0)  # no gold labels
        hidden = hidden * float("nan") if predictor.task.is_regression else hidden
        scaled = logits if predictor.task.is_regression else logits / temperature
        places = None if file is None else places_of(file, chunk)
        lines = prediction_lines(predictor.task, idx, scaled, hidden, places, thresholds)
        yield [_with_texts(line, example, keys) for line, example in zip(lines, chunk, strict=True)]
        start += count


def _with_texts(line: Record, example: Example, keys: Sequence[str]) -> Record:
    first = {name: line[name] for name in ("idx", "row") if name in line} | ({"id": example.id} if example.id else {})
    return first | dict(zip(keys, example.texts, strict=False)) | line


def _write_file(found: Iterable[list[Record]], output: Path, keys: Sequence[str]) -> None:
    count = 0

    def counted() -> Iterator[list[Record]]:
        nonlocal count
        with row_count(hidden=False) as advance:
            for chunk in found:
                yield chunk
                count += len(chunk)
                advance(count)

    try:
        with stopping_at_sigterm():
            write_predictions(output, counted(), keys)
    except (Stopped, KeyboardInterrupt):
        note(f"Stopped after {count_of(count, 'row')}. Nothing was written to {output}.")
        raise
    say(f"Predictions {output} ({count_of(count, 'row')})")


def _print_lines(found: Iterable[list[Record]]) -> None:
    """Print records as JSON lines, a chunk at once."""
    count = 0
    with _standard_output() as file, row_count(hidden=file.isatty()) as advance:
        codes = not is_utf8(file)
        for records in found:
            file.write("".join(json.dumps(record, ensure_ascii=codes) + "\n" for record in records))
            file.flush()
            count += len(records)
            advance(count)


@contextmanager
def _standard_output() -> Iterator[IO[str]]:
    """Standard output; explains a full disk, and leaves a closed pipe to the caller."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise RunError(f"Cannot write to standard output ({error.strerror}).") from None
