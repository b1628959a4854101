"""A connection to the stand-in of the Hub: it finds the route of a request, checks the token, and applies faults."""

import contextlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import unquote

REFUSALS = {
    "RepoNotFound": "Repository not found",
    "RevisionNotFound": "Invalid rev id",
    "EntryNotFound": "Entry not found",
    "GatedRepo": "Access to this repository is restricted. Ask for access on its page.",
}
EXPIRED = "Invalid credentials in Authorization header"


@dataclass
class Fault:
    """A fault that changes the answers to some requests.

    Attributes:
        requests: Regular expression for "METHOD /path?query" of these requests.
        times: The number of requests that get the fault.
        status: Status of the answer; the true one by default.
        body: Body of that answer.
        headers: Headers of that answer.
        cut: Bytes of the true answer's body after which answer and connection end.
        stall: Seconds before that end.
    """

    requests: str
    times: float = float("inf")
    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    stall: float = 0


class Connection(BaseHTTPRequestHandler):
    """One connection; the routes are methods of the class below."""

    protocol_version = "HTTP/1.1"
    hub: Any  # `hub_server.Hub`
    routes: ClassVar[list[tuple[str, str, str]]] = []  # method, expression for the path, name of the method here

    def do_GET(self) -> None:
        """Answer a request of any method."""
        asked = f"{self.command} {self.path}"
        self.sent, self.fault = self._read_body(), self._next_fault(asked)
        if "/api/agent-harnesses" not in asked:  # huggingface_hub's, depending on who runs the tests
            self.hub.requests.append(asked)
        path, _, self.query = self.path.partition("?")
        if self.fault is not None and self.fault.status is not None:
            self.hub.closing.wait(self.fault.stall)
            return self.send(self.fault.status, self.fault.body, self.fault.headers)
        if self.headers.get("Authorization") and self.user is None:
            return self.send_json({"error": EXPIRED}, 401, {"X-Error-Message": EXPIRED})
        for method, expression, name in self.routes:
            found = re.fullmatch(expression, path)
            if found and self.command in (method, "HEAD" if method == "GET" else method):
                groups = {name: unquote(value) for name, value in found.groupdict().items() if value is not None}
                return getattr(self, name)(**groups)
        self.send_json({"error": "Sorry, we can't find the page you are looking for."}, 404)

    do_HEAD = do_POST = do_PUT = do_CONNECT = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def _next_fault(self, asked: str) -> Fault | None:
        for fault in self.hub.faults:
            if fault.times > 0 and re.search(fault.requests, asked):
                fault.times -= 1
                return fault
        return None

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    @property
    def user(self) -> str | None:
        """The user whose token the request has."""
        return self.hub.users.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Send an answer, or the part of it that a fault leaves."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a client that gave up waiting
            self._write(status, body, headers or {})
        if self.fault is not None and self.fault.status is None:
            self.hub.closing.wait(self.fault.stall)
            self.close_connection = True

    def _write(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        cut = None if self.fault is None else self.fault.cut
        if self.command != "HEAD":
            self.wfile.write(body[:cut])

    def send_json(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Send values as JSON."""
        self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send_file(self, content: bytes, headers: dict[str, str]) -> None:
        """Send a file, or the bytes of it that are asked for."""
        headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            return self.send(200, content, headers)
        first, last = int(found[1]), min(int(found[2] or len(content)), len(content) - 1)
        if first > last:
            return self.send(416, headers={"Content-Range": f"bytes */{len(content)}"})
        return self.send(
            206, content[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"}
        )

    def refuse(self, code: str, status: int = 404, headers: dict[str, str] | None = None) -> None:
        """Send a refusal with its code, as the Hub does."""
        message = REFUSALS[code]
        self.send_json(
            {"error": message}, status, {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}
        )
