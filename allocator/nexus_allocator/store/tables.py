"""The tables that most of the store asks about, from their nouns' files; others are imported from theirs."""

from nexus_allocator.store.account_tables import Account, Allocation
from nexus_allocator.store.hold_tables import DaskCluster, Hold, OfflineEvent, StopIntent
from nexus_allocator.store.ledger_tables import Book, Checkpoint, Entry, Link, PlatformDay, RateCardRow
from nexus_allocator.store.meter_tables import Lease, Maintenance, MeterTick, PoolReading
from nexus_allocator.store.notice_tables import PortalNotice, SpendNotice
from nexus_allocator.store.people_tables import (
    Acceptance,
    AgreementText,
    Counter,
    Home,
    Person,
    TakenName,
    WebSession,
)
from nexus_allocator.store.request_tables import ApprovedGrant, RequestMove, TierRequest
from nexus_allocator.store.team_tables import Invitation, Membership, Share, Subgroup, Team, TeamMove

__all__ = [
    "Acceptance",
    "Account",
    "AgreementText",
    "Allocation",
    "ApprovedGrant",
    "Book",
    "Checkpoint",
    "Counter",
    "DaskCluster",
    "Entry",
    "Hold",
    "Home",
    "Invitation",
    "Lease",
    "Link",
    "Maintenance",
    "Membership",
    "MeterTick",
    "OfflineEvent",
    "Person",
    "PlatformDay",
    "PoolReading",
    "PortalNotice",
    "RateCardRow",
    "RequestMove",
    "Share",
    "SpendNotice",
    "StopIntent",
    "Subgroup",
    "TakenName",
    "Team",
    "TeamMove",
    "TierRequest",
    "WebSession",
]
