"""Servers as pods of a cluster, each with the identity, size and places that its admission gives it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kubernetes_asyncio.client import V1DeleteOptions, V1Preconditions
from kubernetes_asyncio.client.rest import ApiException
from kubespawner import KubeSpawner
from traitlets import Dict, Unicode, default

from nexus_allocator.hub import pods
from nexus_allocator.hub.admission import AdmittedServer
from nexus_allocator.hub.homes import READERS, TEAM_HOME
from nexus_allocator.hub.refusals import refusal
from nexus_allocator.hub.service import Admission

LABEL = "nexus.roman"
GPU = "nvidia.com/gpu"
NOT_FOUND, CONFLICT = 404, 409
# Debian's libnss-extrausers reads passwd and group entries here, beside those of the image.
EXTRA_USERS = "/var/lib/extrausers"
# Goes with the pod: HOME of who only reads, and of whose own home takes nothing more.
SPARE_HOME = "/home/spare"
NO_IMAGE = "This cluster has no image called {image}. Choose another."


class KubernetesSpawner(AdmittedServer, KubeSpawner):  # type: ignore[misc]
    shared_claim = Unicode(
        "nexus-shared", config=True, help="Claim with the folders homes, teams and scratch."
    )
    claims = Dict(
        config=True, help="For a volume of places its claim; places of others lie on the shared one."
    )
    images = Dict(config=True, help="The policy's images, each with its reference in the registry.")
    placements = Dict(
        config=True, help="For a size, where it runs: its `node_selector` and `tolerations`; else anywhere."
    )
    server_environment = Dict(config=True, help="What every server finds in its environment.")

    volumes: dict[str, Any]
    volume_mounts: dict[str, Any]
    node_selector: dict[str, str]
    tolerations: list[dict[str, Any]]
    extra_labels: dict[str, str]
    extra_annotations: dict[str, str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # As the chart's values have them: reference data, or nodes of their own. Each launch adds its own.
        self.given_volumes, self.given_mounts = dict(self.volumes), dict(self.volume_mounts)
        self.given_selector, self.given_tolerations = dict(self.node_selector), list(self.tolerations)
        self.given_labels, self.given_annotations = dict(self.extra_labels), dict(self.extra_annotations)

    @default("extra_pod_config")
    def _default_extra_pod_config(self) -> dict[str, Any]:
        # KubeSpawner lets a server that ran out of memory start again inside its pod, which the hub does not
        # see: the work is lost and nobody is told why. So it ends, with its reason.
        return {"restart_policy": "Never"}

    @default("cmd")
    def _default_cmd(self) -> list[str]:
        return ["python", "-m", "nexus_allocator.hub.start_lab", "jupyterhub-singleuser"]

    @default("default_url")
    def _default_default_url(self) -> str:
        return "/lab"

    # -- starting

    def apply_admission(self, admission: Admission) -> None:
        if admission.image not in self.images:
            raise self._refused(refusal(self.handler, 422, NO_IMAGE.format(image=admission.image)))
        self.image = self.images[admission.image]
        self.uid = admission.uid + READERS if admission.read_only else admission.uid
        self.gid = admission.gid
        self.supplemental_gids = list(admission.supplemental_gids)
        # Kubernetes would hand every file of the volume to such a group, one by one, at each start.
        self.fs_gid = None
        self.extra_resource_guarantees = self.extra_resource_limits = (
            {GPU: str(admission.gpu)} if admission.gpu else {}
        )
        placement = self.placements.get(size_of(admission), {})
        self.node_selector = self.given_selector | placement.get("node_selector", {})
        self.tolerations = [*self.given_tolerations, *placement.get("tolerations", [])]
        volumes, mounts = self.places_of(admission)
        self.volumes, self.volume_mounts = self.given_volumes | volumes, self.given_mounts | mounts
        # z2jh's policies let a pod reach the hub by one of its labels.
        own = {f"{LABEL}/hold": admission.hold_id, f"{LABEL}/size": size_of(admission)}
        self.extra_labels = self.given_labels | own
        self.extra_annotations = self.given_annotations | {
            f"{LABEL}/account": admission.account,
            f"{LABEL}/until": admission.until,
            f"{LABEL}/passwd": passwd_of(self.user.name, self.uid, admission),
            f"{LABEL}/group": groups_of(self.user.name, admission),
        }

    def places_of(self, admission: Admission) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the pod's volumes and where each is seen; a reader's home is there to be read."""
        volumes: dict[str, Any] = {
            "spare": {"name": "spare", "emptyDir": {"sizeLimit": "1Gi"}},
            "users": {"name": "users", "downwardAPI": {"items": [annotation("passwd"), annotation("group")]}},
        }
        mounts: dict[str, Any] = {
            "users": {"name": "users", "mountPath": EXTRA_USERS, "readOnly": True},
            "spare": {"name": "spare", "mountPath": SPARE_HOME},
        }
        for place, seen_at in seen_of(admission).items():
            claim = self.claims.get(admission.volumes.get(place, ""), self.shared_claim)
            volumes[claim] = {"name": claim, "persistentVolumeClaim": {"claimName": claim}}
            # Places lie where their volume's driver makes them.
            mounts[place] = {
                "name": claim, "mountPath": seen_at, "subPath": place, "readOnly": admission.read_only,
            }  # fmt: skip
        return volumes, mounts

    def get_env(self) -> dict[str, str]:
        """Add what admission and the cluster say; passwd of the image knows nothing of the person."""
        admission = self.admission
        if admission is None:
            raise RuntimeError("a server is started without an admission")
        home = f"/home/{admission.home}"
        return {
            **super().get_env(),
            **self.server_environment,
            **admission.environment,
            "USER": self.user.name,
            "HOME": working_of(admission),
            "NEXUS_READ_ONLY_HOME": home if admission.read_only else "",
            "NEXUS_SPARE_HOME": SPARE_HOME,
            "NEXUS_SCRATCH": ":".join(f"/scratch/{name}" for name in admission.scratch),
            "NEXUS_RESCUE_HOME": home if admission.rescue else "",
            "SHELL": "/bin/bash",
            "NEXUS_ACCOUNT": admission.account,
            "NEXUS_ACCOUNT_STORE_URL": self.store_of(admission),
            "NEXUS_HOLD_ID": admission.hold_id,
            "NEXUS_IMAGE": admission.image,
            "NEXUS_LAB_TOKEN": self.service.lab_token(admission.hold_id),
            "NEXUS_LAB_URL": self.service.lab_url,
            "NEXUS_TEAM_FOLDER": f"/teams/{admission.team}" if admission.team else "",
            "NEXUS_TEAMS": ":".join(f"/teams/{team}" for team in admission.teams),
            "NEXUS_UMASK": f"{admission.umask:03o}",
            # Thread pools would otherwise size themselves by the node, not by what was reserved.
            "OMP_NUM_THREADS": str(max(1, int(admission.cpu))),
            "NUMBA_NUM_THREADS": str(max(1, int(admission.cpu))),
        }

    def store_of(self, admission: Admission) -> str:
        """Return where the account keeps objects; nothing without an object store."""
        store = self.server_environment.get("NEXUS_STORE_URL")
        return f"{store}/accounts/{admission.account}" if store else ""

    async def _start(self) -> Any:
        """Start the pod; what is charged begins with the server's process, not with pulling its image."""
        address = await super()._start()
        # A pod of that name that stood in the way was ended; what is known of that end is not this one's.
        self.alive_at_stop = self.ended_at = None
        began = pods.started_at(self.pod)
        self.tell_started(began or datetime.now(UTC), 0)
        self.keep_state()
        return address

    # -- watching and stopping

    @property
    def pod(self) -> pods.Pod | None:
        """The pod as it was last listed, None when it is not there."""
        found: pods.Pod | None = self.pod_reflector.pods.get(f"{self.namespace}/{self.pod_name}")
        return found

    async def poll(self) -> int | None:
        self.end_overdue_lease()
        await self._start_watching_pods()
        if self.is_another_launch(self.pod):
            return 1
        await self.note_end(self.pod)
        if (given_up := pods.given_up_at(self.pod, datetime.now(UTC))) and not self.pending:
            return await self.clear_lost(given_up)
        status: int | None = await super().poll()
        return status

    def is_another_launch(self, pod: pods.Pod | None) -> bool:
        """Whether the pod of this server's name is of another hold: a restored hub has an earlier one's."""
        hold_id = pods.hold_of(pod)
        return hold_id not in (None, self.hold_id) and self.pending != "spawn"

    async def end_strays(self, holds_alive: Callable[[], set[str]]) -> list[str]:
        """End the pods of launches that the hub knows nothing of; return their holds.

        They are listed before the hub is asked for its holds, so that none is ended at its start.
        """
        await self._start_watching_pods()
        listed = {hold: pod for pod in self.pod_reflector.pods.values() if (hold := pods.hold_of(pod))}
        alive = holds_alive()
        strays = {hold: pod for hold, pod in listed.items() if hold not in alive and not pods.is_going(pod)}
        for hold, pod in strays.items():
            named = pod["metadata"]
            self.log.warning("Ending the pod %s of hold %s: this hub did not start it", named["name"], hold)
            # By its number: a new one may have the name by now.
            options = V1DeleteOptions(preconditions=V1Preconditions(uid=named["uid"]))
            try:
                await self.api.delete_namespaced_pod(named["name"], named["namespace"], body=options)
            except ApiException as error:
                if error.status not in (NOT_FOUND, CONFLICT):
                    raise
        return sorted(strays)

    async def note_end(self, pod: pods.Pod | None) -> None:
        """Keep how a server ended by itself, and why, before its pod is cleared away."""
        end, evicted = pods.end_of(pod), pods.was_evicted(pod)
        if (end is None and evicted is None) or self.alive_at_stop is not None:
            return
        self.alive_at_stop = False
        if end is not None:
            self.ended_at, self.exit_code, self.exit_signal = end.ended_at, end.exit_code, end.exit_signal
        if end is not None and end.ran_out_of_memory:
            await self.announce_stop("out-of-memory", "kernel")
        elif evicted is not None:
            self.log.warning("The node put %s out: %s", self._log_name, evicted)

    async def clear_lost(self, given_up: datetime) -> int:
        """End a server whose node is silent; else it would be alive until somebody removes the node."""
        if self.alive_at_stop is None:
            self.alive_at_stop, self.ended_at = False, given_up
            await self.announce_stop("node-lost", "kubernetes")
        await self.stop(now=True)
        return 1

    async def stop(self, now: bool = False) -> None:
        """Stop the pod. KubeSpawner stops pods that have ended, too, to clear them away."""
        if self.alive_at_stop is None:
            self.alive_at_stop = True
            if self._waiting_for_response:
                await self.announce_stop("start-failed", "hub")
        await super().stop(now=now)
        # The pod is gone: until then it was charged.
        self.ended_at = self.ended_at or datetime.now(UTC)


def size_of(admission: Admission) -> str:
    return admission.environment["NEXUS_SIZE"]


def seen_of(admission: Admission) -> dict[str, str]:
    """Return the places that a server sees, each with where; a reader sees the home alone.

    Of scratch only what was made is admitted: a pod would make a folder that is not there, as root's.
    """
    if admission.team:
        return {f"teams/{admission.team}": f"/teams/{admission.team}"}
    found = {f"homes/{admission.home}": f"/home/{admission.home}"}
    if not admission.read_only:
        found |= {f"teams/{team}": f"/teams/{team}" for team in admission.teams}
        found |= {f"scratch/{name}": f"/scratch/{name}" for name in admission.scratch}
    return found


def annotation(name: str) -> dict[str, Any]:
    return {"path": name, "fieldRef": {"fieldPath": f"metadata.annotations['{LABEL}/{name}']"}}


def working_of(admission: Admission) -> str:
    """Return what the server calls HOME; a team's own server has a folder in the team's."""
    if admission.team:
        return f"/teams/{admission.team}/{TEAM_HOME}"
    return SPARE_HOME if admission.read_only or admission.rescue else f"/home/{admission.home}"


def passwd_of(name: str, uid: int, admission: Admission) -> str:
    return f"{name}:x:{uid}:{admission.gid}::{working_of(admission)}:/bin/bash\n"


def groups_of(name: str, admission: Admission) -> str:
    """Return the person's own group and those of their teams; git and ssh ask for them by name."""
    teams = zip(admission.teams, admission.supplemental_gids, strict=True) if not admission.team else ()
    own = f"{name}:x:{admission.gid}:\n"
    return own + "".join(f"{team}:x:{gid}:{name}\n" for team, gid in teams)
