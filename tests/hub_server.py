"""A stand-in of the Hugging Face Hub on this machine, for programs that are started with its address in $HF_ENDPOINT.

It serves what huggingface_hub, datasets and transformers ask for: information, trees and files of models and data sets
(files in Git by a redirect to the Hub's own cache, large ones by a redirect to another host), and uploads. Large files
are not offered through Xet. Tests add repositories, ask for faults, and count requests.
"""

import shutil
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hub_connection import Fault
from hub_repositories import Repository, glue, model, sha256
from hub_routes import Routes

PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"
TOKEN = "hf_good"


class Hub:
    """The server; it listens from its construction to `close`.

    Args:
        tiny_model: Folder of the model that it serves as ``distilbert-base-uncased``.
        home: Where programs keep what they download.

    Attributes:
        url: Its address.
        cdn: The address of the host that serves large files.
        repositories: By kind (``models``, ``datasets``) and name.
        moved: The names of models by those that they had before.
        users: By token; every other token is expired.
        faults: Faults of the answers; the first that matches a request applies.
        requests: "METHOD /path?query" of each; "CONNECT host:port" of a program whose proxy it is.
        uploads: Large files by checksum.
        environment: Variables for programs that use it instead of the Hub and can reach no other host.
    """

    def __init__(self, tiny_model: Path, home: Path) -> None:
        self.closing = threading.Event()
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), type("_", (Routes,), {"hub": self})) for _ in range(2)]
        self.url, self.cdn = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        self._tiny_model = tiny_model
        self.home = home
        self.environment = {
            "HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
            "HTTPS_PROXY": self.url, "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        self.reset()
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def reset(self) -> None:
        """Have GLUE and a tiny model in DistilBERT's place, one user, and no fault; forget what programs downloaded."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.repositories: dict[tuple[str, str], Repository] = {
            ("datasets", "nyu-mll/glue"): glue(),
            ("models", "distilbert/distilbert-base-uncased"): model(self._tiny_model),
        }
        self.moved = {"distilbert-base-uncased": "distilbert/distilbert-base-uncased"}
        self.users = {TOKEN: "me"}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.uploads: dict[str, bytes] = {}

    def close(self) -> None:
        """Stop listening, and end the answers that are stalled."""
        self.closing.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def fail(self, requests: str, **fault: Any) -> None:
        """Add a `Fault`."""
        self.faults.append(Fault(requests, **fault))

    def asked(self) -> list[str]:
        """The requests without their queries, and without those that a redirect of the Hub's led to."""
        paths = [request.partition("?")[0] for request in self.requests]
        moved = tuple(f"{place}{name}/" for place in (" /", " /api/models/") for name in self.moved)
        return [path for path in paths if "/api/resolve-cache/" not in path and not any(name in path for name in moved)]

    def find_large_file(self, digest: str) -> bytes | None:
        """The file of a checksum."""
        found = (files for r in self.repositories.values() for files in (r.files, *r.revisions.values()))
        stored = {sha256(content): content for files in found for content in files.values()}
        return self.uploads.get(digest, stored.get(digest))
