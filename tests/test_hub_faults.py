"""A Hub that does not answer, or answers with something else, and a cache of its files that cannot be used."""

import subprocess
import time
from pathlib import Path

import pytest
import warm
from hub_server import PAGE, Hub

from glue_lit.encoder import pretrained
from glue_lit.encoder.pretrained import downloaded_page, waiting_for_hub

ANSWER = {"body": PAGE, "headers": {"ETag": '"abc"', "X-Repo-Commit": "a" * 40}}  # of a proxy that knows one page


def fit(folder: Path, hub: Hub, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    result = warm.run(
        "-m", "glue_lit", "fit", "--data.task=cola", *arguments, folder=folder, **{**hub.environment, **environment}
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert not (folder / "lightning_logs").exists()
    return result


def test_a_page_in_the_place_of_a_model_is_named(tmp_path: Path, hub: Hub) -> None:
    hub.fail(".", status=200, **ANSWER)
    found = fit(tmp_path, hub, "--data.source=demo", "--model.name_or_path=bert-base-cased").stderr
    assert "could not load the tokenizer of 'bert-base-cased'. What was downloaded is a web page" in found
    assert "check $HTTPS_PROXY and $HF_ENDPOINT, remove " in found
    assert "models--bert-base-cased" in found


def test_a_page_in_the_place_of_a_data_set_is_named(tmp_path: Path, tiny_model: Path, hub: Hub) -> None:
    hub.fail(".", status=200, **ANSWER)
    found = fit(tmp_path, hub, f"--model.name_or_path={tiny_model}").stderr
    assert "data.source hub: could not load nyu-mll/glue (cola, train): " in found
    assert "if a proxy or $HF_ENDPOINT answers every question with a page, that is why" in found


def test_an_answer_that_is_cut_off_leaves_no_file(tmp_path: Path, hub: Hub) -> None:
    hub.fail("GET .*config.json", cut=10)
    found = fit(tmp_path, hub, "--data.source=demo", "--model.name_or_path=distilbert-base-uncased").stderr
    assert "could not load the tokenizer of 'distilbert-base-uncased'" in found
    assert not list(hub.home.rglob("config.json"))


def test_a_proxy_that_refuses_is_an_error_in_a_line(tmp_path: Path, tiny_model: Path, hub: Hub) -> None:
    hub.fail(".", status=407)
    found = fit(tmp_path, hub, f"--model.name_or_path={tiny_model}").stderr
    assert "Check the network (and HF_HUB_OFFLINE), or read the official files" in found


@pytest.mark.parametrize("what", ["a model", "a data set"])
def test_a_cache_that_cannot_be_written_is_named(what: str, tmp_path: Path, tiny_model: Path, hub: Hub) -> None:
    where = ["--data.source=demo", "--model.name_or_path=some/model"]
    if what == "a data set":
        where = [f"--model.name_or_path={tiny_model}"]
    result = fit(tmp_path, hub, *where, HF_HOME="/proc/nowhere")  # where not even root can make a folder
    assert "Downloads cannot be kept in /proc/nowhere (No such file or directory): set $HF_HOME to" in result.stderr


def test_a_long_wait_for_the_hub_is_announced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror")
    with waiting_for_hub(seconds=0.01):
        time.sleep(0.5)
    said = capsys.readouterr().err
    assert said == pretrained._STILL_WAITING.format("http://mirror") + "\n"
    with waiting_for_hub(seconds=60):
        pass
    assert capsys.readouterr().err == ""


def test_only_a_page_is_taken_for_one(tmp_path: Path) -> None:
    page, other = tmp_path / "config.json", tmp_path / "other.json"
    page.write_bytes(PAGE)
    other.write_text("{")
    assert downloaded_page(f"It looks like the config file at '{page}' is not a valid JSON file.") == page
    assert downloaded_page(f"It looks like the config file at '{other}' is not a valid JSON file.") is None
    assert downloaded_page(f"'{tmp_path}' and '{tmp_path / 'nowhere'}' and 'a\0b'") is None
