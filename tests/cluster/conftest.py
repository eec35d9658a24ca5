"""Helm and one control plane for all tests of a worker, where their programs are built."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import cluster_tools, node_machine, node_tools
from tests.support.control_plane import ControlPlane, running_control_plane
from tests.support.helm import helm
from tests.support.node import Node
from tests.support.node_pods import import_small_images, serve_names
from tests.support.postgres import postgres_server

__all__ = ["postgres_server"]
ASKED, ENGINE = "NEXUS_REAL_NODE", "NEXUS_POLICY_ENGINE"


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    tools = cluster_tools.built()
    if tools is None:
        pytest.skip(cluster_tools.LACKING)
    with running_control_plane(tools) as plane:
        yield plane


@pytest.fixture(scope="session")
def program() -> Path:
    found = helm()
    if found is None:
        pytest.skip("there is neither helm nor a Go to build it with")
    return found


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A real node before a control plane of its own; nothing enforces policies yet."""
    if os.environ.get(ASKED) != "1":
        pytest.skip(
            "a real node changes this machine's network while it runs: `make cluster-test` asks for it"
        )
    tools, own = cluster_tools.built(), node_tools.built()
    if tools is None or own is None:
        pytest.skip(node_tools.LACKING)
    if lacking := node_machine.lacking():
        pytest.skip(f"a node lacks {', '.join(lacking)}")
    folder = Path(tempfile.mkdtemp(prefix="nexus-node-"))
    for name in ("log", "run"):
        (folder / name).mkdir()
    try:
        with (
            node_machine.running_machine(folder, own / "pause") as machine,
            running_control_plane(tools, node_machine.HERE) as plane,
        ):
            found = Node(machine, plane, own)
            found.start()
            import_small_images(found)
            serve_names(found)
            yield found
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def engine() -> Path:
    """kube-router, which enforces policies."""
    found = os.environ.get(ENGINE) or shutil.which("kube-router")
    if not found:
        pytest.skip(f"nothing here enforces policies: put kube-router 2.6 on the path or name it in {ENGINE}")
    return Path(found)
