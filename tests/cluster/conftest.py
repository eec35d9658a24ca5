"""Helm and one control plane for all tests of a worker, where their programs are built."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import cluster_tools
from tests.support.control_plane import ControlPlane, running_control_plane
from tests.support.helm import helm


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
