"""Reads the services' source: which functions change rows, and which of them record it."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

PACKAGE = "nexus_allocator"
# What SQLAlchemy changes rows with, called on a session or put into `execute`.
WRITES = {"add", "add_all", "delete", "merge"}
STATEMENTS = {"update", "delete", "insert"}
RECORD = f"{PACKAGE}.services.records.record"
# Objects that are no rows: what a function was given to fill, and itself.
NO_ROWS = {"self", "result"}


@dataclass
class Function:
    """One function by its whole name: what it calls, and whether its own lines change a row."""

    name: str
    calls: set[str] = field(default_factory=set)
    changes: bool = False


def functions_of(module: str, source: str) -> Iterator[Function]:
    """Yield the top-level functions of a module, calls as whole names where its imports tell them."""
    tree = ast.parse(source)
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    names = dict(_imports(tree)) | {name: f"{module}.{name}" for name in own}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield _function(f"{module}.{node.name}", node, names)


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _function(name: str, node: ast.FunctionDef, names: Mapping[str, str]) -> Function:
    found = Function(name)
    for each in ast.walk(node):
        if isinstance(each, ast.Call):
            called = _called(each.func, names)
            found.calls.add(called)
            found.changes |= called.startswith("session.") and called.split(".")[1] in WRITES
            found.changes |= called.startswith("sqlalchemy.") and called.split(".")[-1] in STATEMENTS
        elif isinstance(each, ast.Assign | ast.AugAssign | ast.AnnAssign):
            found.changes |= any(map(_is_of_a_row, _targets(each)))
    return found


def _called(function: ast.expr, names: Mapping[str, str]) -> str:
    if isinstance(function, ast.Name):
        return names.get(function.id, function.id)
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return f"{names.get(function.value.id, function.value.id)}.{function.attr}"
    return ""


def _targets(node: ast.Assign | ast.AugAssign | ast.AnnAssign) -> Iterator[ast.expr]:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        yield from target.elts if isinstance(target, ast.Tuple) else [target]


def _is_of_a_row(target: ast.expr) -> bool:
    return (
        isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Name)
        and target.value.id not in NO_ROWS
    )


def package_functions(root: Path) -> dict[str, Function]:
    """Return every function of the package's services and store, by its whole name."""
    found: dict[str, Function] = {}
    for folder in ("services", "store"):
        for path in sorted((root / folder).rglob("*.py")):
            if "migrations" not in path.parts:
                module = ".".join((PACKAGE, *path.relative_to(root).with_suffix("").parts))
                found |= {each.name: each for each in functions_of(module, path.read_text())}
    return found


def unrecorded(functions: Mapping[str, Function]) -> set[str]:
    """Return the services' functions that change rows, themselves or by one of the store's, unrecorded.

    One is recorded when `record` lies at most three calls away, or when all that call it are recorded.
    """
    writing = _reaching(_in(functions, "store"), {name for name, each in functions.items() if each.changes})
    services = _in(functions, "services")
    wanting = {
        name for name, each in services.items() if each.changes or each.calls & writing - set(services)
    }
    recording = _reaching(services, {RECORD}, most=3)
    callers = {name: {caller for caller, each in services.items() if name in each.calls} for name in wanting}
    safe = reduce(lambda known, _: known | _covered(callers, known), range(3), recording)
    return {name.removeprefix(f"{PACKAGE}.services.") for name in wanting - safe}


def _covered(callers: Mapping[str, set[str]], safe: set[str]) -> set[str]:
    """Return the functions that nothing calls but what is safe already."""
    return {name for name, called_by in callers.items() if called_by and called_by <= safe}


def _in(functions: Mapping[str, Function], folder: str) -> dict[str, Function]:
    return {name: each for name, each in functions.items() if name.startswith(f"{PACKAGE}.{folder}.")}


def _reaching(functions: Mapping[str, Function], ends: set[str], *, most: int = 12) -> set[str]:
    """Return the functions from which at most so many calls lead to one of ``ends``, and these."""

    def further(known: set[str], _: object) -> set[str]:
        return known | {name for name, each in functions.items() if each.calls & known}

    return reduce(further, range(most), ends)
