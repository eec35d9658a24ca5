"""Rate cards in use: each version is kept, and the same version can't come with other rates."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import RateCardChanged
from nexus_allocator.domain.policy import RateCard
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.services.records import record
from nexus_allocator.store import rates


def keep(session: Session, card: RateCard, *, now: datetime) -> None:
    """Keep the rate card in force. Raises RateCardChanged when its version was used with other rates."""
    wanted = {name: value for name, value in asdict(card).items() if name != "version"}
    if card.version not in rates.by_version(session):
        record(
            session, Act.RATE_CARD_KEPT, None, by=NEXUS, after={"version": card.version, **wanted}, now=now
        )
    kept = rates.keep(session, card.version, wanted, now=now)
    # A rate that a card did not know when it was kept was nothing then.
    changed = sorted(name for name in wanted | kept if wanted.get(name, 0) != kept.get(name, 0))
    if changed:
        raise RateCardChanged(version=card.version, changed=changed)


def cards(session: Session) -> dict[int, RateCard]:
    """Return every rate card that was used, by version."""
    return {version: RateCard(version, **kept) for version, kept in rates.by_version(session).items()}
