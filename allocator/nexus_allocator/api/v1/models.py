"""What the API answers: amounts in micro-credits, moments in UTC; made from what the services return."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from nexus_allocator.api.models import Body, Word, without_nul
from nexus_allocator.domain.notices import notice_sentence
from nexus_allocator.domain.statements import Resource
from nexus_allocator.domain.states import (
    EntryKind,
    HoldState,
    NoticeKind,
    RequestState,
    Role,
    ShareKind,
    TeamMoveKind,
    TierSlug,
)
from nexus_allocator.services.allocations import LARGEST_MICRO
from nexus_allocator.services.notices import Told

# Longer than any text a service keeps; what is too long for it, it says itself.
Words = Annotated[str, Field(max_length=20_000), AfterValidator(without_nul)]
Micro = Annotated[int, Field(ge=0, le=LARGEST_MICRO, description="Micro-credits.")]


class Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class DoneModel(BaseModel):
    """What was wanted is so."""

    done: bool = True


class MeModel(Shown):
    hub_name: str
    display_name: str
    teams: list[str]
    is_administrator: bool
    has_accepted: bool


class PersonRowModel(MeModel):
    signed_in_at: datetime | None
    suspended_at: datetime | None
    suspension_reason: str | None


class AgreementTextModel(BaseModel):
    version: str
    title: str
    text_html: str


class AgreementStandingModel(Shown):
    """``accepted_at`` is null while the version in force is not accepted."""

    version: str
    accepted_at: datetime | None


class NoticeModel(BaseModel):
    id: UUID
    kind: NoticeKind
    sentence: str
    at: datetime

    @classmethod
    def of(cls, told: Told) -> "NoticeModel":
        return cls(id=told.id, kind=told.kind, sentence=notice_sentence(told.kind, told.facts), at=told.at)


class InvitationModel(Shown):
    id: UUID
    whom: str
    role: Role
    team: str
    by: str | None
    expires_at: datetime


class SumsModel(Shown):
    granted_micro: int
    balance_micro: int
    held_micro: int
    available_micro: int


class PaceModel(Shown):
    """The pace, and when it uses up the balance: null stands for not before the end."""

    micro_per_day: int
    low_micro_per_day: int
    high_micro_per_day: int
    earliest: datetime | None
    likely: datetime | None
    latest: datetime | None
    paused: bool


class DayModel(Shown):
    day: date
    micro: int


class BalanceModel(Shown):
    """An account as it stands."""

    slug: str
    label: str
    is_team: bool
    tier: TierSlug
    sums: SumsModel
    expires_at: datetime
    expired: bool


class AccountStateModel(BalanceModel):
    forecast: PaceModel
    spend: list[DayModel]


class StatementLineModel(Shown):
    day: date
    resource: Resource
    amount_micro: int


class StatementModel(Shown):
    """``opening_micro`` and the lines add up to ``closing_micro``."""

    account: str
    first: date
    last: date
    opening_micro: int
    closing_micro: int
    lines: list[StatementLineModel]


class EntryModel(Shown):
    number: int
    at: datetime
    kind: EntryKind
    amount_micro: int
    reason: str
    actor: str
    size: str | None
    server_name: str | None
    rate_card_version: int | None


class ServerModel(Shown):
    hub_name: str
    server_name: str
    account_label: str
    size: str
    state: HoldState
    rate_micro_per_hour: int
    usage_micro: int
    placed_at: datetime
    started_at: datetime | None
    until: datetime
    keep_alive_until: datetime | None
    stopping: bool


class StoppingModel(BaseModel):
    hub_name: str
    server_name: str


class KeptModel(BaseModel):
    keep_alive_until: datetime


class RequestMoveModel(Shown):
    """``by`` is null where the platform moved it."""

    after: RequestState
    by: str | None
    at: datetime
    reason: str | None


class RequestModel(Shown):
    id: UUID
    account: str
    account_label: str
    hub_name: str
    tier: TierSlug
    tier_before: TierSlug
    state: RequestState
    title: str | None
    justification: str
    exposures: int | None
    asked_micro: int | None
    grant_number: str | None
    members: list[str]
    team_label: str | None
    results: dict[str, str] | None
    submitted_at: datetime
    decided_at: datetime | None
    decision_reason: str | None
    awarded_micro: int | None
    ends_at: datetime | None
    history: list[RequestMoveModel]


class AskBody(Body):
    """A request; a draft may leave out all but account and tier."""

    account: Word
    tier: Word
    justification: Words = ""
    title: Word | None = None
    exposures: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    grant_number: Word | None = None
    members: list[Word] = Field(default=[], max_length=50)
    team_label: Word | None = None
    papers: Words = ""
    products: Words = ""
    dois: Words = ""


class AskChoiceModel(BaseModel):
    """An account to ask more for, and the tiers that can be asked for."""

    account: str
    label: str
    tier: TierSlug
    tiers: list[TierSlug]
    waiting: bool


class PartModel(Shown):
    kind: ShareKind
    amount_micro: int
    taken_micro: int
    left_micro: int
    is_idle: bool


class MemberModel(Shown):
    """``role`` is null for who left, yet took something since counting began."""

    hub_name: str
    label: str
    role: Role | None
    joined_at: datetime | None
    subgroup_id: UUID | None
    subgroup: str | None
    part: PartModel | None
    taken_micro: int


class SubgroupModel(Shown):
    id: UUID
    label: str
    members: int
    part: PartModel | None


class TeamMoveModel(Shown):
    kind: TeamMoveKind
    by: str | None
    whom: str | None
    facts: dict[str, Any]
    at: datetime


class TeamModel(Shown):
    """A team as who asks may see it: ``acts`` they may do in it, ``room_micro`` they may spend."""

    slug: str
    label: str
    role: Role | None
    acts: list[str]
    room_micro: int | None
    counted_from: datetime
    account: BalanceModel
    members: list[MemberModel]
    groups: list[SubgroupModel]
    invitations: list[InvitationModel]
    moves: list[TeamMoveModel]


class VersionBody(Body):
    version: Word


class ReasonBody(Body):
    reason: Words


class InviteBody(Body):
    whom: Word
    role: Role = Role.MEMBER


class RoleBody(Body):
    role: Role


class LabelBody(Body):
    label: Word


class ShareBody(Body):
    kind: ShareKind
    amount_micro: Micro


class SubgroupBody(Body):
    """``subgroup_id`` null is no sub-group."""

    subgroup_id: UUID | None


class KeepBody(Body):
    keep: bool


class AccountRowModel(BalanceModel):
    pass


class EnterBody(Body):
    reason: Words
    minutes: Annotated[int, Field(ge=1, le=10_000)] = 15


class EnteringModel(Shown):
    """Who may enter which server until when; ``ended_at`` is null while they may, or still might."""

    id: UUID
    administrator: str
    hub_name: str
    server_name: str
    reason: str
    at: datetime
    until: datetime
    ended_at: datetime | None


class AwardBody(Body):
    """What is null is given as the tier states it; ``bypass`` is why, where too few reviews are in."""

    credits_micro: Micro | None = None
    tier: TierSlug | None = None
    expires_at: AwareDatetime | None = None
    note: Words | None = None
    bypass: Words | None = None


class PlatformModel(Shown):
    accounts: int
    balance_micro: int
    held_micro: int
    available_micro: int
    live_servers: int
    rate_micro_per_hour: int
    forecast: PaceModel
    ends_at: datetime
    spend: list[DayModel]


class PoolModel(BaseModel):
    """The platform's budget; ``spent_micro`` is null before the first reading."""

    credits_micro: int
    period_start: datetime
    period_end: datetime
    allowance_micro: int
    spent_micro: int | None
    waits_until: datetime | None
    waiting_sizes: list[str]


class HeldModel(Shown):
    message: str
    since: datetime
    until: datetime | None
    actor: str


class MaintenanceModel(BaseModel):
    """``held`` is null while launches go through."""

    held: HeldModel | None


class HoldBody(Body):
    """``until`` null is until lifted."""

    message: Words
    until: AwareDatetime | None = None


class OfferedSizeModel(BaseModel):
    slug: str
    label: str
    cpu: int
    memory_gib: int
    gpu: int
    rate_micro_per_hour: int


class TierModel(Shown):
    slug: TierSlug
    label: str
    who: str
    sizes: list[str]
    credits_micro: int | None
    live_servers: int | None
    gpus: int | None
    dask_cores: int | None
    home_gb: int | None
    team_gb: int | None
    scratch_gb: int | None


class PolicyModel(BaseModel):
    version: int
    rate_card_version: int
    sizes: list[OfferedSizeModel]
    tiers: list[TierModel]
