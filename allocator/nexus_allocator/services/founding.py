"""Teams that an award makes: who asked on their own account leads it, who they named is invited."""

from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.states import AccountKind, Role, TierSlug
from nexus_allocator.services import invitations, teams
from nexus_allocator.store import accounts, people
from nexus_allocator.store import teams as team_rows
from nexus_allocator.store.tables import Account, TierRequest

OF_TEAMS = (TierSlug.TEAM, TierSlug.SPECIAL)


def founds(request: TierRequest, account: Account) -> bool:
    """Say whether the request is for a team that is not there yet."""
    return request.tier is TierSlug.TEAM and account.kind is AccountKind.PERSONAL


def account_for(
    session: Session, request: TierRequest, tier: TierSlug, *, policy: Policy, actor: str, now: datetime
) -> Account:
    """Return the account that an award of ``tier`` goes to: the request's, or that of the team it makes.

    The request is from then on about the team's account.
    """
    account = accounts.by_id(session, request.account_id)
    if not founds(request, account) or tier not in OF_TEAMS:
        return account
    lead = people.by_id(session, request.person_id)
    assert lead is not None  # noqa: S101 - a request has its person
    made = teams.found(
        session, policy=policy, label=request.team_label or f"Team of {lead.hub_name}", tier=tier, lead=lead,
        actor=actor, now=now,
    )  # fmt: skip
    request.account_id = made.id
    _invite_named(session, made, request, until=now + policy.answers.invitation, now=now)
    return accounts.by_id(session, made.id)


def _invite_named(
    session: Session, made: Account, request: TierRequest, *, until: datetime, now: datetime
) -> None:
    """Invite those the request names; a name nobody has is left out."""
    team = team_rows.by_account(session, made.id)
    lead = people.by_id(session, request.person_id)
    assert team is not None  # noqa: S101 - just made
    for name in dict.fromkeys(request.members or ()):
        person = people.by_hub_name(session, name)
        if person is not None and person.id != request.person_id:
            invitations.invite_to(session, team, name, role=Role.MEMBER, actor=lead, until=until, now=now)
