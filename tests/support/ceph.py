"""An S3 server that enforces policies, while tests last: Ceph's monitor, OSD and gateway on loopback.

Debian's packages are unpacked into the cache outside the clone; nothing is installed, and nothing outlives
the tests: the OSD keeps its objects in memory.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from tests.support.postgres import free_port
from tests.support.romanisim_ramp import cache_folder, locked

PACKAGES = ("ceph-mon", "ceph-osd", "radosgw")
REGION = "us-east-1"
SERVICE, ROLE, BUCKET, PUBLIC = "nexus-service", "nexus-store", "nexus-store", "roman-public"
CONFIGURED = ("-c", "ceph.conf")
START_TIMEOUT_S, FETCH_TIMEOUT_S = 60, 600
# With the monitors' usual rounds each new pool would take two seconds. The least session is a second, so that
# its end can be waited for.
CONFIGURATION = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}/0]
mon initial members = a
public network = 127.0.0.0/8
keyring = {data}/keyring
auth allow insecure global id reclaim = false
plugin dir = {libraries}/ceph
erasure code dir = {libraries}/ceph/erasure-code
osd class dir = {libraries}/rados-classes
osd pool default pg autoscale mode = off
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
mon allow pool size one = true
mon max pg per osd = 1000
mon cluster log to file = false
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 536870912
osd numa auto affinity = false
ms bind msgr1 = false
log file = {data}/$name.log
run dir = {data}
admin socket =
paxos propose interval = 0.02
paxos min wait = 0.01
[mon.a]
mon data = {data}/mon
[osd.0]
osd data = {data}/osd
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 8
rgw data = {data}
rgw sts key = {sts_key}
rgw s3 auth use sts = true
rgw sts min session duration = 1
rgw enable gc threads = false
rgw enable lc threads = false
rgw enable quota threads = false
rgw run sync thread = false
"""
# The signal ends a server with the tests, however they end.
ENDING = ("setpriv", "--pdeathsig=KILL")
CAPS = {
    "mon.": {"mon": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
    "client.rgw.a": {"mon": "allow *", "osd": "allow *"},
}


class NoCeph(RuntimeError):  # noqa: N818 - says what it is
    """Debian's packages can't be had here."""


@dataclass(frozen=True)
class Gateway:
    """A running gateway with the accounts' bucket and one of mission data.

    ``keys`` are the service's, which may take the role ``role_arn``.
    """

    url: str
    bucket: str
    role_arn: str
    keys: dict[str, str]

    def client(self, service: str, **keys: str) -> Any:
        """Return boto's client with these keys, or the service's; what is refused is not asked again."""
        # STS of AWS gives no less than 15 minutes, which boto checks.
        config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
        given = {**(keys or self.keys), "endpoint_url": self.url, "region_name": REGION}
        return boto3.client(service, config=config, **given)


def unpacked() -> Path:
    """Return the folder with Ceph's programs, fetched first where the cache has none. Raises NoCeph."""
    if shutil.which("apt-get") is None:
        raise NoCeph("there is no apt-get to fetch Debian's Ceph with")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    release = platform.freedesktop_os_release().get("VERSION_ID", "unknown")
    folder = cache / f"ceph-debian-{release}"
    with locked(cache / "ceph.lock"):
        if not folder.exists():
            _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    """Unpack the packages and what of theirs this machine lacks (66 MB to fetch, 10 seconds)."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        part = Path(made)
        wanted = _run(["apt-get", "-s", "install", "--no-install-recommends", *PACKAGES], part)
        names = {*PACKAGES, *re.findall(r"^Inst (\S+)", wanted, flags=re.MULTILINE)}
        _run(["apt-get", "-qq", "download", *sorted(names)], part)
        (part / "root").mkdir()
        for package in part.glob("*.deb"):
            _run(["dpkg-deb", "-x", str(package), str(part / "root")], part)
        (part / "root").rename(folder)


def _run(words: list[str], folder: Path) -> str:
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, timeout=FETCH_TIMEOUT_S
    )
    if done.returncode:
        raise NoCeph(f"{' '.join(words[:3])} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


class Programs:
    """Ceph's programs with their libraries, all on one configuration."""

    def __init__(self, root: Path, data: Path) -> None:
        self.bin, self.data = root / "usr" / "bin", data
        self.libraries = root / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
        searched = [self.libraries, self.libraries / "ceph", root / "lib" / self.libraries.name]
        self.environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": ":".join(map(str, searched))}

    def run(self, name: str, *words: str) -> str:
        done = subprocess.run(
            [self.bin / name, *words], env=self.environment, capture_output=True, text=True, check=False,
            timeout=START_TIMEOUT_S, cwd=self.data,
        )  # fmt: skip
        assert done.returncode == 0, f"{name} {words}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, name: str, *words: str) -> Iterator[None]:
        """Run a server, and kill it at the end: what it keeps goes with its folder."""
        output = (self.data / f"{name}.out").open("wb")
        with output:
            process = subprocess.Popen(
                [*ENDING, self.bin / name, "-f", *words], env=self.environment, stdout=output, stderr=output,
                cwd=self.data,
            )  # fmt: skip
        try:
            yield
        finally:
            process.kill()
            process.wait(30)

    def admin(self, *words: str) -> str:
        return self.run("radosgw-admin", *CONFIGURED, "-n", "client.rgw.a", *words)


@contextmanager
def private_gateway(root: Path) -> Iterator[Gateway]:
    """Run a new gateway with what an operator makes for the Nexus; ``root`` holds the programs."""
    with tempfile.TemporaryDirectory(prefix="nexus-ceph-") as made, ExitStack() as servers:
        programs, port = Programs(root, Path(made)), free_port()
        _lay_out(programs, port)
        servers.enter_context(programs.running("ceph-mon", *CONFIGURED, "-i", "a"))
        programs.run("ceph-osd", *CONFIGURED, "-i", "0", "--mkfs", "--osd-uuid", str(uuid.uuid4()))
        servers.enter_context(programs.running("ceph-osd", *CONFIGURED, "-i", "0"))
        servers.enter_context(programs.running("radosgw", *CONFIGURED, "-n", "client.rgw.a"))
        gateway = _furnish(programs, f"http://127.0.0.1:{port}")
        _wait(gateway, Path(made))
        for bucket in (BUCKET, PUBLIC):
            gateway.client("s3").create_bucket(Bucket=bucket)
        yield gateway


def _furnish(programs: Programs, url: str) -> Gateway:
    """Make the service's user, and a role with all rights in both buckets that this user alone may take."""
    secret = uuid.uuid4().hex
    programs.admin("user", "create", "--uid", SERVICE, "--display-name", SERVICE, "--access-key", SERVICE,
                   "--secret", secret)  # fmt: skip
    taker = _document(Principal={"AWS": [f"arn:aws:iam:::user/{SERVICE}"]}, Action=["sts:AssumeRole"])
    made = programs.admin("role", "create", "--role-name", ROLE, "--assume-role-policy-doc", taker)
    buckets = [f"arn:aws:s3:::{name}" for name in (BUCKET, PUBLIC)]
    rights = _document(Action=["s3:*"], Resource=[*buckets, *(f"{each}/*" for each in buckets)])
    programs.admin("role-policy", "put", "--role-name", ROLE, "--policy-name", "all", "--policy-doc", rights)
    keys = {"aws_access_key_id": SERVICE, "aws_secret_access_key": secret}
    return Gateway(url, BUCKET, json.loads(made)["Arn"], keys)


def _document(**statement: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def _lay_out(programs: Programs, port: int) -> None:
    """Write configuration and keys, and make the monitor's store with a map that has one OSD."""
    data, fsid, mon_port = programs.data, str(uuid.uuid4()), free_port()
    (data / "mon").mkdir()
    (data / "osd").mkdir()
    (data / "ceph.conf").write_text(
        CONFIGURATION.format(
            fsid=fsid, mon_port=mon_port, port=port, data=data, libraries=programs.libraries,
            sts_key=uuid.uuid4().hex[:16],
        )
    )  # fmt: skip
    for name, caps in CAPS.items():
        pairs = [word for kind, what in caps.items() for word in ("--cap", kind, what)]
        programs.run("ceph-authtool", "--create-keyring", "new", "--gen-key", "-n", name, *pairs)
        with (data / "keyring").open("a") as keyring:
            keyring.write((data / "new").read_text())
    address = f"[v2:127.0.0.1:{mon_port}]"
    programs.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, "monmap")
    programs.run("osdmaptool", *CONFIGURED, "--createsimple", "1", "--pg-bits", "1", "osdmap")
    programs.run("ceph-mon", *CONFIGURED, "--mkfs", "-i", "a", "--keyring", "keyring", "--monmap", "monmap",
                 "--osdmap", "osdmap")  # fmt: skip


def _wait(gateway: Gateway, data: Path) -> None:
    client, deadline = gateway.client("s3"), time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            client.list_buckets()
        except BotoCoreError:
            assert time.monotonic() < deadline, (data / "radosgw.out").read_text()
            time.sleep(0.1)
        else:
            return


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway of the module's own; a skip that says why where there can be none."""
    try:
        root = unpacked()
    except NoCeph as reason:
        pytest.skip(f"no S3 server that enforces policies: {reason}")
    with private_gateway(root) as found:
        yield found
