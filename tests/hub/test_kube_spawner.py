"""Pods as KubeSpawner would create them for an admission, and what is read from how they end."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from jupyterhub import orm
from kubernetes_asyncio.client import ApiClient
from tornado import web
from traitlets.config import Config

from nexus_allocator.domain.lab_tokens import hold_of_token
from nexus_allocator.hub import pods
from nexus_allocator.hub.kube_spawner import KubernetesSpawner
from nexus_allocator.hub.service import Admission, AllocationService

TOKEN = "internal-token-for-tests"
PERSONAL = Admission(
    hold_id="0c9b3f5e-6f1c-4f43-9a35-2b8f6e6d2a11", cpu=2, memory_bytes=16 * 2**30, image="nexus", uid=20_007,
    gid=20_007, supplemental_gids=(40_001, 40_002), umask=0o027, home="ada", teams=("grism", "lensing"),
    until="2026-11-22T12:00:00+00:00", account="grism", rate_micro_per_hour=125_000, scratch=("ada",),
    environment={"NEXUS_SIZE": "small"},
)  # fmt: skip
READER = Admission(
    **{**vars(PERSONAL), "supplemental_gids": (), "teams": (), "scratch": (), "read_only": True}
)
TEAM = Admission(
    **{
        **vars(PERSONAL), "uid": 40_001, "gid": 40_001, "supplemental_gids": (40_001,), "teams": ("grism",),
        "umask": 0o007, "home": "", "scratch": (), "team": "grism",
    }
)  # fmt: skip
FULL = Admission(**{**vars(PERSONAL), "rescue": True})
ON_GPU = Admission(**{**vars(PERSONAL), "gpu": 1, "environment": {"NEXUS_SIZE": "gpu"}})


@dataclass(frozen=True)
class Told(AllocationService):
    """The allocation service as a spawner tells it of stops."""

    reasons: list[tuple[str, str]] = field(default_factory=list)

    async def announce_stop(self, hub_name: str, server_name: str, *, reason: str, actor: str) -> None:
        self.reasons.append((reason, actor))


def with_spawner(act: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """Run ``act`` with a spawner of Ada's that asks no hub and no cluster."""

    async def run() -> Any:
        config = Config()
        config.KubernetesSpawner.images = {"nexus": "lab@sha256:00"}
        config.KubernetesSpawner.placements = {
            "gpu": {"node_selector": {"pool": "gpu"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
        }
        config.KubernetesSpawner.server_environment = {"NEXUS_STORE_URL": "s3://roman"}
        user = SimpleNamespace(name="ada", id=7, url="/user/ada/", orm_user=SimpleNamespace(orm_spawners={}))
        spawner = KubernetesSpawner(config=config, _mock=True, user=user)
        spawner.orm_spawner = orm.Spawner(name="", user_options={}, state={})
        spawner.handler = None
        return await act(spawner)

    return asyncio.run(run())


async def manifest(spawner: Any, admission: Admission) -> dict[str, Any]:
    """Return the pod as it would be sent."""
    spawner.service, spawner.admission = Told("http://nexus/services/nexus/api/hub", TOKEN), admission
    spawner.cpu_guarantee = spawner.cpu_limit = admission.cpu
    spawner.mem_guarantee = spawner.mem_limit = admission.memory_bytes
    spawner.apply_admission(admission)
    async with ApiClient() as client:
        sent: dict[str, Any] = client.sanitize_for_serialization(await spawner.get_pod_manifest())
    return sent


def pod_of(admission: Admission) -> dict[str, Any]:
    async def make(spawner: Any) -> dict[str, Any]:
        return await manifest(spawner, admission)

    made: dict[str, Any] = with_spawner(make)
    return made


@pytest.fixture(autouse=True)
def without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let KubeSpawner make its client without looking for a cluster's configuration; it asks nothing."""
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)


def container_of(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["spec"]["containers"]
    assert container["name"] == pods.CONTAINER
    found: dict[str, Any] = container
    return found


def environment_of(pod: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container_of(pod)["env"]}


def mounts_of(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["mountPath"]: each for each in container_of(pod)["volumeMounts"]}


def test_a_pod_has_the_identity_and_the_size_that_were_admitted() -> None:
    pod = pod_of(PERSONAL)
    container = container_of(pod)
    assert container["securityContext"] == {
        "runAsUser": 20_007, "runAsGroup": 20_007, "allowPrivilegeEscalation": False,
    }  # fmt: skip
    # No group that would be handed every file of the volume.
    assert pod["spec"]["securityContext"] == {"supplementalGroups": [40_001, 40_002]}
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"] == {"cpu": 2.0, "memory": 16 * 2**30}
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert container["image"] == "lab@sha256:00"


def test_home_teams_and_scratch_are_seen_under_their_names_and_nothing_else_of_the_volume() -> None:
    mounts = mounts_of(pod_of(PERSONAL))
    assert {path: each.get("subPath") for path, each in mounts.items()} == {
        "/home/ada": "homes/ada",
        "/teams/grism": "teams/grism",
        "/teams/lensing": "teams/lensing",
        "/scratch/ada": "scratch/ada",
        "/home/spare": None,
        "/var/lib/extrausers": None,
    }
    assert not mounts["/home/ada"]["readOnly"]


def test_a_scratch_is_mounted_while_it_is_leased_and_the_next_launch_forgets_it() -> None:
    async def both(spawner: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        ended = Admission(**{**vars(PERSONAL), "scratch": ()})
        return await manifest(spawner, PERSONAL), await manifest(spawner, ended)

    leased, ended = with_spawner(both)
    assert environment_of(leased)["NEXUS_SCRATCH"] == "/scratch/ada"
    assert not mounts_of(leased)["/scratch/ada"]["readOnly"]
    assert environment_of(ended)["NEXUS_SCRATCH"] == ""
    assert not any(path.startswith("/scratch") for path in mounts_of(ended))


def test_each_place_is_mounted_from_the_claim_of_its_volume() -> None:
    spread = Admission(
        **{
            **vars(PERSONAL),
            "volumes": {"homes/ada": "second", "teams/grism": "second", "teams/lensing": "main"},
        }
    )

    async def make(spawner: Any) -> dict[str, Any]:
        spawner.claims = {"second": "places-second"}
        return await manifest(spawner, spread)

    pod = with_spawner(make)
    claims = {
        each["name"]: each["persistentVolumeClaim"]["claimName"]
        for each in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in each
    }
    lies = {path: claims.get(each["name"]) for path, each in mounts_of(pod).items()}
    assert lies == {
        "/home/ada": "places-second",
        "/teams/grism": "places-second",
        # On a volume without a claim of its own, and not known to be anywhere.
        "/teams/lensing": "nexus-shared",
        "/scratch/ada": "nexus-shared",
        "/home/spare": None,
        "/var/lib/extrausers": None,
    }


def test_a_reader_sees_the_home_at_its_place_and_writes_elsewhere_as_somebody_else() -> None:
    pod = pod_of(READER)
    mounts, environment = mounts_of(pod), environment_of(pod)
    assert mounts["/home/ada"]["readOnly"] is True
    assert container_of(pod)["securityContext"]["runAsUser"] == 50_007
    assert environment["HOME"] in mounts
    assert environment["HOME"] != environment["NEXUS_READ_ONLY_HOME"] == "/home/ada"


def test_who_has_a_full_home_works_beside_it_and_may_clear_it() -> None:
    pod = pod_of(FULL)
    environment = environment_of(pod)
    assert environment["HOME"] == "/home/spare"
    assert environment["NEXUS_RESCUE_HOME"] == "/home/ada"
    assert not mounts_of(pod)["/home/ada"]["readOnly"]


def test_names_of_person_and_teams_are_known_where_git_and_ssh_ask() -> None:
    pod = pod_of(PERSONAL)
    notes = pod["metadata"]["annotations"]
    assert notes["nexus.roman/passwd"] == "ada:x:20007:20007::/home/ada:/bin/bash\n"
    assert notes["nexus.roman/group"] == "ada:x:20007:\ngrism:x:40001:ada\nlensing:x:40002:ada\n"
    fields = {
        item["path"]: item["fieldRef"]["fieldPath"]
        for volume in pod["spec"]["volumes"]
        for item in volume.get("downwardAPI", {}).get("items", [])
    }
    assert fields == {name: f"metadata.annotations['nexus.roman/{name}']" for name in ("passwd", "group")}


def test_the_pod_says_for_whom_it_is_metered() -> None:
    pod = pod_of(PERSONAL)
    assert pod["metadata"]["labels"]["nexus.roman/hold"] == PERSONAL.hold_id
    assert pod["metadata"]["labels"]["nexus.roman/size"] == "small"
    assert pod["metadata"]["annotations"]["nexus.roman/account"] == "grism"
    assert pod["metadata"]["annotations"]["hub.jupyter.org/username"] == "ada"
    environment = environment_of(pod)
    assert environment["NEXUS_TEAMS"] == "/teams/grism:/teams/lensing"
    assert environment["NEXUS_STORE_URL"] == "s3://roman"
    assert environment["NEXUS_ACCOUNT_STORE_URL"] == "s3://roman/accounts/grism"
    assert hold_of_token(TOKEN, environment["NEXUS_LAB_TOKEN"]) == UUID(PERSONAL.hold_id)


def test_a_size_with_a_gpu_runs_where_gpus_are_and_the_next_launch_forgets_it() -> None:
    async def both(spawner: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return await manifest(spawner, ON_GPU), await manifest(spawner, PERSONAL)

    first, second = with_spawner(both)
    assert container_of(first)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert first["spec"]["nodeSelector"] == {"pool": "gpu"}
    assert [each["key"] for each in first["spec"]["tolerations"]] == ["gpu"]
    assert "nvidia.com/gpu" not in container_of(second)["resources"]["limits"]
    assert "nodeSelector" not in second["spec"]


def test_a_server_that_ends_is_not_started_again_behind_the_hub() -> None:
    assert pod_of(PERSONAL)["spec"]["restartPolicy"] == "Never"


def test_an_image_the_cluster_does_not_have_is_refused_in_words() -> None:
    async def refused(spawner: Any) -> None:
        spawner.user_options = {"image": "gone"}
        spawner.apply_admission(Admission(**{**vars(PERSONAL), "image": "gone"}))

    with pytest.raises(web.HTTPError) as told:
        with_spawner(refused)
    assert told.value.status_code == 422
    assert "no image called gone" in told.value.jupyterhub_message


def ended(**terminated: Any) -> dict[str, Any]:
    state = {"terminated": {"finishedAt": "2026-11-22T11:59:00Z", **terminated}}
    return {"status": {"phase": "Failed", "containerStatuses": [{"name": "notebook", "state": state}]}}


FINISHED = datetime(2026, 11, 22, 11, 59, tzinfo=UTC)
RUNNING = {
    "status": {
        "phase": "Running",
        "containerStatuses": [
            {"name": "sidecar", "state": {"terminated": {"exitCode": 0}}},
            {"name": "notebook", "state": {"running": {"startedAt": "2026-11-22T10:00:00Z"}}},
        ],
    }
}


@pytest.mark.parametrize(
    ("pod", "end"),
    [
        (ended(exitCode=0), pods.End(FINISHED, 0, None, ran_out_of_memory=False)),
        (ended(exitCode=3), pods.End(FINISHED, 3, None, ran_out_of_memory=False)),
        (ended(exitCode=143), pods.End(FINISHED, None, 15, ran_out_of_memory=False)),
        (ended(exitCode=137, reason="OOMKilled"), pods.End(FINISHED, None, 9, ran_out_of_memory=True)),
        (RUNNING, None),
        ({"status": {"phase": "Pending"}}, None),
        (None, None),
    ],
    ids=["well", "with-a-code", "told-to", "out-of-memory", "running", "pending", "gone"],
)
def test_how_a_server_ended_is_read_from_its_own_container(
    pod: dict[str, Any] | None, end: pods.End | None
) -> None:
    assert pods.end_of(pod) == end


def test_what_is_charged_begins_with_the_process_and_an_eviction_is_known() -> None:
    assert pods.started_at(RUNNING) == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert pods.started_at({"status": {"phase": "Pending"}}) is None
    evicted = {"status": {"reason": "Evicted", "message": "The node was low on disk."}}
    assert pods.was_evicted(evicted) == "The node was low on disk."
    assert pods.was_evicted(RUNNING) is None


def test_a_pod_is_given_up_when_its_node_does_not_confirm_its_end() -> None:
    leaving = {"deletionTimestamp": "2026-11-22T12:00:30Z", "deletionGracePeriodSeconds": 30}
    pod = {"metadata": leaving, **RUNNING}
    due = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
    assert pods.given_up_at(pod, due + timedelta(seconds=4)) is None
    assert pods.given_up_at(pod, due + timedelta(seconds=5)) == due - timedelta(seconds=30)
    assert pods.given_up_at({"metadata": {}, **RUNNING}, due) is None


def test_the_chart_s_nodes_of_notebooks_stay_beside_those_of_a_size() -> None:
    async def launched(spawner: Any) -> dict[str, Any]:
        spawner.given_tolerations = [{"key": "hub.jupyter.org/dedicated", "operator": "Exists"}]
        spawner.given_selector = {"purpose": "user"}
        return await manifest(spawner, ON_GPU)

    pod = with_spawner(launched)
    assert pod["spec"]["nodeSelector"] == {"purpose": "user", "pool": "gpu"}
    assert [each["key"] for each in pod["spec"]["tolerations"]] == ["hub.jupyter.org/dedicated", "gpu"]


def test_the_chart_s_labels_stay_on_the_pod_since_its_policies_go_by_them() -> None:
    async def launched(spawner: Any) -> dict[str, Any]:
        spawner.given_labels = {"hub.jupyter.org/network-access-hub": "true"}
        spawner.given_annotations = {"example.org/asked": "yes"}
        return await manifest(spawner, ON_GPU)

    metadata = with_spawner(launched)["metadata"]
    assert metadata["labels"]["hub.jupyter.org/network-access-hub"] == "true"
    assert metadata["labels"]["nexus.roman/hold"]
    assert metadata["annotations"]["example.org/asked"] == "yes"
    assert metadata["annotations"]["nexus.roman/account"]


@pytest.mark.parametrize(
    ("pod", "reasons", "alive"),
    [
        (ended(exitCode=137, reason="OOMKilled"), [("out-of-memory", "kernel")], False),
        (ended(exitCode=1), [], False),
        (RUNNING, [], None),
    ],
    ids=["out-of-memory", "crashed", "running"],
)
def test_the_reason_of_an_end_reaches_the_service_once(
    pod: dict[str, Any], reasons: list[tuple[str, str]], alive: bool | None
) -> None:
    async def look(spawner: Any) -> tuple[list[tuple[str, str]], bool | None]:
        spawner.service = Told("http://nexus/services/nexus/api/hub", TOKEN)
        for _ in range(2):
            await spawner.note_end(pod)
        return spawner.service.reasons, spawner.alive_at_stop

    assert with_spawner(look) == (reasons, alive)


def listed(hold_id: str, **metadata: str) -> dict[str, Any]:
    """A pod of a hold as the reflector has it."""
    named = {"name": f"jupyter-{hold_id}", "namespace": "nexus", "uid": f"uid-{hold_id}"}
    return {"metadata": {**named, "labels": {"nexus.roman/hold": hold_id}, **metadata}}


def test_the_pod_of_a_later_launch_is_not_the_server_that_a_restored_hub_remembers() -> None:
    async def judge(spawner: Any) -> list[bool]:
        spawner.hold_id = "earlier"
        found = [spawner.is_another_launch(each) for each in (listed("earlier"), listed("later"), None, {})]
        spawner._spawn_pending = True
        return [*found, spawner.is_another_launch(listed("later"))]

    assert with_spawner(judge) == [False, True, False, False, False]


def test_pods_of_which_the_hub_knows_no_server_are_ended_each_by_its_own_number() -> None:
    ended: list[tuple[str, str]] = []

    async def delete(name: str, _namespace: str, *, body: Any) -> None:
        ended.append((name, body.preconditions.uid))

    async def end(spawner: Any) -> list[str]:
        seen = [listed("alive"), listed("stray"), listed("going", deletionTimestamp="2026-11-22T12:00:00Z")]
        reflector = SimpleNamespace(pods={each["metadata"]["name"]: each for each in seen} | {"other": {}})
        spawner.__class__.reflectors = {spawner._get_reflector_key("pods"): reflector}
        spawner._start_watching_pods = lambda: asyncio.sleep(0)
        spawner.api = SimpleNamespace(delete_namespaced_pod=delete)
        found: list[str] = await spawner.end_strays(lambda: {"alive"})
        spawner.__class__.reflectors = {}
        return found

    assert with_spawner(end) == ["stray"]
    assert ended == [("jupyter-stray", "uid-stray")]


def test_a_team_s_own_server_has_the_team_s_folder_and_nobody_s_home() -> None:
    pod = pod_of(TEAM)
    mounts = {mount["mountPath"]: mount.get("subPath") for mount in container_of(pod)["volumeMounts"]}
    assert mounts["/teams/grism"] == "teams/grism"
    assert not [path for path in mounts if path.startswith(("/home/grism", "/scratch"))]
    told = environment_of(pod)
    assert (told["HOME"], told["NEXUS_TEAM_FOLDER"]) == ("/teams/grism/.nexus-server", "/teams/grism")
    assert told["NEXUS_UMASK"] == "007"
    context = pod["spec"]["securityContext"] | container_of(pod)["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (40_001, 40_001)
    names = pod["metadata"]["annotations"]
    assert names["nexus.roman/passwd"].endswith(":x:40001:40001::/teams/grism/.nexus-server:/bin/bash\n")
    assert names["nexus.roman/group"].count("\n") == 1
