"""Teams: who is in them, who is invited, how their credits are divided."""

from collections.abc import Callable
from uuid import UUID

from fastapi import APIRouter, Security
from sqlalchemy.orm import Session

from nexus_allocator.api.models import Word
from nexus_allocator.api.v1.asking import HUB_TOKEN, REFUSALS, Asked, Asking, Changing, Unsafe
from nexus_allocator.api.v1.models import (
    DoneModel,
    InvitationModel,
    InviteBody,
    LabelBody,
    ReasonBody,
    RoleBody,
    ShareBody,
    SubgroupBody,
    TeamModel,
)
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.domain.states import Role
from nexus_allocator.services import invitations, memberships, portal_reading, shares, team_reading
from nexus_allocator.services.hub_calls import ToStop, ask_at_once
from nexus_allocator.services.shares import Holder

router = APIRouter(responses=REFUSALS, dependencies=[Security(HUB_TOKEN)], tags=["teams"])
CREATED = 201


@router.get("/me/invitations")
@does(Action.INVITATION_SEE, over=Reach.OWN)
def my_invitations(asked: Asking) -> list[InvitationModel]:
    """The invitations one may answer."""
    with asked.reading() as session:
        found = team_reading.invitations_to(session, hub_name=asked.hub_name, now=asked.now)
    return [InvitationModel.model_validate(row) for row in found]


@router.post("/me/invitations/{invitation_id}/accept")
@does(Action.INVITATION_ANSWER, over=Reach.OWN)
def accept(invitation_id: UUID, asked: Changing) -> TeamModel:
    """Join the team."""

    def act(session: Session) -> TeamModel:
        joined = invitations.accept(session, invitation_id, hub_name=asked.hub_name, now=asked.now)
        return shown(session, asked, joined.slug)

    return asked.once(TeamModel, act)


@router.post("/me/invitations/{invitation_id}/decline")
@does(Action.INVITATION_ANSWER, over=Reach.OWN)
def decline(invitation_id: UUID, asked: Changing) -> DoneModel:
    def act(session: Session) -> DoneModel:
        invitations.decline(session, invitation_id, hub_name=asked.hub_name, now=asked.now)
        return DoneModel()

    return asked.once(DoneModel, act)


@router.get("/teams")
@does(Action.TEAM_SEE, over=Reach.TEAM)
def my_teams(asked: Asking) -> list[TeamModel]:
    """The teams one is in."""
    with asked.reading() as session:
        slugs = portal_reading.teams_of(session, hub_name=asked.hub_name)
        return [shown(session, asked, slug) for slug in slugs]


@router.get("/teams/{slug}")
@does(Action.TEAM_SEE)
def team(slug: Word, asked: Asking) -> TeamModel:
    with asked.reading() as session:
        return shown(session, asked, slug)


@router.post("/teams/{slug}/invitations", status_code=CREATED)
@does(Action.TEAM_INVITE)
def invite(slug: Word, body: InviteBody, asked: Changing) -> TeamModel:
    """Invite somebody by hub name or e-mail address, as a member or a manager."""

    def change(session: Session) -> None:
        invitations.invite(
            session, policy=asked.policy, team=slug, whom=body.whom, role=body.role, by=asked.hub_name,
            now=asked.now,
        )  # fmt: skip

    return changed(asked, slug, change)


@router.delete("/teams/{slug}/invitations/{invitation_id}")
@does(Action.TEAM_INVITE)
def withdraw(slug: Word, invitation_id: UUID, asked: Changing) -> TeamModel:
    """Take an open invitation back."""

    def change(session: Session) -> None:
        invitations.withdraw(session, invitation_id, by=asked.hub_name, now=asked.now)

    return changed(asked, slug, change)


@router.put("/teams/{slug}/members/{hub_name}/role")
@does(Action.TEAM_CHANGE_ROLE)
def role(slug: Word, hub_name: Word, body: RoleBody, asked: Changing) -> TeamModel:
    """Make a member a manager, a manager a member, or hand the team over to its next lead."""

    def change(session: Session) -> None:
        if body.role is Role.LEAD:
            memberships.hand_over(session, team=slug, to=hub_name, by=asked.hub_name, now=asked.now)
            return
        memberships.change_role(
            session, team=slug, member=hub_name, role=body.role, by=asked.hub_name, now=asked.now
        )

    return changed(asked, slug, change)


@router.put("/teams/{slug}/members/{hub_name}/subgroup")
@does(Action.TEAM_DIVIDE)
def subgroup_of(slug: Word, hub_name: Word, body: SubgroupBody, asked: Changing) -> TeamModel:
    """Put a member into a sub-group, or into none."""

    def change(session: Session) -> None:
        shares.group(
            session, team=slug, member=hub_name, subgroup_id=body.subgroup_id, by=asked.hub_name,
            now=asked.now,
        )  # fmt: skip

    return changed(asked, slug, change)


@router.put("/teams/{slug}/members/{hub_name}/share")
@does(Action.TEAM_DIVIDE)
def share_of_member(slug: Word, hub_name: Word, body: ShareBody, asked: Changing) -> TeamModel:
    """Give a member a part of the credits, in place of the one they had."""
    return changed(asked, slug, _set_share(asked, slug, Holder(member=hub_name), body))


@router.delete("/teams/{slug}/members/{hub_name}/share")
@does(Action.TEAM_DIVIDE)
def no_share_of_member(slug: Word, hub_name: Word, asked: Changing) -> TeamModel:
    """Take a member's part away: the account limits them again."""
    return changed(asked, slug, _lift_share(asked, slug, Holder(member=hub_name)))


@router.post("/teams/{slug}/members/{hub_name}/remove")
@does(Action.TEAM_REMOVE_MEMBER)
def remove(slug: Word, hub_name: Word, body: ReasonBody, asked: Changing) -> TeamModel:
    """Take a member out, with a reason they read; what they run on the team's credits stops."""
    servers: list[ToStop] = []

    def change(session: Session) -> None:
        servers.extend(
            memberships.remove(
                session, team=slug, member=hub_name, reason=body.reason, by=asked.hub_name, now=asked.now
            )
        )

    made = changed(asked, slug, change)
    ask_at_once(asked.database, asked.hub, servers, now=asked.now)
    return made


@router.post("/teams/{slug}/subgroups", status_code=CREATED)
@does(Action.TEAM_DIVIDE)
def make_subgroup(slug: Word, body: LabelBody, asked: Changing) -> TeamModel:
    def change(session: Session) -> None:
        shares.make_subgroup(session, team=slug, label=body.label, by=asked.hub_name, now=asked.now)

    return changed(asked, slug, change)


@router.delete("/teams/{slug}/subgroups/{subgroup_id}")
@does(Action.TEAM_DIVIDE)
def end_subgroup(slug: Word, subgroup_id: UUID, asked: Changing) -> TeamModel:
    """End a sub-group and its part; its members stay in the team."""

    def change(session: Session) -> None:
        shares.end_subgroup(session, team=slug, subgroup_id=subgroup_id, by=asked.hub_name, now=asked.now)

    return changed(asked, slug, change)


@router.put("/teams/{slug}/subgroups/{subgroup_id}/share")
@does(Action.TEAM_DIVIDE)
def share_of_subgroup(slug: Word, subgroup_id: UUID, body: ShareBody, asked: Changing) -> TeamModel:
    """Give a sub-group a part of the credits, in place of the one it had."""
    return changed(asked, slug, _set_share(asked, slug, Holder(subgroup_id=subgroup_id), body))


@router.delete("/teams/{slug}/subgroups/{subgroup_id}/share")
@does(Action.TEAM_DIVIDE)
def no_share_of_subgroup(slug: Word, subgroup_id: UUID, asked: Changing) -> TeamModel:
    """Take a sub-group's part away."""
    return changed(asked, slug, _lift_share(asked, slug, Holder(subgroup_id=subgroup_id)))


@router.post("/teams/{slug}/leave")
@does(Action.TEAM_LEAVE)
def leave(slug: Word, asked: Changing) -> DoneModel:
    """Leave the team; what one runs on its credits stops."""
    servers: list[ToStop] = []

    def act(session: Session) -> DoneModel:
        servers.extend(memberships.leave(session, team=slug, hub_name=asked.hub_name, now=asked.now))
        return DoneModel()

    made = asked.once(DoneModel, act)
    ask_at_once(asked.database, asked.hub, servers, now=asked.now)
    return made


def changed(asked: Unsafe, slug: str, change: Callable[[Session], None]) -> TeamModel:
    """Change the team in one transaction and return it as it is then."""

    def act(session: Session) -> TeamModel:
        change(session)
        session.flush()
        return shown(session, asked, slug)

    return asked.once(TeamModel, act)


def shown(session: Session, asked: Asked | Unsafe, slug: str) -> TeamModel:
    return TeamModel.model_validate(
        team_reading.team_page(session, slug=slug, hub_name=asked.hub_name, now=asked.now)
    )


def _set_share(asked: Unsafe, slug: str, holder: Holder, body: ShareBody) -> Callable[[Session], None]:
    def change(session: Session) -> None:
        shares.set_share(
            session, team=slug, holder=holder, kind=body.kind, amount_micro=body.amount_micro,
            by=asked.hub_name, now=asked.now,
        )  # fmt: skip

    return change


def _lift_share(asked: Unsafe, slug: str, holder: Holder) -> Callable[[Session], None]:
    def change(session: Session) -> None:
        shares.lift_share(session, team=slug, holder=holder, by=asked.hub_name, now=asked.now)

    return change
