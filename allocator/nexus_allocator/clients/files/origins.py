"""What a product of the pipeline says of how it was made, read from its head without a library for the rest.

An ASDF file begins with text: its tree, as YAML, in which the pipeline writes its own block `nexus` below
`meta`. Only that block is parsed. The text is its owner's and proves nothing: it is asked which files to
prefer, and what the recipe says, never whether a file may go.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import yaml

from nexus_allocator.clients.files.plans import PlannedFile, identity_of
from nexus_allocator.clients.files.purge_run import Folders
from nexus_allocator.domain.remaking import LEFT_OUT, Origin

MAGIC = b"#ASDF "
HEAD_BYTES = 1 << 18
SOFTWARE = b"calibration_software_name: nexus_pipeline"
NAME = re.compile(rb"^ *filename: ([0-9A-Za-z_.-]{1,200}_cal\.asdf)$", re.M)
BLOCK = re.compile(rb"^( +)nexus:\n((?:\1 +.*\n)+)", re.M)
WORD = re.compile(r"[a-z][a-z0-9_]{0,60}")
PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def of_files(place: int, files: Iterable[PlannedFile]) -> Iterator[tuple[PlannedFile, Origin]]:
    """Yield those of the files that say how they were made, in order; what was swapped is passed over."""
    with closing(Folders(place)) as folders:
        for file in files:
            if not file.name.endswith(b"_cal.asdf"):
                continue
            try:
                handle = os.open(file.name, PLAIN, dir_fd=folders.of(file.folder))
            except OSError:
                continue
            try:
                same = identity_of(os.fstat(handle)) == file.identity
                origin = read(os.pread(handle, HEAD_BYTES, 0)) if same else None
            finally:
                os.close(handle)
            if origin is not None:
                yield file, origin


def read(head: bytes) -> Origin | None:
    """Return the origin that a file's first bytes tell of; None for what was not made so."""
    if not head.startswith(MAGIC) or SOFTWARE not in head:
        return None
    name, block = NAME.search(head), BLOCK.search(head)
    if name is None or block is None:
        return None
    try:
        told = yaml.safe_load(block.group(2).decode())
        return _origin(name.group(1).decode(), told)
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _origin(product: str, told: dict[str, Any]) -> Origin:
    steps = [step for step in told["steps"] if WORD.fullmatch(step["name"])]
    seconds = sum(float(step["seconds"]) for step in steps)
    if not 0 < seconds < 10**7:
        raise ValueError("nobody knows how long it took")
    parameters = {step["name"]: _known(step["parameters"]) for step in steps if step["parameters"]}
    left_out = tuple(step["name"] for step in steps if step.get("reason") == LEFT_OUT)
    context = told.get("context")
    return Origin(product, seconds, str(context)[:80] if context else None, parameters, left_out)


def _known(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if WORD.fullmatch(name)}
