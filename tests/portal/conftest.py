"""A hub, a database and a portal for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.fake_hub import FakeHub, running_hub
from tests.support.portal import PortalUnderTest, Visitor, database_file, portal_over, with_people


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without people; tests work on copies."""
    return database_file(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def database_of_people(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with Ada, Tomo, Alex and their team, made once; tests work on copies."""
    file = Path(shutil.copy(empty_database, tmp_path_factory.mktemp("people")))
    with portal_over(file, FakeHub()) as made:
        with_people(made)
    return file


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PortalUnderTest, str]]:
    """One hub and one portal for all tests, because starting them takes longer than most tests do."""
    file = tmp_path_factory.mktemp("portal") / "allocator.sqlite"
    with running_hub() as hub, portal_over(file, hub) as portal, portal.served() as address:
        yield portal, address


@pytest.fixture
def portal(standing: tuple[PortalUnderTest, str], empty_database: Path) -> PortalUnderTest:
    """The portal with nobody in it."""
    standing[0].begin_again(empty_database)
    return standing[0]


@pytest.fixture
def populated(portal: PortalUnderTest, database_of_people: Path) -> PortalUnderTest:
    """The portal with Ada, Tomo, Alex and their team."""
    portal.begin_again(database_of_people)
    return portal


@pytest.fixture
def hub(portal: PortalUnderTest) -> FakeHub:
    return portal.hub


@pytest.fixture
def address(standing: tuple[PortalUnderTest, str]) -> str:
    return standing[1]


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
