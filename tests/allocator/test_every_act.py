"""What the portal does, the API and the command line do too, or a reason stands here why they don't."""

from collections.abc import Iterator

import pytest
import typer
from fastapi import FastAPI
from tests.support.allocator import HUB_TOKEN, INTERNAL_TOKEN
from tests.support.routes import routes_of

from nexus_allocator.cli import app as command_line
from nexus_allocator.config import Settings
from nexus_allocator.domain.rights import TABLE, Action, Capacity
from nexus_allocator.main import create_app
from nexus_allocator.policy import load_policy
from nexus_allocator.store import schema
from nexus_allocator.store.session import Database

ANOTHERS = "it is the person's own: an operator does it for nobody"
NOT_BY_API = {
    Action.SIGN_IN: "a program brings a token of the hub",
    Action.HEALTH_SEE: "probes ask the portal's own address",
}
NOT_BY_COMMAND = {
    Action.SIGN_IN: "who has a shell here is signed in",
    Action.HEALTH_SEE: "it is for probes",
    Action.POLICY_SEE: "the policy is a file",
    Action.AGREEMENT_SEE: "the agreement is a file",
    Action.AGREEMENT_ACCEPT: ANOTHERS,
    Action.OVERVIEW_SEE: ANOTHERS,
    Action.ACCOUNT_ASK: ANOTHERS,
    Action.REQUEST_WITHDRAW: ANOTHERS,
    Action.OFFER_ANSWER: ANOTHERS,
    Action.REVIEW_SEE: "reviewers weigh requests, and nobody for them",
    Action.REVIEW_GIVE: "reviewers weigh requests, and nobody for them",
    Action.NOTICE_PUT_AWAY: ANOTHERS,
    Action.SERVER_KEEP: ANOTHERS,
    Action.SERVER_ENTER: "an administrator answers for it in person",
    Action.INVITATION_ANSWER: ANOTHERS,
    Action.TEAM_LEAVE: ANOTHERS,
    Action.MAIL_CHOOSE: ANOTHERS,
    Action.EVENT_JOIN: ANOTHERS,
    Action.SCRATCH_TAKE: ANOTHERS,
    Action.EXEMPTION_ASK: ANOTHERS,
}
COMMANDS = {
    Action.ACCOUNT_SEE: "statement",
    Action.REQUEST_SEE: "request show",
    Action.REQUEST_DECIDE: "request award",
    Action.PANEL_SEE: "panel cases",
    Action.PANEL_RUN: "panel open",
    Action.SERVER_SEE: "show servers",
    Action.SERVER_STOP: "server stop",
    Action.TEAM_SEE: "team show",
    Action.TEAM_INVITE: "team invite",
    Action.TEAM_INVITE_MANAGER: "team invite",
    Action.TEAM_REMOVE_MEMBER: "team remove",
    Action.TEAM_REMOVE_MANAGER: "team remove",
    Action.TEAM_CHANGE_ROLE: "team add",
    Action.TEAM_HAND_OVER: "team lead",
    Action.TEAM_DIVIDE: "team share",
    Action.PERSON_SEE: "show people",
    Action.PERSON_SUSPEND: "suspend",
    Action.PERSON_REINSTATE: "reinstate",
    Action.FORECAST_SEE: "show pool",
    Action.POOL_SEE: "show pool",
    Action.LAUNCHES_HOLD: "hold-launches",
    Action.OUTBOX_SEE: "outbox list",
    Action.OUTBOX_RETRY: "outbox retry",
    Action.WEBHOOK_KEEP: "webhook add",
    Action.LOG_SEE: "log",
    Action.ANNOUNCE: "announce add",
    Action.WHAT_IF: "simulate",
    Action.EVENT_SEE: "event list",
    Action.EVENT_MAKE: "event create",
    Action.EVENT_END: "event end",
    Action.PERSON_CHANGE: "person change",
    Action.PERSON_MERGE: "person merge",
    Action.PERSON_ERASE: "person erase",
    Action.PURGE_SEE: "storage purge plans",
    Action.PURGE_RESTORE: "storage purge restore",
    Action.PURGE_RUN: "storage purge cancel",
    Action.SNAPSHOT_SEE: "storage snapshot list",
    Action.SNAPSHOT_RESTORE: "storage snapshot restore",
    Action.STORAGE_SEE: "storage list",
    Action.STORAGE_OVERSEE: "storage list",
    Action.STORAGE_SIZE: "storage size",
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    url = f"sqlite:///{tmp_path_factory.mktemp('acts')}/allocator.sqlite"
    database = Database(url)
    schema.upgrade(database)
    database.dispose()
    settings = Settings(
        database_url=url, hub_api_url="http://127.0.0.1:9/hub/api", hub_token=HUB_TOKEN,
        internal_token=INTERNAL_TOKEN, worker_threads=4,
    )  # type: ignore[arg-type] # fmt: skip
    made = create_app(settings, load_policy())
    yield made
    made.state.portal.sign_in.close()
    made.state.portal.hub.close()
    made.state.context.database.dispose()


def acts(app: FastAPI, *, api: bool) -> set[Action]:
    """Return what people's API does, or what the portal does."""
    of_people = "/api/v1/" if api else "/services/nexus/"
    return {
        each.deed.action
        for each in routes_of(app)
        if each.deed and of_people in each.path and (api or "/nexus/api/" not in each.path)
    }


def test_what_the_portal_does_the_api_does(app: FastAPI) -> None:
    portal, api = acts(app, api=False), acts(app, api=True)
    assert len(portal) > 40
    assert portal - api == set(NOT_BY_API)


def test_what_the_portal_does_has_a_command_or_a_reason(app: FastAPI) -> None:
    portal = acts(app, api=False)
    assert set(COMMANDS) & set(NOT_BY_COMMAND) == set()
    assert portal - set(COMMANDS) == set(NOT_BY_COMMAND)


def test_what_the_table_lets_an_operator_do_has_a_command() -> None:
    operators = {action for action, cells in TABLE.items() if Capacity.OPERATOR in cells}
    assert operators - set(COMMANDS) == set()


def test_each_command_is_there() -> None:
    missing = []
    for words in sorted(set(COMMANDS.values())):
        found: object = typer.main.get_command(command_line)
        for word in words.split():
            found = getattr(found, "commands", {}).get(word)
        if found is None:
            missing.append(words)
    assert missing == []
