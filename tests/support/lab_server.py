"""A notebook server's own routes of the Nexus, without the notebook server around them."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from nexus_allocator.hub.lab_card import OwnServer, routes

BASE = "/user/ada/"


@contextmanager
def running_lab(server: OwnServer) -> Iterator[str]:
    """Serve the routes in a thread, and give where, as JupyterHub tells a server its own address."""
    begun: SimpleQueue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = SimpleQueue()

    async def serve() -> None:
        http, sockets, over = (
            HTTPServer(Application(list(routes(BASE, server)))),
            bind_sockets(0, "127.0.0.1"),
            asyncio.Event(),
        )
        http.add_sockets(sockets)
        begun.put((sockets[0].getsockname()[1], asyncio.get_running_loop(), over))
        await over.wait()
        http.stop()
        await http.close_all_connections()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    port, loop, over = begun.get(timeout=20)
    try:
        yield f"http://127.0.0.1:{port}{BASE}"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
