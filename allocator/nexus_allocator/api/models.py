"""What the hub sends and is sent."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from nexus_allocator.clients.objects.credentials import Credentials
from nexus_allocator.domain.care import Level
from nexus_allocator.domain.leases import Offer
from nexus_allocator.domain.quotas import BLOCKED, Overfull
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.domain.wording import overfull_sentence, spend_sentence, stop_sentence
from nexus_allocator.services.admission import Admission
from nexus_allocator.services.announcements import Announced
from nexus_allocator.services.launches import AccountChoice, LastStop


def without_nul(text: str) -> str:
    if "\x00" in text:
        # PostgreSQL can't keep it, and no name or text has one.
        raise ValueError("must not contain a NUL character")
    return text


Word = Annotated[str, Field(max_length=255), AfterValidator(without_nul)]
Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(without_nul)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class IdentityBody(Body):
    issuer: Name
    subject: Name
    preferred_username: Name
    display_name: Name
    email: Word | None = None
    groups: list[Word] = Field(default=[], max_length=1000)


class PersonModel(BaseModel):
    person_id: UUID
    hub_name: str
    is_administrator: bool
    suspended: bool
    suspension_reason: str | None = None
    groups: list[str]


class CredentialsModel(BaseModel):
    """What AWS's clients sign with, until ``ends_at``."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    ends_at: datetime

    @classmethod
    def of(cls, given: Credentials) -> "CredentialsModel":
        return cls(**vars(given))


class StandingModel(BaseModel):
    """Of an account of the hub, a person's or a team's."""

    suspended: bool


class TeamServerModel(BaseModel):
    """A team's own server; ``size``, ``started_by`` and ``until`` of one that runs."""

    label: str
    size: str | None
    started_by: str | None
    until: datetime | None


class AgreementBody(Body):
    version: Word


class LaunchBody(Body):
    """A launch; ``hours`` is taken as it came, so that the refusal can say what was wrong with it."""

    hub_name: Word
    server_name: Word
    account: Word
    size: Word
    image: Word
    hours: Any
    started_by: Word | None = None


class AdmissionModel(BaseModel):
    hold_id: UUID
    cpu: int
    memory_bytes: int
    gpu: int
    image: str
    uid: int
    gid: int
    supplemental_gids: list[int]
    umask: str
    home: str
    teams: list[str]
    scratch: list[str] = []
    volumes: dict[str, str] = {}
    until: datetime
    account: str
    rate_micro_per_hour: int
    environment: dict[str, str]
    read_only: bool = False
    rescue: bool = False
    team: str | None = None

    @classmethod
    def of(cls, admission: Admission, *, rescue: bool) -> "AdmissionModel":
        return cls(
            hold_id=admission.hold_id,
            cpu=admission.size.cpu,
            memory_bytes=admission.size.memory_bytes,
            gpu=admission.size.gpu,
            image=admission.image,
            uid=admission.uid,
            gid=admission.gid,
            supplemental_gids=admission.supplemental_gids,
            umask=admission.umask,
            home=admission.home,
            teams=admission.teams,
            scratch=admission.scratch,
            volumes=admission.volumes,
            until=admission.until,
            account=admission.account,
            rate_micro_per_hour=admission.rate_micro_per_hour,
            environment=_environment(admission),
            read_only=admission.read_only,
            rescue=rescue,
            team=admission.team,
        )


def _environment(admission: Admission) -> dict[str, str]:
    return {
        "NEXUS_ACCOUNT": admission.account,
        "NEXUS_HOLD_ID": str(admission.hold_id),
        "NEXUS_SIZE": admission.size.slug,
        "NEXUS_UNTIL": admission.until.isoformat(),
    }


class StartedBody(Body):
    process_started_at: AwareDatetime
    evidence: dict[str, Any] = {}


class StoppedBody(Body):
    stopped_at: AwareDatetime | None = None
    alive_at_stop: bool | None = None
    exit_signal: int | None = Field(default=None, ge=0, le=255)
    exit_code: int | None = Field(default=None, ge=-(2**31), le=2**31 - 1)
    process_started_at: AwareDatetime | None = None

    def evidence(self) -> Evidence:
        return Evidence(**self.model_dump())


class StopIntentBody(Body):
    reason: Word
    actor: Word


class KeepAliveModel(BaseModel):
    keep_alive_until: datetime | None


class SizeModel(BaseModel):
    slug: str
    label: str
    cpu: int
    memory_gib: int
    gpu: int
    credits_per_hour_micro: int


class BurnModel(BaseModel):
    credits_per_day: float
    runs_out_on: datetime | None


class AccountModel(BaseModel):
    slug: str
    label: str
    kind: str
    tier: str
    tier_label: str
    balance_micro: int
    held_micro: int
    available_micro: int
    expires_at: datetime
    burn: BurnModel
    sizes: list[SizeModel]
    notice: str | None
    read_only_minutes: int | None = None

    @classmethod
    def of(cls, choice: AccountChoice, *, tier_label: str, rates_micro: dict[str, int]) -> "AccountModel":
        pace = choice.standing.burn
        return cls(
            slug=choice.slug,
            label=choice.label,
            kind=choice.kind,
            tier=choice.tier,
            tier_label=tier_label,
            balance_micro=choice.standing.balance_micro,
            held_micro=choice.standing.held_micro,
            available_micro=choice.standing.available_micro,
            expires_at=choice.expires_at,
            burn=BurnModel(credits_per_day=pace.credits_per_day, runs_out_on=pace.runs_out_on),
            sizes=[
                SizeModel(
                    slug=size.slug,
                    label=size.label,
                    cpu=size.cpu,
                    memory_gib=size.memory_gib,
                    gpu=size.gpu,
                    credits_per_hour_micro=0 if choice.reading else rates_micro[size.slug],
                )
                for size in choice.sizes
            ],
            notice=_notice_text(choice),
            read_only_minutes=choice.reading.minutes_left if choice.reading else None,
        )


def _notice_text(choice: AccountChoice) -> str | None:
    notice = choice.notice
    if notice is None:
        return None
    return spend_sentence(
        notice.percent,
        award_micro=notice.award_micro,
        left_micro=choice.standing.balance_micro,
        stops_at=notice.stops_at,
    )


class AgreementModel(BaseModel):
    version: str
    title: str
    text_html: str
    accepted: bool


class ImageModel(BaseModel):
    slug: str
    label: str
    default: bool


class HoursModel(BaseModel):
    min: float
    max: float
    step: float
    default: float


class LastStopModel(BaseModel):
    reason: str
    actor: str | None
    at: datetime
    sentence: str

    @classmethod
    def of(cls, stop: LastStop) -> "LastStopModel":
        text = stop_sentence(stop.reason, exit_signal=stop.exit_signal, exit_code=stop.exit_code)
        return cls(reason=stop.reason, actor=stop.actor, at=stop.at, sentence=text)


class BrakeModel(BaseModel):
    """Which sizes have to wait for the platform's budget, and why."""

    sizes: list[str]
    sentence: str
    until: datetime


class OfflineModel(BaseModel):
    """What the person may start while the service is away, and what is collected and need not be kept."""

    offer: Offer | None
    collected: list[UUID]


class AnnouncementModel(BaseModel):
    level: Level
    text: str

    @classmethod
    def of(cls, announced: Announced) -> "AnnouncementModel":
        return cls(level=announced.level, text=announced.text)

    @classmethod
    def of_place(cls, place: Overfull) -> "AnnouncementModel":
        level = Level.URGENT if place.filling in BLOCKED else Level.WARNING
        return cls(level=level, text=overfull_sentence(place))


class LaunchModel(BaseModel):
    agreement: AgreementModel
    accounts: list[AccountModel]
    images: list[ImageModel]
    hours: HoursModel
    grace_minutes: int
    confinement: str
    last_stop: LastStopModel | None
    can_request: bool
    brake: BrakeModel | None
    offline: OfflineModel
    launches_held: str | None = None
    announcements: list[AnnouncementModel] = []


class RefusalModel(BaseModel):
    """Every refusal: a slug for machines, a message for people, the facts it was made of."""

    error: str
    message: str
    facts: dict[str, Any]
