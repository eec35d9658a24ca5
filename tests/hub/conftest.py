"""One hub for a module’s tests; each finds the stand-in at its defaults and no server running."""

from collections.abc import Iterator

import pytest
from tests.support.fake_allocator import DEFAULTS
from tests.support.hub import HubUnderTest, running_hub


@pytest.fixture(scope="module")
def shared_hub() -> Iterator[HubUnderTest]:
    with running_hub() as hub:
        yield hub


@pytest.fixture
def hub(shared_hub: HubUnderTest) -> Iterator[HubUnderTest]:
    shared_hub.control(**DEFAULTS)
    yield shared_hub
    shared_hub.control(**DEFAULTS)
    shared_hub.stop_servers()
