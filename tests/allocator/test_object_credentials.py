"""Credentials for an account's prefix: what the session policy lets, and how STS is asked."""

import json
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

import boto3
import pytest
from botocore.stub import Stubber

from nexus_allocator.clients.objects.credentials import AccountStore, Bucket, issue, prefix_of, session_policy
from nexus_allocator.domain.errors import BadName

BUCKET = Bucket("nexus-store", "arn:aws:iam::123456789012:role/nexus-store", mission="mission")
ENDS = datetime(2026, 3, 2, 12, tzinfo=UTC)


def lets(account: str, action: str, key: str, *, listing: bool = False) -> bool:
    """Judge as IAM does: a statement of the policy must name the action and the resource, and the prefix."""
    arn = f"arn:aws:s3:::{BUCKET.name}"
    for statement in session_policy(BUCKET, account)["Statement"]:
        if action not in statement["Action"]:
            continue
        if listing:
            prefixes = statement["Condition"]["StringLike"]["s3:prefix"]
            if statement["Resource"] == arn and any(fnmatchcase(key, each) for each in prefixes):
                return True
        elif fnmatchcase(f"{arn}/{key}", statement["Resource"]):
            return True
    return False


def test_an_account_reaches_its_own_prefix_and_no_other() -> None:
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert lets("star", action, "accounts/star/deep/file")
        for elsewhere in ("accounts/stars/file", "accounts/other/file", "accounts/star", "file"):
            assert not lets("star", action, elsewhere)
    assert lets("star", "s3:ListBucket", "accounts/star/", listing=True)
    assert not lets("star", "s3:ListBucket", "accounts/", listing=True)
    assert not lets("star", "s3:ListBucket", "accounts/stars/", listing=True)
    assert not lets("star", "s3:PutBucketPolicy", "accounts/star/file")


def test_the_missions_data_are_read_and_never_written() -> None:
    assert lets("star", "s3:GetObject", "mission/l2/file.asdf")
    assert lets("star", "s3:ListBucket", "mission/l2/", listing=True)
    assert not lets("star", "s3:PutObject", "mission/l2/file.asdf")
    assert not lets("star", "s3:DeleteObject", "mission/l2/file.asdf")


@pytest.mark.parametrize(
    "mission", ["", "/", "s3://nexus-store", "s3://nexus-store/", "accounts", "accounts/star"]
)
def test_what_accounts_keep_is_never_the_missions(mission: str) -> None:
    with pytest.raises(ValueError, match="a prefix of their own in nexus-store"):
        Bucket("nexus-store", BUCKET.role_arn, mission=mission)
    assert Bucket("nexus-store", BUCKET.role_arn, mission="s3://roman").mission_data == ("roman", "")


def test_no_account_is_called_so_that_it_would_widen_the_policy() -> None:
    for name in ("*", "a/../b", "a*", "", "a/b", "star/"):
        with pytest.raises(BadName):
            prefix_of(name)


def test_sts_is_asked_for_as_long_as_the_server_lasts_within_its_own_bounds() -> None:
    sts = boto3.client("sts", region_name="us-east-1")
    given = {
        "AccessKeyId": "A" * 16,
        "SecretAccessKey": "secret",
        "SessionToken": "token",
        "Expiration": ENDS,
    }
    with Stubber(sts) as stub:
        for hours, seconds in ((0.1, 900), (2, 7200), (24, 43_200)):
            policy = json.dumps(session_policy(BUCKET, "star"), separators=(",", ":"))
            # STS takes at most 2048 characters of it.
            assert len(policy) < 2048
            stub.add_response("assume_role", {"Credentials": given}, {
                "RoleArn": BUCKET.role_arn, "RoleSessionName": "hold-1", "Policy": policy,
                "DurationSeconds": seconds,
            })  # fmt: skip
            found = issue(
                AccountStore(BUCKET, sts), "star", session_name="hold-1", lasts=timedelta(hours=hours)
            )
            assert found.ends_at == ENDS
        stub.assert_no_pending_responses()
    assert "secret" not in repr(found)
