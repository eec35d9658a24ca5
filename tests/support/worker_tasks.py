"""What workers do in tests: in a module of its own, since each process imports it first."""

import os
import signal
import time
from pathlib import Path
from typing import IO

from nexus_pipeline import bands
from nexus_pipeline.products import store


def die(how: str) -> str:
    """Return ``how``, the process's cores with it, or end the process on the spot."""
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"{how} on {bands.available_cores()}"


def half_a_file(folder: str, name: str) -> None:
    """Begin a product and never end it."""

    def write(handle: IO[bytes]) -> None:
        handle.write(b"x" * 100_000)
        time.sleep(600)

    store.save(f"{folder}/{name}", write)


def many_times(path: str, letter: bytes) -> None:
    """Write a file of ``letter`` over and over, in pieces, and look at it each time."""

    def write(handle: IO[bytes]) -> None:
        for _ in range(3):
            handle.write(letter * 100_000)

    for _ in range(30):
        store.save(path, write)
        content = Path(path).read_bytes()
        assert content in {b"1" * 300_000, b"2" * 300_000}
