"""The spawner's own record of offline leases: the offer it holds, what it granted, and what it refused."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from nexus_allocator.domain.leases import Lease, LeaseRefused, Offer, OfflineRefusal, ended, granted
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.hub.service import Admission

# What piles up while the service is away for long; the oldest go.
MOST_REFUSALS = 50
AWAY = (
    "The allocation service does not answer; {why} until it is back. Nothing was charged. "
    "Try again in a minute; tell the operator if it lasts."
)


@dataclass
class OfflineBook:
    """One server's part of the spawner's state; ``hub/admission.py`` keeps it there."""

    offer: Offer | None = None
    leases: list[Lease] = field(default_factory=list)
    refusals: list[OfflineRefusal] = field(default_factory=list)

    @classmethod
    def from_state(cls, state: Mapping[str, Any] | None) -> "OfflineBook":
        if not state:
            return cls()
        return cls(
            offer=Offer.from_state(state["offer"]) if state["offer"] else None,
            leases=[Lease.from_state(lease) for lease in state["leases"]],
            refusals=[OfflineRefusal.from_state(refusal) for refusal in state["refusals"]],
        )

    def as_state(self) -> dict[str, Any] | None:
        if self.offer is None and not self.leases and not self.refusals:
            return None
        return {
            "offer": self.offer.as_state() if self.offer else None,
            "leases": [lease.as_state() for lease in self.leases],
            "refusals": [refusal.as_state() for refusal in self.refusals],
        }

    def heard(self, told: Mapping[str, Any] | None) -> None:
        """Take over what the service says: its offer, and what it has collected and need not be kept."""
        if told is None:
            return
        self.offer = Offer.from_state(told["offer"]) if told["offer"] else None
        collected = {UUID(each) for each in told["collected"]}
        self.leases = [lease for lease in self.leases if lease.ended is None or lease.id not in collected]
        self.refusals = [refusal for refusal in self.refusals if refusal.id not in collected]

    def grant(
        self, options: Mapping[str, Any], elsewhere: Iterable[Lease], *, server_name: str, now: datetime
    ) -> Lease:
        """Return and keep the lease for a launch, or keep and raise LeaseRefused.

        ``elsewhere`` are the leases of the person's other servers.
        """
        account, size = options["account"], options["size"]
        try:
            lease = granted(
                self.offer, [*self.leases, *elsewhere], lease_id=uuid4(), server_name=server_name,
                account=account, size=size, hours=options["hours"], now=now,
            )  # fmt: skip
        except LeaseRefused as error:
            refusal = OfflineRefusal(uuid4(), now, account[:64], size[:64], str(error))
            self.refusals = [*self.refusals, refusal][-MOST_REFUSALS:]
            raise
        self.leases.append(lease)
        return lease

    def lease_of(self, hold_id: str | None) -> Lease | None:
        return next((lease for lease in self.leases if str(lease.id) == hold_id), None)

    def has_started(self, hold_id: str, at: datetime) -> None:
        self._replace(hold_id, lambda lease: replace(lease, process_started_at=at))

    def has_ended(
        self, hold_id: str, evidence: Evidence, *, started: datetime | None, reason: str | None
    ) -> None:
        self._replace(hold_id, lambda lease: ended(lease, evidence, started=started, reason=reason))

    def _replace(self, hold_id: str, change: Any) -> None:
        self.leases = [change(lease) if str(lease.id) == hold_id else lease for lease in self.leases]

    def admission(self, lease: Lease) -> Admission:
        """Return the lease as the service would have admitted it; no team's folders are in it."""
        offer = self.offer
        if offer is None:
            raise LeaseRefused("nothing can be started")
        return Admission(
            hold_id=str(lease.id), cpu=lease.cpu, memory_bytes=lease.memory_bytes, image=lease.image,
            uid=offer.uid, gid=offer.gid, supplemental_gids=(), umask=int(offer.umask, 8), home=offer.home,
            teams=(), until=lease.until.isoformat(), account=lease.account,
            rate_micro_per_hour=lease.rate_micro_per_hour,
            environment={
                "NEXUS_ACCOUNT": lease.account, "NEXUS_HOLD_ID": str(lease.id), "NEXUS_SIZE": lease.size,
                "NEXUS_UNTIL": lease.until.isoformat(),
            },
        )  # fmt: skip
