"""How many processes fit: by the memory of the control group, not only of the machine."""

import platform
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from nexus_pipeline.scale import batch, memory

GB = 10**9


def group(folder: Path, *, limit: str, used: int, cache: int, names: tuple[str, str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cache}\n")


V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def test_a_group_leaves_its_limit_less_what_is_used_and_not_mere_cache(tmp_path: Path) -> None:
    (tmp_path / "groups").write_text("0::/user/ann\n")
    group(tmp_path / "fs/user/ann", limit=str(2 * GB), used=GB, cache=GB // 4, names=V2)
    left = memory.available_bytes(root=tmp_path / "fs", groups=tmp_path / "groups")
    assert left == GB + GB // 4


def test_the_tightest_of_the_groups_above_counts(tmp_path: Path) -> None:
    (tmp_path / "groups").write_text("0::/user/ann\n")
    group(tmp_path / "fs/user/ann", limit="max", used=GB, cache=0, names=V2)
    group(tmp_path / "fs/user", limit=str(GB), used=GB // 2, cache=0, names=V2)
    assert memory.available_bytes(root=tmp_path / "fs", groups=tmp_path / "groups") == GB // 2


def test_groups_of_the_first_version_count_too(tmp_path: Path) -> None:
    (tmp_path / "groups").write_text("7:cpu,cpuacct:/ann\n4:memory:/ann\n")
    group(tmp_path / "fs/memory/ann", limit=str(GB), used=GB // 4, cache=0, names=V1)
    assert memory.available_bytes(root=tmp_path / "fs", groups=tmp_path / "groups") == GB - GB // 4


def test_without_groups_it_is_the_machine_s(tmp_path: Path) -> None:
    machine = psutil.virtual_memory().available
    assert memory.available_bytes(root=tmp_path, groups=tmp_path / "none") == pytest.approx(machine, rel=0.2)


def test_as_many_processes_work_as_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "available_cores", lambda: 8)
    for free_gb, jobs in ((1, 1), (5, 2), (100, 5)):
        monkeypatch.setattr(memory, "available_bytes", lambda free=free_gb: free * GB)
        assert batch.default_jobs(5) == jobs


HELD_AFTER_A_PLANE_OF_100_MB = """
import numpy, psutil
from nexus_pipeline.scale import memory
memory.keep_freed()
before = psutil.Process().memory_info().rss
plane = numpy.ones(100_000_000, numpy.uint8)
del plane
print(psutil.Process().memory_info().rss - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_a_process_told_so_keeps_the_memory_of_planes_for_the_next() -> None:
    def held(script: str) -> int:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert held(HELD_AFTER_A_PLANE_OF_100_MB) > 95_000_000
    assert held(HELD_AFTER_A_PLANE_OF_100_MB.replace("memory.keep_freed()", "")) < 20_000_000
