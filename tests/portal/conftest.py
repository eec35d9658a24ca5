"""A hub, a database and a portal for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.fake_hub import FakeHub, running_hub
from tests.support.portal import PortalUnderTest, Visitor, database_file, portal_over, with_people


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with running_hub() as running:
        yield running


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without people; tests work on copies."""
    return database_file(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def database_of_people(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with Ada, Tomo, Alex and their team, made once; tests work on copies."""
    file = tmp_path_factory.mktemp("people") / empty_database.name
    shutil.copy(empty_database, file)
    with portal_over(file, FakeHub()) as made:
        with_people(made)
    return file


@pytest.fixture
def portal(empty_database: Path, tmp_path: Path, hub: FakeHub) -> Iterator[PortalUnderTest]:
    with portal_over(Path(shutil.copy(empty_database, tmp_path)), hub) as made:
        yield made


@pytest.fixture
def populated(portal: PortalUnderTest, database_of_people: Path) -> PortalUnderTest:
    shutil.copy(database_of_people, str(portal.database.url.database))
    return portal


@pytest.fixture
def address(portal: PortalUnderTest) -> Iterator[str]:
    with portal.served() as address:
        yield address


@pytest.fixture
def browser(address: str) -> Iterator[Visitor]:
    with Visitor(address) as visitor:
        yield visitor


@pytest.fixture
def astronomer(populated: PortalUnderTest, hub: FakeHub, browser: Visitor) -> Visitor:
    """A browser in which Ada has signed in."""
    hub.at_the_keyboard = "astronomer"
    assert browser.sign_in().status_code == 200
    return browser


@pytest.fixture
def administrator(populated: PortalUnderTest, hub: FakeHub, browser: Visitor) -> Visitor:
    """A browser in which Alex, the administrator, has signed in."""
    hub.at_the_keyboard = "admin"
    assert browser.sign_in().status_code == 200
    return browser
