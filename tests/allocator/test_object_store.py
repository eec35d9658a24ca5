"""An account's credentials against an S3 server that enforces policies: what holds, not what is written."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.support.ceph import Gateway, gateway

from nexus_allocator.clients.objects.credentials import Bucket, Credentials, issue

__all__ = ["gateway"]
LASTS = timedelta(hours=1)
MISSION, MINE, THEIRS = "mission/l2/image.asdf", "accounts/star/deep/file", "accounts/stars/file"


def refused(act: Callable[..., Any], **words: Any) -> bool:
    """Say whether the server refuses; 403 is also how it answers who may not know what is there."""
    try:
        act(**words)
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"]) == 403
    return False


@pytest.fixture(scope="module")
def bucket(gateway: Gateway) -> Bucket:
    """The bucket with an image of the mission's and a file of another account's."""
    client = gateway.client("s3")
    for key in (MISSION, THEIRS):
        client.put_object(Bucket=gateway.bucket, Key=key, Body=b"as it was")
    return Bucket(gateway.bucket, gateway.role_arn, mission="mission")


def signed_in(gateway: Gateway, credentials: Credentials) -> Any:
    return gateway.client(
        "s3", aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
    )  # fmt: skip


@pytest.fixture(scope="module")
def star(gateway: Gateway, bucket: Bucket) -> Iterator[Any]:
    """A client of S3 with the credentials of the account called star."""
    client = signed_in(
        gateway, issue(gateway.client("sts"), bucket, "star", session_name="hold-1", lasts=LASTS)
    )
    client.put_object(Bucket=bucket.name, Key=MINE, Body=b"mine")
    yield client
    client.close()


def test_an_account_writes_lists_reads_and_deletes_below_its_prefix(star: Any, bucket: Bucket) -> None:
    where = {"Bucket": bucket.name}
    star.copy_object(**where, Key="accounts/star/copy", CopySource=f"{bucket.name}/{MINE}")
    upload = star.create_multipart_upload(**where, Key="accounts/star/large")["UploadId"]
    star.abort_multipart_upload(**where, Key="accounts/star/large", UploadId=upload)
    listed = star.list_objects_v2(**where, Prefix="accounts/star/")["Contents"]
    assert [each["Key"] for each in listed] == ["accounts/star/copy", MINE]
    assert star.get_object(**where, Key="accounts/star/copy")["Body"].read() == b"mine"
    star.delete_object(**where, Key="accounts/star/copy")
    assert star.list_objects_v2(**where, Prefix="accounts/star/")["KeyCount"] == 1


def test_another_accounts_prefix_and_the_buckets_root_are_refused(
    star: Any, gateway: Gateway, bucket: Bucket
) -> None:
    where = {"Bucket": bucket.name}
    assert refused(star.get_object, **where, Key=THEIRS)
    assert refused(star.head_object, **where, Key=THEIRS)
    assert refused(star.delete_object, **where, Key=THEIRS)
    # One of them is the account's own, and nothing of the rest goes with it.
    both = {"Objects": [{"Key": "accounts/star/none"}, {"Key": THEIRS}]}
    refused(star.delete_objects, **where, Delete=both)
    # The way round: a copy reads with the rights of who asks for it.
    assert refused(star.copy_object, **where, Key="accounts/star/got", CopySource=f"{bucket.name}/{THEIRS}")
    for key in ("accounts/stars/new", "accounts/star", "new", "mission/new"):
        assert refused(star.put_object, **where, Key=key, Body=b"")
    for prefix in ("accounts/stars/", "accounts/star", "accounts/", ""):
        assert refused(star.list_objects_v2, **where, Prefix=prefix)
    assert refused(star.list_buckets)
    assert refused(star.create_bucket, Bucket="another")
    assert refused(star.put_object_acl, **where, Key=MINE, ACL="public-read")
    kept = gateway.client("s3").get_object(**where, Key=THEIRS)
    assert kept["Body"].read() == b"as it was"


def test_the_missions_data_are_read_only(star: Any, bucket: Bucket) -> None:
    where = {"Bucket": bucket.name}
    assert star.get_object(**where, Key=MISSION)["Body"].read() == b"as it was"
    assert star.list_objects_v2(**where, Prefix="mission/l2/")["KeyCount"] == 1
    assert refused(star.put_object, **where, Key=MISSION, Body=b"")
    assert refused(star.delete_object, **where, Key=MISSION)


def test_credentials_end(gateway: Gateway, bucket: Bucket) -> None:
    sts = gateway.client("sts")

    class Hasty:
        """STS with a clock of its own: what is asked for is cut to two seconds, which AWS would not do."""

        def assume_role(self, **words: Any) -> Any:
            return sts.assume_role(**words | {"DurationSeconds": 2})

    brief = issue(Hasty(), bucket, "star", session_name="hold-2", lasts=LASTS)
    client = signed_in(gateway, brief)
    where = {"Bucket": bucket.name, "Key": MINE}
    assert not refused(client.get_object, **where)
    deadline = time.monotonic() + 20
    while not refused(client.get_object, **where):
        assert time.monotonic() < deadline
        time.sleep(0.25)
    assert time.time() >= brief.ends_at.timestamp() - 1
