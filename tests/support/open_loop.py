"""An open-loop load: requests leave at random moments, whether or not those before were answered.

Each latency counts from the moment at which the request was due, so a slow answer that holds the next
ones up is not hidden. Small on purpose: the generator shares the machine with what it measures.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Ask:
    """One request, its head and body ready to send."""

    port: int
    raw: bytes


@dataclass
class Answers:
    """Status and seconds of each answer, and what 5xx bodies said; ``late_s`` is how far the load lagged."""

    status: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    whole_s: float = 0.0
    late_s: float = 0.0

    def percentile(self, share: float) -> float:
        return float(np.quantile(self.seconds, share)) if self.seconds else float("nan")

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.whole_s


def post(port: int, path: str, body: bytes, *, token: str) -> Ask:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return Ask(port, head.encode() + body)


def get(port: int, path: str, *, cookie: str) -> Ask:
    return Ask(port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode())


def at_random(asks: Sequence[Ask], *, per_second: float, seed: int) -> Answers:
    """Send the requests at exponentially distributed distances (a Poisson process)."""
    gaps = np.random.default_rng(seed).exponential(1 / per_second, len(asks))
    return asyncio.run(_load(asks, np.cumsum(gaps).tolist()))


def at_once(asks: Sequence[Ask]) -> Answers:
    return asyncio.run(_load(asks, [0.0] * len(asks)))


@dataclass
class _Connections:
    """Idle kept-alive connections by port."""

    idle: dict[int, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = field(default_factory=dict)

    async def send(self, ask: Ask) -> tuple[int, bytes]:
        kept = self.idle.setdefault(ask.port, [])
        reader, writer = kept.pop() if kept else await asyncio.open_connection("127.0.0.1", ask.port)
        writer.write(ask.raw)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith("content-length:"))
        body = await reader.readexactly(length)
        kept.append((reader, writer))
        return int(lines[0].split()[1]), body

    def close(self) -> None:
        for kept in self.idle.values():
            for _, writer in kept:
                writer.close()


async def _load(asks: Sequence[Ask], due_s: Sequence[float]) -> Answers:
    answers, connections = Answers(), _Connections()
    loop = asyncio.get_running_loop()
    began = loop.time() + 0.05

    async def one(ask: Ask, due: float) -> None:
        status, body = await connections.send(ask)
        answers.status.append(status)
        answers.seconds.append(loop.time() - due)
        if status >= 500:
            answers.troubles.append(body.decode(errors="replace")[:300])

    tasks = []
    for ask, offset in zip(asks, due_s, strict=True):
        due = began + offset
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        answers.late_s = max(answers.late_s, loop.time() - due)
        tasks.append(asyncio.create_task(one(ask, due)))
    async with asyncio.timeout(120):
        await asyncio.gather(*tasks)
    answers.whole_s = loop.time() - began
    connections.close()
    return answers
