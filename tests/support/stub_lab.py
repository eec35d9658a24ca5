"""What answers in place of every JupyterLab that kwok plays: pages, and a websocket that echoes."""

import asyncio
import sys

import jupyterhub
from tornado import web, websocket

# Beside the ports of a Nexus on one machine.
LAB = 5


class Anything(web.RequestHandler):
    def set_default_headers(self) -> None:
        self.set_header("X-JupyterHub-Version", jupyterhub.__version__)

    def get(self) -> None:
        self.write({"version": jupyterhub.__version__})


class Echo(websocket.WebSocketHandler):
    def check_origin(self, origin: str) -> bool:
        return True

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


async def answer(port: int) -> None:
    application = web.Application([(r"/user/[^/]+/echo", Echo), (r"/.*", Anything)])
    # Each pod has an address of loopback of its own: all of them lead here.
    application.listen(port, "0.0.0.0")  # noqa: S104
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(answer(int(sys.argv[1])))
