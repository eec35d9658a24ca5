"""Short-lived credentials for an account's prefix, by STS: the role's rights cut down by a session policy.

The role may write below `accounts/` and read the mission's data; a session policy never adds to it.
"""

import json
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from nexus_allocator.domain.errors import BadName, ObjectStoreUnavailable
from nexus_allocator.domain.names import MUST_BE, NAME

LOG = logging.getLogger(__name__)
ACCOUNTS, S3 = "accounts/", "s3://"
# What STS allows a role's session, however short a server's planned hours are.
SHORTEST, LONGEST = timedelta(minutes=15), timedelta(hours=12)
READING = ["s3:GetObject"]
WRITING = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]


class Sts(Protocol):
    """What of boto3's client for STS is used."""

    def assume_role(
        self,
        *,
        RoleArn: str,  # noqa: N803 - AWS's names
        RoleSessionName: str,  # noqa: N803
        Policy: str,  # noqa: N803
        DurationSeconds: int,  # noqa: N803
    ) -> Any: ...


@dataclass(frozen=True)
class Bucket:
    """Where accounts keep objects.

    ``mission`` is where data are that everybody may read, and so the role: a prefix of this bucket, or
    s3://BUCKET/PREFIX of another. Raises ValueError where that would be the accounts' own objects.
    """

    name: str
    role_arn: str
    mission: str | None = None

    def __post_init__(self) -> None:
        name, prefix = self.mission_data
        if self.mission is not None and name == self.name and (not prefix or prefix.startswith(ACCOUNTS)):
            raise ValueError(f"the mission's data need a prefix of their own in {self.name}")

    @property
    def mission_data(self) -> tuple[str, str]:
        """Return the bucket of the mission's data, and their prefix with its slash."""
        where = self.mission or ""
        whole = where if where.startswith(S3) else f"{S3}{self.name}/{where}"
        name, _, prefix = whole.removeprefix(S3).partition("/")
        return name, f"{prefix.strip('/')}/".lstrip("/")


@dataclass(frozen=True)
class AccountStore:
    """The accounts' bucket, and who gives credentials for it."""

    bucket: Bucket
    sts: Sts = field(repr=False)


@dataclass(frozen=True)
class Credentials:
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    ends_at: datetime


def prefix_of(account: str) -> str:
    """Return the account's prefix, with its slash. Raises BadName."""
    if not NAME.fullmatch(account):
        raise BadName(name=account[:40], must_be=MUST_BE)
    return f"{ACCOUNTS}{account}/"


def session_policy(bucket: Bucket, account: str, *, read_only: bool = False) -> dict[str, Any]:
    """Return what a session may: objects below its account's prefix, and reading of the mission's.

    The slash is part of the prefix: `accounts/star` must not reach `accounts/stars`.
    """
    may = READING if read_only else READING + WRITING
    statements = _below("", bucket.name, prefix_of(account), may)
    if bucket.mission is not None:
        statements += _below("Mission", *bucket.mission_data, READING)
    return {"Version": "2012-10-17", "Statement": statements}


def _below(called: str, bucket: str, prefix: str, actions: list[str]) -> list[dict[str, Any]]:
    """Return the statements that let objects below a prefix be used and listed."""
    arn = f"arn:aws:s3:::{bucket}"
    objects = {
        "Sid": f"{called}Objects",
        "Effect": "Allow",
        "Action": actions,
        "Resource": f"{arn}/{prefix}*",
    }
    listing = {"Sid": f"{called}List", "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": arn}
    # A condition is not met by who lists a whole bucket and names no prefix.
    below = {"Condition": {"StringLike": {"s3:prefix": [f"{prefix}*"]}}} if prefix else {}
    return [objects, {**listing, **below}]


def issue(
    store: AccountStore, account: str, *, session_name: str, lasts: timedelta, read_only: bool = False
) -> Credentials:
    """Return credentials for the account's prefix; ``session_name``, whose they are, stands in AWS's trail.

    Raises ObjectStoreUnavailable.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - of the extra `aws`

    seconds = int(min(max(lasts, SHORTEST), LONGEST).total_seconds())
    policy = json.dumps(session_policy(store.bucket, account, read_only=read_only), separators=(",", ":"))
    try:
        answer = store.sts.assume_role(
            RoleArn=store.bucket.role_arn, RoleSessionName=session_name, Policy=policy,
            DurationSeconds=seconds,
        )  # fmt: skip
    except (BotoCoreError, ClientError) as error:
        LOG.warning("credentials for %s were not given: %s", prefix_of(account), error)
        raise ObjectStoreUnavailable() from error
    given = answer["Credentials"]
    return Credentials(
        given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], given["Expiration"]
    )
