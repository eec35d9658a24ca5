"""A real HTTP server on this machine that takes events as an integrator would: by their signature."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What came, as (headers, body); ``statuses`` are answered first, then 204."""

    url: str = ""
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    location: str = ""
    delay_s: float = 0.0
    drips: bool = False

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.came]


def is_signed(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """Check a signature as the README tells integrators to."""
    parts = [part.split("=", 1) for part in headers["Nexus-Signature"].split(",")]
    seconds = next(value for name, value in parts if name == "t")
    wanted = hmac.new(secret.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    return any(name == "v1" and hmac.compare_digest(value, wanted) for name, value in parts)


class Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's own name
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.receiver.came.append((dict(self.headers.items()), body))
        time.sleep(self.receiver.delay_s)
        status = self.receiver.statuses.pop(0) if self.receiver.statuses else 204
        if self.receiver.drips:
            self.drip()
            return
        self.send_response(status)
        if self.receiver.location:
            self.send_header("Location", self.receiver.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def drip(self) -> None:
        """Answer one byte at a time, for ever: each within any timeout of one read."""
        try:
            self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
            for _ in range(100):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            pass


@contextmanager
def receiver() -> Iterator[Receiver]:
    taking = Receiver()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"receiver": taking}))
    server.daemon_threads = True
    taking.url = f"http://127.0.0.1:{server.server_address[1]}/events?of=nexus"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield taking
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
