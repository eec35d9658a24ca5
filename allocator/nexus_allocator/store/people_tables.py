"""People: who they are, what they accepted, the numbers and names that nobody gets twice."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from nexus_allocator.store.base import Base


class Counter(Base):
    """The next number to give: uids and gids are never given twice."""

    __tablename__ = "counter"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    next_value: Mapped[int]


class TakenName(Base):
    """Every name ever given to a person, team or account; rows stay when their owner goes."""

    __tablename__ = "taken_name"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    taken_at: Mapped[datetime]


class Person(Base):
    __tablename__ = "person"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    issuer: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    hub_name: Mapped[str] = mapped_column(Text, unique=True)
    preferred_username: Mapped[str] = mapped_column(Text)
    display_name: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)
    uid: Mapped[int] = mapped_column(unique=True)
    is_administrator: Mapped[bool]
    suspended_at: Mapped[datetime | None]
    suspension_reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    signed_in_at: Mapped[datetime | None]
    home_name: Mapped[str | None] = mapped_column(Text)
    erased_at: Mapped[datetime | None]
    merged_into_id: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))

    @property
    def home_folder(self) -> str:
        """The name of the home, which keeps its first name when the person is called otherwise."""
        return self.home_name or self.hub_name


class Acceptance(Base):
    __tablename__ = "acceptance"
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), primary_key=True)
    version: Mapped[str] = mapped_column(Text, primary_key=True)
    accepted_at: Mapped[datetime]


class AgreementText(Base):
    """A version of the user agreement as it was when first shown; a version's text never changes."""

    __tablename__ = "agreement_text"
    version: Mapped[str] = mapped_column(Text, primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    text_html: Mapped[str] = mapped_column(Text)
    first_used_at: Mapped[datetime]


class Home(Base):
    """A person's home: where it is and the identity that owns it."""

    __tablename__ = "home"
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    created_at: Mapped[datetime]


class WebSession(Base):
    """A portal session: the browser holds an opaque id, of which only the hash is kept here."""

    __tablename__ = "web_session"
    id_hash: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    hub_token: Mapped[str] = mapped_column(Text)
    csrf_secret: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
