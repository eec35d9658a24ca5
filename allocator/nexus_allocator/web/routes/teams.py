"""Teams: who is in them, who is invited, how their credits are divided."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from nexus_allocator.domain import wording
from nexus_allocator.domain.errors import (
    AllocatorError,
    AlreadyInvited,
    AlreadyMember,
    BadAddress,
    BadName,
    BadReason,
    NameTaken,
    UnknownPerson,
)
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.domain.states import Role, ShareKind
from nexus_allocator.services import invitations, memberships, notices, portal_reading, shares, team_reading
from nexus_allocator.services.hub_calls import ToStop, ask_at_once
from nexus_allocator.services.shares import Holder
from nexus_allocator.services.team_reading import TeamPage
from nexus_allocator.web import team_views
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import REASON, Errors, plain_newlines, text_problem
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import OwnForm, PortalHere, SignedIn
from nexus_allocator.web.team_forms import NO_SHARE, InviteForm, ShareForm, group_id

router = APIRouter()

Typed = Annotated[str, Form()]


@router.get("/teams", response_class=HTMLResponse)
@does(Action.TEAM_SEE)
def my_teams(request: Request, portal: PortalHere, visitor: SignedIn) -> HTMLResponse:
    with portal.reading_scope() as session:
        home = portal_reading.home(session, hub_name=visitor.hub_name, now=portal.clock())
        invited = team_reading.invitations_to(session, hub_name=visitor.hub_name, now=portal.clock())
        slugs = [account.slug for account in home.accounts if account.is_team]
        teams = [
            team_reading.team_page(session, slug=slug, hub_name=visitor.hub_name, now=portal.clock())
            for slug in slugs
        ]
    values = {
        "teams": [team_views.team_view(team, portal.policy, viewer=visitor.hub_name) for team in teams],
        "invitations": invited,
    }
    return page(request, "teams.html", values, visitor=visitor, here="teams")


@router.get("/teams/{slug}", response_class=HTMLResponse)
@does(Action.TEAM_SEE)
def team(*, request: Request, slug: str, portal: PortalHere, visitor: SignedIn) -> HTMLResponse:
    return team_answer(request, portal, visitor, slug=slug, invite=InviteForm(), errors={})


@router.post("/teams/{slug}/invitations", dependencies=[OwnForm])
@does(Action.TEAM_INVITE)
def invite(
    *,
    request: Request,
    slug: str,
    portal: PortalHere,
    visitor: SignedIn,
    whom: Typed = "",
    role: Typed = Role.MEMBER.value,
) -> Response:
    form = InviteForm(whom.replace("\x00", ""), role)

    def act(session: Session) -> object:
        return invitations.invite(
            session, policy=portal.policy, team=slug, whom=form.whom, role=Role(form.role),
            by=visitor.hub_name, now=portal.clock(),
        )  # fmt: skip

    refusals = (BadAddress, UnknownPerson, AlreadyMember, AlreadyInvited)
    if errors := form.errors() or attempt(portal, act, dict.fromkeys(refusals, "whom")):
        return team_answer(request, portal, visitor, slug=slug, invite=form, errors=errors)
    return redirect(portal, f"teams/{slug}", "invited")


@router.post("/teams/{slug}/groups", dependencies=[OwnForm])
@does(Action.TEAM_DIVIDE)
def make_group(
    *, request: Request, slug: str, portal: PortalHere, visitor: SignedIn, label: Typed = ""
) -> Response:
    text = plain_newlines(label)

    def act(session: Session) -> object:
        return shares.make_subgroup(session, team=slug, label=text, by=visitor.hub_name, now=portal.clock())

    if errors := attempt(portal, act, {BadName: "label", NameTaken: "label"}):
        return team_answer(
            request, portal, visitor, slug=slug, invite=InviteForm(), errors=errors, label=text
        )
    return redirect(portal, f"teams/{slug}", "group-made")


@router.post("/teams/{slug}/groups/{subgroup_id}/end", dependencies=[OwnForm])
@does(Action.TEAM_DIVIDE)
def end_group(slug: str, subgroup_id: UUID, portal: PortalHere, visitor: SignedIn) -> Response:
    with portal.session_scope() as session:
        shares.end_subgroup(
            session, team=slug, subgroup_id=subgroup_id, by=visitor.hub_name, now=portal.clock()
        )
    return redirect(portal, f"teams/{slug}", "group-ended")


@router.get("/teams/{slug}/groups/{subgroup_id}", response_class=HTMLResponse)
@does(Action.TEAM_SEE)
def group(
    *, request: Request, slug: str, subgroup_id: UUID, portal: PortalHere, visitor: SignedIn
) -> HTMLResponse:
    return group_answer(request, portal, visitor, slug=slug, subgroup_id=subgroup_id, form=None, errors={})


@router.post("/teams/{slug}/groups/{subgroup_id}/share", dependencies=[OwnForm])
@does(Action.TEAM_DIVIDE)
def share_of_group(
    *,
    request: Request,
    slug: str,
    subgroup_id: UUID,
    portal: PortalHere,
    visitor: SignedIn,
    kind: Typed = NO_SHARE,
    amount: Typed = "",
) -> Response:
    form = ShareForm(kind, amount)
    if errors := form.errors():
        return group_answer(
            request, portal, visitor, slug=slug, subgroup_id=subgroup_id, form=form, errors=errors
        )
    write_share(portal, visitor, form, slug=slug, holder=Holder(subgroup_id=subgroup_id))
    return redirect(portal, f"teams/{slug}", "shared")


@router.get("/teams/{slug}/members/{hub_name}", response_class=HTMLResponse)
@does(Action.TEAM_SEE)
def member(
    *, request: Request, slug: str, hub_name: str, portal: PortalHere, visitor: SignedIn
) -> HTMLResponse:
    return member_answer(
        request, portal, visitor, slug=slug, hub_name=hub_name, form=None, reason="", errors={}
    )


@router.post("/teams/{slug}/members/{hub_name}/share", dependencies=[OwnForm])
@does(Action.TEAM_DIVIDE)
def share_of_member(
    *,
    request: Request,
    slug: str,
    hub_name: str,
    portal: PortalHere,
    visitor: SignedIn,
    kind: Typed = NO_SHARE,
    amount: Typed = "",
) -> Response:
    form = ShareForm(kind, amount)
    if errors := form.errors():
        return member_answer(
            request, portal, visitor, slug=slug, hub_name=hub_name, form=form, reason="", errors=errors
        )
    write_share(portal, visitor, form, slug=slug, holder=Holder(member=hub_name))
    return redirect(portal, f"teams/{slug}", "shared")


@router.post("/teams/{slug}/members/{hub_name}/role", dependencies=[OwnForm])
@does(Action.TEAM_CHANGE_ROLE)
def role_of_member(
    *, slug: str, hub_name: str, portal: PortalHere, visitor: SignedIn, role: Annotated[Role, Form()]
) -> Response:
    with portal.session_scope() as session:
        if role is Role.LEAD:
            memberships.hand_over(session, team=slug, to=hub_name, by=visitor.hub_name, now=portal.clock())
        else:
            memberships.change_role(
                session, team=slug, member=hub_name, role=role, by=visitor.hub_name, now=portal.clock()
            )
    return redirect(portal, f"teams/{slug}", "handed-over" if role is Role.LEAD else "role-changed")


@router.post("/teams/{slug}/members/{hub_name}/group", dependencies=[OwnForm])
@does(Action.TEAM_DIVIDE)
def group_of_member(
    *,
    slug: str,
    hub_name: str,
    portal: PortalHere,
    visitor: SignedIn,
    subgroup: Typed = "",
) -> Response:
    chosen = group_id(subgroup)
    with portal.session_scope() as session:
        shares.group(
            session, team=slug, member=hub_name, subgroup_id=chosen, by=visitor.hub_name, now=portal.clock()
        )
    return redirect(portal, f"teams/{slug}", "grouped")


@router.post("/teams/{slug}/members/{hub_name}/remove", dependencies=[OwnForm])
@does(Action.TEAM_REMOVE_MEMBER)
def remove(
    *,
    request: Request,
    slug: str,
    hub_name: str,
    portal: PortalHere,
    visitor: SignedIn,
    reason: Typed = "",
) -> Response:
    text = plain_newlines(reason)
    servers: list[ToStop] = []

    def act(session: Session) -> object:
        servers.extend(
            memberships.remove(
                session, team=slug, member=hub_name, reason=text, by=visitor.hub_name, now=portal.clock()
            )
        )
        return servers

    problem = text_problem(text, REASON, "a reason")
    errors = {"reason": problem} if problem else attempt(portal, act, {BadReason: "reason"})
    if errors:
        return member_answer(
            request, portal, visitor, slug=slug, hub_name=hub_name, form=None, reason=text, errors=errors
        )
    ask_at_once(portal, portal.hub, servers, now=portal.clock())
    return redirect(portal, f"teams/{slug}", "removed")


@router.get("/teams/{slug}/leave", response_class=HTMLResponse)
@does(Action.TEAM_LEAVE)
def leave_form(*, request: Request, slug: str, portal: PortalHere, visitor: SignedIn) -> HTMLResponse:
    found = read_team(portal, visitor, slug)
    with portal.reading_scope() as session:
        running = team_reading.servers_on(session, slug=slug, hub_name=visitor.hub_name)
    return page(
        request, "team_leave.html", {"team": found, "running": running}, visitor=visitor, here="teams"
    )


@router.post("/teams/{slug}/leave", dependencies=[OwnForm])
@does(Action.TEAM_LEAVE)
def leave(slug: str, portal: PortalHere, visitor: SignedIn) -> RedirectResponse:
    with portal.session_scope() as session:
        servers = memberships.leave(session, team=slug, hub_name=visitor.hub_name, now=portal.clock())
    ask_at_once(portal, portal.hub, servers, now=portal.clock())
    return redirect(portal, "teams", "left-team")


@router.post("/invitations/{invitation_id}/accept", dependencies=[OwnForm])
@does(Action.INVITATION_ANSWER)
def accept(invitation_id: UUID, portal: PortalHere, visitor: SignedIn) -> Response:
    with portal.session_scope() as session:
        joined = invitations.accept(
            session, invitation_id, hub_name=visitor.hub_name, now=portal.clock()
        ).slug
    return redirect(portal, f"teams/{joined}", "joined")


@router.post("/invitations/{invitation_id}/decline", dependencies=[OwnForm])
@does(Action.INVITATION_ANSWER)
def decline(invitation_id: UUID, portal: PortalHere, visitor: SignedIn) -> Response:
    with portal.session_scope() as session:
        invitations.decline(session, invitation_id, hub_name=visitor.hub_name, now=portal.clock())
    return redirect(portal, "teams", "declined")


@router.post("/teams/{slug}/invitations/{invitation_id}/withdraw", dependencies=[OwnForm])
@does(Action.TEAM_INVITE)
def withdraw(slug: str, invitation_id: UUID, portal: PortalHere, visitor: SignedIn) -> Response:
    with portal.session_scope() as session:
        invitations.withdraw(session, invitation_id, by=visitor.hub_name, now=portal.clock())
    return redirect(portal, f"teams/{slug}", "invitation-withdrawn")


@router.post("/notices/{notice_id}/put-away", dependencies=[OwnForm])
@does(Action.NOTICE_PUT_AWAY)
def put_away(notice_id: UUID, portal: PortalHere, visitor: SignedIn) -> Response:
    with portal.session_scope() as session:
        notices.put_away(session, notice_id, hub_name=visitor.hub_name, now=portal.clock())
    return redirect(portal, "", "put-away")


def attempt(
    portal: Portal, act: Callable[[Session], object], fields: dict[type[AllocatorError], str]
) -> Errors:
    """Do it in one transaction; return the refusals that belong to a field of the form."""
    try:
        with portal.session_scope() as session:
            act(session)
    except tuple(fields) as refusal:
        return {fields[type(refusal)]: wording.sentence(refusal)}
    return {}


def write_share(portal: Portal, visitor: Visitor, form: ShareForm, *, slug: str, holder: Holder) -> None:
    amount = form.amount_micro()
    with portal.session_scope() as session:
        if form.kind == NO_SHARE or amount is None:
            shares.lift_share(session, team=slug, holder=holder, by=visitor.hub_name, now=portal.clock())
        else:
            shares.set_share(
                session,
                team=slug,
                holder=holder,
                kind=ShareKind(form.kind),
                amount_micro=amount,
                by=visitor.hub_name,
                now=portal.clock(),
            )


def read_team(portal: Portal, visitor: Visitor, slug: str) -> TeamPage:
    with portal.reading_scope() as session:
        return team_reading.team_page(session, slug=slug, hub_name=visitor.hub_name, now=portal.clock())


def team_answer(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    slug: str,
    invite: InviteForm,
    errors: Errors,
    label: str = "",
) -> HTMLResponse:
    found = read_team(portal, visitor, slug)
    values = {
        "team": team_views.team_view(found, portal.policy, viewer=visitor.hub_name),
        "invite": invite,
        "label": label,
        "errors": errors,
    }
    status = 422 if errors else 200
    return page(request, "team.html", values, visitor=visitor, here="teams", status=status)


def member_answer(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    slug: str,
    hub_name: str,
    form: ShareForm | None,
    reason: str,
    errors: Errors,
) -> HTMLResponse:
    found = read_team(portal, visitor, slug)
    row = found.member(hub_name)
    values = {
        "team": team_views.team_view(found, portal.policy, viewer=visitor.hub_name),
        "member": team_views.member_view(row, found),
        "form": form or team_views.share_form(row.part),
        "reason": reason,
        "limits": REASON,
        "errors": errors,
    }
    status = 422 if errors else 200
    return page(request, "team_member.html", values, visitor=visitor, here="teams", status=status)


def group_answer(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    slug: str,
    subgroup_id: UUID,
    form: ShareForm | None,
    errors: Errors,
) -> HTMLResponse:
    found = read_team(portal, visitor, slug)
    row = found.group(subgroup_id)
    values = {
        "team": team_views.team_view(found, portal.policy, viewer=visitor.hub_name),
        "group": row,
        "names": [member.label for member in found.members if member.subgroup_id == row.id],
        "form": form or team_views.share_form(row.part),
        "errors": errors,
    }
    status = 422 if errors else 200
    return page(request, "team_group.html", values, visitor=visitor, here="teams", status=status)
