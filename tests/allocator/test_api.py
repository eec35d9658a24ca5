"""The routes over HTTP: statuses, slugs and words of every refusal."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from httpx import Client, Response
from prometheus_client.parser import text_string_to_metric_families
from tests.support.allocator import (
    HUB_TOKEN,
    INTERNAL_TOKEN,
    ISSUER,
    METRICS_TOKEN,
    Clock,
    World,
    served,
)
from tests.support.postgres import free_port

from nexus_allocator.config import Settings
from nexus_allocator.domain.lab_tokens import lab_token
from nexus_allocator.main import create_app
from nexus_allocator.policy import load_policy
from nexus_allocator.store.session import Database

BASE = "/services/nexus/api/hub"
LAB = "/services/nexus/api/lab"
JSON = {"Content-Type": "application/json"}


class Hub(Client):
    """The service as the hub asks it."""

    def put_person(self, name: str, **changes: Any) -> Response:
        body = {
            "issuer": ISSUER, "subject": name, "preferred_username": name, "display_name": name.title(),
            "email": None, "groups": [],
        }  # fmt: skip
        return self.put(f"{BASE}/people", json=body | changes)

    def accepted(self, name: str) -> None:
        assert self.put_person(name).status_code == 200
        version = load_policy().agreement.version
        answer = self.post(f"{BASE}/people/{name}/agreement", json={"version": version})
        assert answer.status_code == 204, answer.text

    def admit(self, **changes: Any) -> Response:
        body = {
            "hub_name": "astronomer", "server_name": "", "account": "astronomer", "size": "small",
            "image": "nexus", "hours": 2,
        }  # fmt: skip
        # NaN is not JSON, yet Python's own writer sends it and its reader takes it.
        return self.post(f"{BASE}/admissions", content=json.dumps(body | changes), headers=JSON)


@pytest.fixture
def service(database_url: str) -> Iterator[Hub]:
    settings = Settings(
        database_url=database_url, hub_api_url=f"http://127.0.0.1:{free_port()}/hub/api", hub_token=HUB_TOKEN,
        internal_token=INTERNAL_TOKEN, metrics_token=METRICS_TOKEN, worker_threads=4,
    )  # fmt: skip
    app = create_app(settings, load_policy())
    headers = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
    with served(app) as address, Hub(base_url=address, headers=headers, timeout=20) as client:
        yield client
    app.state.portal.sign_in.close()
    app.state.portal.hub.close()
    app.state.context.database.dispose()


def refused(answer: Response, status: int, slug: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["error"]) == (status, slug), answer.text
    assert answer.json()["message"].endswith(".")
    facts: dict[str, Any] = answer.json()["facts"]
    return facts


def test_monitoring_reads_what_was_admitted_and_refused_and_its_token_admits_nothing(service: Hub) -> None:
    service.accepted("astronomer")
    assert service.admit().status_code == 201
    assert service.admit(server_name="b", size="gigantic").status_code == 422
    as_monitor = {"Authorization": f"Bearer {METRICS_TOKEN}"}
    figures = service.get("/services/nexus/api/metrics", headers=as_monitor)
    read = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(figures.text)
        for sample in family.samples
    }
    assert read["nexus_live_servers", ("size", "small"), ("state", "placed")] == 1
    assert read["nexus_places", ("is", "not_as_ordered"), ("kind", "homes")] == 1
    assert read["nexus_held_credits",] == pytest.approx(0.270834)
    assert read["nexus_admission_seconds_count",] == 2
    assert read["nexus_refusals_total", ("error", "unknown_size")] == 1
    assert service.get("/services/nexus/api/metrics").status_code == 401
    assert service.put(f"{BASE}/people", json={}, headers=as_monitor).status_code == 401


def test_a_launch_runs_from_sign_in_to_settlement(service: Hub) -> None:
    person = service.put_person("astronomer").json()
    assert (person["hub_name"], person["is_administrator"], person["suspended"]) == (
        "astronomer",
        False,
        False,
    )
    service.accepted("astronomer")
    launch = service.get(f"{BASE}/people/astronomer/launch").json()
    assert launch["agreement"]["accepted"]
    assert launch["accounts"][0]["available_micro"] == 25_000_000
    assert launch["accounts"][0]["sizes"][0]["credits_per_hour_micro"] == 125_000
    assert launch["hours"] == {"min": 0.25, "max": 24, "step": 0.25, "default": 2}
    admitted = service.admit()
    assert admitted.status_code == 201, admitted.text
    body = admitted.json()
    assert (body["cpu"], body["memory_bytes"], body["home"], body["umask"]) == (
        2,
        4 * 2**30,
        "astronomer",
        "0027",
    )
    hold = f"{BASE}/holds/{body['hold_id']}"
    started = {"process_started_at": "2026-03-02T09:00:00+00:00", "evidence": {"pid": 1}}
    for _ in range(2):
        assert service.post(f"{hold}/started", json=started).status_code == 204
    intent = {"reason": "idle", "actor": "culler"}
    assert service.post(f"{BASE}/servers/astronomer/-/stop-intent", json=intent).status_code == 204
    keep = service.get(f"{BASE}/servers/astronomer/-/keep-alive")
    assert keep.json() == {"keep_alive_until": None}
    stopped = {"stopped_at": None, "alive_at_stop": True, "exit_signal": None, "exit_code": None}
    for _ in range(2):
        assert service.post(f"{hold}/stopped", json=stopped).status_code == 204
    last = service.get(f"{BASE}/people/astronomer/launch").json()["last_stop"]
    assert (last["reason"], last["actor"]) == ("idle", "culler")


def test_health_needs_no_token(service: Hub) -> None:
    assert service.get(f"{BASE}/health", headers={"Authorization": ""}).json() == {"status": "ok"}


@pytest.mark.parametrize("header", ["", "Bearer forged", f"Basic {INTERNAL_TOKEN}", "Bearer é"])
def test_a_forged_or_missing_token_gets_nothing(service: Hub, header: str) -> None:
    answer = service.put(f"{BASE}/people", json={}, headers={"Authorization": header.encode()})
    refused(answer, 401, "invalid_token")


def test_an_administrator_is_known_by_group(service: Hub) -> None:
    assert service.put_person("admin", groups=["nexus-admins"]).json()["is_administrator"]
    assert not service.put_person("admin", groups=["others"]).json()["is_administrator"]


def test_nobody_launches_before_the_agreement_and_an_old_version_is_refused(service: Hub) -> None:
    service.put_person("astronomer")
    launch = service.get(f"{BASE}/people/astronomer/launch").json()
    assert (launch["agreement"]["accepted"], launch["accounts"]) == (False, [])
    assert launch["agreement"]["text_html"].startswith("<p>")
    refused(service.admit(), 403, "agreement_required")
    answer = service.post(f"{BASE}/people/astronomer/agreement", json={"version": "1999"})
    refused(answer, 409, "agreement_outdated")


@pytest.mark.parametrize(
    ("changes", "status", "slug"),
    [
        ({"account": "stranger"}, 404, "unknown_account"),
        ({"account": "none"}, 404, "unknown_account"),
        ({"hub_name": "nobody"}, 404, "unknown_person"),
        ({"size": "gigantic"}, 422, "unknown_size"),
        ({"size": "large"}, 422, "size_not_allowed"),
        ({"image": "other"}, 422, "unknown_image"),
        ({"hours": 0}, 422, "bad_hours"),
        ({"hours": -2}, 422, "bad_hours"),
        ({"hours": float("nan")}, 422, "bad_hours"),
        ({"hours": float("inf")}, 422, "bad_hours"),
        ({"hours": 1e9}, 422, "bad_hours"),
        ({"hours": "two"}, 422, "bad_hours"),
        ({"hours": None}, 422, "bad_hours"),
        ({"hours": {"a": 1}}, 422, "bad_hours"),
        ({"size": None}, 422, "invalid_request"),
        ({"size": ["small"]}, 422, "invalid_request"),
        ({"server_name": "x" * 300}, 422, "invalid_request"),
        ({"account": "a\x00b"}, 422, "invalid_request"),
        ({"price": 0}, 422, "invalid_request"),
    ],
)
def test_a_crafted_launch_is_refused(service: Hub, changes: dict[str, Any], status: int, slug: str) -> None:
    service.accepted("astronomer")
    service.accepted("stranger")
    refused(service.admit(**changes), status, slug)


def test_a_second_server_and_a_launch_that_does_not_fit_are_refused(service: Hub) -> None:
    service.accepted("astronomer")
    assert service.admit(hours=24).status_code == 201
    facts = refused(service.admit(server_name="second"), 409, "server_limit")
    assert facts == {"account": "astronomer", "limit": 1, "live": 1}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"process_started_at": "2026-03-02T09:00:00"}']
)
def test_a_malformed_body_is_refused(service: Hub, body: bytes) -> None:
    refused(
        service.post(f"{BASE}/holds/{uuid4()}/started", content=body, headers=JSON), 422, "invalid_request"
    )


def test_an_unknown_hold_server_or_path_is_not_found(service: Hub) -> None:
    service.put_person("astronomer")
    refused(service.post(f"{BASE}/holds/{uuid4()}/stopped", json={}), 404, "unknown_hold")
    intent = {"reason": "idle", "actor": "culler"}
    answer = service.post(f"{BASE}/servers/astronomer/-/stop-intent", json=intent)
    refused(answer, 404, "unknown_server")
    refused(service.get(f"{BASE}/people/nobody/launch"), 404, "unknown_person")
    refused(service.post(f"{BASE}/holds/not-a-number/stopped", json={}), 422, "invalid_request")
    assert service.get(f"{BASE}/nothing").status_code == 404


def test_groups_follow_the_accounts(service: Hub) -> None:
    assert service.put_person("astronomer").json()["groups"] == []
    service.accepted("astronomer")
    assert service.put_person("astronomer").json()["groups"] == ["tier-entry"]


def of_server(hold_id: str, secret: str = INTERNAL_TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {lab_token(secret, hold_id)}"}


def test_a_running_server_sees_its_account_and_its_own_end(service: Hub) -> None:
    service.accepted("astronomer")
    admitted = service.admit(hours=2).json()
    card = service.get(f"{LAB}/card", headers=of_server(admitted["hold_id"])).json()
    assert (card["account"], card["left"], card["size"]) == ("Your own account", "25.00", "small")
    assert card["until"] == admitted["until"] > card["planned_until"]
    assert (card["stopping"], card["notice"]) == (False, None)


def test_a_server_s_token_speaks_for_its_own_hold_only(service: Hub) -> None:
    service.accepted("astronomer")
    hold_id = service.admit().json()["hold_id"]
    other = str(uuid4())
    for headers in (
        {},
        of_server(hold_id, "not the secret"),
        {"Authorization": f"Bearer {hold_id}.{lab_token(INTERNAL_TOKEN, other).partition('.')[2]}"},
        {"Authorization": "Bearer no-token"},
    ):
        refused(service.get(f"{LAB}/card", headers={"Authorization": ""} | headers), 401, "invalid_token")
    refused(service.get(f"{LAB}/card", headers=of_server(other)), 404, "unknown_hold")
    assert service.get(f"{BASE}/people/astronomer/launch", headers=of_server(hold_id)).status_code == 401


def test_a_stop_from_inside_is_recorded_as_the_person_s_own_before_the_hub_is_asked(service: Hub) -> None:
    service.accepted("astronomer")
    hold_id = service.admit().json()["hold_id"]
    body = {"process_started_at": "2026-03-02T09:00:00Z"}
    assert service.post(f"{BASE}/holds/{hold_id}/started", json=body).status_code == 204
    # No hub answers here: it is asked again by the outbox.
    assert service.post(f"{LAB}/stop", headers=of_server(hold_id)).status_code == 202
    assert service.get(f"{LAB}/card", headers=of_server(hold_id)).json()["stopping"]
    service.post(f"{BASE}/holds/{hold_id}/stopped", json={"alive_at_stop": True})
    last = service.get(f"{BASE}/people/astronomer/launch").json()["last_stop"]
    assert (last["reason"], last["actor"]) == ("own-hand", "astronomer")
    refused(service.get(f"{LAB}/card", headers=of_server(hold_id)), 404, "unknown_hold")


def test_a_team_s_own_server_is_asked_about_as_the_hub_does(service: Hub, database_url: str) -> None:
    for name in ("ann", "zoe"):
        service.accepted(name)
    database = Database(database_url)
    World(database, clock=Clock(datetime.now(UTC))).team("survey", "ann")
    database.dispose()
    for account, status in (("survey", 200), ("ann", 200), ("nobody", 404)):
        assert service.get(f"{BASE}/people/{account}/standing").status_code == status
    page = service.get(f"{BASE}/teams/survey/launch", params={"hub_name": "ann"}).json()
    assert [account["slug"] for account in page["accounts"]] == ["survey"]
    assert page["offline"] == {"offer": None, "collected": []}
    for path in ("launch", "server"):
        assert service.get(f"{BASE}/teams/survey/{path}", params={"hub_name": "zoe"}).status_code == 404
    admitted = service.admit(hub_name="survey", account="survey", started_by="ann").json()
    assert (admitted["team"], admitted["umask"], admitted["home"]) == ("survey", "0007", "")
    assert service.admit(hub_name="survey", account="survey", started_by="zoe").status_code == 404
    shown = service.get(f"{BASE}/teams/survey/server", params={"hub_name": "ann"}).json()
    assert (shown["started_by"], shown["size"]) == ("Ann", "small")
    asked = {"reason": "idle", "actor": "idle-culler"}
    assert service.post(f"{BASE}/servers/survey/-/stop-intent", json=asked).status_code == 204
    assert service.get(f"{BASE}/servers/survey/-/keep-alive").json() == {"keep_alive_until": None}
