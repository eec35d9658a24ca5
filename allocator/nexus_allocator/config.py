"""Settings of the service: read once from NEXUS_* variables, frozen, unknown names refused."""

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nexus_allocator.domain.webhooks import Reach

PREFIX = "NEXUS_"
# Read by other processes that share the environment, so not misspellings of ours.
OTHERS = frozenset({"NEXUS_PORT", "NEXUS_STATE", "NEXUS_SERVICE_URL", "NEXUS_HUB_DATABASE_URL"}) | {
    f"NEXUS_STORAGE_{name}" for name in ("KEY_FILE", "COLD_BUCKET")
}
Driver = Literal["directory", "btrfs", "xfs", "efs", "openzfs"]
ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+")


@dataclass(frozen=True)
class Mount:
    """A mounted volume as the settings have it. Raises ValueError where some of what goes together lacks."""

    root: Path
    driver: Driver
    fsx_volume: str | None
    backup_vault: str | None
    backup_role: str | None
    file_system: str | None

    def __post_init__(self) -> None:
        if self.driver == "openzfs" and self.fsx_volume is None:
            raise ValueError("the driver openzfs needs storage_fsx_volume")
        if len({each is None for each in (self.backup_vault, self.backup_role, self.file_system)}) > 1:
            raise ValueError("storage_backup_vault, _backup_role and _file_system go together")


class UnknownSetting(ValueError):  # noqa: N818 - says what it is
    """A NEXUS_* variable that no setting has; most often a misspelling."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    database_url: str
    """SQLAlchemy's URL: sqlite:////path or postgresql+psycopg://…"""

    hub_api_url: str = "http://127.0.0.1:8002/hub/api"
    """Where this process reaches the hub's REST API."""

    hub_token: SecretStr
    """The service's own token for the hub; also the secret of its OAuth client."""

    internal_token: SecretStr
    """The bearer token with which the hub asks this service."""

    public_url: str = "http://127.0.0.1:8000"
    """What a browser sees, without a slash at the end."""

    hub_public_url: str = ""
    """Where a browser finds the hub; empty when on the portal's own origin."""

    service_prefix: str = "/services/nexus/"
    """The path under which the proxy serves this service; starts and ends with a slash."""

    metering_interval_s: float = Field(default=60, gt=0)
    """The longest time between two readings of the hub's live servers."""

    rounds: Literal["inside", "elsewhere"] = "inside"
    """Where the meter and the deliverer run: in this process, or in one of `nexus-allocator rounds`."""

    posting_interval_s: float = Field(default=3600, gt=0)
    """How often a running server's usage reaches the ledger."""

    save_grace_minutes: int = Field(default=10, ge=0)
    """Time to save one's work after the planned hours; part of every hold."""

    hold_start_timeout_s: float = Field(default=30, ge=0)
    """A hold whose server never appeared in the hub is given back after this time."""

    tiers_file: Path | None = None
    """The policy; the packaged one when not set."""

    issuer: str | None = None
    """The sign-in provider, for `seed-demo` only."""

    issuer_admins: Annotated[tuple[str, ...], NoDecode] = ("nexus-admins",)
    """Administrators, comma-separated: `issuer|subject`, or the name of a group the provider claims."""

    confinement: str = "reserved, not confined"
    """What the launch page says about how servers are kept to their size."""

    worker_threads: int = Field(default=40, gt=0)
    """Threads that answer requests, and so the size of the connection pool."""

    mail_host: str | None = None
    """The SMTP server that takes mail; without one nobody is written to, and the portal tells alone."""

    mail_port: int = Field(default=587, gt=0, lt=65536)
    """587 with STARTTLS, 465 with TLS, 25 for a server on this machine."""

    mail_security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is kept from others; `none` is for a server on this machine."""

    mail_user: str | None = None
    """Whom to sign in as at the mail server; without one nobody signs in."""

    mail_password: SecretStr | None = None
    """That user's password."""

    mail_from: str | None = None
    """The sender's address; needed with a mail server."""

    webhook_reach: Reach = Reach.PUBLIC
    """Which addresses webhooks may go to: `public`; `private`, private networks too; `loopback`, all."""

    webhook_key: SecretStr | None = None
    """Seals the secrets of webhooks; the internal token does when it is not set."""

    metrics_token: SecretStr | None = None
    """The bearer token with which monitoring reads metrics; without one nobody reads them."""
    storage_records: Path | None = None
    """Where plans of purges are kept; read to show which files they name, without it folders only."""

    delivery_lease_s: float = Field(default=180, gt=0)
    """For how long a deliverer claims what it sends; longer than any one sending takes."""

    storage_root: Path | None = None
    """The mounted volume on which this process makes and limits places; without one it touches no files."""

    storage_driver: Driver = "directory"
    """What that volume is; see README on what each holds."""

    storage_fsx_volume: str | None = None
    """The id of the FSx volume that is mounted there; `openzfs` needs it."""

    storage_volume: str = "main"
    """The volume's name; each has its own."""

    storage_most_places: int | None = Field(default=None, gt=0)
    """How many places the volume takes; any number when not set."""

    store_bucket: str | None = None
    """The bucket in which each account has a prefix, as boto3 finds it (AWS_…); needs the extra `aws`."""

    store_role: str | None = None
    """The role that may write there, of which servers and people get sessions for one prefix each."""

    store_mission: str | None = None
    """Where everybody may read: a prefix of the same bucket, or s3://BUCKET/PREFIX of another."""

    store_region: str | None = None
    """The bucket's region; without it as boto3 finds it."""

    @model_validator(mode="after")
    def store_is_whole(self) -> Self:
        if (self.store_bucket is None) != (self.store_role is None):
            raise ValueError("store_bucket and store_role go together")
        return self

    storage_backup_vault: str | None = None
    """The vault of AWS Backup that keeps snapshots of `efs`; without one there are none."""

    storage_backup_role: str | None = None
    """The role with which AWS Backup reads and writes the file system."""

    storage_file_system: str | None = None
    """The ARN of the EFS file system that is mounted there."""

    @property
    def mount(self) -> Mount | None:
        """The volume that is mounted here, None when there is none."""
        return self._mount_at(self.storage_root) if self.storage_root is not None else None

    @model_validator(mode="after")
    def storage_is_whole(self) -> Self:
        self._mount_at(Path())
        return self

    def _mount_at(self, root: Path) -> Mount:
        return Mount(
            root, self.storage_driver, self.storage_fsx_volume, self.storage_backup_vault,
            self.storage_backup_role, self.storage_file_system,
        )  # fmt: skip

    @model_validator(mode="after")
    def mail_is_whole(self) -> Self:
        sender = self.mail_from or ""
        if self.mail_host is not None and not ADDRESS.fullmatch(sender):
            raise ValueError("mail_host needs mail_from, an address such as nexus@example.org")
        if (self.mail_user is None) != (self.mail_password is None):
            raise ValueError("mail_user and mail_password go together")
        if self.mail_user is not None and self.mail_security == "none" and not self.mail_host_is_local:
            raise ValueError("a password goes to another machine over starttls or tls only")
        return self

    @property
    def mail_host_is_local(self) -> bool:
        return self.mail_host in {"127.0.0.1", "::1", "localhost"}

    @property
    def sealing_key(self) -> str:
        return (self.webhook_key or self.internal_token).get_secret_value()

    @property
    def portal_url(self) -> str:
        """Where a browser finds the portal, with a slash at the end."""
        return self.public_url + self.service_prefix

    @property
    def delivery_lease(self) -> timedelta:
        return timedelta(seconds=self.delivery_lease_s)

    @field_validator("issuer_admins", mode="before")
    @classmethod
    def split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("service_prefix")
    @classmethod
    def slashed(cls, value: str) -> str:
        if not (value.startswith("/") and value.endswith("/")):
            raise ValueError("must start and end with a slash")
        return value

    @field_validator("hub_token", "internal_token", "webhook_key", "metrics_token")
    @classmethod
    def long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("must have at least 16 characters")
        return value

    @property
    def metering_interval(self) -> timedelta:
        return timedelta(seconds=self.metering_interval_s)

    @property
    def posting_interval(self) -> timedelta:
        return timedelta(seconds=self.posting_interval_s)

    @property
    def hold_start_timeout(self) -> timedelta:
        return timedelta(seconds=self.hold_start_timeout_s)


class DatabaseSettings(BaseSettings):
    """What the command line needs for work on the database alone: no token."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    database_url: str
    tiers_file: Path | None = None
    issuer: str | None = None
    metering_interval_s: float = Field(default=60, gt=0)


class StorageSettings(BaseSettings):
    """What `nexus-allocator storage` needs beside the database."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}STORAGE_", extra="ignore", frozen=True)

    root: Path
    """The mounted volume that holds homes, teams and scratch."""

    driver: Driver = "directory"

    fsx_volume: str | None = None
    """The id of the FSx volume that is mounted there; `openzfs` needs it."""

    volume: str = "main"
    """The volume's name."""

    most_places: int | None = Field(default=None, gt=0)
    """How many places it takes; None for any number."""

    backup_vault: str | None = None
    """The vault of AWS Backup that keeps snapshots of `efs`; without one there are none."""

    backup_role: str | None = None
    """The role with which AWS Backup reads and writes the file system."""

    file_system: str | None = None
    """The ARN of the EFS file system that is mounted there."""

    records: Path
    """Where plans and their signed logs are kept: root's alone, best on another disk."""

    key_file: Path
    """The key that signs the logs, 32 bytes or more."""

    cold_bucket: str | None = None
    """The bucket for what is kept cold, as boto3 finds it (AWS_…); needs the extra `aws`."""

    @property
    def mount(self) -> Mount:
        """The volume that is mounted here."""
        return Mount(
            self.root, self.driver, self.fsx_volume, self.backup_vault, self.backup_role, self.file_system
        )


def read_storage_settings() -> StorageSettings:
    return StorageSettings()


def read_settings() -> Settings:
    """Return the settings of this process. Raises UnknownSetting, or ValidationError naming each field."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | OTHERS
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise UnknownSetting(f"unknown settings: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return Settings()


def read_database_settings() -> DatabaseSettings:
    return DatabaseSettings()
