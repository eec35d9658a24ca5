"""Which tests stay together while two workers share them out: those of a file, and all that start a Nexus."""

import pytest

# Their servers have uids, control groups and homes of one machine.
WHOLE_NEXUS = ("tests/hub/", "tests/e2e/")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the group of each test; what starts a Nexus takes longest, and so comes first."""
    for item in items:
        file = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group("a whole nexus" if file.startswith(WHOLE_NEXUS) else file))
    items.sort(key=lambda item: not item.nodeid.startswith(WHOLE_NEXUS))
