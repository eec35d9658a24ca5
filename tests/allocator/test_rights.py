"""The table of rights itself, and the routes of hub, gateway and running servers, cell by cell."""

import re
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from tests.support.allocator import HUB_TOKEN, INTERNAL_TOKEN, METRICS_TOKEN, served
from tests.support.postgres import free_port
from tests.support.routes import Named, routes_of

from nexus_allocator.config import Settings
from nexus_allocator.domain import rights
from nexus_allocator.domain.lab_tokens import lab_token
from nexus_allocator.domain.rights import Action, Capacity, Reach
from nexus_allocator.domain.states import Role
from nexus_allocator.main import create_app
from nexus_allocator.policy import load_policy
from nexus_allocator.store import schema
from nexus_allocator.store.session import Database

# What no route names: services ask it of what a route was sent.
ASKED_BY_SERVICES = {
    Action.ACCOUNT_CHARGE, Action.TEAM_INVITE_MANAGER, Action.TEAM_REMOVE_MANAGER, Action.TEAM_HAND_OVER,
}  # fmt: skip
BEARERS = {
    "": {Capacity.VISITOR},
    "Bearer forged": {Capacity.VISITOR},
    f"Bearer {INTERNAL_TOKEN}": {Capacity.VISITOR, Capacity.HUB, Capacity.GATEWAY},
    f"Bearer {lab_token(INTERNAL_TOKEN, uuid4())}": {Capacity.VISITOR, Capacity.SERVER},
    f"Bearer {lab_token('another secret', uuid4())}": {Capacity.VISITOR},
    f"Bearer {METRICS_TOKEN}": {Capacity.VISITOR, Capacity.MONITOR},
}
WORDS = {"hub_name": "ada", "server_name": "-", "slug": "grism"}
PREFIX = "/services/nexus/api/"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    url = f"sqlite:///{tmp_path_factory.mktemp('rights')}/allocator.sqlite"
    database = Database(url)
    schema.upgrade(database)
    database.dispose()
    settings = Settings(
        database_url=url, hub_api_url=f"http://127.0.0.1:{free_port()}/hub/api", hub_token=HUB_TOKEN,
        internal_token=INTERNAL_TOKEN, metrics_token=METRICS_TOKEN, worker_threads=4,
    )  # type: ignore[arg-type] # fmt: skip
    made = create_app(settings, load_policy())
    yield made
    made.state.portal.sign_in.close()
    made.state.portal.hub.close()
    made.state.context.database.dispose()


@pytest.fixture(scope="module")
def routes(app: FastAPI) -> list[Named]:
    return list(routes_of(app))


@pytest.fixture(scope="module")
def service(app: FastAPI) -> Iterator[httpx.Client]:
    """One client for all requests: each of its own would read the certificates of the machine anew."""
    with served(app) as base, httpx.Client(base_url=base, timeout=20, trust_env=False) as client:
        yield client


def test_every_route_of_the_service_names_its_deed(routes: list[Named]) -> None:
    assert len(routes) > 60
    assert [str(each) for each in routes if each.deed is None] == []


def test_every_action_of_the_table_is_done_by_a_route_or_asked_by_a_service(routes: list[Named]) -> None:
    done = {each.deed.action for each in routes if each.deed}
    assert done & ASKED_BY_SERVICES == set()
    assert done | ASKED_BY_SERVICES == set(Action) == set(rights.TABLE)


@pytest.mark.parametrize(
    "bearer", BEARERS, ids=["none", "forged", "the-hub", "a-server", "another-server", "monitoring"]
)
def test_each_service_route_is_open_to_the_token_that_the_table_names(
    service: httpx.Client, routes: list[Named], bearer: str
) -> None:
    wrong = []
    for route in (each for each in routes if each.path.startswith(PREFIX)):
        path = re.sub(r"{(\w+)}", lambda word: WORDS.get(word[1], str(uuid4())), route.path)
        answer = service.request(route.method, path, headers={"Authorization": bearer})
        assert answer.status_code < 500, (str(route), answer.text)
        # Tokens of services speak for no person, whose API this is.
        acting_as = rights.NOBODY_KNOWN if "/v1/" in path else BEARERS[bearer]
        if (answer.status_code != 401) != rights.lets(acting_as, route.deed):
            wrong.append((str(route), answer.status_code))
    assert wrong == []


def test_no_person_admits_launches_and_no_service_decides_about_people() -> None:
    anybody = rights.somewhere(is_administrator=True)
    theirs = {Capacity.HUB, Capacity.GATEWAY}
    of_services = {action for action, cells in rights.TABLE.items() if set(cells) <= theirs}
    assert {Action.LAUNCH_ADMIT, Action.IDENTITY_RECORD, Action.CLUSTER_ADMIT} <= of_services
    for action in of_services:
        assert not rights.may(anybody, action, Reach.ANY)
    for action in (Action.PERSON_SUSPEND, Action.REQUEST_DECIDE, Action.LAUNCHES_HOLD):
        assert not rights.may({*theirs, Capacity.SERVER}, action, Reach.ANY)


def test_what_is_ones_own_or_ones_teams_is_nobody_elses() -> None:
    person = rights.capacities(is_administrator=False)
    member = rights.capacities(is_administrator=False, role=Role.MEMBER)
    for action, cells in rights.TABLE.items():
        if Capacity.VISITOR not in cells:
            assert not rights.may(person, action, Reach.ANY), action
            assert not rights.may(member, action, Reach.ANY), action
            assert not rights.may(person, action, Reach.TEAM), action


def test_an_administrator_does_not_act_for_others_where_only_they_can() -> None:
    alex = rights.capacities(is_administrator=True)
    for action in (Action.ACCOUNT_CHARGE, Action.ACCOUNT_ASK, Action.INVITATION_ANSWER, Action.TEAM_LEAVE,
                   Action.AGREEMENT_ACCEPT, Action.NOTICE_PUT_AWAY):  # fmt: skip
        assert not rights.may(alex, action, Reach.ANY)
