"""An account's credentials against an S3 server that enforces policies: what holds, not what is written."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import boto3
import httpx
import pytest
import s3fs
from botocore.exceptions import ClientError
from tests.support.allocator import INTERNAL_TOKEN, World
from tests.support.api import Api, running_api
from tests.support.ceph import PUBLIC, REGION, Gateway, gateway
from tests.support.fake_hub import running_hub
from tests.support.lab_server import running_lab

from nexus_allocator.clients.objects.credentials import AccountStore, Bucket, Credentials, issue
from nexus_allocator.domain.lab_tokens import lab_token
from nexus_allocator.hub.lab_card import OwnServer
from nexus_allocator.hub.start_lab import store_access
from nexus_allocator.store import schema
from nexus_allocator.store.session import Database

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
def store(gateway: Gateway) -> AccountStore:
    """The bucket with an image of the mission's and a file of another account's."""
    client = gateway.client("s3")
    for key in (MISSION, THEIRS):
        client.put_object(Bucket=gateway.bucket, Key=key, Body=b"as it was")
    bucket = Bucket(gateway.bucket, gateway.role_arn, mission="mission")
    return AccountStore(bucket, gateway.client("sts"))


@pytest.fixture(scope="module")
def bucket(store: AccountStore) -> Bucket:
    return store.bucket


class Hasty:
    """STS of another clock: what is asked for is cut to two seconds, which AWS would not do."""

    def __init__(self, gateway: Gateway) -> None:
        self.sts, self.asked = gateway.client("sts"), 0

    def assume_role(self, **words: Any) -> Any:
        self.asked += 1
        return self.sts.assume_role(**words | {"DurationSeconds": 2})


def signed_in(gateway: Gateway, credentials: Credentials) -> Any:
    return gateway.client(
        "s3", aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
    )  # fmt: skip


@pytest.fixture(scope="module")
def star(gateway: Gateway, store: AccountStore) -> Iterator[Any]:
    """A client of S3 with the credentials of the account called star."""
    client = signed_in(gateway, issue(store, "star", session_name="hold-1", lasts=LASTS))
    client.put_object(Bucket=gateway.bucket, Key=MINE, Body=b"mine")
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


def test_the_missions_data_may_be_in_a_bucket_of_their_own(gateway: Gateway, store: AccountStore) -> None:
    for key in ("l2/image.asdf", "private/plan"):
        gateway.client("s3").put_object(Bucket=PUBLIC, Key=key, Body=b"as it was")
    for mission, all_of_it in ((f"s3://{PUBLIC}/l2", False), (f"s3://{PUBLIC}", True)):
        elsewhere = AccountStore(replace(store.bucket, mission=mission), store.sts)
        client = signed_in(gateway, issue(elsewhere, "star", session_name="hold-3", lasts=LASTS))
        assert client.get_object(Bucket=PUBLIC, Key="l2/image.asdf")["Body"].read() == b"as it was"
        assert client.list_objects_v2(Bucket=PUBLIC, Prefix="l2/")["KeyCount"] == 1
        assert refused(client.get_object, Bucket=PUBLIC, Key="private/plan") != all_of_it
        assert refused(client.list_objects_v2, Bucket=PUBLIC, Prefix="") != all_of_it
        assert refused(client.put_object, Bucket=PUBLIC, Key="l2/image.asdf", Body=b"")
        assert refused(client.get_object, Bucket=gateway.bucket, Key=MISSION)


def test_who_may_only_read_the_account_writes_nothing_in_it(
    star: Any, gateway: Gateway, store: AccountStore
) -> None:
    reader = signed_in(gateway, issue(store, "star", session_name="hold-1", lasts=LASTS, read_only=True))
    where = {"Bucket": gateway.bucket, "Key": MINE}
    assert reader.get_object(**where)["Body"].read() == b"mine"
    assert refused(reader.put_object, **where, Body=b"")
    assert refused(reader.delete_object, **where)


def test_credentials_end(star: Any, gateway: Gateway, bucket: Bucket) -> None:
    brief = issue(AccountStore(bucket, Hasty(gateway)), "star", session_name="hold-2", lasts=LASTS)
    client = signed_in(gateway, brief)
    where = {"Bucket": bucket.name, "Key": MINE}
    assert not refused(client.get_object, **where)
    wait_until_refused(client, where)
    assert time.time() >= brief.ends_at.timestamp() - 1


def wait_until_refused(client: Any, where: dict[str, str]) -> None:
    deadline = time.monotonic() + 20
    while not refused(client.get_object, **where):
        assert time.monotonic() < deadline
        time.sleep(0.25)


@pytest.fixture
def api(tmp_path: Path, gateway: Gateway, bucket: Bucket) -> Iterator[Api]:
    """The service before this object store, whose credentials last two seconds."""
    url = f"sqlite:///{tmp_path}/allocator.sqlite"
    database = Database(url)
    schema.upgrade(database)
    with running_hub() as hub, running_api(World(database), hub, url) as running:
        running.world.astronomer("ada")
        context = running.app.state.context
        running.app.state.context = replace(context, store=AccountStore(bucket, Hasty(gateway)))
        yield running
    database.dispose()


def of_server(api: Api, hold_id: UUID) -> OwnServer:
    return OwnServer(f"{api.address}/services/nexus/api/lab", lab_token(INTERNAL_TOKEN, hold_id))


@pytest.fixture
def in_lab(api: Api, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[UUID]:
    """This process as a program in Ada's running server, whose hold is given."""
    hold_id = api.world.launch("ada", account="ada").hold_id
    api.world.started(hold_id)
    server = of_server(api, hold_id)
    with running_lab(server) as address:
        told = {"NEXUS_STORE_URL": f"s3://{gateway.bucket}", "NEXUS_LAB_TOKEN": server.token}
        found = store_access({**told, "JUPYTERHUB_SERVICE_URL": address})
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        nothing = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
        where = {"AWS_ENDPOINT_URL": gateway.url, "AWS_DEFAULT_REGION": REGION}
        for name, value in {**found, **nothing, **where}.items():
            monkeypatch.setenv(name, value)
        yield hold_id


def test_boto_and_s3fs_in_a_server_write_the_accounts_prefix_and_renew_by_themselves(
    api: Api, in_lab: UUID, gateway: Gateway
) -> None:
    session = boto3.Session()
    client = session.client("s3")
    where = {"Bucket": gateway.bucket, "Key": "accounts/ada/made-in-lab"}
    client.put_object(**where, Body=b"by boto")
    first = session.get_credentials().get_frozen_credentials()
    fixed = gateway.client(
        "s3", aws_access_key_id=first.access_key, aws_secret_access_key=first.secret_key,
        aws_session_token=first.token,
    )  # fmt: skip
    wait_until_refused(fixed, where)
    # The same client goes on: it had new ones before the old ones ended.
    assert client.get_object(**where)["Body"].read() == b"by boto"
    assert refused(client.get_object, Bucket=gateway.bucket, Key=THEIRS)
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    assert files.cat(f"{gateway.bucket}/accounts/ada/made-in-lab") == b"by boto"
    files.pipe(f"{gateway.bucket}/accounts/ada/folder/file", b"by s3fs")
    assert files.ls(f"{gateway.bucket}/accounts/ada/folder") == [f"{gateway.bucket}/accounts/ada/folder/file"]
    assert files.cat(f"{gateway.bucket}/{MISSION}") == b"as it was"
    with pytest.raises(PermissionError):
        files.pipe(f"{gateway.bucket}/{MISSION}", b"")


def test_a_server_that_has_ended_gets_no_more_and_a_stranger_none(
    api: Api, in_lab: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = of_server(api, in_lab)
    with running_lab(server) as address:
        url = f"{address}nexus/credentials"
        own = {"Authorization": server.token}
        with httpx.Client(trust_env=False) as program:
            assert set(program.get(url, headers=own).json()) == {
                "AccessKeyId", "SecretAccessKey", "Token", "Expiration",
            }  # fmt: skip
            assert program.get(url).status_code == 403
            assert program.get(url, headers={"Authorization": "else"}).status_code == 403
            api.world.stopped(in_lab)
            assert program.get(url, headers=own).status_code == 404


def test_a_person_gets_credentials_for_accounts_of_theirs_by_the_api(api: Api, gateway: Gateway) -> None:
    api.world.astronomer("sam")
    writes = api.token("ada", "custom:nexus:write:own")
    given = api.ask("POST", "/accounts/ada/credentials", writes).json()
    client = signed_in(gateway, Credentials(**given))
    client.put_object(Bucket=gateway.bucket, Key="accounts/ada/by-api", Body=b"")
    assert refused(client.put_object, Bucket=gateway.bucket, Key="accounts/sam/by-api", Body=b"")
    assert api.ask("POST", "/accounts/sam/credentials", writes).status_code == 404
    only_reads = api.token("ada", "custom:nexus:read:own")
    assert api.ask("POST", "/accounts/ada/credentials", only_reads).json()["error"] == "scope_needed"


def test_once_its_allocation_has_ended_an_account_is_read_and_not_written(api: Api, gateway: Gateway) -> None:
    api.world.ends("ada", api.world.clock() - timedelta(days=1))
    token = api.token("ada")
    client = signed_in(gateway, Credentials(**api.ask("POST", "/accounts/ada/credentials", token).json()))
    assert client.list_objects_v2(Bucket=gateway.bucket, Prefix="accounts/ada/")["KeyCount"] >= 0
    assert refused(client.put_object, Bucket=gateway.bucket, Key="accounts/ada/late", Body=b"")


def test_a_store_that_does_not_answer_is_ours_to_mend(api: Api, gateway: Gateway, bucket: Bucket) -> None:
    nobody = replace(gateway, url="http://127.0.0.1:9").client("sts")
    app = api.app
    app.state.context = replace(app.state.context, store=AccountStore(bucket, nobody))
    answer = api.ask("POST", "/accounts/ada/credentials", api.token("ada"))
    assert (answer.status_code, answer.json()["error"]) == (503, "object_store_unavailable")
    app.state.context = replace(app.state.context, store=None)
    answer = api.ask("POST", "/accounts/ada/credentials", api.token("ada"))
    assert (answer.status_code, answer.json()["error"]) == (409, "no_account_store")
