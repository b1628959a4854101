"""A training file of very many rows: the time to the first step, and the memory; RESULTS.md has what was found.

    python -m benchmarks large --rows 20000000
    python -m benchmarks large --rows 20000000 --kind csv

It writes the file, then trains one step twice, each in a process of its own: with an empty cache and with a full one.
Prints a line as JSON for each, and a table at the end.
"""

import string
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.load import WORDS, Load, Measured, texts

_SENTENCES, _PART = 4096, 1_000_000
_HEAD = (
    "| rows | file | cache | first step | clock | processor | memory, peak | files |\n|---|---|---|---|---|---|---|---|"
)


def write_table(path: Path, rows: int) -> Path:
    """A Parquet or CSV file with a text of 4 to 12 words, no two alike, and one of two labels in each row."""
    import pyarrow
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.parquet

    draw = np.random.default_rng(0)
    sentences = pyarrow.array([text.rpartition(" ")[0] for text in texts(_SENTENCES)])
    labels = pyarrow.array(["label 0", "label 1"])
    schema = pyarrow.schema([("text", pyarrow.string()), ("label", pyarrow.string())])
    writer = {".parquet": pyarrow.parquet.ParquetWriter, ".csv": pyarrow.csv.CSVWriter}[path.suffix]
    with writer(path, schema) as file:
        for start in range(0, rows, _PART):
            number = np.arange(start, min(start + _PART, rows))
            some = sentences.take(pyarrow.array(draw.integers(0, _SENTENCES, len(number))))
            text = pyarrow.compute.binary_join_element_wise(some, pyarrow.array(number).cast("string"), " ")
            file.write_table(pyarrow.table([text, labels.take(pyarrow.array(number % 2))], schema=schema))
    return path


def write_encoder(folder: Path) -> str:
    """A random BERT of 2 layers of 32, and a WordPiece tokenizer that knows the words and digits of the file."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    characters = string.ascii_lowercase + string.digits
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *characters, *(f"##{one}" for one in characters)]
    vocabulary = {word: number for number, word in enumerate(words)}
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **size)
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab=vocabulary, model_max_length=64).save_pretrained(folder)
    return str(folder)


class _Large(Load):
    def starts(self, rows: int, kind: str) -> Iterator[Measured]:
        """A step with an empty cache, and one with a full one."""
        with self._temporary:
            begun = time.perf_counter()
            self.model = self.model or write_encoder(self._folder / "encoder")
            source = write_table(self._folder / f"rows.{kind}", rows)
            made = {"rows": rows, "kind": kind, "file": "written", "seconds": round(time.perf_counter() - begun, 1)}
            yield made | {"megabytes": source.stat().st_size // 10**6}
            for cache in ("empty", "full"):
                found = {"rows": rows, "kind": kind, "cache": cache} | self._first_step(source)
                size = sum(path.stat().st_size for path in (self._folder / "cache").iterdir())
                yield found | {"megabytes": size // 10**6}


def line_of(found: Measured) -> str:
    """A line of the table."""
    seconds = [f"{found[name]:,} s" for name in ("first_step", "seconds", "processor_seconds")]
    sizes = [f"{found['peak_anonymous_mib']:,} MiB", f"{found['megabytes']:,} MB"]
    rows = f"{found['rows']:,}"
    return f"| {' | '.join([rows, found['kind'], found['cache'], *seconds, *sizes])} |"


def large(
    rows: int = 20_000_000, model: str = "", disk: Path | None = None, kind: Literal["parquet", "csv"] = "parquet"
) -> Iterator[dict[str, Any]]:
    """Train a step on a file of many rows, with an empty cache and with a full one.

    Args:
        rows: Rows of the file.
        model: Folder of a model; by default a tiny one is made, which shows our own cost best.
        disk: Folder for the files, which are deleted at the end: about 200 bytes a row.
        kind: Format of the file.
    """
    lines = []
    for found in _Large(model, disk).starts(rows, kind):
        lines += [line_of(found)] if "cache" in found else []
        yield found
    print("\n".join([_HEAD, *lines]))
