"""The packaged policy, and how a policy file is read and checked."""

from datetime import timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.policy import Agreement, HoursRange, Image, Policy, RateCard, Size, Tier
from nexus_allocator.domain.states import AccountKind, TierSlug

Amount = Decimal


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RateCardDocument(Document):
    version: int
    vcpu_hour: Amount = Field(ge=0, decimal_places=6)
    gib_hour: Amount = Field(ge=0, decimal_places=6)
    gpu_hour: Amount = Field(ge=0, decimal_places=6)


class SizeDocument(Document):
    slug: str
    label: str
    cpu: int = Field(gt=0)
    memory_gib: int = Field(gt=0)
    gpu: int = Field(default=0, ge=0)


class TierDocument(Document):
    slug: TierSlug
    label: str
    sizes: list[str] = Field(min_length=1)
    credits: Amount | None = Field(ge=0, decimal_places=6)
    length_days: int = Field(gt=0)
    live_servers: int | None = Field(gt=0)
    requestable_by: list[AccountKind]


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

    version: int
    rate_card: RateCardDocument
    sizes: list[SizeDocument] = Field(min_length=1)
    tiers: list[TierDocument]
    images: list[ImageDocument] = Field(min_length=1)
    hours: HoursDocument
    agreement: AgreementDocument

    @model_validator(mode="after")
    def agree(self) -> Self:
        known = {size.slug for size in self.sizes}
        for tier in self.tiers:
            if unknown := set(tier.sizes) - known:
                raise ValueError(f"tier {tier.slug} names unknown sizes {sorted(unknown)}")
        if missing := set(TierSlug) - {tier.slug for tier in self.tiers}:
            raise ValueError(f"tiers {sorted(missing)} are missing")
        if sum(image.default for image in self.images) != 1:
            raise ValueError("exactly one image must be the default")
        if not self.hours.min <= self.hours.default <= self.hours.max:
            raise ValueError("the default hours are outside the range")
        return self

    def to_policy(self, agreement_html: str) -> Policy:
        return Policy(
            version=self.version,
            rate_card=_rate_card(self.rate_card),
            sizes={size.slug: Size(**size.model_dump()) for size in self.sizes},
            tiers={tier.slug: _tier(tier) for tier in self.tiers},
            images=tuple(Image(**image.model_dump()) for image in self.images),
            hours=_hours(self.hours),
            agreement=Agreement(self.agreement.version, self.agreement.title, agreement_html),
        )


def load_policy(path: Path | None = None) -> Policy:
    """Read the policy file at ``path``, or the packaged one.

    The agreement's text stands beside the file. Raises pydantic.ValidationError naming each field
    that is wrong.
    """
    folder = files(__name__) if path is None else path.parent
    text = (folder / "tiers.yaml").read_text() if path is None else path.read_text()
    document = PolicyDocument.model_validate(yaml.safe_load(text))
    return document.to_policy((folder / document.agreement.file).read_text())


def _micro(amount: Decimal) -> int:
    return int(amount * MICRO)


def _rate_card(card: RateCardDocument) -> RateCard:
    return RateCard(card.version, _micro(card.vcpu_hour), _micro(card.gib_hour), _micro(card.gpu_hour))


def _tier(tier: TierDocument) -> Tier:
    return Tier(
        slug=tier.slug,
        label=tier.label,
        sizes=tuple(tier.sizes),
        credits_micro=None if tier.credits is None else _micro(tier.credits),
        length=timedelta(days=tier.length_days),
        live_servers=tier.live_servers,
        requestable_by=tuple(tier.requestable_by),
    )


def _hours(hours: HoursDocument) -> HoursRange:
    return HoursRange(*(round(value * 60) for value in (hours.min, hours.max, hours.step, hours.default)))
