"""What the platform offers: tiers, server sizes, rate card, images and the user agreement."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from nexus_allocator.domain.errors import UnknownImage, UnknownPurgeRule, UnknownSize
from nexus_allocator.domain.panel import Panel
from nexus_allocator.domain.places import PlaceKind
from nexus_allocator.domain.pool import Pool
from nexus_allocator.domain.purges import Terms
from nexus_allocator.domain.quotas import GB, StorageTerms
from nexus_allocator.domain.states import AccountKind, Approval, TierSlug

GIB = 1024**3


@dataclass(frozen=True)
class Size:
    """One server size; what it reserves is what is charged, used or not."""

    slug: str
    label: str
    cpu: int
    memory_gib: int
    gpu: int = 0

    @property
    def memory_bytes(self) -> int:
        return self.memory_gib * GIB


@dataclass(frozen=True)
class RateCard:
    """Micro-credits per reserved unit and hour, GB kept for 30 days, and GB that leaves.

    Holds keep their rate when a new card comes. A rate that an early card did not have was zero.
    """

    version: int
    vcpu_hour_micro: int
    gib_hour_micro: int
    gpu_hour_micro: int
    gb_month_micro: int = 0
    egress_gb_micro: int = 0

    def per_hour_micro(self, size: Size) -> int:
        return (
            size.cpu * self.vcpu_hour_micro
            + size.memory_gib * self.gib_hour_micro
            + size.gpu * self.gpu_hour_micro
        )


@dataclass(frozen=True)
class Tier:
    """Amounts that are None are as awarded. ``notice_days`` count back from the end, the longest first.

    ``scratch_days`` is how long a file on scratch may lie unused; None when none is purged.
    """

    slug: TierSlug
    label: str
    who: str
    approval: Approval
    examples: tuple[str, ...]
    sizes: tuple[str, ...]
    credits_micro: int | None
    length: timedelta
    live_servers: int | None
    gpus: int | None
    dask_cores: int | None
    home_gb: int | None
    scratch_gb: int | None
    notice_days: tuple[int, ...]
    grace: timedelta
    automatic_with_grant: bool
    requestable_by: tuple[AccountKind, ...]
    scratch_days: int | None = None
    grace_hours: float = 0
    team_gb: int | None = None

    def place_bytes(self, kind: PlaceKind) -> int | None:
        """Return the most that a place of this kind may hold; None is as awarded."""
        sizes = {
            PlaceKind.HOME: self.home_gb,
            PlaceKind.TEAM: self.team_gb,
            PlaceKind.SCRATCH: self.scratch_gb,
        }
        gb = sizes[kind]
        return None if gb is None else gb * GB


@dataclass(frozen=True)
class Science:
    """What one exposure from L1 to L2 takes of the processors of servers of one ``size``, as ``measured``."""

    cpu_s_per_detector: float
    detectors_per_exposure: int
    square_degrees_per_exposure: float
    size: str
    measured: str


@dataclass(frozen=True)
class Enforcement:
    """At how many percent of an award people are told, and how long they may save once all is used."""

    warn_at_percent: tuple[int, ...]
    save_grace: timedelta


@dataclass(frozen=True)
class Answers:
    """How long an answer is waited for: to a counter-offer, and to an invitation to a team."""

    offer: timedelta
    invitation: timedelta


@dataclass(frozen=True)
class OfflineLeases:
    """What may start while the service is away: one size on one's own account, with caps per person.

    Times are without the grace to save; ``offered_for`` is how long a person's last visit counts.
    """

    size: str
    minutes: int
    total_minutes: int
    offered_for: timedelta


END_OF = {
    PlaceKind.HOME: "its person's access and days of grace ended",
    PlaceKind.TEAM: "the team's allocation and days of grace ended",
    PlaceKind.SCRATCH: "its lease ended",
}
"""What ends the right to keep a place, as people read it."""


@dataclass(frozen=True)
class PurgeRule:
    """Which files of a kind of place may be purged; nothing is planned by a rule that is not ``enabled``."""

    slug: str
    kind: PlaceKind
    unused_days: int
    terms: Terms
    enabled: bool
    above_percent: int | None = None
    """None takes all; else only where a place is fuller than this, and until it is not."""

    cold: bool = False
    """What was taken goes to the object store at once, from where it can be had back, and is not deleted."""

    ended: timedelta | None = None
    """None asks for no end; else only of a place whose right to be kept ended so long ago."""

    def __str__(self) -> str:
        words = f"unused for {self.unused_days} days"
        if self.ended is not None:
            words += f", {self.ended.days} days after {END_OF[self.kind]}"
        if self.above_percent is not None:
            words += f", until the place is {self.above_percent} % full"
        return words


@dataclass(frozen=True)
class Snapshots:
    """How long daily snapshots of homes and team folders are kept: each for days, the Mondays' for weeks."""

    enabled: bool = False
    keep_days: int = 7
    keep_weeks: int = 4


@dataclass(frozen=True)
class Image:
    slug: str
    label: str
    default: bool = False


@dataclass(frozen=True)
class HoursRange:
    """Planned hours a person may ask for, all in minutes."""

    min_minutes: int
    max_minutes: int
    step_minutes: int
    default_minutes: int


@dataclass(frozen=True)
class Agreement:
    version: str
    title: str
    text_html: str


@dataclass(frozen=True)
class Policy:
    version: int
    rate_card: RateCard
    science: Science
    enforcement: Enforcement
    pool: Pool
    panel: Panel
    answers: Answers
    offline_leases: OfflineLeases
    sizes: Mapping[str, Size]
    tiers: Mapping[TierSlug, Tier]
    images: tuple[Image, ...]
    hours: HoursRange
    agreement: Agreement
    storage: StorageTerms
    purges: tuple[PurgeRule, ...] = ()
    snapshots: Snapshots = Snapshots()

    def purge_rule(self, slug: str) -> PurgeRule:
        """Return the rule called ``slug``. Raises UnknownPurgeRule with the rules there are."""
        for rule in self.purges:
            if rule.slug == slug:
                return rule
        raise UnknownPurgeRule(rule=slug, known=[rule.slug for rule in self.purges])

    def size(self, slug: str) -> Size:
        """Return the size called ``slug``. Raises UnknownSize with the sizes there are."""
        if slug not in self.sizes:
            raise UnknownSize(size=slug, known=sorted(self.sizes))
        return self.sizes[slug]

    def image(self, slug: str) -> Image:
        """Return the image called ``slug``. Raises UnknownImage with the images there are."""
        for image in self.images:
            if image.slug == slug:
                return image
        raise UnknownImage(image=slug, known=[image.slug for image in self.images])

    def sizes_of(self, tier: TierSlug, *, only: Collection[str] | None = None) -> list[Size]:
        """Return the tier's sizes, cheapest first; ``only`` these of them."""
        offered = [slug for slug in self.tiers[tier].sizes if only is None or slug in only]
        return sorted((self.sizes[slug] for slug in offered), key=self.rate_card.per_hour_micro)

    def requestable(self, kind: AccountKind, tier: TierSlug) -> list[Tier]:
        """Return the tiers above ``tier`` that an account of this kind may ask for."""
        order = list(TierSlug)
        return [
            self.tiers[slug]
            for slug in order[order.index(tier) + 1 :]
            if kind in self.tiers[slug].requestable_by
        ]

    def rate_micro(self, size: Size) -> int:
        return self.rate_card.per_hour_micro(size)
