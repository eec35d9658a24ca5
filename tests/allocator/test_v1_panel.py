"""The panel, what-if questions and identity through the API, from the first round to an accepted offer."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.allocator.test_v1 import every_page, refused, small_hub
from tests.support.allocator import World
from tests.support.api import JUSTIFICATION, Api, running_api, with_a_panel, with_people
from tests.support.fake_hub import FakeHub

from nexus_allocator.domain.credits import MICRO

__all__ = ["small_hub"]

ROUND = {"label": "Autumn", "opens_at": "2026-03-01T00:00:00Z", "closes_at": "2026-04-01T00:00:00Z",
         "due_at": "2026-05-01T00:00:00Z", "budget_micro": 9_000_000_000}  # fmt: skip


@pytest.fixture
def api(world: World, small_hub: FakeHub, database_url: str) -> Iterator[Api]:
    small_hub.forget()
    with running_api(world, small_hub, database_url) as running:
        with_people(running)
        with_a_panel(running)
        yield running


def scores(api: Api, score: int) -> dict[str, int]:
    return {each.slug: score for each in api.world.policy.panel.criteria}


def test_a_case_is_reviewed_blindly_offered_and_accepted(api: Api) -> None:
    rae, alex, guest = api.token("rae"), api.token("alex"), api.token("guest")
    case = api.words["case_id"]
    waiting = api.ask("GET", "/panel/cases", rae).json()["items"]
    assert [each["id"] for each in waiting] == [case]
    assert (waiting[0]["heard"], waiting[0]["mean"], waiting[0]["round"]["label"]) == (0, None, "Spring")
    assert api.ask("GET", f"/panel/cases/{case}", rae).json()["hidden"]
    given = {"scores": scores(api, 4), "for_panel": "Sound.", "for_applicant": "Go deeper."}
    bench = api.ask("PUT", f"/panel/cases/{case}/review", rae, key="mine", json=given).json()
    assert (bench["heard"], bench["hidden"], bench["own"]["for_panel"]) == (1, False, "Sound.")
    again = api.ask("PUT", f"/panel/cases/{case}/review", rae, key="mine", json=given)
    assert (again.headers["Idempotency-Replayed"], again.json()["heard"]) == ("true", 1)
    refused(api.ask("POST", f"/admin/requests/{case}/offer", alex, json={"credits_micro": 60 * MICRO}),
            409, "panel_not_heard")  # fmt: skip
    terms = {"credits_micro": 60 * MICRO, "bypass": "Urgent, and small."}
    offered = api.ask("POST", f"/admin/requests/{case}/offer", alex, json=terms).json()
    assert offered["state"] == "offered"
    told = api.ask("GET", f"/requests/{case}/offer", guest).json()
    assert (told["offer"]["credits_micro"], told["comments"]) == (60 * MICRO, ["Go deeper."])
    refused(api.ask("POST", f"/requests/{case}/offer/accept", guest, json={"number": 2}), 409, "offer_over")
    taken = api.ask("POST", f"/requests/{case}/offer/accept", guest, json={"number": 1}).json()
    assert (taken["state"], taken["awarded_micro"]) == ("active", 60 * MICRO)
    shown = api.ask("GET", f"/admin/panel/cases/{case}", alex).json()
    assert (shown["overall"]["mean"], shown["reviews"][0]["by"]) == (4.0, "Rae")
    assert [each["by"] for each in shown["bypasses"]] == ["Alex"]


def test_who_has_a_conflict_sees_nothing_and_says_no_more(api: Api) -> None:
    rae, case = api.token("rae"), api.words["case_id"]
    api.ask("POST", f"/panel/cases/{case}/conflict", rae, json={"reason": "A student of mine"})
    assert api.ask("GET", f"/panel/cases/{case}", rae).json()["conflict"] == "declared"
    given = {"scores": scores(api, 5)}
    refused(api.ask("PUT", f"/panel/cases/{case}/review", rae, json=given), 403, "conflicted")
    wrong = {"scores": scores(api, 5) | {"charm": 5}}
    other = api.token("sam")
    refused(api.ask("PUT", f"/panel/cases/{case}/review", other, json=wrong), 403, "not_allowed")


def test_rounds_and_reviewers_are_kept(api: Api) -> None:
    alex, case = api.token("alex"), api.words["case_id"]
    made = api.ask("POST", "/admin/panel/rounds", alex, key="autumn", json=ROUND)
    assert made.status_code == 201
    assert api.ask("POST", "/admin/panel/rounds", alex, key="autumn", json=ROUND).json() == made.json()
    round_id = made.json()["id"]
    changed = api.ask("PUT", f"/admin/panel/rounds/{round_id}", alex, json=ROUND | {"label": "Late"}).json()
    assert changed["label"] == "Late"
    moved = {"round_id": round_id}
    assert api.ask("POST", f"/admin/requests/{case}/place", alex, json=moved).status_code == 200
    found = api.ask("GET", "/admin/panel/cases", alex, params={"round_id": round_id}).json()["items"]
    assert [each["id"] for each in found] == [case]
    rounds = api.ask("GET", "/admin/panel/rounds", alex).json()
    assert {each["label"]: each["requests"] for each in rounds} == {"Late": 1, "Spring": 1}
    assert len(every_page(api, "/admin/panel/cases", alex, limit=1)) == 2
    api.ask("POST", "/admin/panel/reviewers", alex, json={"hub_name": "sam"})
    refused(
        api.ask("POST", "/admin/panel/reviewers", alex, json={"hub_name": "sam"}), 409, "already_reviewer"
    )
    assert [each["hub_name"] for each in api.ask("GET", "/admin/panel/reviewers", alex).json()] == [
        "rae",
        "sam",
    ]
    api.ask("DELETE", "/admin/panel/reviewers/sam", alex)
    refused(api.ask("GET", "/panel/cases", api.token("sam")), 403, "not_allowed")


def test_a_request_is_referred_and_an_offer_taken_back_and_declined(api: Api) -> None:
    alex, max_ = api.token("alex"), api.token("max")
    mine, offered = api.words["request_id"], api.words["offered_id"]
    api.ask("POST", f"/admin/requests/{mine}/refer", alex, json={"reason": "Very large"})
    assert api.ask("GET", f"/admin/panel/cases/{mine}", alex).json()["referral_reason"] == "Very large"
    back = api.ask("POST", f"/admin/requests/{offered}/take-back", alex, json={"reason": "A slip"}).json()
    assert back["state"] == "in-review"
    terms = {"credits_micro": 5 * MICRO, "bypass": "Urgent, and small."}
    api.ask("POST", f"/admin/requests/{offered}/offer", alex, json=terms)
    no = {"number": 2, "reason": "Too little"}
    assert api.ask("POST", f"/requests/{offered}/offer/decline", max_, json=no).json()["state"] == "in-review"


def test_requests_are_searched_by_text_tier_and_state(api: Api) -> None:
    alex = api.token("alex")

    def ids(**query: str) -> list[str]:
        return [each["id"] for each in api.ask("GET", "/admin/requests", alex, params=query).json()["items"]]

    assert ids(q="guest") == [api.words["case_id"]]
    assert ids(tier="research") == [api.words["request_id"]]
    assert ids(state="offered") == [api.words["offered_id"]]
    api.ask("PUT", "/requests/draft", api.token("sam"),
            json={"account": "sam", "tier": "research", "justification": JUSTIFICATION})  # fmt: skip
    assert ids(state="draft") == []


def test_a_question_is_answered_and_questions_come_in_pages(api: Api, world: World) -> None:
    alex, body = api.token("alex"), {"changes": ["tiers.entry.credits=x0.5"], "people": 20}
    refused(api.ask("POST", "/admin/what-if", alex, json=body), 409, "question_running")
    world.clock.forward(minutes=5)
    refused(api.ask("POST", "/admin/what-if", alex, json=body | {"changes": ["x=1"]}), 422, "bad_changes")
    made = api.ask("POST", "/admin/what-if", alex, key="half", json=body)
    assert (made.status_code, made.json()["state"]) == (202, "running")
    found = answered(api, alex, made.json()["id"])
    assert found["state"] == "answered"
    assert len(found["answer"]["months"][0]["now"]) == 12
    again = api.ask("POST", "/admin/what-if", alex, key="half", json=body)
    assert (again.json()["id"], again.headers["Idempotency-Replayed"]) == (made.json()["id"], "true")
    pages = every_page(api, "/admin/what-if", alex, limit=1)
    assert [each["id"] for each in pages] == [made.json()["id"], api.words["question_id"]]


def answered(api: Api, token: str, question_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Any] = api.ask("GET", f"/admin/what-if/{question_id}", token).json()
        if found["state"] != "running":
            return found
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_people_are_renamed_made_one_and_erased(api: Api, world: World) -> None:
    alex, because = api.token("alex"), {"reason": "Asked for by mail"}
    for name in ("twin", "other"):
        world.astronomer(name)
    changed = api.ask("POST", "/admin/people/twin/identity", alex, json={"to": "gemini", **because}).json()
    assert changed["hub_name"] == "gemini"
    merged = api.ask("POST", "/admin/people/gemini/merge", alex, key="one", json={"gone": "other", **because})
    assert merged.json()["moved_micro"] == 25 * MICRO
    assert api.ask("POST", "/admin/people/gemini/merge", alex, key="one",
                   json={"gone": "other", **because}).json() == merged.json()  # fmt: skip
    plan = api.ask("GET", "/admin/people/gemini/erasure", alex).json()
    assert (plan["hub_name"], plan["left_micro"], plan["leads"]) == ("gemini", 50 * MICRO, [])
    wrong = {"name": "other", **because}
    refused(api.ask("POST", "/admin/people/gemini/erase", alex, json=wrong), 422, "not_confirmed")
    erased = api.ask("POST", "/admin/people/gemini/erase", alex, json={"name": "gemini", **because})
    assert erased.json() == {"done": True}
    refused(api.ask("GET", "/admin/people/gemini", alex), 404, "unknown_person")
    for act, body in {
        "identity": {"to": "boss"},
        "merge": {"gone": "sam"},
        "erase": {"name": "alex"},
    }.items():
        refused(api.ask("POST", f"/admin/people/alex/{act}", alex, json=body | because), 403, "not_allowed")
