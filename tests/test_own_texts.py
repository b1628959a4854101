"""Texts made of several columns, by templates or joined, through all that a user does with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
import yaml
from command_line import glue_lit
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from glue_lit import GLUEDataModule, Predictor

Command = Callable[..., int]
TEXT = ["Price {price}: {title}", "{body} {sep} {tag}"]
ROWS: list[dict[str, Any]] = [
    {"key": f"k{n}", "title": f"title {n}", "price": None if n == 5 else n / 2, "body": f"long body {n % 7} of {n}",
     "tag": ["red", "blue", ""][n % 3], "label": ["bad", "good"][n % 2]} for n in range(48)
]  # fmt: skip


def rendered(row: dict[str, Any]) -> tuple[str, str]:
    """The texts by hand: numbers as in every format, nothing for a missing value."""
    price = "" if row["price"] is None else f"{row['price']:g}"
    return f"Price {price}: {row['title']}", f"{row['body']} [SEP] {row['tag']}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own-texts")
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:40]))
    (folder / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[40:] + ROWS[:1]))
    return folder


@pytest.fixture
def command(place: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`glue-lit` in the directory that all tests share."""
    monkeypatch.chdir(place)
    return lambda *arguments: glue_lit(monkeypatch, *arguments)


@pytest.fixture(scope="module")
def run(tiny_model: Path, place: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert glue_lit(
            patch, "fit", "--data.task=goods", f"--data.source={place}", f"--model.name_or_path={tiny_model}",
            "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.precision=32-true",
            "--data.custom.text", *TEXT, "--data.custom.id=key", "--data.both_orders=true",
        ) == 0  # fmt: skip
    return place / "lightning_logs" / "goods" / "version_0"


def test_the_tokens_are_those_of_the_texts_by_hand(tiny_model: Path, place: Path) -> None:
    data = GLUEDataModule(
        task="goods", source=str(place), tokenizer=str(tiny_model), custom={"text": TEXT}, both_orders=True
    )
    assert data.custom.sep_token == "[SEP]"
    dataset, tokenizer = data.dataset("train"), AutoTokenizer.from_pretrained(tiny_model)
    pairs = [rendered(row) for row in ROWS[:40]]
    for order in (pairs, [(second, first) for first, second in pairs]):
        expected = tokenizer(*map(list, zip(*order, strict=True)), truncation=True, max_length=64)["input_ids"]
        start = 0 if order is pairs else 40
        found = [dataset[[start + at]] for at in range(40)]
        assert [batch["input_ids"][0].tolist() for batch in found] == expected


def test_a_run_names_the_template_and_what_it_found(run: Path) -> None:
    custom = yaml.safe_load((run / "config.yaml").read_text())["data"]["custom"]
    assert (custom["text"], custom["sep_token"], custom["text_separator"]) == (TEXT, "[SEP]", None)
    log = (run / "log.txt").read_text()
    assert "Price {price}: {title} and {body} {sep} {tag} -> label" in log
    assert "{sep} is '[SEP]' (data.custom.sep_token)" in log
    assert "validation rows also in train" in log  # the ninth is the first of train


def test_files_typed_texts_and_python_get_the_same_predictions(
    run: Path, command: Command, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("predict", "--run", run, "--data.predict_split=validation") == 0
    lines = [json.loads(line) for line in (run / "predictions" / "validation.jsonl").read_text().splitlines()]
    expected = [line["probabilities"]["good"] for line in lines]
    assert [line["id"] for line in lines] == [row["key"] for row in [*ROWS[40:], ROWS[0]]]
    rows = [{name: row[name] for name in row if name != "label"} for row in [*ROWS[40:], ROWS[0]]]
    pandas.DataFrame(rows).to_parquet(place / "new.parquet")
    pandas.DataFrame(rows).to_csv(place / "new.csv", index=False)
    for file in ("new.parquet", "new.csv"):
        assert command("predict", "--run", run, "--file", file, "--with_texts", "--output=out.jsonl") == 0
        found = [json.loads(line) for line in (place / "out.jsonl").read_text().splitlines()]
        if file == "new.parquet":  # in CSV, pandas writes 20 as 20.0, which is text there
            assert [(line["text"], line["text_pair"]) for line in found] == [rendered(row) for row in rows]
            assert [line["probabilities"]["good"] for line in found] == pytest.approx(expected, abs=2e-6)
    capsys.readouterr()
    assert command("predict", "--run", run, "--text", json.dumps(rows[0]), "--text", json.dumps(rows[1])) == 0
    typed = [json.loads(line)["probabilities"]["good"] for line in capsys.readouterr().out.splitlines()]
    assert typed == pytest.approx(expected[:2], abs=2e-6)
    logits = Predictor(run / "checkpoints" / "best.ckpt").of_texts(rows)
    assert logits.softmax(1)[:, 1].tolist() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--text", "a plain text"), "is made of 'price', 'title', 'body' and 'tag'. Write a JSON object"),
        (("--text", "{}", "--text_pair", "b"), "--text_pair: a text of this task has several columns"),
        (("--text", '{"title": "a", "body": "b", "tag": ""}'), "there is no 'price'. Every row needs"),
        (("--text", '{"title": "a", "price": 1, "body": null, "tag": ""}'), "columns 'body', 'tag' are all empty"),
        (
            ("--file", "train.jsonl", "--columns", "title"),
            "--columns: got 1 ('title'), task goods takes price, title, body and tag",
        ),
    ],
)
def test_a_row_that_lacks_something_is_refused(
    arguments: tuple[str, ...], words: str, run: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("predict", "--run", run, *arguments) != 0
    assert words in capsys.readouterr().err


def test_a_report_shows_the_rendered_texts_and_ids(run: Path, command: Command) -> None:
    assert command("report", run) == 0
    page = (run / "report" / "report.html").read_text()
    wrong = [row for row in ROWS[40:] if f"Price {row['price']:g}: {row['title']}" in page]
    assert wrong
    assert all(row["key"] in page for row in wrong)


def test_an_export_says_how_texts_are_made_and_scores_them_alike(run: Path, command: Command, place: Path) -> None:
    assert command("export", "--run", run, "--output", "exported") == 0
    record = json.loads((place / "exported" / "config.json").read_text())["glue_lit"]
    assert record == {
        "columns": ["price", "title", "body", "tag"],
        "text": ["Price {price}: {title}", "{body} [SEP] {tag}"],
    }
    card = (place / "exported" / "README.md").read_text()
    assert "Price {price}: {title}" in card
    assert "{body} [SEP] {tag}" in card
    model = AutoModelForSequenceClassification.from_pretrained(place / "exported").eval()
    tokenizer = AutoTokenizer.from_pretrained(place / "exported")
    pairs = [rendered(row) for row in ROWS]
    inputs = tokenizer(*map(list, zip(*pairs, strict=True)), truncation=True, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**inputs).logits
    found = Predictor(run / "checkpoints" / "best.ckpt").of_texts(ROWS)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_fit_resumes(run: Path, command: Command) -> None:
    assert command("fit", "--run", run, "--ckpt_path=last", "--trainer.max_epochs=2") == 0
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["custom"]["text"] == TEXT


@pytest.mark.parametrize("how", ["flag", "list", "file", "environment", "section"])
def test_a_template_is_a_text_wherever_it_is_given(
    how: str, command: Command, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    template, flags = "{title}: {body} # {sep}", []
    if how in ("flag", "list"):
        flags = ["--data.custom.text", template if how == "flag" else json.dumps([template, template])]
    elif how == "environment":
        monkeypatch.setenv("GLUE_LIT_FIT__DATA__CUSTOM__TEXT", template)
    elif how == "section":
        flags = [f"--data.custom={{text: {json.dumps(template)}}}"]
    else:
        (place / "text.yaml").write_text(f"data:\n  custom:\n    text: {json.dumps(template)}\n")
        flags = ["--config=text.yaml"]
    assert command("fit", *flags, "--print_config") == 0
    text = yaml.safe_load(capsys.readouterr().out)["data"]["custom"]["text"]
    assert text == ([template, template] if how == "list" else template)


def test_a_template_without_quotes_in_a_file_is_explained(
    command: Command, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "bare.yaml").write_text("data:\n  custom:\n    text: {title}\n")
    assert command("fit", "--config=bare.yaml") != 0
    assert 'A template needs quotes in YAML, where braces are a mapping: "{title}: {body}".' in capsys.readouterr().err


def test_a_model_without_the_token_is_refused_before_data_are_read(
    tiny_model: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(
        "fit", "--data.task=goods", "--data.source=train.jsonl", f"--model.name_or_path={tiny_model}",
        "--data.custom.text={title} </s> {body}", "--data.custom.label=nothing",
    ) != 0  # fmt: skip
    assert "data.custom.text: got '</s>', which is no special token of this model" in capsys.readouterr().err


def test_the_cache_tells_templates_separators_and_their_token_apart(
    tiny_model: Path, place: Path, tmp_path: Path
) -> None:
    settings: list[dict[str, Any]] = [
        {"text": "{title} {sep} {body}"}, {"text": "{title} {body}"}, {"text": "{body} {title}"},
        {"text": ["title", "body"]}, {"text": ["title", "body"], "text_separator": " "},
        {"text": ["title", "body"], "text_separator": ";"}, {"text": "{title} {sep} {body}", "sep_token": "[MASK]"},
    ]  # fmt: skip
    found = set()
    for custom in settings:
        data = GLUEDataModule(
            task="goods", source=str(place), tokenizer=str(tiny_model), custom=custom, cache_dir=str(tmp_path)
        )
        store = data.dataset("train").store
        assert store.token_type_ids is not None
        found.add((*store.input_ids.tolist(), *store.token_type_ids.tolist()))
    assert len(found) == len(settings) - 1  # a template with a blank and a blank as separator are the same text


def test_a_header_among_the_rows_is_found_in_a_template(tiny_model: Path, tmp_path: Path) -> None:
    lines = [f"title {n},{n},{'xy'[n % 2]}" for n in range(20)]
    (tmp_path / "train.csv").write_text("\n".join(["name,n,label", *lines, "name,n,label", ""]))
    (tmp_path / "dev.csv").write_text("\n".join(["name,n,label", *lines[:4], ""]))
    custom = {"text": "{n}: {name}", "kind": "classification"}
    data = GLUEDataModule(task="goods", source=str(tmp_path), tokenizer=str(tiny_model), custom=custom)
    found = [finding.what for finding in data.splits.findings("fit")]
    assert "header among training rows" in found
