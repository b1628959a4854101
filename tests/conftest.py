"""Fixtures for all tests: no network, a cache of our own, a model that is built in milliseconds."""

import os
import string
from pathlib import Path

# huggingface_hub and tokenizers read these once, when they are imported: before any test module is.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Models of a few thousand weights are slower on several threads; torch reads this at its import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

_REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The token cache of the whole test session."""
    return tmp_path_factory.mktemp("glue-lit-cache")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, session_cache: Path) -> None:
    """Nothing in the environment of whoever runs the tests may decide their outcome."""
    monkeypatch.setenv("GLUE_LIT_CACHE", str(session_cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    for name in list(os.environ):
        if name.startswith(("GLUE_LIT_FIT__", "SLURM_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def glue_dir() -> Path:
    """The real GLUE files; tests that need them are skipped where there are none."""
    folder = os.environ.get("GLUE_DIR")
    if not folder:
        pytest.skip("set GLUE_DIR to a folder with the official GLUE files")
    path = (_REPOSITORY / folder).resolve()  # relative to the repository, wherever pytest was started
    if not path.is_dir():
        pytest.fail(f"GLUE_DIR is {folder!r}: there is no folder {path}")
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
