"""Rules about source text that no linter knows: where commits, queries and the clock may stand."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCKING_HTTP = {"requests", "httpx", "urllib.request", "urllib3", "http.client"}
SERVICES = ("nexus_allocator", "nexus_archive")
CLOCKLESS = ("domain", "store", "services", "clients")


@dataclass(frozen=True)
class Breach:
    path: str
    line: int
    rule: str


def breaches(path: str, source: str) -> Iterator[Breach]:
    """Yield the rules that ``source``, found at ``path`` (package first, POSIX), breaks."""
    parts = Path(path).parts
    if parts[0] not in SERVICES:
        return
    room = parts[1]
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        # The hub's rows are the hub's, in a session of its own.
        if is_call(node, "commit") and parts[1:] not in (("store", "session.py"), ("hub", "admission.py")):
            yield Breach(path, line, "commit( outside store/session.py")
        if is_call(node, "select") and room != "store":
            yield Breach(path, line, "select( outside store/")
        if room in CLOCKLESS and (is_call(node, "now") or is_call(node, "utcnow") or is_call(node, "today")):
            yield Breach(path, line, "the clock is read inside; take `now` as an argument")
        if room in ("hub", "gateway") and BLOCKING_HTTP & set(imported(node)):
            yield Breach(path, line, "a blocking HTTP client in the hub")


def is_call(node: ast.AST, name: str) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    return (isinstance(function, ast.Attribute) and function.attr == name) or (
        isinstance(function, ast.Name) and function.id == name
    )


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []
