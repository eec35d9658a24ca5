"""Carrying letters: what a row of the outbox says and to which address, read at the moment of sending.

Addresses and names stay in the tables of people; a row holds ids, and what was decided.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.mail import Post, Site, message
from nexus_allocator.domain.credits import shown
from nexus_allocator.domain.letters import Letter, Passage, digest, letter, passage
from nexus_allocator.domain.mailing import LetterKind
from nexus_allocator.domain.states import InvitationState
from nexus_allocator.services.delivery import Nothing, Send
from nexus_allocator.store import accounts, holds, outbox, people, requests, teams
from nexus_allocator.store.outbox_tables import Outgoing


class MailCarrier:
    """Sends letters by one mail server; without one there is nobody to send them by."""

    def __init__(self, post: Post | None, site: Site | None) -> None:
        self.post, self.site = post, site

    def prepare(self, session: Session, row: Outgoing, *, now: datetime) -> Send | Nothing:
        if self.post is None or self.site is None:
            return Nothing("No mail server is set up.")
        to = _address(session, row, now=now)
        if to is None:
            return Nothing("There is no address to send it to, or no longer.")
        said = _letter(session, row)
        if said is None:
            return Nothing("What it was to tell is gone.")
        made = message(said, to=to, row_id=row.id, at=row.created_at, site=self.site)
        post = self.post
        return lambda: post.send(made)

    def failed(self, session: Session, row: Outgoing, *, problem: str, now: datetime) -> None:
        """Nothing beside the row itself is to be noted."""

    def arrived(self, session: Session, row: Outgoing, *, now: datetime) -> None:
        """Nothing beside the row itself is to be noted."""

    def rest(self) -> None:
        if self.post is not None:
            self.post.close()


def _address(session: Session, row: Outgoing, *, now: datetime) -> str | None:
    if row.person_id is not None:
        person = people.by_id(session, row.person_id)
        return person.email if person else None
    found = teams.invitation(session, UUID(row.facts["invitation"]))
    if found is None or found[0].state is not InvitationState.OPEN or found[0].expires_at <= now:
        return None
    return found[0].email


def _letter(session: Session, row: Outgoing) -> Letter | None:
    if row.kind != LetterKind.DIGEST:
        facts = _facts(session, row)
        return None if facts is None else letter(row.kind, facts)
    rows = [outbox.by_id(session, UUID(row_id)) for row_id in row.facts["rows"]]
    passages = [_passage(session, each) for each in rows if each is not None]
    told = tuple(each for each in passages if each is not None)
    return digest(row.facts["day"], told) if told else None


def _passage(session: Session, row: Outgoing) -> Passage | None:
    facts = _facts(session, row)
    return None if facts is None else passage(row.kind, facts)


def _facts(session: Session, row: Outgoing) -> Mapping[str, Any] | None:
    """Return what the row tells; of servers and requests as they are now, late news included."""
    if row.kind == LetterKind.SERVER_STOPPED:
        return _of_server(session, UUID(row.facts["hold"]))
    if row.kind == LetterKind.REQUEST_MOVED:
        return _of_request(session, row.facts)
    return row.facts


def _of_server(session: Session, hold_id: UUID) -> Mapping[str, Any] | None:
    hold = holds.by_id(session, hold_id)
    if hold is None or hold.stop_reason is None:
        return None
    account = accounts.of_allocation(session, hold.allocation_id)
    ended = hold.stopped_at or hold.settled_at
    return {
        "server": hold.server_name, "size": hold.size, "account": account.label, "reason": hold.stop_reason,
        "note": hold.stop_note, "exit_signal": hold.exit_signal, "exit_code": hold.exit_code,
        "cost": shown(hold.usage_micro), "at": f"{ended:%Y-%m-%d %H:%M}" if ended else "an unknown time",
    }  # fmt: skip


def _of_request(session: Session, facts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    request = requests.by_id(session, UUID(facts["request"]))
    if request is None:
        return None
    ends, awarded = request.ends_at, request.awarded_micro
    is_award = facts["after"].startswith("awarded")
    return {
        "tier": request.tier.value.title(), "account": request.account.label, "after": facts["after"],
        "reason": facts["reason"], "awarded": shown(awarded) if is_award and awarded is not None else None,
        "ends_on": ends.date().isoformat() if ends else None,
    }  # fmt: skip
