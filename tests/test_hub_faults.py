"""A Hub that does not answer, or answers with something else, and a cache of its files that cannot be used."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import warm
import yaml
from hub_repositories import Repository
from hub_server import PAGE, TOKEN, Hub

from glue_lit.system import hub as hub_module
from glue_lit.system.hub_errors import downloaded_page

ANSWER = {"body": PAGE, "headers": {"ETag": '"abc"', "X-Repo-Commit": "a" * 40}}  # of a proxy that knows one page


MODEL = ("--data.source=demo", "--model.name_or_path=distilbert-base-uncased")


def run_fit(folder: Path, hub: Hub, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return warm.run(
        "-m", "glue_lit", "fit", "--data.task=cola", *arguments, folder=folder, **{**hub.environment, **environment}
    )


def refused(folder: Path, hub: Hub, *arguments: str, **environment: str) -> str:
    """The line that a fit ends with before it has begun."""
    result = run_fit(folder, hub, *arguments, **environment)
    assert result.returncode == 1
    *before, last = result.stderr.splitlines()
    assert [line for line in before if not line.startswith(f"Waiting for {hub.url}, with several attempts")] == []
    assert not (folder / "lightning_logs").exists()
    return last


def test_a_page_in_the_place_of_a_model_is_named(tmp_path: Path, hub: Hub) -> None:
    hub.fail(".", status=200, **ANSWER)
    found = refused(tmp_path, hub, *MODEL)
    assert (
        f"could not load the tokenizer of 'distilbert-base-uncased'. The answer of {hub.url} is not the Hub's" in found
    )
    assert "Check $HTTPS_PROXY and $HF_ENDPOINT. Then remove " in found
    assert "models--distilbert-base-uncased" in found


def test_a_page_in_the_place_of_a_data_set_is_named(tmp_path: Path, tiny_model: Path, hub: Hub) -> None:
    hub.fail(".", status=200, **ANSWER)
    found = refused(tmp_path, hub, f"--model.name_or_path={tiny_model}")
    assert f"could not load nyu-mll/glue (cola, train): The answer of {hub.url} is not the Hub's" in found


def test_a_page_without_the_headers_of_the_hub_is_named(tmp_path: Path, hub: Hub) -> None:
    hub.fail(".", status=200, body=PAGE)
    assert f"The answer of {hub.url} is not the Hub's, perhaps a web page" in refused(tmp_path, hub, *MODEL)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "The model is gated, and you are not logged in. Ask for access at {url}/some/gated, and log in"),
        (TOKEN, "The model is gated, and your account has no access to it. Ask for access at {url}/some/gated."),
        ("hf_expired", "The Hub refuses your token (of $HF_TOKEN): it is wrong or has expired. Log in again"),
    ],
)
def test_a_gated_model(token: str, message: str, tmp_path: Path, hub: Hub) -> None:
    files = hub.repositories["models", "distilbert/distilbert-base-uncased"].files
    hub.repositories["models", "some/gated"] = Repository(files, gated=True)
    found = refused(tmp_path, hub, "--data.source=demo", "--model.name_or_path=some/gated", HF_TOKEN=token)
    assert message.format(url=hub.url) in found


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("some/nothing", "The Hub has no data set of that name, or it is private. Check the spelling"),
        ("some/gated", "The data set is gated, and you are not logged in. Ask for access at {url}/datasets/some/gated"),
        ("some/script", "its rows are made by a script, which `datasets` no longer runs."),
        ("some/several", "its configurations are en, fr. Name one of them: `--data.source some/several:en`."),
        ("some/several:de", "its configurations are en, fr. Name one of them: `--data.source some/several:en`."),
    ],
)
def test_data_sets_that_cannot_be_used(source: str, message: str, tmp_path: Path, tiny_model: Path, hub: Hub) -> None:
    several = {f"{name}.csv": b"text,label\nso,a\nno,b\n" for name in ("en", "fr")}
    card = {"configs": [{"config_name": name, "data_files": f"{name}.csv"} for name in ("en", "fr")]}
    several["README.md"] = f"---\n{yaml.safe_dump(card)}---\n".encode()
    hub.repositories |= {
        ("datasets", "some/gated"): Repository({"README.md": b"", "train.csv": b""}, gated=True),
        ("datasets", "some/script"): Repository({"script.py": b""}),
        ("datasets", "some/several"): Repository(several),
    }
    own = ("--data.task=mine", f"--data.source={source}", "--data.custom.text=text", "--data.custom.label=label")
    found = refused(tmp_path, hub, *own, f"--model.name_or_path={tiny_model}")
    assert f"could not load {source}: {message.format(url=hub.url)}" in found


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 429, "headers": {"Retry-After": "0"}}, "The Hub got too many requests from here (429)."),
        ({"status": 407}, "The proxy requires a login (407). Put name and password into $HTTPS_PROXY"),
    ],
)
def test_refusals_of_the_hub(fault: dict[str, Any], message: str, tmp_path: Path, tiny_model: Path, hub: Hub) -> None:
    hub.fail(".", **fault)
    assert message in refused(tmp_path, hub, f"--model.name_or_path={tiny_model}")


def test_a_revision_that_is_not_there(tmp_path: Path, hub: Hub) -> None:
    found = refused(tmp_path, hub, *MODEL, "--model.revision=v9")
    assert f"The model has no such revision. Use a branch, a tag or a commit of {hub.url}/distilbert" in found


def test_an_answer_that_is_cut_off_leaves_no_file(tmp_path: Path, hub: Hub) -> None:
    hub.fail("GET .*config.json", cut=10)
    found = refused(tmp_path, hub, *MODEL)
    assert "could not load the tokenizer of 'distilbert-base-uncased'" in found
    assert not list(hub.home.rglob("config.json"))


FEW = (
    "--data.train_limit=16", "--data.validation_limit=16", "--trainer.max_steps=2", "--trainer.accelerator=cpu",
    "--trainer.precision=32-true",
)  # fmt: skip


def test_a_server_that_cannot_answer_at_the_moment_is_asked_again(tmp_path: Path, hub: Hub) -> None:
    hub.fail("GET /cdn/", status=503, times=2)
    result = run_fit(tmp_path, hub, *FEW)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == [
        f"The Hub answered with an error of its own (503); trying again in {seconds} s." for seconds in (1, 2)
    ]


def test_a_cut_download_is_resumed(tmp_path: Path, hub: Hub) -> None:
    hub.fail("GET /cdn/", cut=1000, times=1)
    result = run_fit(tmp_path, hub, *FEW)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (
            {"stall": 60, "status": 200},
            "{url} cannot be reached, or does not answer. Check the network and $HTTPS_PROXY.",
        ),
        ({"status": 503}, "The Hub has an error of its own (503). Try again later."),
    ],
)
def test_what_is_cached_is_used_at_once_where_the_hub_is_of_no_help(
    fault: dict[str, Any], why: str, tmp_path: Path, hub: Hub
) -> None:
    assert run_fit(tmp_path, hub, *FEW).returncode == 0
    model = hub.repositories["models", "distilbert/distilbert-base-uncased"].resolve("main")
    data = hub.repositories["datasets", "nyu-mll/glue"].resolve("main")
    hub.fail(".", **fault)
    hub.requests.clear()
    result = run_fit(tmp_path, hub, *FEW, "--data.cache_dir=anew")
    assert result.returncode == 0
    taken = "{} is taken from the cache, as it was at commit {}. "
    expected = [taken.format("nyu-mll/glue", str(data)[:7]) + why.format(url=hub.url)]
    if "status" in fault and fault["status"] == 503:
        expected.append(taken.format("distilbert-base-uncased", str(model)[:7]) + why)
    assert result.stderr.splitlines() == expected
    assert len(hub.requests) == len(expected)


def test_an_expired_token_does_not_matter_for_what_is_cached(tmp_path: Path, hub: Hub) -> None:
    assert run_fit(tmp_path, hub, *FEW).returncode == 0
    result = run_fit(tmp_path, hub, *FEW, HF_TOKEN="hf_expired")
    assert result.returncode == 0
    assert "nyu-mll/glue is taken from the cache" in result.stderr
    assert "The Hub refuses your token (of $HF_TOKEN)" in result.stderr


def test_a_cache_that_lacks_files_where_the_hub_is_of_no_help(tmp_path: Path, hub: Hub) -> None:
    hub.fail("GET /cdn/", status=404, times=1)
    refused(tmp_path, hub, *MODEL)  # when the tokenizer was downloaded, and not the weights
    hub.fail(".", status=503)
    result = run_fit(tmp_path, hub, *MODEL)
    assert result.returncode == 1
    first, second = result.stderr.splitlines()
    assert "distilbert-base-uncased is taken from the cache" in first
    assert "could not load the model of 'distilbert-base-uncased'. The cache lacks files of the model." in second


@pytest.mark.parametrize("what", ["a model", "a data set"])
def test_a_cache_that_cannot_be_written_is_named(what: str, tmp_path: Path, tiny_model: Path, hub: Hub) -> None:
    where = ["--data.source=demo", "--model.name_or_path=some/model"]
    if what == "a data set":
        where = [f"--model.name_or_path={tiny_model}"]
    found = subprocess.run(
        [sys.executable, "-m", "glue_lit", "fit", "--data.task=cola", *where],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, **hub.environment, "HF_HOME": "/proc/nowhere"},
        text=True,
        check=False,
    ).stderr  # where not even root can make a folder
    assert "Downloads cannot be kept in /proc/nowhere (No such file or directory): set $HF_HOME to" in found


def test_a_long_wait_for_the_hub_is_announced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror")
    with hub_module.waiting_for_hub(seconds=0.01):
        time.sleep(0.5)
    said = capsys.readouterr().err
    assert said == hub_module._WAITING.format("http://mirror") + "\n"
    with hub_module.waiting_for_hub(seconds=60):
        pass
    assert capsys.readouterr().err == ""


def test_only_a_page_is_taken_for_one(tmp_path: Path) -> None:
    page, other = tmp_path / "config.json", tmp_path / "other.json"
    page.write_bytes(PAGE)
    other.write_text("{")
    assert downloaded_page(f"It looks like the config file at '{page}' is not a valid JSON file.") == page
    assert downloaded_page(f"It looks like the config file at '{other}' is not a valid JSON file.") is None
    assert downloaded_page(f"'{tmp_path}' and '{tmp_path / 'nowhere'}' and 'a\0b'") is None
