"""Mail, the outbox and webhooks through the API."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from tests.support.allocator import World
from tests.support.api import Api, running_api, with_people
from tests.support.fake_hub import FakeHub, running_hub

from nexus_allocator.domain.outbox import OutgoingState
from nexus_allocator.store import outbox as rows
from nexus_allocator.store import webhooks
from nexus_allocator.store.api_tables import KeptAnswer


@pytest.fixture(scope="module")
def small_hub() -> Iterator[FakeHub]:
    with running_hub() as hub:
        yield hub


@pytest.fixture
def api(world: World, small_hub: FakeHub, database_url: str) -> Iterator[Api]:
    small_hub.forget()
    with running_api(world, small_hub, database_url) as running:
        with_people(running)
        yield running


def test_one_chooses_one_s_mail(api: Api) -> None:
    token = api.token("ada")
    chosen = api.ask(
        "PUT", "/me/mail", token, json={"timings": {"teams": "never", "standing": "never"}}
    ).json()
    assert chosen == api.ask("GET", "/me/mail", token).json()
    timings = {row["kind"]: (row["timing"], row["is_fixed"]) for row in chosen["rows"]}
    assert (timings["teams"], timings["standing"]) == (("never", False), ("at-once", True))
    assert "platform" not in timings
    for wrong in ({"teams": "often"}, {"nonsense": "never"}):
        assert api.ask("PUT", "/me/mail", token, json={"timings": wrong}).status_code == 422


def test_the_outbox_comes_in_pages_and_what_was_given_up_is_tried_again(api: Api) -> None:
    alex = api.token("alex")
    with api.world.database.session_scope() as session:
        for row, _ in rows.page(session, states=None, channel=None, limit=100, offset=0):
            row.state, row.over_at = OutgoingState.DEAD, api.world.clock()
    found: list[str] = []
    query: dict[str, str] = {"limit": "2"}
    while True:
        page = api.ask("GET", "/admin/outbox", alex, params=query).json()
        found += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert len(found) == len(set(found)) > 3
    assert api.ask("POST", f"/admin/outbox/{found[0]}/retry", alex).json() == {"done": True}
    assert api.ask("POST", "/admin/outbox/retry", alex).json() == {"retried": len(found) - 1}
    assert api.ask("GET", "/admin/outbox", alex).json()["items"] == []
    assert api.ask("POST", f"/admin/outbox/{uuid4()}/retry", alex).status_code == 404


def test_a_secret_is_told_once_and_no_kept_answer_holds_it(api: Api) -> None:
    alex = api.token("alex")
    body = {"url": "https://a.example/hook", "events": ["server.stopped"]}
    made = api.ask("POST", "/admin/webhooks", alex, key="once", json=body)
    again = api.ask("POST", "/admin/webhooks", alex, key="once", json=body)
    assert (made.status_code, again.status_code) == (201, 201)
    assert made.json() | {"secret": None} == again.json()
    secret = made.json()["secret"]
    with api.world.database.reading_scope() as session:
        row = webhooks.by_id(session, UUID(made.json()["id"]))
        assert row is not None
        assert api.app.state.context.vault.open(row.sealed_secret) == secret
        kept = session.get(KeptAnswer, (row.created_by, "once"))
    assert kept is not None
    assert secret not in str(kept.body)
    assert secret not in api.ask("GET", "/admin/webhooks", alex).text
    path = f"/admin/webhooks/{made.json()['id']}"
    assert api.ask("POST", f"{path}/rotate", alex).json()["secret"] not in (None, secret)
    assert api.ask("PUT", f"{path}/switch", alex, json={"on": False}).json() == {"done": True}
    assert api.ask("DELETE", path, alex).json() == {"done": True}
    assert api.ask("DELETE", path, alex).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"url": "http://127.0.0.1/", "events": ["server.stopped"]},
        {"url": "https://a.example", "events": []},
        {"url": "https://a.example", "events": ["nonsense"]},
        {"url": "https://a.example/" + "x" * 30_000, "events": ["server.stopped"]},
        {"url": 7, "events": ["server.stopped"]},
        {"url": "https://a.example", "events": ["server.stopped"], "secret": "mine"},
    ],
)
def test_what_is_no_endpoint_is_refused(api: Api, body: dict[str, object]) -> None:
    assert api.ask("POST", "/admin/webhooks", api.token("alex"), json=body).status_code == 422
