"""Who may do what, cell by cell: every address of the portal, for everybody from nobody to an administrator.

What is right stands in the table of `domain/rights.py`; a row here says how to ask for a route and whose
thing is asked for. A route without a row fails, and one that names no deed is open to nobody.
"""

import shutil
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from starlette.routing import Mount
from tests.support.portal import (
    PREFIX,
    TEAM,
    VAULT,
    PortalUnderTest,
    Visitor,
    with_a_question,
    with_an_announcement,
    with_an_event,
    with_purges,
    with_snapshots,
)
from tests.support.routes import Named, routes_of

from nexus_allocator.domain import rights
from nexus_allocator.domain.panel import Window
from nexus_allocator.domain.rights import Action, Capacity, Deed, Reach, does
from nexus_allocator.domain.states import NoticeKind, Role
from nexus_allocator.policy import load_policy
from nexus_allocator.services import invitations, notices, panels, people, shares, webhooks
from nexus_allocator.store import outbox

# Ada leads the team, Mia manages it, Tomo is a member; Sam is in no team, Rae reviews for the panel, Alex
# administers, nobody signed in.
PEOPLE = {"lead": "astronomer", "manager": "manager", "member": "teammate", "stranger": "stranger",
          "reviewer": "rae", "administrator": "admin"}  # fmt: skip
ROLES = {"lead": Role.LEAD, "manager": Role.MANAGER, "member": Role.MEMBER}
EVERYBODY = ("nobody", *PEOPLE)
# Whose thing a row asks for, beside what belongs to one of PEOPLE.
THE_TEAMS, NO_THING = "the team's", "no thing"


@dataclass(frozen=True)
class Row:
    """A route, whose thing is asked for, and the form that is sent; ``action`` where that says which."""

    method: str
    route: str
    of: str = NO_THING
    form: dict[str, str] = field(default_factory=dict)
    action: Action | None = None


AWARD = {"amount": "5", "ends_on": "2027-12-01"}
ROUND = {"label": "R", "opens_on": "2027-03-01", "closes_on": "2027-03-31", "due_on": "2027-04-15"}
YESTERDAY = {"day": "2026-03-01", "file": "notes"}
KEEP = {"until": "2027-12-31", "reason": "The referee asked for these"}
REVIEW = {f"score-{each.slug}": "3" for each in load_policy().panel.criteria}
ROWS = (
    Row("GET", "/sign-in"),
    Row("GET", "/oauth_callback"),
    Row("GET", "/health"),
    Row("GET", "/policy"),
    Row("GET", "/agreement"),
    Row("POST", "/agreement", form={"version": "other"}),
    Row("GET", "/"),
    Row("GET", "/requests"),
    Row("POST", "/requests", form={"do": "reckon"}),
    Row("GET", "/teams"),
    Row("POST", "/servers/-/stop"),
    Row("POST", "/servers/-/keep-alive", form={"keep": "yes"}),
    Row("POST", "/notices/{notice_id}/put-away"),
    Row("GET", "/accounts/{own}", "lead"),
    Row("GET", "/accounts/{own}/statement.csv", "lead"),
    Row("GET", "/accounts/{own}/entries.csv", "lead"),
    Row("POST", "/requests/{request_id}/withdraw", "lead"),
    Row("GET", "/accounts/{slug}", THE_TEAMS),
    Row("GET", "/accounts/{slug}/statement.csv", THE_TEAMS),
    Row("GET", "/accounts/{slug}/entries.csv", THE_TEAMS),
    Row("GET", "/teams/{slug}", THE_TEAMS),
    Row("POST", "/teams/{slug}/invitations", THE_TEAMS, {"whom": "stranger"}),
    Row("POST", "/teams/{slug}/invitations", THE_TEAMS, {"whom": "stranger", "role": "manager"},
        Action.TEAM_INVITE_MANAGER),
    Row("POST", "/teams/{slug}/invitations/{invitation_id}/withdraw", THE_TEAMS),
    Row("POST", "/teams/{slug}/groups", THE_TEAMS, {"label": "Grism"}),
    Row("GET", "/teams/{slug}/groups/{subgroup_id}", THE_TEAMS),
    Row("POST", "/teams/{slug}/groups/{subgroup_id}/end", THE_TEAMS),
    Row("POST", "/teams/{slug}/groups/{subgroup_id}/share", THE_TEAMS),
    Row("GET", "/teams/{slug}/members/{hub_name}", THE_TEAMS),
    Row("POST", "/teams/{slug}/members/{hub_name}/role", THE_TEAMS, {"role": "manager"}),
    Row("POST", "/teams/{slug}/members/{hub_name}/role", THE_TEAMS, {"role": "lead"}, Action.TEAM_HAND_OVER),
    Row("POST", "/teams/{slug}/members/{hub_name}/group", THE_TEAMS, {"subgroup": ""}),
    Row("POST", "/teams/{slug}/members/{hub_name}/share", THE_TEAMS),
    Row("POST", "/teams/{slug}/members/{hub_name}/remove", THE_TEAMS, {"reason": "Moved on"}),
    Row("POST", "/teams/{slug}/members/{second}/remove", THE_TEAMS, {"reason": "Moved on"},
        Action.TEAM_REMOVE_MANAGER),
    Row("GET", "/teams/{slug}/leave", THE_TEAMS),
    # The lead is told to hand the team over first, which is no question of rights.
    Row("POST", "/teams/{slug}/leave", THE_TEAMS),
    Row("POST", "/invitations/{to_stranger}/accept", "stranger"),
    Row("POST", "/invitations/{to_stranger}/decline", "stranger"),
    *(
        Row("GET", f"/admin{part}")
        for part in ("", "/requests", "/requests/{request_id}", "/people", "/people/{hub_name}", "/accounts",
                     "/servers", "/servers/{hub_name}/-/stop", "/servers/{hub_name}/-/enter",
                     "/forecast", "/pool", "/maintenance", "/log",
                     "/log/log.csv", "/log/log.jsonl", "/events", "/events/{event_id}",
                     "/people/{hub_name}/identity", "/outbox", "/webhooks")
    ),
    Row("POST", "/admin/requests/{request_id}/review"),
    Row("POST", "/admin/requests/{request_id}/approve", form=AWARD),
    Row("POST", "/admin/requests/{request_id}/deny", form={"reason": "Not this time"}),
    Row("POST", "/admin/requests/{request_id}/return", form={"reason": "How deep?"}),
    Row("POST", "/admin/servers/{hub_name}/-/stop", form={"reason": "Maintenance"}),
    Row("POST", "/admin/servers/{hub_name}/-/enter", form={"reason": "Asked for help", "minutes": "15"}),
    Row("POST", "/admin/servers/{hub_name}/-/leave"),
    Row("POST", "/admin/people/{hub_name}/suspend", form={"reason": "Mining coins"}),
    Row("POST", "/admin/people/{hub_name}/reinstate"),
    Row("POST", "/admin/maintenance", form={"message": "The file system is being moved"}),
    Row("POST", "/admin/maintenance/lift"),
    Row("GET", "/admin/announcements"),
    Row("POST", "/admin/announcements"),
    Row("POST", "/admin/announcements/{announcement_id}/withdraw"),
    Row("GET", "/admin/what-if"),
    Row("POST", "/admin/what-if", form={"people": "0"}),
    Row("GET", "/admin/what-if/{question_id}"),
    Row("GET", "/admin/what-if/{question_id}/answer.csv"),
    *(Row("GET", f"/admin/exports/{name}.csv") for name in ("people", "accounts", "servers", "requests",
      "rounds/{round_id}/cases", "rounds/{round_id}/reviews")),
    Row("POST", "/requests/{request_id}/offer/accept", "lead", {"number": "1"}),
    Row("POST", "/requests/{request_id}/offer/decline", "lead", {"number": "1", "reason": "Too little"}),
    Row("GET", "/panel"),
    Row("GET", "/panel/{case}"),
    Row("POST", "/panel/{case}/review", form=REVIEW),
    Row("POST", "/panel/{case}/conflict", form={"reason": "My student"}),
    Row("GET", "/admin/panel"),
    Row("POST", "/admin/panel/rounds", form=ROUND),
    Row("GET", "/admin/panel/rounds/{round_id}"),
    Row("POST", "/admin/panel/rounds/{round_id}", form=ROUND),
    Row("POST", "/admin/panel/reviewers", form={"hub_name": "guest"}),
    Row("POST", "/admin/panel/reviewers/{rae}/end"),
    Row("POST", "/admin/panel/requests/{case}/offer", form=AWARD),
    Row("POST", "/admin/panel/requests/{case}/take-back", form={"reason": "A slip"}),
    Row("POST", "/admin/panel/requests/{request_id}/refer", form={"referral": "Very large"}),
    Row("POST", "/admin/panel/requests/{case}/place", form={"round_id": "{round_id}"}),
    Row("GET", "/preferences"),
    Row("POST", "/preferences", form={"teams": "never"}),
    Row("POST", "/admin/outbox/retry"),
    Row("POST", "/admin/outbox/{row_id}/retry"),
    Row("POST", "/admin/webhooks", form={"url": "https://new.example", "events": "request.moved"}),
    Row("POST", "/admin/webhooks/{endpoint_id}/rotate"),
    Row("POST", "/admin/webhooks/{endpoint_id}/switch", form={"to": "off"}),
    Row("POST", "/admin/webhooks/{endpoint_id}/test"),
    Row("POST", "/admin/webhooks/{endpoint_id}/remove"),
    Row("GET", "/storage"),
    Row("GET", "/accounts/{own}/storage", "lead"),
    Row("GET", "/accounts/{slug}/storage", THE_TEAMS),
    Row("POST", "/accounts/{own}/storage/scratch", "lead", {"size_gb": "1", "days": "1", "do": "take"}),
    Row("POST", "/accounts/{slug}/storage/scratch", THE_TEAMS, {"size_gb": "1", "days": "1"}),
    Row("POST", "/accounts/{slug}/storage/look", THE_TEAMS),
    Row("GET", "/admin/storage"),
    Row("POST", "/admin/storage/size", form={"place": "homes/teammate", "gb": "5", "reason": "A long run"}),
    Row("GET", "/events/join"),
    Row("POST", "/events/join", form={"code": ""}),
    Row("POST", "/admin/events"),
    Row("POST", "/admin/events/{event_id}/end", form={"reason": "The speaker is ill"}),
    Row("POST", "/admin/people/{hub_name}/identity", form={"to": "tomoko", "reason": "Asked for"}),
    Row("POST", "/admin/people/{hub_name}/merge", form={"gone": "stranger", "merge_reason": "One"}),
    Row("POST", "/admin/people/{hub_name}/erase", form={"name": "teammate", "erase_reason": "Asked"}),
    Row("GET", "/storage/purges"),
    Row("GET", "/storage/purges/{purge}", "lead"),
    Row("GET", "/storage/purges/{teams_purge}", THE_TEAMS),
    Row("GET", "/storage/purges/{purge}/recipe.sh", "lead"),
    Row("POST", "/storage/purges/{purge}/restore", "lead"),
    Row("POST", "/storage/purges/{teams_purge}/restore", THE_TEAMS),
    Row("POST", "/storage/purges/{purge}/exempt", "lead", KEEP),
    Row("POST", "/storage/purges/{teams_purge}/exempt", THE_TEAMS, KEEP),
    Row("GET", "/storage/snapshots"),
    Row("POST", "/storage/snapshots", "lead", YESTERDAY | {"place": "homes/astronomer"}),
    Row("POST", "/storage/snapshots", THE_TEAMS, YESTERDAY | {"place": f"teams/{TEAM}"}),
    Row("GET", "/admin/purges"),
    Row("POST", "/admin/purges/{purge}/cancel", form={"reason": "A slip of the rule"}),
    Row("POST", "/admin/purges/exemptions/{exemption_id}/answer", form={"do": "grant", "reason": "Needed"}),
)  # fmt: skip
# How a row's words stand in the route itself.
WORDS = {"{purge}": "{purge_id}", "{teams_purge}": "{purge_id}",
         "{own}": "{slug}", "{to_stranger}": "{invitation_id}", "-/stop": "{path_name:path}/stop",
         "-/enter": "{path_name:path}/enter", "{hub_name}/-/leave": "{hub_name}/{path_name:path}/leave",
         "{second}": "{hub_name}", "{rae}": "{hub_name}",
         "{case}": "{request_id}", "-/keep-alive": "{path_name:path}/keep-alive", "/deny": "/{decision}",
         "/return": "/{decision}"}  # fmt: skip


def route_of(row: Row) -> str:
    path = row.route
    for word, stands_for in WORDS.items():
        path = path.replace(word, stands_for)
    return f"{row.method} {path}"


def is_right(who: str, row: Row, deed: Deed) -> bool:
    """Whether the table lets ``who`` do it: at the route's door, and with the thing that the row asks for."""
    is_administrator = who == "administrator"
    known = who in PEOPLE
    door = rights.somewhere(is_administrator=is_administrator, is_reviewer=who == "reviewer")
    door = door if known else rights.NOBODY_KNOWN
    if row.of == NO_THING or not rights.lets(door, deed):
        return rights.lets(door, deed)
    role = ROLES.get(who) if row.of == THE_TEAMS else None
    over = Reach.TEAM if role else Reach.OWN if row.of == who else Reach.ANY
    acting_as = rights.capacities(is_administrator=is_administrator, role=role)
    return rights.may(acting_as if known else door, row.action or deed.action, over)


@dataclass(frozen=True)
class Scene:
    """A portal whose database can be brought back, the ids that rows name, and what its routes do."""

    portal: PortalUnderTest
    address: str
    file: Path
    words: dict[str, str]
    deeds: dict[str, Deed]

    def sign_in(self, who: str) -> Visitor:
        visitor = Visitor(self.address)
        if who in PEOPLE:
            self.portal.hub.at_the_keyboard = PEOPLE[who]
            visitor.sign_in("requests")
        return visitor

    def restore(self) -> None:
        self.portal.begin_again(self.file)


@pytest.fixture
def routes(standing: tuple[PortalUnderTest, str]) -> list[Named]:
    return list(routes_of(standing[0].app))


@pytest.fixture
def scene(populated: PortalUnderTest, address: str, tmp_path: Path, routes: list[Named]) -> Scene:
    words = filled(populated)
    populated.database.dispose()
    file = Path(shutil.copy(str(populated.database.url.database), tmp_path / "scene.sqlite"))
    prefix = PREFIX.rstrip("/")
    deeds = {f"{each.method} {each.path.removeprefix(prefix)}": each.deed for each in routes if each.deed}
    return Scene(populated, address, file, words, deeds)


def filled(portal: PortalUnderTest) -> dict[str, str]:
    """Give the people of `with_people` colleagues and things of every kind; return the ids that rows name."""
    now = portal.clock
    for name in ("manager", "second", "stranger", "guest", "rae"):
        portal.person(name, name.title())
        portal.accept(name)
    common = {"by": "astronomer", "now": now()}
    invited = {"policy": portal.policy, **common}
    with portal.database.session_scope() as session:
        for name in ("manager", "second"):
            seat = invitations.invite(session, team=TEAM, whom=name, role=Role.MANAGER, **invited).id
            assert invitations.accept(session, seat, hub_name=name, now=now()).slug == TEAM
        to_guest = invitations.invite(session, team=TEAM, whom="guest", **invited).id
        group = shares.make_subgroup(session, team=TEAM, label="Mosaics", **common).id
    portal.team("deep-field", "Deep Field", lead="admin")
    with portal.database.session_scope() as session:
        to_stranger = invitations.invite(
            session, policy=portal.policy, team="deep-field", whom="stranger", by="admin", now=now()
        ).id
        url = "https://hooks.example"
        endpoint = webhooks.register(
            session, url=url, events=["request.moved"], vault=VAULT, by=None, now=now()
        )[0].id
        ada = people.person_called(session, "astronomer")
        notices.tell(session, ada.id, NoticeKind.LEADS_TEAM, key="leads", facts={"team": "x"}, now=now())
    with portal.database.reading_scope() as session:
        notice = notices.unread(session, hub_name="astronomer")[0].id
    window = Window(now() - timedelta(days=1), now() + timedelta(days=1), now() + timedelta(days=2))
    with portal.database.session_scope() as session:
        made = panels.make_round(session, panels.RoundPlan("Spring", window), by=None, now=now())
        panels.appoint(session, "rae", by=None, now=now())
    with portal.database.reading_scope() as session:
        row, _ = outbox.page(session, states=None, channel=None, limit=1, offset=0)[0]
    request, case = portal.ask("astronomer", "research"), portal.ask("guest", "team", team_label="Guests")
    for name in PEOPLE.values():
        portal.launch(name, account=TEAM if name == "teammate" else None, hours=1)
    event, announcement = with_an_event(portal), with_an_announcement(portal)
    question = with_a_question(portal)
    plans = with_purges(portal)
    with_snapshots(portal.database, now=now())
    return {
        "own": "astronomer", "slug": TEAM, "request_id": str(request), "hub_name": "teammate",
        "second": "second", "subgroup_id": str(group), "invitation_id": str(to_guest),
        "to_stranger": str(to_stranger), "notice_id": str(notice),
        "case": str(case), "round_id": str(made.id), "rae": "rae",
        "row_id": str(row.id), "endpoint_id": str(endpoint),
        "event_id": str(event), "announcement_id": str(announcement), "question_id": str(question),
        **plans,
    }  # fmt: skip


def is_let(answer: httpx.Response) -> bool:
    """Whether the visitor may: refusals are 401, 403, 404 and the way to the sign-in."""
    to_sign_in = answer.status_code == 303 and "/sign-in?" in answer.headers["Location"]
    not_entered = "You are not signed in" in answer.text  # where the sign-in itself was asked for nonsense
    return not_entered or (answer.status_code not in {401, 403, 404} and not to_sign_in)


def sent(scene: Scene, visitor: Visitor, row: Row, *, signed_in: bool) -> httpx.Response:
    path = row.route.lstrip("/").format(**scene.words)
    if row.method == "GET":
        return visitor.open(path)
    form = {name: value.format(**scene.words) for name, value in row.form.items()}
    return visitor.post(path, csrf=None if signed_in else "none", **form)


@pytest.mark.parametrize("who", EVERYBODY)
def test_each_route_lets_in_whom_the_table_names_and_nobody_else(scene: Scene, who: str) -> None:
    wrong, visitor = [], scene.sign_in(who)
    for row in ROWS:
        answer = sent(scene, visitor, row, signed_in=who in PEOPLE)
        assert answer.status_code < 500, (row.method, row.route)
        if is_let(answer) != is_right(who, row, scene.deeds[route_of(row)]):
            wrong.append((row.method, row.route, answer.status_code))
        if row.method == "POST" and is_let(answer):
            visitor.client.close()
            scene.restore()
            visitor = scene.sign_in(who)
    visitor.client.close()
    assert wrong == []


def test_every_route_of_the_portal_names_its_deed_and_has_a_row(routes: list[Named]) -> None:
    prefix = PREFIX.rstrip("/")
    asked = {f"{each.method} {each.path.removeprefix(prefix)}" for each in routes}
    assert [str(each) for each in routes if each.deed is None] == []
    rows = {route_of(row) for row in ROWS}
    assert asked - rows == set()
    assert rows - asked == set()


def test_every_cell_of_what_the_portal_does_was_tried_as_allowed_and_as_denied(scene: Scene) -> None:
    """Everybody tries every row, so a cell is tried when somebody acts so over such a thing."""
    tried: dict[Action, set[bool]] = {}
    for row in ROWS:
        deed = scene.deeds[route_of(row)]
        answers = {is_right(who, row, deed) for who in EVERYBODY}
        tried[row.action or deed.action] = tried.get(row.action or deed.action, set()) | answers
    public = {action for action in Action if Capacity.VISITOR in rights.TABLE[action]}
    assert {action for action, answers in tried.items() if answers == {True}} == public
    assert {action for action, answers in tried.items() if answers == {False}} == set()


def test_a_page_that_names_no_deed_is_for_nobody(administrator: Visitor, populated: PortalUnderTest) -> None:
    assert populated.app is not None
    portal = next(each.app.app for each in populated.app.routes if isinstance(each, Mount))
    before = len(portal.router.routes)
    portal.add_api_route("/nameless", lambda: "secret")
    portal.add_api_route("/named", does(Action.POLICY_SEE)(lambda: "public"))
    refused, open_to_all = administrator.open("nameless"), administrator.open("named")
    del portal.router.routes[before:]
    assert (refused.status_code, open_to_all.status_code) == (403, 200)
    assert "secret" not in refused.text
