"""Compiles the scanner's walker when the package is built, where a C compiler is there.

Without one the package installs all the same, and the scanner walks in Python: the same result, far slower.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ("-O2", "-pthread")


class WalkerHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        source = Path(self.root) / "nexus_allocator" / "clients" / "files" / "walker.c"
        program = source.with_suffix("")
        if not compile_walker(source, program):
            return
        build_data["artifacts"].append(program.relative_to(self.root).as_posix())
        if version == "standard":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def compile_walker(source: Path, program: Path) -> bool:
    """Say whether the walker is there now; it is a Linux program."""
    compiler = shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc")
    if not sys.platform.startswith("linux") or compiler is None:
        print("no C compiler: the scanner will walk in Python", file=sys.stderr)
        return False
    part = program.with_suffix(".part")
    done = subprocess.run([compiler, *FLAGS, "-o", part, source], check=False)
    if done.returncode:
        print("the walker did not compile: the scanner will walk in Python", file=sys.stderr)
        return False
    # In one rename: a scan may be running.
    part.replace(program)
    return True
