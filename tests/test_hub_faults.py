"""A Hub that does not answer, or answers with something else, and a cache of its files that cannot be used."""

import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glue_lit.encoder import pretrained
from glue_lit.encoder.pretrained import downloaded_page, waiting_for_hub

PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.fixture
def hub() -> Iterator[Callable[..., str]]:
    """Start a server in the Hub's place; it answers every question alike."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(status: int = 200, length: int = len(PAGE)) -> str:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in (("Content-Length", length), ("ETag", '"abc"'), ("X-Repo-Commit", "a" * 40)):
                    self.send_header(name, str(value))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(PAGE)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None: ...

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fit(folder: Path, endpoint: str, *arguments: str, home: str | None = None) -> "subprocess.CompletedProcess[str]":
    online = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": endpoint, "NO_PROXY": "127.0.0.1"}
    online["HF_HOME"] = str(folder / "hf") if home is None else home
    result = subprocess.run(
        [sys.executable, "-m", "glue_lit", "fit", "--data.task=cola", *arguments], cwd=folder,
        env={**os.environ, **online}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert not (folder / "lightning_logs").exists()
    return result


def test_a_page_in_the_place_of_a_model_is_named(tmp_path: Path, hub: Callable[..., str]) -> None:
    found = fit(tmp_path, hub(), "--data.source=demo", "--model.name_or_path=bert-base-cased").stderr
    assert "could not load the tokenizer of 'bert-base-cased'. What was downloaded is a web page" in found
    assert "check $HTTPS_PROXY and $HF_ENDPOINT, remove " in found
    assert "models--bert-base-cased" in found


def test_a_page_in_the_place_of_a_data_set_is_named(tmp_path: Path, tiny_model: Path, hub: Callable[..., str]) -> None:
    found = fit(tmp_path, hub(), f"--model.name_or_path={tiny_model}").stderr
    assert "data.source hub: could not load nyu-mll/glue (cola, train): " in found
    assert "if a proxy or $HF_ENDPOINT answers every question with a page, that is why" in found


def test_an_answer_that_is_cut_off_leaves_no_file(tmp_path: Path, hub: Callable[..., str]) -> None:
    found = fit(tmp_path, hub(length=100_000), "--data.source=demo", "--model.name_or_path=bert-base-cased").stderr
    assert "could not load the tokenizer of 'bert-base-cased'" in found
    assert not list((tmp_path / "hf").rglob("config.json"))


def test_a_proxy_that_refuses_is_an_error_in_a_line(tmp_path: Path, tiny_model: Path, hub: Callable[..., str]) -> None:
    found = fit(tmp_path, hub(status=407), f"--model.name_or_path={tiny_model}").stderr
    assert "Check the network (and HF_HUB_OFFLINE), or read the official files" in found


@pytest.mark.parametrize("what", ["a model", "a data set"])
def test_a_cache_that_cannot_be_written_is_named(
    what: str, tmp_path: Path, tiny_model: Path, hub: Callable[..., str]
) -> None:
    where = ["--data.source=demo", "--model.name_or_path=some/model"]
    if what == "a data set":
        where = [f"--model.name_or_path={tiny_model}"]
    result = fit(tmp_path, hub(), *where, home="/proc/nowhere")  # where not even root can make a folder
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
