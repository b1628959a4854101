"""Fuzz every reader of untrusted files: each target takes bytes, and succeeds or raises a message for the user.

    python tests/hostile.py --cases 100000               # all targets, on random mutations of good samples
    python tests/hostile.py --cases 100000 tsv zip       # some targets
    python tests/hostile.py --atheris tsv                # guided by coverage, if atheris is installed

`test_hostile.py` runs a few hundred of these cases.
"""

import argparse
import io
import json
import random
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

from glue_lit.data.custom_task import complete_task
from glue_lit.data.sources import open_split
from glue_lit.data.texts_to_predict import file_texts, stdin_texts
from glue_lit.errors import GlueLitError
from glue_lit.evaluation.predictions import read_predictions
from glue_lit.evaluation.report.events import read_curves
from glue_lit.evaluation.report.suite_table import suite_report
from glue_lit.outputs.submission_zip import check_zip
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.runs.config_file import check_config, find_key
from glue_lit.runs.last_position import read_last_position
from glue_lit.runs.listing import read_facts
from glue_lit.runs.prediction_record import prediction_record_path, read_prediction_record
from glue_lit.runs.run import Run
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import get_task

Target = Callable[[bytes, Path], None]
SLOW = 5.0  # processor seconds for a few kilobytes: as good as a hang


def tsv(data: bytes, folder: Path) -> None:
    """A file of GLUE: every row has texts and a label that the task knows."""
    place = folder / "CoLA"
    place.mkdir(exist_ok=True)
    (place / "dev.tsv").write_bytes(data)
    rows = open_split(get_task("cola"), str(folder), "validation").read()
    assert len(rows.labels) == len(rows.texts_a)
    assert set(rows.labels) <= {0, 1, None, -1}


def pairs(data: bytes, folder: Path) -> None:
    """A file of GLUE with a header, two texts and a number."""
    place = folder / "STS-B"
    place.mkdir(exist_ok=True)
    (place / "dev.tsv").write_bytes(data)
    rows = open_split(get_task("stsb"), str(folder), "validation").read()
    assert all(label is None or 0 <= label <= 5 for label in rows.labels)


def csv(data: bytes, folder: Path) -> None:
    """A file to predict."""
    (folder / "x.csv").write_bytes(data)
    assert all(isinstance(text, str) for row in file_texts(folder / "x.csv", ["text"], ONE_TEXT) for text in row.texts)


def jsonl(data: bytes, folder: Path) -> None:
    """The same as JSON lines."""
    (folder / "x.jsonl").write_bytes(data)
    assert all(
        isinstance(text, str) for row in file_texts(folder / "x.jsonl", ["text"], ONE_TEXT) for text in row.texts
    )


def stdin(data: bytes, folder: Path) -> None:
    """Standard input of `predict`, for one text and for two."""
    for task in (ONE_TEXT, get_task("rte")):
        try:
            for row in stdin_texts(data.splitlines(keepends=True), task.text_columns, task):
                assert len(row.texts) == len(task.text_columns)
        except GlueLitError:
            continue


def own_data(data: bytes, folder: Path) -> None:
    """A table of the user's own, whose kind and labels are inferred from it."""
    (folder / "mine.csv").write_bytes(data)
    custom = CustomTask(text="text", label="label")
    custom = complete_task("mine", custom, str(folder / "mine.csv"))
    open_split(resolve_task("mine", custom), str(folder / "mine.csv"), "validation", custom).read()


def own_lists(data: bytes, folder: Path) -> None:
    """JSON lines of the user's own with several labels a row."""
    (folder / "lists.jsonl").write_bytes(data)
    _read_several(str(folder / "lists.jsonl"), CustomTask(text="text", label="label"))


def own_names(data: bytes, folder: Path) -> None:
    """A table of the user's own with several labels in a text."""
    (folder / "names.csv").write_bytes(data)
    _read_several(str(folder / "names.csv"), CustomTask(text="text", label="label", kind="multi_label"))


def _read_several(source: str, custom: CustomTask) -> None:
    custom = complete_task("mine", custom, source)
    rows = open_split(resolve_task("mine", custom), source, "validation", custom).read()
    for label in rows.labels if custom.kind == "multi_label" else ():
        assert isinstance(label, tuple)
        assert list(label) == sorted(set(label))
        assert all(0 <= number < len(custom.labels or ()) for number in label)


def task_block(data: bytes, folder: Path) -> None:
    """The settings of a task of the user's own in a configuration."""
    (folder / "mine.csv").write_bytes(b"text,label\na,x\nb,y\n" * 20)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return  # jsonargparse refuses it
    if isinstance(values, dict) and all(isinstance(value, str | float | None | list) for value in values.values()):
        allowed = {key: value for key, value in values.items() if key in CustomTask.__dataclass_fields__}
        if isinstance(allowed.get("text"), str) and isinstance(allowed.get("label"), str):
            texts = {k: v for k, v in allowed.items() if k in ("text", "label", "kind") and isinstance(v, str)}
            complete_task("mine", CustomTask(**texts), str(folder / "mine.csv"))  # type: ignore[arg-type]


def config(data: bytes, folder: Path) -> None:
    """A configuration."""
    path = folder / "x.yaml"
    path.write_bytes(data)
    find_key(str(path), "data.task")
    check_config(str(path))
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def submission(data: bytes, folder: Path) -> None:
    """A leaderboard's zip."""
    check_zip(io.BytesIO(data))


def run(data: bytes, folder: Path) -> None:
    """A run directory: its configuration and its figures, either of them damaged."""
    for name, other in (("config.yaml", "metrics.json"), ("metrics.json", "config.yaml")):
        place = folder / "lightning_logs" / "cola" / "version_0"
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
        (place / other).write_bytes(SAMPLES["run"][other == "metrics.json"])
        read_facts(Run(place))


def checkpoint(data: bytes, folder: Path) -> None:
    """A checkpoint: what is read of its head, and all of it."""
    path = folder / "x.ckpt"
    path.write_bytes(data)
    path.with_suffix(".json").write_text('{"epoch": 1, "step": 2, "checkpoint": ""}')
    read_last_position(path)
    read_checkpoint(path)


def predictions(data: bytes, folder: Path) -> None:
    """A file of predictions, and its record."""
    path = folder / "p.jsonl"
    path.write_bytes(data)
    prediction_record_path(path).write_bytes(data)
    read_prediction_record(path)
    read_predictions(path, get_task("rte"))


def events(data: bytes, folder: Path) -> None:
    """An event file of TensorBoard."""
    (folder / "events.out.tfevents.1.x").write_bytes(data)
    read_curves(folder)


def suite(data: bytes, folder: Path) -> None:
    """The results of a suite."""
    (folder / "results.json").write_bytes(data)
    suite_report([folder])


ONE_TEXT = get_task("sst2")
TARGETS: dict[str, Target] = {
    one.__name__: one
    for one in (
        tsv, pairs, csv, jsonl, stdin, own_data, own_lists, own_names, task_block, config, submission, run, checkpoint, predictions, events,
        suite,
    )
}  # fmt: skip


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("CoLA.tsv", "index\tprediction\n0\t1\n1\t0\n")
        archive.writestr("../RTE.tsv", "index\tprediction\n0\tentailment\n")
    return file.getvalue()


def _checkpoint() -> bytes:
    file = io.BytesIO()
    torch.save({"epoch": 1, "global_step": 7, "state_dict": {"w": torch.zeros(2)}, "hyper_parameters": {"a": 1}}, file)
    return file.getvalue()


_FIGURE = {"name": "accuracy", "mean": 1.5, "deviation": None, "count": 1}
_MODEL = {"tasks": {"rte": [_FIGURE]}, "majority": {}, "average": None, "wall_seconds": {"rte": 2}}
SAMPLES: dict[str, list[bytes]] = {
    "tsv": [b"gj04\t1\t\tThe sailors rode.\ngj04\t0\t*\tBill \"left\".\n", b"a\t1\t\tx\r\nb\t0\t*\t\xc3\xa9\r\n"],
    "pairs": [b"index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
              b"0\tg\tf\t2\t0\ts\ts\tA man.\tA boy.\t2.5\n1\tg\tf\t2\t0\ts\ts\tA.\tB.\t5.000\n"],
    "csv": [b'text,label\n"a, b",1\nc,0\n', b'text;label\n"two\nlines";x\n', b"\xef\xbb\xbftext\tlabel\na\tb\n"],
    "jsonl": [b'{"text": "a", "label": 1}\n{"text": "\\u00e9"}\n', b'{"text": {"a": [1]}}\n{"text": null}\n'],
    "stdin": [b'{"sentence": "a"}\nplain\n', b"one\ttwo\n", b'{"sentence1": "a", "sentence2": "b"}\n'],
    "own_data": [b"text,label\n" + b"good,yes\nbad,no\n" * 8, b"text,label\n" + b"a,0.5\nb,1.25\nc,\n" * 8],
    "own_lists": [b'{"text": "good", "label": ["a", "b"]}\n{"text": "bad", "label": []}\n' * 8],
    "own_names": [b"text,label\n" + b"good,a;b\nbad,\n" * 8],
    "task_block": [b'{"text": "text", "label": "label", "kind": "classification"}', b'{"text": "a", "label": "text"}'],
    "config": [b"data:\n  task: cola\nmodel:\n  learning_rate: 2e-5\n", b"a: &a [1]\nb: {c: *a}\ndata: {task: rte}\n"],
    "submission": [_zip()],
    "run": [b"data:\n  task: cola\nmodel: {name_or_path: x}\n",
            b'{"task": "cola", "seed": 1, "metrics": {"val/matthews_correlation": 0.3}, "best": {"epoch": 1}}'],
    "checkpoint": [_checkpoint()],
    "predictions": [b'{"idx": 0, "label": "entailment", "gold": "not_entailment", "probabilities": '
                    b'{"entailment": 0.7, "not_entailment": 0.3}}\n{"idx": 1, "label": "entailment"}\n'],
    "events": [struct.pack("<Q", 9) + b"\0" * 4 + b"\x09" + b"\0" * 8 + b"\0" * 4],
    "suite": [json.dumps({"suite": "x", "models": {"m": _MODEL}}).encode()],
}  # fmt: skip
# Bytes that parsers often fail on.
WORDS = [
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n", b"\t", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b"[" * 5000,
    b'{"a":' * 3000, b"nan", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"9" * 400, b"\\ud800", b"\xed\xa0\x80",
    b"null", b"true", b"&a", b"*a", b"<<: ", b"!!python/object/apply:os.system ['true']", b"%", b"\xe2\x80\xa8",
    b"\x1c", b"../", b"PK\x03\x04", b"\x80\x02", b"cos\nsystem\n", b"a" * 3000, b",", b";", b":", b"- ", b"#", b"\x85",
]  # fmt: skip


def changed(sample: bytes, rng: random.Random) -> bytes:
    """A sample with a few random changes."""
    data = bytearray(sample)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        place = rng.randint(0, len(data))
        way = rng.randrange(6)
        if way == 0 and data:
            data[place % len(data)] = rng.randrange(256)
        elif way == 1:
            del data[place : place + rng.randint(1, 12)]
        elif way == 2:
            data[place:place] = rng.choice(WORDS)
        elif way == 3:
            data[place:place] = data[: rng.randint(0, 60)]
        elif way == 4:
            other = rng.choice(WORDS)
            data[place : place + len(other)] = other
        else:
            del data[place:]
    return bytes(data)


def attempt(name: str, data: bytes, folder: Path) -> None:
    """Run a target.

    Raises:
        AssertionError: It took too long.
        Exception: Any error that is not a message for the user.
    """
    begun = time.process_time()
    try:
        TARGETS[name](data, folder)
    except GlueLitError as error:
        if not str(error).strip():
            raise AssertionError(f"{name}: a message without words") from error
    assert time.process_time() - begun < SLOW, f"{name} took too long"


def main() -> None:
    """Run targets from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="let coverage guide; of one target, until it is stopped")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        if options.atheris:
            guided(options.targets[0], Path(folder))
            return
        for name in options.targets or TARGETS:
            begun, rng = time.perf_counter(), random.Random(options.seed)
            for case in range(options.cases):
                data = changed(rng.choice(SAMPLES[name]), rng)
                try:
                    attempt(name, data, Path(folder))
                except Exception:
                    Path(f"{name}.bad").write_bytes(data)
                    print(f"{name}: case {case} of seed {options.seed}, kept in {name}.bad")
                    raise
            print(f"{name}: {options.cases:,} cases in {time.perf_counter() - begun:.0f} s", flush=True)


def guided(name: str, folder: Path) -> None:
    """Run one target under atheris (libFuzzer)."""
    import atheris  # type: ignore[import-not-found]

    atheris.instrument_all()
    atheris.Setup([sys.argv[0]], lambda data: attempt(name, bytes(data), folder))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
