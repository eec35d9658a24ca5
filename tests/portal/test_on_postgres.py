"""PostgreSQL in production, SQLite on one machine: every page says the same over both."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.fake_hub import running_hub
from tests.support.portal import (
    PortalUnderTest,
    Visitor,
    database_file,
    portal_over,
    text_of,
    with_a_busy_month,
    with_a_shared_team,
)
from tests.support.postgres import PostgresServer, postgres_server

from nexus_allocator.store.schema import upgrade

__all__ = ["postgres_server"]

PAGES = {
    "astronomer": [
        "",
        "accounts/astronomer",
        "accounts/wide-field-demo",
        "requests",
        "policy",
        "teams",
        "teams/wide-field-demo",
    ],
    "admin": [
        "",
        "admin/requests",
        "admin/people?q=a",
        "admin/accounts?q=field",
        "admin/servers",
        "admin/forecast",
    ],
}


SOMETHING_OF = {"astronomer": "Ada Astronomer Sign out", "admin": "Alex Administrator Sign out"}


@pytest.fixture(scope="module")
def both(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[PortalUnderTest]]:
    with running_hub() as one, running_hub() as other:
        url = postgres_server.url(postgres_server.new_database())
        with (
            portal_over(database_file(tmp_path_factory.mktemp("both")), one) as sqlite,
            portal_over(url, other) as postgres,
        ):
            upgrade(postgres.database)
            with_a_busy_month(sqlite)
            with_a_busy_month(postgres)
            for portal in (sqlite, postgres):
                portal.person("newcomer", "Nia Newcomer")
                with_a_shared_team(portal)
            yield [sqlite, postgres]


def said_to(portal: PortalUnderTest, hub_name: str) -> dict[str, str]:
    portal.hub.at_the_keyboard = hub_name
    with portal.served() as address, Visitor(address) as visitor:
        visitor.sign_in()
        return {path: text_of(visitor.open(path).text) for path in PAGES[hub_name]}


@pytest.mark.postgres
@pytest.mark.parametrize("hub_name", list(PAGES))
def test_every_page_says_the_same_over_both_databases(both: list[PortalUnderTest], hub_name: str) -> None:
    sqlite, postgres = (said_to(portal, hub_name) for portal in both)
    assert all(SOMETHING_OF[hub_name] in page for page in sqlite.values())
    assert sqlite == postgres


@pytest.mark.postgres
def test_forms_work_over_postgres(both: list[PortalUnderTest], tmp_path: Path) -> None:
    portal = both[1]
    portal.hub.at_the_keyboard = "astronomer"
    with portal.served() as address, Visitor(address) as ada:
        ada.sign_in()
        assert "being stopped" in text_of(ada.follow(ada.post("servers/-/stop")).text)
    assert portal.hub.stopped == ["astronomer/server"]
