"""Truncation that keeps both ends: tokens against those cut by hand, in data, prediction and export."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import glue_lit
from tiny_folders import tokenizer_of
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from glue_lit import GLUEDataModule, Predictor
from glue_lit.data.head_tail import HeadTail, head_of, kept_of_pair
from glue_lit.data.rows import Rows
from glue_lit.data.tokenizers import load_tokenizer
from glue_lit.data.tokens import tokenise

WORDS = ("good", "badly", "filmed", "a", "the", "unwatchable", "don't", "x" * 30)


def corpus(seed: int, words: int, space: str = " ") -> str:
    return space.join(random.Random(seed).choices(WORDS, k=words))


TEXTS = ["good", corpus(0, 30), corpus(1, 600), corpus(2, 3000, "\n"), corpus(3, 900, ""), "a" * 5000 + " good"]


@pytest.mark.parametrize(("room", "head"), [(510, 128), (254, 64), (62, 16), (126, 32), (2, 1), (1, 1)])
def test_the_share_is_that_of_the_paper(room: int, head: int) -> None:
    assert head_of(room) == head


def ends(ids: list[int], room: int) -> list[int]:
    """The kept tokens by hand."""
    head = max(1, round(room * 128 / 510))
    return ids if len(ids) <= room else ids[:head] + ids[len(ids) - (room - head) :]


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlnet", "t5", "gpt2"])
@pytest.mark.parametrize("max_length", [4, 17, 40])
def test_a_text_keeps_its_first_and_last_tokens(kind: str, max_length: int) -> None:
    tokenizer = tokenizer_of(kind, has_padding=kind != "gpt2")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    store = tokenise(Rows(TEXTS, None, [None] * len(TEXTS)), tokenizer, max_length, False, truncation="head_tail")
    found = [ids.tolist() for ids in store.input_ids.tensor_split(store.offsets[1:-1])]
    before, after = {"bert": (1, 1), "roberta": (1, 1), "xlnet": (0, 2), "t5": (0, 1), "gpt2": (0, 0)}[kind]
    for text, ids in zip(TEXTS, found, strict=True):
        own, whole = tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer(text)["input_ids"]
        expected = ends(own, max_length - before - after)
        assert ids == whole[:before] + expected + whole[len(whole) - after :]


@pytest.mark.parametrize("max_length", [8, 17, 40])
def test_the_texts_of_a_pair_keep_as_much_as_longest_first(tiny_model: Path, max_length: int) -> None:
    own = load_tokenizer(str(tiny_model), "main", False)
    long, longer = corpus(7, 12), corpus(8, 40)  # much longer ones would take a tokenizer's truncation minutes
    firsts, seconds = ["good", long, longer, long, longer], [long, "good", long, longer, longer]
    rows = Rows(firsts, seconds, [None] * 5)
    store = tokenise(rows, own, max_length, False, truncation="head_tail")
    assert store.token_type_ids is not None
    usual = own(firsts, seconds, truncation=True, max_length=max_length)
    for at in range(5):
        part = slice(*store.offsets[at : at + 2].tolist())
        kept = [usual.sequence_ids(at).count(text) for text in (0, 1)]
        a, b = (ends(own(text, add_special_tokens=False)["input_ids"], count)
                for text, count in zip((firsts[at], seconds[at]), kept, strict=True))  # fmt: skip
        cls, sep = own.cls_token_id, own.sep_token_id
        assert store.input_ids[part].tolist() == [cls, *a, sep, *b, sep]
        assert store.token_type_ids[part].tolist() == [0] * (len(a) + 2) + [1] * (len(b) + 1)


@pytest.mark.parametrize(("first", "second"), [(3, 90), (90, 3), (50, 50), (51, 50), (50, 51), (20, 30), (19, 90)])
@pytest.mark.parametrize("room", [38, 39])
def test_kept_of_pair_is_longest_first(tiny_model: Path, first: int, second: int, room: int) -> None:
    own = load_tokenizer(str(tiny_model), "main", False)
    found = own(" ".join("a" * first), " ".join("b" * second), truncation=True, max_length=room + 3)
    if first + second > room:
        assert kept_of_pair(first, second, room) == tuple(found.sequence_ids().count(text) for text in (0, 1))


def test_a_long_document_takes_its_ends_only(tiny_model: Path) -> None:
    own = load_tokenizer(str(tiny_model), "main", False)
    text = f"{corpus(5, 300)} {'x y ' * 250_000} {corpus(6, 300)}"
    store = tokenise(Rows([text], None, [None]), own, 64, False, truncation="head_tail")
    (expected,), _ = HeadTail(own, 64)([[f"{text[:3000]} {text[-3000:]}"]])
    assert store.input_ids.tolist() == expected


def test_a_tokenizer_whose_texts_cannot_be_told_apart_is_refused() -> None:
    class Odd:
        truncation_side = "right"

        def __call__(self, *texts: str, add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
            return {"input_ids": [9, 8, 7] if add_special_tokens else [1, 2]}

    with pytest.raises(Exception, match=r"data\.truncation: got head_tail, but the tokenizer of this model"):
        HeadTail(Odd(), 8)


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("head-tail")
    lines = [
        json.dumps({"text": f"{n} {'x ' * (n * 9)}end {n % 5}", "label": "ab"[n % 2]}) + "\n" for n in range(20)
    ]  # fmt: skip
    (folder / "train.jsonl").write_text("".join(lines[:14]))
    (folder / "dev.jsonl").write_text("".join(lines[14:]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert glue_lit(
            patch, "fit", "--data.task=ends", f"--data.source={folder}", f"--model.name_or_path={tiny_model}",
            "--data.custom.text=text", "--data.truncation=head_tail", "--data.max_length=32", "--trainer.max_epochs=1",
            "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.precision=32-true",
        ) == 0  # fmt: skip
    return folder / "lightning_logs" / "ends" / "version_0"


def test_prediction_and_export_use_what_training_used(
    run: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run.parents[2]
    monkeypatch.chdir(folder)
    assert "train texts cut at 32 tokens, in the middle" in (run / "log.txt").read_text()
    data = GLUEDataModule(
        task="ends", source=str(folder), tokenizer=str(tiny_model), custom={"text": "text"}, max_length=32,
        truncation="head_tail",
    )  # fmt: skip
    plain = GLUEDataModule(
        task="ends", source=str(folder), tokenizer=str(tiny_model), custom={"text": "text"}, max_length=32
    )
    assert not data.dataset("train").store.input_ids.equal(plain.dataset("train").store.input_ids)  # cached apart
    assert glue_lit(monkeypatch, "export", "--run", run, "--output", "exported") == 0
    config = json.loads((folder / "exported" / "config.json").read_text())
    assert config["glue_lit"] == {"truncation": "head_tail", "max_length": 32}
    card = (folder / "exported" / "README.md").read_text()
    assert "ids = ids[:9] + ids[-23:]" in card
    model = AutoModelForSequenceClassification.from_pretrained(folder / "exported").eval()
    own = AutoTokenizer.from_pretrained(folder / "exported")
    texts = [json.loads(line)["text"] for line in (folder / "dev.jsonl").read_text().splitlines()]
    found = Predictor(run / "checkpoints" / "best.ckpt").of_texts(texts)
    for text, logits in zip(texts, found, strict=True):
        ids = own(text, truncation=False)["input_ids"]
        ids = ids[:9] + ids[-23:] if len(ids) > 32 else ids  # as the card says
        with torch.inference_mode():
            assert torch.allclose(model(torch.tensor([ids])).logits[0], logits, atol=1e-5)
    capsys.readouterr()
    assert glue_lit(monkeypatch, "predict", "--run", run, "--text", texts[-1]) == 0
    typed = json.loads(capsys.readouterr().out)["probabilities"]
    assert list(typed.values()) == pytest.approx(found[-1].softmax(0).tolist(), abs=2e-6)


def test_another_value_is_refused(tiny_model: Path) -> None:
    with pytest.raises(Exception, match=r"data\.truncation: got tail, allowed: head, head_tail"):
        GLUEDataModule(task="cola", source="demo", tokenizer=str(tiny_model), truncation="tail")  # type: ignore[arg-type]
