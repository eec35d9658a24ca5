"""Each route of the API, as everybody and with tokens of every scope: what the table says, and no more."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.allocator import World
from tests.support.api import ASK, V1, Api, running_api, with_a_panel, with_people
from tests.support.fake_hub import running_hub
from tests.support.routes import routes_of

from nexus_allocator.domain import rights, scopes
from nexus_allocator.domain.rights import Action, Deed, Reach
from nexus_allocator.domain.states import Role
from nexus_allocator.policy import load_policy
from nexus_allocator.store import schema
from nexus_allocator.store.session import Database

PEOPLE = {"lead": "ada", "manager": "max", "member": "mia", "stranger": "sam", "reviewer": "rae",
          "administrator": "alex"}  # fmt: skip
ROLES = {"lead": Role.LEAD, "manager": Role.MANAGER, "member": Role.MEMBER}
EVERYBODY = ("nobody", *PEOPLE)
THE_TEAMS, NO_THING = "the team's", "no thing"
READING = {"GET"}


@dataclass(frozen=True)
class Row:
    """A route, whose thing is asked for, and what is sent; ``action`` where that says which it is."""

    method: str
    route: str
    of: str = NO_THING
    body: dict[str, Any] | None = None
    action: Action | None = None
    query: dict[str, str] = field(default_factory=dict)


REASON = {"reason": "Because the test says so"}
TERMS = {"credits_micro": 5_000_000}
ROUND = {"label": "Autumn", "opens_at": "2026-09-01T00:00:00Z", "closes_at": "2026-10-01T00:00:00Z",
         "due_at": "2026-11-01T00:00:00Z"}  # fmt: skip
SCORES = {"scores": {each.slug: 4 for each in load_policy().panel.criteria}}
DAYS = {"starts_at": "2026-03-03T00:00:00Z", "ends_at": "2026-03-05T00:00:00Z"}
SHARE = {"kind": "cap", "amount_micro": 1_000_000}
YESTERDAY = {"day": "2026-03-01", "path": "notes"}
KEEP = {**REASON, "path": "thesis", "until": "2026-06-01T00:00:00Z"}
MEMBER = "/teams/{grism}/members/{mia}"
ROWS = (
    Row("GET", "/policy"),
    Row("GET", "/agreement"),
    Row("GET", "/me"),
    Row("POST", "/me/agreement", body={"version": "another"}),
    Row("GET", "/me/notices"),
    Row("POST", "/me/notices/{notice_id}/put-away"),
    Row("GET", "/me/invitations"),
    Row("POST", "/me/invitations/{to_sam}/accept", "stranger"),
    Row("POST", "/me/invitations/{to_sam}/decline", "stranger"),
    Row("GET", "/servers"),
    Row("POST", "/servers/-/stop"),
    Row("PUT", "/servers/-/keep-alive", body={"keep": True}),
    Row("GET", "/accounts"),
    Row("GET", "/accounts/{ada}", "lead"),
    Row("GET", "/accounts/{ada}/statement", "lead"),
    Row("GET", "/accounts/{ada}/entries", "lead"),
    Row("GET", "/accounts/{grism}", THE_TEAMS),
    Row("GET", "/accounts/{grism}/statement", THE_TEAMS),
    Row("GET", "/accounts/{grism}/entries", THE_TEAMS),
    Row("GET", "/requests/choices"),
    Row("GET", "/requests"),
    Row("GET", "/requests/{request_id}", "lead"),
    Row("POST", "/requests", "lead", ASK),
    Row("PUT", "/requests/draft", THE_TEAMS, {**ASK, "account": "grism"}),
    Row("POST", "/requests/{request_id}/withdraw", "lead"),
    Row("GET", "/teams"),
    Row("GET", "/teams/{grism}", THE_TEAMS),
    Row("POST", "/teams/{grism}/invitations", THE_TEAMS, {"whom": "sam"}),
    Row("POST", "/teams/{grism}/invitations", THE_TEAMS, {"whom": "sam", "role": "manager"},
        Action.TEAM_INVITE_MANAGER),
    Row("DELETE", "/teams/{grism}/invitations/{invitation_id}", THE_TEAMS),
    Row("PUT", f"{MEMBER}/role", THE_TEAMS, {"role": "manager"}),
    Row("PUT", f"{MEMBER}/role", THE_TEAMS, {"role": "lead"}, Action.TEAM_HAND_OVER),
    Row("PUT", f"{MEMBER}/subgroup", THE_TEAMS, {"subgroup_id": None}),
    Row("PUT", f"{MEMBER}/share", THE_TEAMS, SHARE),
    Row("DELETE", f"{MEMBER}/share", THE_TEAMS),
    Row("POST", f"{MEMBER}/remove", THE_TEAMS, REASON),
    Row("POST", "/teams/{grism}/members/{second}/remove", THE_TEAMS, REASON, Action.TEAM_REMOVE_MANAGER),
    Row("POST", "/teams/{grism}/subgroups", THE_TEAMS, {"label": "Prism"}),
    Row("DELETE", "/teams/{grism}/subgroups/{subgroup_id}", THE_TEAMS),
    Row("PUT", "/teams/{grism}/subgroups/{subgroup_id}/share", THE_TEAMS, SHARE),
    Row("DELETE", "/teams/{grism}/subgroups/{subgroup_id}/share", THE_TEAMS),
    Row("POST", "/teams/{grism}/leave", THE_TEAMS),
    *(Row("GET", f"/admin/{part}") for part in ("people", "people/{mia}", "accounts", "requests",
      "requests/{request_id}", "servers", "forecast", "pool", "maintenance")),
    Row("GET", "/admin/log", query={"q": "grism"}),
    Row("GET", "/admin/announcements"),
    Row("POST", "/admin/announcements", body={"level": "info", "text": "Slow today", **DAYS}),
    Row("POST", "/admin/announcements/{announcement_id}/withdraw"),
    Row("GET", "/admin/events"),
    Row("POST", "/admin/events", body={"label": "School", "sizes": ["small"], "most_people": 5,
                                       "pool_micro": 5_000_000, **DAYS}),
    Row("POST", "/admin/events/{event_id}/end", body=REASON),
    Row("POST", "/events/join", body={"code": "{code}"}),
    Row("GET", "/admin/requests", query={"which": "decided"}),
    Row("POST", "/admin/people/{mia}/suspend", body=REASON),
    Row("POST", "/admin/people/{mia}/reinstate"),
    Row("POST", "/admin/requests/{request_id}/review"),
    Row("POST", "/admin/requests/{request_id}/award", body={"credits_micro": 5_000_000}),
    Row("POST", "/admin/requests/{request_id}/deny", body=REASON),
    Row("POST", "/admin/requests/{request_id}/return", body=REASON),
    Row("POST", "/admin/servers/{mia}/-/stop", body=REASON),
    Row("POST", "/admin/servers/{mia}/-/enter", body=REASON),
    Row("POST", "/admin/servers/{mia}/-/leave"),
    Row("GET", "/admin/people/{mia}/enterings"),
    Row("PUT", "/admin/maintenance", body={"message": "The file system is being moved"}),
    Row("DELETE", "/admin/maintenance"),
    Row("GET", "/storage"),
    Row("GET", "/accounts/{ada}/storage", "lead"),
    Row("GET", "/accounts/{grism}/storage", THE_TEAMS),
    Row("POST", "/storage/scratch/cost", "lead", {"account": "ada", "size_gb": 1, "days": 1}),
    Row("POST", "/storage/scratch/cost", THE_TEAMS, {"account": "grism", "size_gb": 1, "days": 1}),
    Row("POST", "/storage/scratch", THE_TEAMS, {"account": "grism", "size_gb": 1, "days": 1}),
    Row("GET", "/admin/storage"),
    Row("POST", "/admin/storage/size", body={"place": "homes/mia", "size_gb": 5, **REASON}),
    Row("GET", "/me/mail"),
    Row("PUT", "/me/mail", body={"timings": {"teams": "never"}}),
    Row("GET", "/admin/outbox"),
    Row("POST", "/admin/outbox/retry"),
    Row("POST", "/admin/outbox/{row_id}/retry"),
    Row("GET", "/admin/webhooks"),
    Row("POST", "/admin/webhooks", body={"url": "https://other.example", "events": ["request.moved"]}),
    Row("POST", "/admin/webhooks/{endpoint_id}/rotate"),
    Row("PUT", "/admin/webhooks/{endpoint_id}/switch", body={"on": False}),
    Row("POST", "/admin/webhooks/{endpoint_id}/test"),
    Row("DELETE", "/admin/webhooks/{endpoint_id}"),
    Row("GET", "/purges"),
    Row("GET", "/purges/{purge}", "lead"),
    Row("GET", "/purges/{teams_purge}", THE_TEAMS),
    Row("POST", "/purges/{purge}/restore", "lead", {}),
    Row("POST", "/purges/{teams_purge}/restore", THE_TEAMS, {"path": "runs"}),
    Row("GET", "/snapshots"),
    Row("POST", "/snapshots/restore", "lead", YESTERDAY | {"place": "homes/ada"}),
    Row("POST", "/snapshots/restore", THE_TEAMS, YESTERDAY | {"place": "teams/grism"}),
    Row("POST", "/accounts/{ada}/credentials", "lead"),
    Row("POST", "/accounts/{grism}/credentials", THE_TEAMS),
    Row("GET", "/exemptions"),
    Row("POST", "/exemptions", "lead", KEEP | {"place": "homes/ada"}),
    Row("POST", "/exemptions", THE_TEAMS, KEEP | {"place": "teams/grism"}),
    Row("GET", "/admin/purges"),
    Row("GET", "/admin/purges/reports"),
    Row("POST", "/admin/purges/{early_purge}/cancel", body=REASON),
    Row("GET", "/admin/exemptions"),
    Row("POST", "/admin/exemptions/{exemption_id}/answer", body=REASON | {"grant": True}),
    Row("GET", "/panel/cases"),
    Row("GET", "/panel/cases/{case_id}"),
    Row("PUT", "/panel/cases/{case_id}/review", body=SCORES),
    Row("POST", "/panel/cases/{case_id}/conflict", body=REASON),
    Row("GET", "/requests/{offered_id}/offer", "manager"),
    Row("POST", "/requests/{offered_id}/offer/accept", "manager", {"number": 1}),
    Row("POST", "/requests/{offered_id}/offer/decline", "manager", {"number": 1, **REASON}),
    Row("GET", "/admin/panel/cases"),
    Row("GET", "/admin/panel/cases", query={"round_id": "{round_id}"}),
    Row("GET", "/admin/panel/cases/{case_id}"),
    Row("GET", "/admin/panel/rounds"),
    Row("POST", "/admin/panel/rounds", body=ROUND),
    Row("PUT", "/admin/panel/rounds/{round_id}", body=ROUND),
    Row("GET", "/admin/panel/reviewers"),
    Row("POST", "/admin/panel/reviewers", body={"hub_name": "sam"}),
    Row("DELETE", "/admin/panel/reviewers/{rae}"),
    Row("POST", "/admin/requests/{request_id}/refer", body=REASON),
    Row("POST", "/admin/requests/{case_id}/place", body={"round_id": "{round_id}"}),
    Row("POST", "/admin/requests/{case_id}/offer", body={**TERMS, "bypass": "Urgent, and small."}),
    Row("POST", "/admin/requests/{offered_id}/take-back", body=REASON),
    Row("GET", "/admin/what-if"),
    Row("POST", "/admin/what-if", body={"changes": ["tiers.entry.credits=x0.5"], "people": 10}),
    Row("GET", "/admin/what-if/{question_id}"),
    Row("POST", "/admin/people/{second}/identity", body={"to": "deuxieme", **REASON}),
    Row("POST", "/admin/people/{second}/merge", body={"gone": "guest", **REASON}),
    Row("GET", "/admin/people/{second}/erasure"),
    Row("POST", "/admin/people/{second}/erase", body={"name": "second", **REASON}),
)  # fmt: skip
# How a row's words stand in the route itself.
WORDS = {"{purge}": "{purge_id}", "{teams_purge}": "{purge_id}", "{early_purge}": "{purge_id}",
         "{to_sam}": "{invitation_id}", "{grism}": "{slug}", "{mia}": "{hub_name}", "{second}": "{hub_name}",
         "{rae}": "{hub_name}", "{case_id}": "{request_id}", "{offered_id}": "{request_id}",
         "{ada}": "{slug}", "/servers/-/": "/servers/{server_name}/",
         "{hub_name}/-/": "{hub_name}/{server_name}/"}  # fmt: skip
NAMES = {name: name for name in ("ada", "grism", "mia", "second", "rae")}


@dataclass(frozen=True)
class Scene:
    api: Api
    file: Path
    deeds: dict[str, Deed]

    @property
    def words(self) -> dict[str, str]:
        """What stands for the words of the rows' routes."""
        return self.api.words | NAMES

    def sent(self, row: Row, token: str | None) -> httpx.Response:
        """Ask for the row's route, and bring the database back where something may have changed."""
        path = row.route.format(**self.words)
        body = None if row.body is None else self.filled(row.body)
        answer = self.api.ask(row.method, path, token, json=body, params=self.filled(row.query))
        assert answer.status_code < 500, (row.method, path, answer.text)
        assert answer.status_code != 422 or answer.json()["error"] != "invalid_request", (path, answer.text)
        if row.method not in READING and answer.is_success:
            self.api.restore(self.file)
        return answer

    def filled(self, words: dict[str, Any]) -> dict[str, Any]:
        """Return what is sent, with the ids that it names."""
        ids = {f"{{{name}}}": found for name, found in self.api.words.items()}
        return {name: ids.get(word, word) if isinstance(word, str) else word for name, word in words.items()}

    def deed(self, row: Row) -> Deed:
        path = row.route
        for word, stands_for in WORDS.items():
            path = path.replace(word, stands_for)
        return self.deeds[f"{row.method} {path}"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("v1")
    url = f"sqlite:///{folder / 'allocator.sqlite'}"
    database = Database(url)
    schema.upgrade(database)
    with running_hub() as hub, running_api(World(database), hub, url) as api:
        with_people(api)
        with_a_panel(api)
        database.dispose()
        api.app.state.context.database.dispose()
        file = Path(shutil.copy(folder / "allocator.sqlite", folder / "scene.sqlite"))
        deeds = {
            f"{each.method} {each.path.removeprefix(V1)}": each.deed
            for each in routes_of(api.app)
            if each.path.startswith(V1) and each.deed
        }
        yield Scene(api, file, deeds)
    database.dispose()


def is_right(who: str, row: Row, deed: Deed, limits: frozenset[rights.Capacity]) -> bool:
    """Whether table and token let ``who`` do it: at the route's door, and with the thing asked for."""
    if who not in PEOPLE:
        return rights.lets(rights.NOBODY_KNOWN, deed)
    is_administrator = who == "administrator"
    door = rights.somewhere(is_administrator=is_administrator, is_reviewer=who == "reviewer")
    at_door = rights.lets(door & limits, deed)
    if row.of == NO_THING or not at_door:
        return at_door
    role = ROLES.get(who) if row.of == THE_TEAMS else None
    over = Reach.TEAM if role else Reach.OWN if row.of == who else Reach.ANY
    held = rights.capacities(is_administrator=is_administrator, role=role)
    return rights.may(held & limits, row.action or deed.action, over)


def is_let(answer: httpx.Response) -> bool:
    return answer.status_code not in {401, 403, 404}


@pytest.mark.parametrize("who", EVERYBODY)
def test_each_route_is_for_whom_the_table_names(scene: Scene, who: str) -> None:
    token = scene.api.token(PEOPLE[who]) if who in PEOPLE else None
    everything = frozenset(rights.Capacity)
    wrong = []
    for row in ROWS:
        answer = scene.sent(row, token)
        if is_let(answer) != is_right(who, row, scene.deed(row), everything):
            wrong.append((row.method, row.route, answer.status_code, answer.text[:100]))
    assert wrong == []


@pytest.mark.parametrize("scope", scopes.SCOPES, ids=lambda scope: scope.name.removeprefix("custom:nexus:"))
@pytest.mark.parametrize("who", ["lead", "reviewer", "administrator"])
def test_a_token_with_one_scope_does_only_what_that_allows(
    scene: Scene, who: str, scope: scopes.Scope
) -> None:
    token = scene.api.token(PEOPLE[who], scope.name)
    wrong, let = [], 0
    for row in ROWS:
        answer = scene.sent(row, token)
        limits = scopes.acting_as({scope.name}, writes=row.method not in READING)
        let += is_let(answer)
        if is_let(answer) != is_right(who, row, scene.deed(row), limits):
            wrong.append((row.method, row.route, answer.status_code, answer.text[:100]))
    assert wrong == []
    # Two routes are for everybody; a scope of administrators gives a lead no more than those.
    assert (let > 2) == (who == "administrator" or "admin" not in scope.name)


def test_every_route_of_the_api_has_a_row(scene: Scene) -> None:
    rows = set()
    for row in ROWS:
        path = row.route
        for word, stands_for in WORDS.items():
            path = path.replace(word, stands_for)
        rows.add(f"{row.method} {path}")
    assert rows == set(scene.deeds)


def test_a_token_that_may_not_says_which_scope_is_needed(scene: Scene) -> None:
    token = scene.api.token("ada", "custom:nexus:read:own")
    answer = scene.api.ask("POST", "/servers/-/stop", token)
    assert (answer.status_code, answer.json()["error"]) == (403, "scope_needed")
    assert answer.json()["facts"]["scopes"] == ["custom:nexus:write:own"]
    nothing = scene.api.ask("GET", "/me", scene.api.token("ada", "access:services!service=nexus"))
    assert nothing.json()["facts"]["scopes"] == ["custom:nexus:read:own", "custom:nexus:write:own"]


def test_a_token_for_ones_own_shows_no_teams_account(scene: Scene) -> None:
    own = scene.api.ask("GET", "/accounts", scene.api.token("ada", "custom:nexus:read:own"))
    both = scene.api.token("ada", "custom:nexus:read:own", "custom:nexus:read:team")
    assert [each["slug"] for each in own.json()] == ["ada"]
    assert {each["slug"] for each in scene.api.ask("GET", "/accounts", both).json()} == {"ada", "grism"}
