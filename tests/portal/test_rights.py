"""Who may do what, cell by cell: every address of the portal, for everybody from nobody to an administrator.

The table names each route once, so that a new one without a row fails here. A row's people may do it; all
others are refused, and what is not theirs to see is answered as if it were not there.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute
from tests.support.portal import PortalUnderTest, Visitor

from nexus_allocator.domain.states import Role
from nexus_allocator.services import invitations, shares
from nexus_allocator.web.routes import accounts, administration, requests, servers, sign_in, teams

# Ada leads the team, Mia manages it, Tomo is a member; Sam is in no team, Alex administers, nobody signed in.
PEOPLE = {"lead": "astronomer", "manager": "manager", "member": "teammate", "stranger": "stranger",
          "administrator": "admin"}  # fmt: skip
ANYBODY = {"nobody", *PEOPLE}
SIGNED_IN = set(PEOPLE)
LEAD = {"lead"}
LEADING = {"lead", "manager"}
TEAM = {"lead", "manager", "member"}
ADMINISTRATOR = {"administrator"}

AWARD = {"amount": "5", "ends_on": "2027-12-01"}


@dataclass(frozen=True)
class Row:
    """A route, who may, and what form is sent to it."""

    method: str
    route: str
    may: set[str]
    form: dict[str, str] = field(default_factory=dict)


TABLE = (
    Row("GET", "/sign-in", ANYBODY),
    Row("GET", "/oauth_callback", ANYBODY),
    Row("GET", "/health", ANYBODY),
    Row("GET", "/policy", ANYBODY),
    Row("GET", "/", SIGNED_IN),
    Row("GET", "/requests", SIGNED_IN),
    Row("GET", "/teams", SIGNED_IN),
    # What Ada and her team own.
    Row("GET", "/accounts/{own}", LEAD | ADMINISTRATOR),
    Row("GET", "/accounts/{own}/statement.csv", LEAD | ADMINISTRATOR),
    Row("GET", "/accounts/{own}/entries.csv", LEAD | ADMINISTRATOR),
    Row("GET", "/accounts/{slug}", TEAM | ADMINISTRATOR),
    Row("GET", "/accounts/{slug}/statement.csv", TEAM | ADMINISTRATOR),
    Row("GET", "/accounts/{slug}/entries.csv", TEAM | ADMINISTRATOR),
    Row("POST", "/requests/{request_id}/withdraw", LEAD),
    Row("GET", "/teams/{slug}", TEAM | ADMINISTRATOR),
    Row("POST", "/teams/{slug}/invitations", LEADING | ADMINISTRATOR, {"whom": "stranger"}),
    Row("POST", "/teams/{slug}/invitations/{invitation_id}/withdraw", LEADING | ADMINISTRATOR),
    Row("POST", "/teams/{slug}/groups", LEADING | ADMINISTRATOR, {"label": "Grism"}),
    Row("GET", "/teams/{slug}/groups/{subgroup_id}", TEAM | ADMINISTRATOR),
    Row("POST", "/teams/{slug}/groups/{subgroup_id}/end", LEADING | ADMINISTRATOR),
    Row("POST", "/teams/{slug}/groups/{subgroup_id}/share", LEADING | ADMINISTRATOR),
    Row("GET", "/teams/{slug}/members/{hub_name}", TEAM | ADMINISTRATOR),
    Row("POST", "/teams/{slug}/members/{hub_name}/role", LEAD | ADMINISTRATOR, {"role": "manager"}),
    Row("POST", "/teams/{slug}/members/{hub_name}/group", LEADING | ADMINISTRATOR, {"subgroup": ""}),
    Row("POST", "/teams/{slug}/members/{hub_name}/share", LEADING | ADMINISTRATOR),
    Row("POST", "/teams/{slug}/members/{hub_name}/remove", LEADING | ADMINISTRATOR, {"reason": "Moved on"}),
    Row("GET", "/teams/{slug}/leave", TEAM | ADMINISTRATOR),
    # The lead is told to hand the team over first, which is no question of rights.
    Row("POST", "/teams/{slug}/leave", TEAM),
    Row("POST", "/invitations/{to_stranger}/accept", {"stranger"}),
    Row("POST", "/invitations/{to_stranger}/decline", {"stranger"}),
    # Administration.
    *(
        Row("GET", f"/admin{part}", ADMINISTRATOR)
        for part in ("", "/requests", "/requests/{request_id}", "/people", "/accounts", "/servers",
                     "/servers/{hub_name}/-/stop", "/forecast")
    ),
    Row("POST", "/admin/requests/{request_id}/review", ADMINISTRATOR),
    Row("POST", "/admin/requests/{request_id}/approve", ADMINISTRATOR, AWARD),
    Row("POST", "/admin/requests/{request_id}/deny", ADMINISTRATOR, {"reason": "Not this time"}),
    Row("POST", "/admin/requests/{request_id}/return", ADMINISTRATOR, {"reason": "How deep?"}),
    Row("POST", "/admin/servers/{hub_name}/-/stop", ADMINISTRATOR, {"reason": "Maintenance"}),
)  # fmt: skip
# What acts on nothing but the visitor's own; tests of their own say what each does.
OF_ONESELF = {"POST /requests", "POST /{path_name:path}/stop", "POST /{path_name:path}/keep-alive",
              "POST /notices/{notice_id}/put-away"}  # fmt: skip
# How a row's words stand in the route itself.
WORDS = {"{own}": "{slug}", "{to_stranger}": "{invitation_id}", "-/stop": "{path_name:path}/stop",
         "/deny": "/{decision}", "/return": "/{decision}"}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A portal whose database can be brought back, and the ids that rows name."""

    portal: PortalUnderTest
    address: str
    file: Path
    words: dict[str, str]

    def sign_in(self, who: str) -> Visitor:
        visitor = Visitor(self.address)
        if who in PEOPLE:
            self.portal.hub.at_the_keyboard = PEOPLE[who]
            visitor.sign_in("requests")
        return visitor

    def restore(self) -> None:
        self.portal.begin_again(self.file)


@pytest.fixture
def scene(populated: PortalUnderTest, address: str, tmp_path: Path) -> Scene:
    portal, now = populated, populated.clock
    for name in ("manager", "stranger", "guest"):
        portal.person(name, name.title())
        portal.accept(name)
    with portal.database.session_scope() as session:
        common = {"team": "wide-field-demo", "by": "astronomer", "now": now()}
        mia = invitations.invite(session, whom="manager", role=Role.MANAGER, **common).id
        memberships_of = invitations.accept(session, mia, hub_name="manager", now=now())
        assert memberships_of.slug == "wide-field-demo"
        to_guest = invitations.invite(session, whom="guest", **common).id
        group = shares.make_subgroup(session, label="Mosaics", **common).id
    portal.team("deep-field", "Deep Field", lead="admin")
    with portal.database.session_scope() as session:
        to_stranger = invitations.invite(
            session, team="deep-field", whom="stranger", by="admin", now=now()
        ).id
    request = portal.ask("astronomer", "research")
    portal.launch("teammate", account="wide-field-demo")
    portal.database.dispose()
    file = Path(shutil.copy(str(portal.database.url.database), tmp_path / "scene.sqlite"))
    words = {
        "own": "astronomer", "slug": "wide-field-demo", "request_id": str(request), "hub_name": "teammate",
        "subgroup_id": str(group), "invitation_id": str(to_guest), "to_stranger": str(to_stranger),
    }  # fmt: skip
    return Scene(portal, address, file, words)


def is_let(answer: httpx.Response) -> bool:
    """Whether the visitor may: refusals are 401, 403, 404 and the way to the sign-in."""
    to_sign_in = answer.status_code == 303 and "/sign-in?" in answer.headers["Location"]
    return answer.status_code not in {401, 403, 404} and not to_sign_in


def sent(scene: Scene, visitor: Visitor, row: Row, *, signed_in: bool) -> httpx.Response:
    path = row.route.lstrip("/").format(**scene.words)
    if row.method == "GET":
        return visitor.open(path)
    return visitor.post(path, csrf=None if signed_in else "none", **row.form)


@pytest.mark.parametrize("who", ["nobody", *PEOPLE])
def test_each_row_lets_its_people_in_and_nobody_else(scene: Scene, who: str) -> None:
    wrong, visitor = [], scene.sign_in(who)
    for row in TABLE:
        answer = sent(scene, visitor, row, signed_in=who in PEOPLE)
        assert answer.status_code < 500, (row.method, row.route)
        if is_let(answer) != (who in row.may):
            wrong.append((row.method, row.route, answer.status_code))
        if row.method == "POST" and is_let(answer):
            visitor.client.close()
            scene.restore()
            visitor = scene.sign_in(who)
    visitor.client.close()
    assert wrong == []


def test_every_route_of_the_portal_has_a_row() -> None:
    modules = (accounts, administration, requests, servers, sign_in, teams)
    routes = {
        f"{method} {route.path.removeprefix('/servers') if module is servers else route.path}"
        for module in modules
        for route in module.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    rows = set()
    for row in TABLE:
        path = row.route
        for word, stands_for in WORDS.items():
            path = path.replace(word, stands_for)
        rows.add(f"{row.method} {path}")
    assert routes - rows - OF_ONESELF == set()
    assert rows - routes == set()
