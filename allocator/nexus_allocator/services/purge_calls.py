"""What people asked to have done to files: rows of the outbox, carried out by who has the volume."""

import logging
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.files.signed_log import LogBroken
from nexus_allocator.clients.files.volumes import VolumeError
from nexus_allocator.domain.errors import AllocatorError
from nexus_allocator.domain.outbox import DeliveryFailed, PurgeCall
from nexus_allocator.domain.purges import PURGES_OVER
from nexus_allocator.domain.wording import sentence
from nexus_allocator.services import purge_work, storage
from nexus_allocator.services.delivery import Nothing, Send
from nexus_allocator.services.metering import Clock
from nexus_allocator.services.purge_work import PurgeWork
from nexus_allocator.store import purges
from nexus_allocator.store.outbox_tables import Outgoing

log = logging.getLogger(__name__)


class PurgeCarrier:
    """Does what was asked. What was done already does no harm: nothing waits to be done again."""

    def __init__(self, work: PurgeWork, clock: Clock) -> None:
        self.work, self.clock = work, clock

    def prepare(self, session: Session, row: Outgoing, *, now: datetime) -> Send | Nothing:
        purge = purges.by_id(session, UUID(row.facts["plan"]))
        if purge is None or purge.state in PURGES_OVER:
            return Nothing("The plan is over.")
        return lambda: self._do(PurgeCall(row.kind), row)

    def failed(self, session: Session, row: Outgoing, *, problem: str, now: datetime) -> None:
        """Nothing beside the row itself is to be noted."""

    def arrived(self, session: Session, row: Outgoing, *, now: datetime) -> None:
        """What was done is in the plan's rows already."""

    def rest(self) -> None:
        """There is nothing to let go."""

    def _do(self, call: PurgeCall, row: Outgoing) -> None:
        plan_id, now = row.facts["plan"], self.clock()
        try:
            if call is PurgeCall.CANCEL_PURGE:
                purge_work.cancel(self.work, plan_id, reason=row.facts["reason"], now=now)
                return
            under = storage.decoded(row.facts["under"])
            purge_work.restore(self.work, plan_id, under=under, by=row.person_id or "the Nexus", now=now)
        except AllocatorError as error:
            raise DeliveryFailed(sentence(error)) from error
        except (LogBroken, VolumeError) as error:
            log.exception("a job on files failed: %s", row.id)
            raise DeliveryFailed(str(error)) from error
