"""The packaged policy, and how a policy file is read and checked."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.panel import Criterion, Panel
from nexus_allocator.domain.places import PlaceKind
from nexus_allocator.domain.policy import (
    Agreement,
    Answers,
    Enforcement,
    HoursRange,
    Image,
    OfflineLeases,
    Policy,
    PurgeRule,
    RateCard,
    Science,
    Size,
    Snapshots,
    Tier,
)
from nexus_allocator.domain.pool import Pool
from nexus_allocator.domain.purges import Terms
from nexus_allocator.domain.quotas import StorageTerms
from nexus_allocator.domain.states import AccountKind, Approval, TierSlug

Amount = Decimal
# Who is away for a term of teaching or illness is not gone.
LEAST_ENDED_DAYS = 30


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RateCardDocument(Document):
    version: int = Field(gt=0)
    vcpu_hour: Amount = Field(ge=0, decimal_places=6)
    gib_hour: Amount = Field(ge=0, decimal_places=6)
    gpu_hour: Amount = Field(ge=0, decimal_places=6)
    gb_month: Amount = Field(ge=0, decimal_places=6)
    egress_gb: Amount = Field(ge=0, decimal_places=6)


class ScienceDocument(Document):
    cpu_s_per_detector: float = Field(gt=0, allow_inf_nan=False)
    detectors_per_exposure: int = Field(gt=0)
    square_degrees_per_exposure: float = Field(gt=0, allow_inf_nan=False)
    size: str
    measured: str = Field(min_length=1)


class EnforcementDocument(Document):
    warn_at_percent: list[int]
    save_minutes_at_zero: float = Field(ge=0, le=24 * 60, allow_inf_nan=False)

    @model_validator(mode="after")
    def marks_rise_to_the_whole_award(self) -> Self:
        marks = self.warn_at_percent
        if marks != sorted(set(marks)) or marks[-1:] != [100] or marks[0] <= 0:
            raise ValueError(f"warn_at_percent {marks} must rise from above zero to 100, each mark once")
        return self


class PoolDocument(Document):
    credits: Amount = Field(gt=0, decimal_places=6)
    starts_on: date
    period_days: int = Field(gt=0, le=3660)
    brake_at_percent: int = Field(ge=100, le=10_000)
    head_start_days: int = Field(ge=0)
    waiting_sizes: list[str]


class CriterionDocument(Document):
    slug: str = Field(pattern="^[a-z][a-z-]{0,39}$")
    label: str = Field(min_length=1, max_length=80)
    question: str = Field(min_length=1, max_length=400)


class PanelDocument(Document):
    least_reviews: int = Field(ge=1, le=20)
    criteria: list[CriterionDocument] = Field(min_length=1, max_length=12)


class AnswersDocument(Document):
    offer_days: int = Field(30, ge=1, le=366)
    invitation_days: int = Field(14, ge=1, le=366)


class OfflineLeasesDocument(Document):
    size: str
    hours: float = Field(gt=0, le=24, multiple_of=0.25)
    total_hours: float = Field(gt=0, le=168, allow_inf_nan=False)
    offered_for_days: int = Field(gt=0, le=365)


class SizeDocument(Document):
    slug: str
    label: str
    cpu: int = Field(gt=0)
    memory_gib: int = Field(gt=0)
    gpu: int = Field(default=0, ge=0)


class TierDocument(Document):
    slug: TierSlug
    label: str
    who: str = Field(min_length=1)
    approval: Approval
    examples: list[str] = Field(min_length=1)
    sizes: list[str] = Field(min_length=1)
    credits: Amount | None = Field(ge=0, decimal_places=6)
    length_days: int = Field(gt=0)
    live_servers: int | None = Field(gt=0)
    gpus: int | None = Field(ge=0)
    dask_cores: int | None = Field(ge=0)
    home_gb: int | None = Field(gt=0)
    team_gb: int | None = Field(default=None, gt=0)
    scratch_gb: int | None = Field(ge=0)
    notice_days: list[int]
    grace_days: int = Field(ge=0)
    grace_hours: float = Field(default=0, ge=0, allow_inf_nan=False)
    automatic_with_grant: bool = False
    requestable_by: list[AccountKind]
    scratch_days: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def notices_come_in_order(self) -> Self:
        days = self.notice_days
        if days != sorted(set(days), reverse=True) or any(not 0 < day < self.length_days for day in days):
            raise ValueError(
                f"notice_days {days} must fall from below length_days to above zero, each day once"
            )
        return self


class StorageDocument(Document):
    soft_percent: int = Field(default=90, ge=1, le=100)
    grace_days: int = Field(default=14, ge=0, le=365)
    scratch_most_days: int = Field(default=90, ge=1, le=3660)
    scratch_notice_days: list[int] = Field(default=[7, 1])

    @model_validator(mode="after")
    def notices_come_in_order(self) -> Self:
        days = self.scratch_notice_days
        if days != sorted(set(days), reverse=True) or any(
            not 0 < day < self.scratch_most_days for day in days
        ):
            raise ValueError(f"scratch_notice_days {days} must fall to above zero, each day once")
        return self


class PurgeDocument(Document):
    slug: str = Field(pattern="^[a-z][a-z0-9-]*$")
    places: PlaceKind
    unused_days: int = Field(ge=7)
    grace_days: int = Field(ge=1, le=365)
    window_days: int = Field(ge=1, le=365)
    enabled: bool = False
    above_percent: int | None = Field(default=None, ge=1, le=100)
    cold: bool = False
    ended_days: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def leave_people_time_to_come_back(self) -> Self:
        is_kept = self.places is not PlaceKind.SCRATCH
        if is_kept and self.ended_days is not None and self.ended_days < LEAST_ENDED_DAYS:
            raise ValueError(f"ended_days of {self.places} are at least {LEAST_ENDED_DAYS}")
        return self


class SnapshotsDocument(Document):
    enabled: bool = False
    keep_days: int = Field(ge=1, le=90)
    keep_weeks: int = Field(ge=0, le=52)


class ImageDocument(Document):
    slug: str
    label: str
    default: bool = False


class HoursDocument(Document):
    min: float = Field(gt=0)
    max: float
    step: float = Field(gt=0)
    default: float


class AgreementDocument(Document):
    version: str
    title: str
    file: str


class PolicyDocument(Document):
    """``tiers.yaml`` as written; `to_policy` gives the values that the rules use."""

    version: int = Field(gt=0)
    rate_card: RateCardDocument
    science: ScienceDocument
    enforcement: EnforcementDocument
    pool: PoolDocument
    panel: PanelDocument
    answers: AnswersDocument = Field(default_factory=AnswersDocument)
    offline_leases: OfflineLeasesDocument
    sizes: list[SizeDocument] = Field(min_length=1)
    tiers: list[TierDocument]
    images: list[ImageDocument] = Field(min_length=1)
    hours: HoursDocument
    agreement: AgreementDocument
    storage: StorageDocument = Field(default_factory=StorageDocument)
    purges: list[PurgeDocument] = Field(default_factory=list)
    snapshots: SnapshotsDocument = SnapshotsDocument(keep_days=7, keep_weeks=4)

    @model_validator(mode="after")
    def name_each_thing_once(self) -> Self:
        named = (
            ("sizes", self.sizes),
            ("tiers", self.tiers),
            ("images", self.images),
            ("purges", self.purges),
            ("criteria", self.panel.criteria),
        )
        for what, things in named:
            slugs = [str(thing.slug) for thing in things]
            if twice := sorted({slug for slug in slugs if slugs.count(slug) > 1}):
                raise ValueError(f"{what} {twice} are given twice")
        if missing := set(TierSlug) - {tier.slug for tier in self.tiers}:
            raise ValueError(f"tiers {sorted(missing)} are missing")
        return self

    @model_validator(mode="after")
    def offer_sizes_that_are_there(self) -> Self:
        gpus = {size.slug: size.gpu for size in self.sizes}
        for tier in self.tiers:
            if unknown := set(tier.sizes) - set(gpus):
                raise ValueError(f"tier {tier.slug} names unknown sizes {sorted(unknown)}")
            most = max(gpus[slug] for slug in tier.sizes)
            if tier.gpus is not None and most > tier.gpus:
                raise ValueError(f"tier {tier.slug} has a size of {most} GPUs and gives {tier.gpus}")
        if unknown := set(self.pool.waiting_sizes) - set(gpus):
            raise ValueError(f"pool names unknown sizes {sorted(unknown)}")
        if self.offline_leases.size not in gpus:
            raise ValueError(f"offline_leases names the unknown size {self.offline_leases.size}")
        if self.science.size not in gpus:
            raise ValueError(f"science names the unknown size {self.science.size}")
        return self

    @model_validator(mode="after")
    def have_one_default(self) -> Self:
        if sum(image.default for image in self.images) != 1:
            raise ValueError("exactly one image must be the default")
        if not self.hours.min <= self.hours.default <= self.hours.max:
            raise ValueError("the default hours are outside the range")
        return self

    def to_policy(self, agreement_html: str) -> Policy:
        return Policy(
            version=self.version,
            rate_card=_rate_card(self.rate_card),
            science=Science(**self.science.model_dump()),
            enforcement=_enforcement(self.enforcement),
            pool=_pool(self.pool),
            panel=_panel(self.panel),
            answers=_answers(self.answers),
            offline_leases=_offline_leases(self.offline_leases),
            sizes={size.slug: Size(**size.model_dump()) for size in self.sizes},
            tiers={tier.slug: _tier(tier) for tier in self.tiers},
            images=tuple(Image(**image.model_dump()) for image in self.images),
            hours=_hours(self.hours),
            agreement=Agreement(self.agreement.version, self.agreement.title, agreement_html),
            storage=_storage(self.storage),
            purges=tuple(_purge(rule) for rule in self.purges),
            snapshots=Snapshots(**self.snapshots.model_dump()),
        )


def load_policy(path: Path | None = None, *, change: Callable[[Any], Any] | None = None) -> Policy:
    """Read the policy file at ``path``, or the packaged one.

    ``change`` alters the document before it is checked. The agreement's text is the file that it names: one
    beside the policy, else the packaged one of that name. Raises pydantic.ValidationError naming each field
    that is wrong, and FileNotFoundError where there is no such agreement.
    """
    packaged = files(__name__)
    written = yaml.safe_load((packaged / "tiers.yaml" if path is None else path).read_text())
    document = PolicyDocument.model_validate(change(written) if change else written)
    agreement = packaged / document.agreement.file
    if path is not None and (
        (beside := path.parent / document.agreement.file).exists() or not agreement.is_file()
    ):
        agreement = beside
    return document.to_policy(agreement.read_text())


def _micro(amount: Decimal) -> int:
    return int(amount * MICRO)


def _rate_card(card: RateCardDocument) -> RateCard:
    rates = {f"{name}_micro": _micro(rate) for name, rate in card if name != "version"}
    return RateCard(card.version, **rates)


def _tier(tier: TierDocument) -> Tier:
    return Tier(
        slug=tier.slug,
        label=tier.label,
        who=tier.who,
        approval=tier.approval,
        examples=tuple(tier.examples),
        sizes=tuple(tier.sizes),
        credits_micro=None if tier.credits is None else _micro(tier.credits),
        length=timedelta(days=tier.length_days),
        live_servers=tier.live_servers,
        gpus=tier.gpus,
        dask_cores=tier.dask_cores,
        home_gb=tier.home_gb,
        scratch_gb=tier.scratch_gb,
        notice_days=tuple(tier.notice_days),
        grace=timedelta(days=tier.grace_days),
        automatic_with_grant=tier.automatic_with_grant,
        requestable_by=tuple(tier.requestable_by),
        scratch_days=tier.scratch_days,
        grace_hours=tier.grace_hours,
        team_gb=tier.team_gb,
    )


def _enforcement(document: EnforcementDocument) -> Enforcement:
    return Enforcement(tuple(document.warn_at_percent), timedelta(minutes=document.save_minutes_at_zero))


def _storage(document: StorageDocument) -> StorageTerms:
    return StorageTerms(
        soft_percent=document.soft_percent,
        grace=timedelta(days=document.grace_days),
        scratch_most_days=document.scratch_most_days,
        scratch_notice_days=tuple(document.scratch_notice_days),
    )


def _purge(rule: PurgeDocument) -> PurgeRule:
    terms = Terms(timedelta(days=rule.grace_days), timedelta(days=rule.window_days))
    return PurgeRule(
        rule.slug, rule.places, rule.unused_days, terms, rule.enabled, rule.above_percent, rule.cold,
        None if rule.ended_days is None else timedelta(days=rule.ended_days),
    )  # fmt: skip


def _pool(pool: PoolDocument) -> Pool:
    return Pool(
        credits_micro=_micro(pool.credits),
        starts_at=datetime.combine(pool.starts_on, time(), UTC),
        period=timedelta(days=pool.period_days),
        brake_at_percent=pool.brake_at_percent,
        head_start=timedelta(days=pool.head_start_days),
        waiting_sizes=tuple(pool.waiting_sizes),
    )


def _panel(panel: PanelDocument) -> Panel:
    criteria = tuple(Criterion(**criterion.model_dump()) for criterion in panel.criteria)
    return Panel(panel.least_reviews, criteria)


def _answers(answers: AnswersDocument) -> Answers:
    return Answers(timedelta(days=answers.offer_days), timedelta(days=answers.invitation_days))


def _offline_leases(leases: OfflineLeasesDocument) -> OfflineLeases:
    return OfflineLeases(
        size=leases.size,
        minutes=round(leases.hours * 60),
        total_minutes=round(leases.total_hours * 60),
        offered_for=timedelta(days=leases.offered_for_days),
    )


def _hours(hours: HoursDocument) -> HoursRange:
    return HoursRange(*(round(value * 60) for value in (hours.min, hours.max, hours.step, hours.default)))
