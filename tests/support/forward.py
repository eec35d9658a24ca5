"""What listens on loopback, seen at another address of this machine, too."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

AT_ONCE = 1 << 16


class Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextmanager
def forwarded(seen: str, port: int) -> Iterator[None]:
    """Hand every connection to ``seen`` (address:port) on to loopback's ``port``; at the end, cut all."""
    alive: set[socket.socket] = set()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)) as there:
                alive.add(there)
                back = threading.Thread(target=carry, args=(there, self.request), daemon=True)
                back.start()
                carry(self.request, there)
                back.join()
                alive.remove(there)

    host, _, at = seen.partition(":")
    with Server((host, int(at)), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            for each in list(alive):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


def carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(AT_ONCE):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
