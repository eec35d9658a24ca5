"""The chart before a real API server: installed, applied again, changed and brought back."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.control_plane import ControlPlane, collection
from tests.support.helm import CHART, EVERYTHING, NEEDED, STORAGE, given, over_the_volume, rendered, run
from tests.support.hub import until

CHARTED = "charted"
SECRETS = (
    "database-url",
    "hub-token",
    "internal-token",
    "mail-password",
    "metrics-token",
    "postgres-password",
)
RELEASE = "nexus"
SERVICE = f"/apis/apps/v1/namespaces/{CHARTED}/deployments/{RELEASE}-allocator"
JOBS = f"/apis/batch/v1/namespaces/{CHARTED}/jobs"


class Installed:
    """The chart with all that it can make, in a namespace that takes only pods without any right."""

    def __init__(self, program: Path, plane: ControlPlane) -> None:
        self.program, self.plane = program, plane

    def helm(self, *words: str) -> str:
        known = ("--namespace", CHARTED, "--kubeconfig", str(self.plane.kubeconfig()))
        done = run(self.program, *words, *known)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def upgrade(self, **changes: str) -> None:
        self.helm("upgrade", "--install", "--wait", RELEASE, str(CHART), *given(EVERYTHING | changes))

    def objects(self) -> dict[str, dict[str, Any]]:
        """Return what the release has made, as the API server keeps it, without what controllers write."""
        listed = yaml.safe_load_all(self.helm("get", "manifest", RELEASE))
        return {where: self.kept(where) for where in map(self.where, filter(None, listed))}

    def where(self, manifest: dict[str, Any]) -> str:
        return f"{collection(manifest, CHARTED)}/{manifest['metadata']['name']}"

    def kept(self, where: str) -> dict[str, Any]:
        found = self.plane.get(where)
        assert found is not None, where
        metadata = {
            k: v for k, v in found["metadata"].items() if k not in ("resourceVersion", "managedFields")
        }
        return {**found, "metadata": metadata, "status": None}

    def image(self) -> str:
        found = self.plane.get(SERVICE)
        assert found is not None
        image: str = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return image


@pytest.fixture(scope="module")
def installed(program: Path, plane: ControlPlane) -> Installed:
    plane.define()
    plane.namespace(CHARTED, **{"pod-security.kubernetes.io/enforce": "restricted"})
    plane.node("charted")
    secret = {"metadata": {"name": "nexus-allocator"}, "stringData": dict.fromkeys(SECRETS, "x")}
    plane.make({"apiVersion": "v1", "kind": "Secret", **secret}, CHARTED)
    for name in ("records", "postgres"):
        plane.volume(name, "20Gi", "ReadWriteOnce")
    made = Installed(program, plane)
    made.upgrade()
    return made


def test_applied_again_the_chart_changes_nothing(installed: Installed) -> None:
    before = installed.objects()
    installed.upgrade()
    assert installed.objects() == before
    assert len(before) > 20


def test_a_setting_or_an_image_is_changed_and_brought_back(installed: Installed) -> None:
    first = installed.objects()
    installed.upgrade(settings__meteringIntervalS="30")
    installed.upgrade(image__tag="other")
    assert installed.image() == "nexus-allocator:other"
    installed.helm("rollback", RELEASE, "1", "--wait")
    assert installed.image() != "nexus-allocator:other"
    again = installed.objects()
    assert {where: each.get("spec") for where, each in again.items() if "/jobs/" not in where} == {
        where: each.get("spec") for where, each in first.items() if "/jobs/" not in where
    }
    assert again.keys() == first.keys()


@pytest.mark.parametrize("name", ["turn", "audit", "seal"])
def test_what_the_clock_starts_is_taken_and_ends(installed: Installed, name: str) -> None:
    where = f"/apis/batch/v1/namespaces/{CHARTED}/cronjobs/{RELEASE}-allocator-{name}"
    found = installed.plane.get(where)
    assert found is not None
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}
    installed.plane.make({**job, "spec": found["spec"]["jobTemplate"]["spec"]}, CHARTED)
    until(
        lambda: (installed.plane.get(f"{JOBS}/{name}") or {})["status"].get("succeeded") == 1,
        f"the job {name} ended",
    )


def test_pods_over_the_volume_ask_for_no_more_than_a_baseline_namespace_gives(
    program: Path, plane: ControlPlane
) -> None:
    space = "stored"
    plane.namespace(space, **{"pod-security.kubernetes.io/enforce": "baseline"})
    manifests = rendered(program, **NEEDED | STORAGE)
    account = next(each for each in manifests if each["kind"] == "ServiceAccount")
    plane.make({**account, "metadata": {"name": account["metadata"]["name"]}}, space)
    for each in manifests:
        if each["kind"] in ("CronJob", "Deployment"):
            plane.make(each, space)
    for name, spec in over_the_volume(manifests):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        made = plane.make(pod, space)
        assert made["spec"]["containers"][0]["securityContext"]["capabilities"]["drop"] == ["ALL"]
