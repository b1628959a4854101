"""Fixtures for all tests: no network, a separate cache, the same settings on every machine, a tiny model."""

import json
import locale
import os
import random
import runpy
import string
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hub_server import Hub

# huggingface_hub and tokenizers read these once, at import, so they are set before any test module is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# On every machine, each process has one thread (torch reads that at import; for models of a few thousand weights it is
# the fastest), and the same time zone, locale and processor instructions.
_REPOSITORY = Path(__file__).resolve().parents[1]
_STEADY = Path(__file__).resolve().parent / "steady"
_MACHINE = {
    "OMP_NUM_THREADS": "1",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "PYTHONPATH": os.pathsep.join(dict.fromkeys([str(_STEADY), *filter(None, [os.environ.get("PYTHONPATH")])])),
}
_LAUNCHERS = ("SLURM_", "MALLOC_", "GLUE_LIT_", "MKL_", "LANG", "LC_")
_LAUNCHED = (
    "PL_GLOBAL_SEED", "LOCAL_RANK", "RANK", "WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip
for _name in list(os.environ):
    if _name.startswith(_LAUNCHERS) or _name in _LAUNCHED:
        del os.environ[_name]
os.environ.update(_MACHINE)
time.tzset()
locale.setlocale(locale.LC_ALL, "")
runpy.run_path(str(_STEADY / "sitecustomize.py"))  # this process was started without it


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--bfloat16 on`` runs everything as on a CPU with bfloat16 instructions, ``off`` as on one without."""
    parser.addoption("--bfloat16", choices=["on", "off"], default="off", help="whether the processor has bfloat16")


def pytest_configure(config: pytest.Config) -> None:
    """Pass ``--bfloat16`` on to all processes."""
    os.environ["TEST_BFLOAT16"] = config.getoption("--bfloat16")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Make a test's random numbers and threads independent of earlier tests; runs before the fixtures of its module."""
    random.seed(0)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(0)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The token cache of the whole test session."""
    return tmp_path_factory.mktemp("glue-lit-cache")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, session_cache: Path) -> None:
    """Remove variables of the user's environment that could decide the outcome of a test."""
    monkeypatch.setenv("GLUE_LIT_CACHE", str(session_cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    for name in _LAUNCHED:  # an earlier test may have left one: Lightning stores its seed in one
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def glue_dir() -> Path:
    """The real GLUE files; tests that need them are skipped where there are none."""
    folder = os.environ.get("GLUE_DIR")
    if not folder:
        pytest.skip("set GLUE_DIR to a folder with the official GLUE files")
    path = (_REPOSITORY / folder).resolve()  # relative to the repository, wherever pytest was started
    if not list(path.glob("*/*.tsv")):  # else every test of real files would be skipped
        pytest.fail(f"GLUE_DIR is {folder!r}: {path} holds no folder with TSV files")
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT (2 layers of 32, 64 positions) and a WordPiece tokenizer that spells words out."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    characters = string.ascii_letters + string.digits
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters)]
    vocabulary = {word: number for number, word in enumerate([*words, *string.punctuation])}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    folder = tmp_path_factory.mktemp("tiny-bert")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab=vocabulary, model_max_length=64).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def hub_server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Hub]":
    """The stand-in of the Hub, which all tests of a worker share."""
    from hub_server import Hub

    server = Hub(tiny_model, tmp_path_factory.mktemp("hub") / "home")
    yield server
    server.close()


@pytest.fixture
def hub(hub_server: "Hub") -> "Hub":
    """A stand-in of the Hub with GLUE and DistilBERT; nothing of it is cached."""
    hub_server.reset()
    return hub_server


@pytest.fixture
def forked_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make forks of the processes that the code under test starts; see `warm`."""
    import warm

    monkeypatch.setattr(subprocess, "Popen", warm.Popen)


@pytest.fixture
def write_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a finished run as `fit` and `predict` leave it, in an empty working directory: rows, curves, predictions.

    The predictions are for the demo corpus; ``skill``, from 0 to 1, decides how many of them are right.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def write(task: str, version: int = 0, skill: float = 0.7, split: str = "", source: str = "demo") -> Path:
        from glue_lit.data.sources import open_split
        from glue_lit.runs.config_values import read_config
        from glue_lit.runs.prediction_record import write_prediction_record
        from glue_lit.tasks.glue import TASKS, log_prefix
        from glue_lit.training.provenance import recipe_of

        spec = TASKS[task]
        split = split or str(spec.monitored_split)
        opened = open_split(spec, source, split)
        run = Path("lightning_logs", task, f"version_{version}")
        for folder in ("checkpoints", "predictions"):
            (run / folder).mkdir(parents=True)
        settings: dict[str, Any] = {
            "seed_everything": version,
            "data": {"task": task, "source": source, "batch_size": 16},
        }
        settings |= {"model": {"learning_rate": 2e-5}}
        (run / "config.yaml").write_text(json.dumps(settings))  # JSON is YAML
        config = read_config((run / "config.yaml").read_text())
        (run / "checkpoints" / "best.ckpt").write_text(f"weights {version}")
        lines = [*_predicted(spec, opened.read().labels, skill, version)]
        path = run / "predictions" / f"{split}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        write_prediction_record(
            path, source, len(lines), run / "checkpoints" / "best.ckpt", fingerprint=opened.fingerprint
        )
        (run / "metrics.json").write_text(
            json.dumps(
                {"task": task, "metrics": {}, "best": {"epoch": 1, "step": 20}, "wall_seconds": 75.0}
                | {"config": config, "recipe": recipe_of(config)}
            )
        )
        prefix = log_prefix(split)
        curves = {"train/loss": {9: 0.7, 19: 0.5, 29: 0.4}, f"{prefix}/loss": {19: 0.6, 29: 0.7}}
        write_events(run / "events.out.tfevents.1.host", curves | {f"{prefix}/{spec.metrics[0]}": {19: 0.8, 29: 0.7}})
        return run

    return write


def _predicted(spec: Any, labels: list[Any], skill: float, seed: int) -> Iterator[dict[str, Any]]:
    draw = random.Random(seed)
    for idx, gold in enumerate(labels):
        if spec.is_regression:
            yield {"idx": idx, "score": skill * gold + (1 - skill) * 5 * draw.random(), "gold": gold}
            continue
        share = 1 / len(spec.labels) + draw.random() * (1 - 1 / len(spec.labels))
        best = gold if draw.random() < skill else draw.randrange(len(spec.labels))
        rest = (1 - share) / (len(spec.labels) - 1)
        row = {name: share if number == best else rest for number, name in enumerate(spec.labels)}
        yield {"idx": idx, "label": spec.labels[best], "probabilities": row, "gold": spec.labels[gold]}


def write_events(path: Path, curves: dict[str, dict[int, float]]) -> None:
    """Write an event file: records as the format has them, with TensorBoard's events in them."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    def record(content: bytes) -> bytes:
        length = struct.pack("<Q", len(content))
        checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
        return length + checksums[0] + content + checksums[1]

    content = record(Event(file_version="brain.Event:2").SerializeToString())
    for tag, points in curves.items():
        for step, value in points.items():
            event = Event(step=step)
            event.summary.value.add(tag=tag, simple_value=value)
            content += record(event.SerializeToString())
    path.write_bytes(content)
