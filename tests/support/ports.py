"""Free loopback ports, sought where another test process does not begin."""

import os
import socket


def own_ports() -> int:
    """Return the first of eight free neighbouring ports."""
    first = 21000 + os.getpid() * 40 % 7000
    for base in [*range(first, 28000, 20), *range(21000, first, 20)]:
        if all(is_free(port) for port in range(base, base + 8)):
            return base
    raise AssertionError("no free ports between 21000 and 28000")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
