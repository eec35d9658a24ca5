"""The API as programs use it: tokens, pages, doing a thing once, and refusals in one shape."""

import threading
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from tests.support.allocator import START, World
from tests.support.api import ASK, Api, running_api, with_people
from tests.support.fake_hub import FakeHub, running_hub

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.services import answers
from nexus_allocator.services.answers import KEPT_FOR


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


def refused(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    body = answer.json()
    assert (answer.status_code, body["error"]) == (status, slug), answer.text
    assert set(body) == {"error", "message", "facts"}
    assert body["message"]
    facts: dict[str, Any] = body["facts"]
    return facts


def every_page(api: Api, path: str, token: str, **query: Any) -> list[dict[str, Any]]:
    """Return the items of all pages."""
    found, pages = [], 0
    while True:
        page = api.ask("GET", path, token, params=query).json()
        assert len(page["items"]) <= query["limit"]
        found, pages = found + page["items"], pages + 1
        if page["next"] is None:
            assert pages > 1, "the list should need several pages"
            return found
        query["cursor"] = page["next"]


def test_a_request_is_asked_decided_and_shows_in_balance_and_statement(api: Api) -> None:
    ada, alex = api.token("ada"), api.token("alex")
    before = api.ask("GET", "/accounts/ada", ada).json()["sums"]
    request_id = api.words["request_id"]
    assert [each["id"] for each in api.ask("GET", "/admin/requests", alex).json()["items"]] == [request_id]
    api.ask("POST", f"/admin/requests/{request_id}/review", alex)
    given = {"credits_micro": 40 * MICRO, "note": "Enough for the pilot"}
    awarded = api.ask("POST", f"/admin/requests/{request_id}/award", alex, json=given).json()
    assert (awarded["state"], awarded["awarded_micro"]) == ("active", 40 * MICRO)
    mine = api.ask("GET", f"/requests/{request_id}", ada).json()
    assert [move["after"] for move in mine["history"]][-2:] == ["awarded-in-part", "active"]
    after = api.ask("GET", "/accounts/ada", ada).json()
    assert after["tier"] == "research"
    assert after["sums"]["balance_micro"] - before["balance_micro"] == 40 * MICRO
    days = {"first": str(START.date()), "last": str(START.date())}
    told = api.ask("GET", "/accounts/ada/statement", ada, params=days).json()
    assert (
        told["opening_micro"] + sum(line["amount_micro"] for line in told["lines"]) == told["closing_micro"]
    )
    assert told["closing_micro"] == after["sums"]["balance_micro"]


def test_a_team_is_divided_and_left(api: Api) -> None:
    ada, mia, sam = api.token("ada"), api.token("mia"), api.token("sam")
    share = {"kind": "cap", "amount_micro": 3 * MICRO}
    made = api.ask("PUT", "/teams/grism/members/mia/share", ada, json=share).json()
    (row,) = [each for each in made["members"] if each["hub_name"] == "mia"]
    assert row["part"] == {**share, "taken_micro": row["taken_micro"], "is_idle": False,
                           "left_micro": 3 * MICRO - row["taken_micro"]}  # fmt: skip
    api.ask("POST", "/teams/grism/invitations", ada, json={"whom": "sam"})
    (one,) = [each for each in api.ask("GET", "/me/invitations", sam).json() if each["team"] == "Grism"]
    joined = api.ask("POST", f"/me/invitations/{one['id']}/accept", sam)
    assert joined.json()["role"] == "member"
    assert api.ask("POST", "/teams/grism/leave", mia).json() == {"done": True}
    assert api.hub.stopped == ["mia/server"]
    refused(api.ask("GET", "/teams/grism", mia), 404, "unknown_team")
    refused(api.ask("POST", "/teams/grism/leave", ada), 409, "lead_stays")


def test_a_server_is_kept_and_stopped_and_the_hub_is_asked(api: Api) -> None:
    ada = api.token("ada")
    (server,) = api.ask("GET", "/servers", ada).json()
    kept = api.ask("PUT", "/servers/-/keep-alive", ada, json={"keep": True}).json()
    assert kept["keep_alive_until"] == server["until"]
    assert api.ask("POST", "/servers/-/stop", ada).status_code == 202
    assert api.hub.stopped == ["ada/server"]
    assert api.ask("GET", "/servers", ada).json()[0]["stopping"]
    refused(api.ask("POST", "/servers/no-such/stop", ada), 404, "unknown_server")


def test_the_same_request_with_the_same_key_is_done_once(api: Api) -> None:
    ada = api.token("ada")
    body = {"label": "Prism"}
    first = api.ask("POST", "/teams/grism/subgroups", ada, key="one", json=body)
    again = api.ask("POST", "/teams/grism/subgroups", ada, key="one", json=body)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    refused(api.ask("POST", "/teams/grism/subgroups", ada, json=body), 409, "name_taken")


def test_a_key_is_for_one_request_of_one_person(api: Api) -> None:
    ada, max_ = api.token("ada"), api.token("max")
    api.ask("POST", "/teams/grism/subgroups", ada, key="one", json={"label": "Prism"})
    other = {"label": "Another"}
    refused(api.ask("POST", "/teams/grism/subgroups", ada, key="one", json=other), 422, "key_reused")
    refused(api.ask("POST", "/servers/-/stop", ada, key="one"), 422, "key_reused")
    assert api.ask("POST", "/teams/grism/subgroups", max_, key="one", json=other).status_code == 201
    for wrong in ("", "x" * 201, "with space"):
        refused(api.ask("POST", "/teams/grism/subgroups", ada, key=wrong, json=other), 422, "invalid_request")


def test_a_refusal_is_not_kept_and_a_kept_answer_is_forgotten_in_time(api: Api, world: World) -> None:
    ada = api.token("ada")
    mosaics = {"label": "Mosaics"}
    refused(api.ask("POST", "/teams/grism/subgroups", ada, key="k", json=mosaics), 409, "name_taken")
    api.ask("DELETE", f"/teams/grism/subgroups/{api.words['subgroup_id']}", ada)
    assert api.ask("POST", "/teams/grism/subgroups", ada, key="k", json=mosaics).status_code == 201
    world.clock.forward(seconds=KEPT_FOR.total_seconds() + 1)
    with world.database.session_scope() as session:
        answers.forget_old(session, now=world.clock())
    refused(api.ask("POST", "/teams/grism/subgroups", ada, key="k", json=mosaics), 409, "name_taken")


def test_of_two_at_once_with_one_key_one_is_done_and_both_are_answered_alike(api: Api) -> None:
    ada, found = api.token("ada"), []
    together = threading.Barrier(4)

    def ask() -> None:
        together.wait()
        found.append(api.ask("POST", "/teams/grism/subgroups", ada, key="k", json={"label": "Prism"}))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in found] == [201] * 4
    assert sum("Idempotency-Replayed" not in answer.headers for answer in found) == 1
    assert len({answer.text for answer in found}) == 1


def test_long_lists_come_in_pages_that_miss_and_repeat_nothing(api: Api, world: World) -> None:
    alex, ada = api.token("alex"), api.token("ada")
    for number in range(7):
        world.astronomer(f"person-{number}")
    people = [each["hub_name"] for each in every_page(api, "/admin/people", alex, limit=3)]
    assert people == sorted(set(people))
    assert len(people) == 14
    found = [each["hub_name"] for each in every_page(api, "/admin/people", alex, limit=2, q="PERSON-")]
    assert found == [f"person-{number}" for number in range(7)]
    accounts = [each["slug"] for each in every_page(api, "/admin/accounts", alex, limit=4)]
    assert accounts == sorted(set(accounts))
    assert len(accounts) == 16
    servers = [each["hub_name"] for each in every_page(api, "/admin/servers", alex, limit=2)]
    assert servers == ["ada", "alex", "max", "mia", "sam"]
    for _ in range(6):
        world.correct("ada", 0.5)
    days = {"first": str(START.date()), "last": str(START.date() + timedelta(days=1))}
    entries = every_page(api, "/accounts/ada/entries", ada, limit=2, **days)
    assert [each["number"] for each in entries] == list(range(1, len(entries) + 1))
    assert sum(each["amount_micro"] for each in entries) == 28 * MICRO


def test_requests_come_in_pages_too(api: Api, world: World) -> None:
    ada, alex = api.token("ada"), api.token("alex")
    for _ in range(3):
        latest = every_list(api, ada)[-1]["id"]
        api.ask("POST", f"/requests/{latest}/withdraw", ada)
        world.clock.forward(minutes=5)
        assert api.ask("POST", "/requests", ada, json=ASK).status_code == 201
    assert [each["state"] for each in every_page(api, "/requests", ada, limit=2)] == [
        *["withdrawn"] * 3, "submitted",
    ]  # fmt: skip
    decided = every_page(api, "/admin/requests", alex, limit=1, which="decided")
    assert [each["state"] for each in decided] == ["withdrawn"] * 3


def every_list(api: Api, token: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.ask("GET", "/requests", token).json()["items"]
    return found


# Not base64, an object, a number, an empty list, not ASCII, a list of another kind, too long.
@pytest.mark.parametrize("cursor", ["x", "e30=", "WzFd", "W10=", "é", "WyJ4Il0=", "x" * 501])
def test_a_cursor_that_is_not_ours_is_refused(api: Api, cursor: str) -> None:
    for path, who in (("/requests", "ada"), ("/accounts/ada/entries", "ada"), ("/admin/requests", "alex")):
        answer = api.ask("GET", path, api.token(who), params={"cursor": cursor})
        refused(answer, 422, "invalid_request")


def test_tokens_that_are_not_good_get_nothing(api: Api) -> None:
    for token in (None, b"token", b"token forged", "token é".encode(), b"token token token"):
        header = {} if token is None else {"Authorization": token}
        answer = api.http.get("/services/nexus/api/v1/me", headers=header)
        refused(answer, 401, "invalid_token")
    api.hub.tokens["a-service"] = ("nobody-we-know", "")
    api.hub.scopes_of["a-service"] = ["custom:nexus:read:own"]
    refused(api.ask("GET", "/me", "a-service"), 404, "unknown_person")
    api.hub.is_down = True
    refused(api.ask("GET", "/me", api.token("ada")), 503, "hub_unavailable")
    assert api.ask("GET", "/policy", None).status_code == 200
    api.hub.is_down = False


def test_who_is_suspended_is_told_so_and_may_nothing(api: Api) -> None:
    ada, alex = api.token("ada"), api.token("alex")
    api.ask("POST", "/admin/people/ada/suspend", alex, json={"reason": "Mining coins"})
    assert refused(api.ask("GET", "/me", ada), 403, "suspended")["reason"] == "Mining coins"
    refused(
        api.ask("POST", "/admin/people/alex/suspend", alex, json={"reason": "Myself"}), 403, "not_allowed"
    )
    api.ask("POST", "/admin/people/ada/reinstate", alex)
    assert api.ask("GET", "/me", ada).json()["hub_name"] == "ada"


BAD = [
    ("PUT", "/teams/grism/members/mia/share", {"kind": "cap", "amount_micro": -1}, "invalid_request"),
    ("PUT", "/teams/grism/members/mia/share", {"kind": "cap", "amount_micro": 10**30}, "invalid_request"),
    ("PUT", "/teams/grism/members/mia/share", {"kind": "all", "amount_micro": 1}, "invalid_request"),
    ("POST", "/teams/grism/subgroups", {"label": "x" * 300}, "invalid_request"),
    ("POST", "/teams/grism/subgroups", {"label": "x" * 200}, "bad_name"),
    ("POST", "/teams/grism/subgroups", {"label": "a\x00b"}, "invalid_request"),
    ("POST", "/teams/grism/subgroups", {"label": "Prism", "more": 1}, "invalid_request"),
    ("POST", "/teams/grism/subgroups", None, "invalid_request"),
    ("POST", "/teams/grism/invitations", {"whom": "a@b@c"}, "bad_address"),
    ("POST", "/requests", {**ASK, "justification": " "}, "bad_reason"),
    ("POST", "/requests", {**ASK, "exposures": 0}, "invalid_request"),
    ("POST", "/requests", {**ASK, "tier": "special"}, "tier_not_requestable"),
    ("PUT", "/admin/maintenance", {"message": "x", "until": "2020-01-01T00:00:00Z"}, "bad_reason"),
    ("PUT", "/admin/maintenance", {"message": "Moving", "until": "2020-01-01T00:00:00Z"}, "bad_date"),
    ("PUT", "/admin/maintenance", {"message": "Moving", "until": "2030-01-01T00:00:00"}, "invalid_request"),
    ("POST", "/admin/servers/mia/-/stop", {"reason": ""}, "bad_reason"),
]  # fmt: skip


def test_bad_input_is_refused_by_name_and_changes_nothing(api: Api) -> None:
    ada, alex = api.token("ada"), api.token("alex")
    before = [api.ask("GET", path, alex).json() for path in ("/teams/grism", "/admin/maintenance")]
    for method, path, body, slug in BAD:
        answer = api.ask(method, path, alex if "admin" in path else ada, json=body)
        assert (answer.status_code, answer.json()["error"]) == (422, slug), (path, body, answer.text)
    assert [api.ask("GET", path, alex).json() for path in ("/teams/grism", "/admin/maintenance")] == before


def test_a_name_with_a_nul_or_of_any_length_is_unknown_or_unreadable(api: Api) -> None:
    alex = api.token("alex")
    for path in ("/accounts/a%00b", "/teams/a%00b", "/admin/people/a%00b"):
        refused(api.ask("GET", path, alex), 422, "invalid_request")
    refused(api.ask("GET", f"/accounts/{'x' * 255}", alex), 404, "unknown_account")
    refused(api.ask("GET", f"/accounts/{'x' * 256}", alex), 422, "invalid_request")
    days = {"first": str(date.max), "last": str(date.max)}
    refused(api.ask("GET", "/accounts/ada/statement", alex, params=days), 422, "bad_date")
