"""Servers as processes of this machine, each with the ids and the size its admission gives it."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Instance, Unicode, default

from nexus_allocator.hub import confinement
from nexus_allocator.hub.admission import AdmittedServer
from nexus_allocator.hub.homes import Folders
from nexus_allocator.hub.processes import Identity, began_at, enter, is_alive, watch_end
from nexus_allocator.hub.refusals import refusal
from nexus_allocator.hub.service import Admission

SIGKILL = 9
NO_GPU = "This size has {wanted} GPUs, and this machine has {here}. Choose a size without."
# Announcements and the extension manager are off: both call hosts of their own. The card in JupyterLab that
# shows the balance is below the same folder, as configuration, server extension and Lab extension.
LAB_CONFIGURATION = Path(__file__).parent / "lab"


class LocalSpawner(AdmittedServer, LocalProcessSpawner):  # type: ignore[misc]
    folders = Instance(Folders, config=True)
    controllers = Instance(confinement.Controllers, allow_none=True, config=True)
    notebooks = Unicode(config=True, help="Folder of curated notebooks, copied into homes where missing.")
    references = Unicode(config=True, help="URL of the reference files.")

    group: confinement.Group | None = None
    process_began: datetime | None = None
    watched = False

    @default("cmd")
    def _default_cmd(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "nexus_allocator.hub.start_lab",
            sys.executable,
            "-m",
            "jupyterhub.singleuser",
        ]

    @default("args")
    def _default_args(self) -> list[str]:
        return [
            # Nobody can install into the shared environment, and updates come with the Nexus.
            "--LabApp.extension_manager=readonly",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.news_url=None",
            # For so many seconds a server may let in whom the hub lets in no more.
            "--HubAuth.cache_max_age=60",
        ]

    @default("default_url")
    def _default_default_url(self) -> str:
        return "/lab"

    # -- starting

    def apply_admission(self, admission: Admission) -> None:
        if admission.gpu > (here := gpus_here()):
            # The hold is given back by the hub's own clearing up.
            raise self._refused(refusal(self.handler, 422, NO_GPU.format(wanted=admission.gpu, here=here)))
        self.folders.prepare(admission)
        if self.controllers is not None:
            self.group = confinement.make_group(
                self.controllers,
                group_name(self.user.name, admission.hold_id),
                cpu=admission.cpu,
                memory_bytes=admission.memory_bytes,
            )

    def make_preexec_fn(self, name: str) -> Any:
        admission = self.require_admission()
        identity = Identity(self.folders.uid(admission), admission.gid, admission.supplemental_gids)
        procs = self.group.procs if self.group else ()
        return enter(identity if self.folders.separate else None, admission.umask, procs)

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Add the person's environment; passwd, where people of the Nexus do not stand, is not asked."""
        admission = self.require_admission()
        store = self.folders.store.as_uri()
        return {
            **env,
            **admission.environment,
            "USER": self.user.name,
            "HOME": str(self.folders.working(admission)),
            "NEXUS_READ_ONLY_HOME": str(self.folders.home(admission)) if admission.read_only else "",
            "NEXUS_RESCUE_HOME": str(self.folders.home(admission)) if admission.rescue else "",
            "NEXUS_SPARE_HOME": str(self.folders.spare(admission)),
            "SHELL": "/bin/bash",
            "PATH": f"{Path(sys.executable).parent}:{env.get('PATH', '/usr/bin:/bin')}",
            "PYTHONSAFEPATH": "1",
            "JUPYTER_CONFIG_PATH": str(LAB_CONFIGURATION),
            "JUPYTER_PATH": str(LAB_CONFIGURATION),
            "NEXUS_ACCOUNT": admission.account,
            "NEXUS_HOLD_ID": admission.hold_id,
            "NEXUS_IMAGE": admission.image,
            "NEXUS_LAB_TOKEN": self.service.lab_token(admission.hold_id),
            "NEXUS_LAB_URL": self.service.lab_url,
            "NEXUS_NOTEBOOKS": self.notebooks,
            "NEXUS_REFERENCES_URL": self.references,
            "NEXUS_STORE_URL": store,
            "NEXUS_ACCOUNT_STORE_URL": f"{store}/accounts/{admission.account}",
            "NEXUS_SCRATCH": ":".join(str(folder) for folder in self.folders.scratch(admission)),
            "NEXUS_TEAM_FOLDER": str(self.folders.teams / admission.team) if admission.team else "",
            "NEXUS_TEAMS": ":".join(str(self.folders.teams / team) for team in admission.teams),
            # Thread pools would otherwise size themselves by the machine, not by what was reserved.
            "OMP_NUM_THREADS": str(max(1, int(admission.cpu))),
            "NUMBA_NUM_THREADS": str(max(1, int(admission.cpu))),
        }

    def require_admission(self) -> Admission:
        if self.admission is None:
            raise RuntimeError("a server is started without an admission")
        return self.admission

    async def start(self) -> Any:
        address = await super().start()
        # Not the kernel's figure, which is up to a second off the clock that stops are read from.
        started = datetime.now(UTC)
        self.process_began = began_at(self.pid)
        self.tell_started(started, self.pid)
        watch_end(self.pid, self.note_end)
        self.keep_state()
        return address

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self.process_began is not None:
            state["process_began"] = self.process_began.isoformat()
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        began = state.get("process_began")
        self.process_began = datetime.fromisoformat(began) if began else None
        if self.hold_id is not None and self.controllers is not None:
            name = group_name(self.user.name, self.hold_id)
            self.group = confinement.group_called(self.controllers, name)

    def clear_state(self) -> None:
        super().clear_state()
        self.process_began = None

    # -- watching and stopping

    async def poll(self) -> int | None:
        """Return None while the server lives, else its exit status (negative: signal), 0 if nobody saw it."""
        self.end_overdue_lease()
        if self.proc is not None:
            status: int | None = self.proc.poll()
            if status is not None:
                self.note_exit(status)
            return status
        if not (self.pid and self.process_began and is_alive(self.pid, self.process_began)):
            return 0
        if not self.watched:
            # Taken over from an earlier hub.
            self.watched = True
            watch_end(self.pid, self.note_end)
        return None

    def note_end(self) -> None:
        """Keep the moment the process ended, and act at once if it ended by itself."""
        self.ended_at = datetime.now(UTC)
        if self.alive_at_stop is None:
            self._in_background(self.poll_and_notify() if self.ready else self.give_back())

    async def give_back(self) -> None:
        """Settle a server that died before it answered: the hub goes on waiting for it for a while."""
        await self.poll()
        await self.settle()

    def note_exit(self, status: int) -> None:
        self.exit_signal = -status if status < 0 else None
        self.exit_code = status if status >= 0 else None

    async def stop(self, now: bool = False) -> None:
        # The hub calls this only for a server it has just seen alive.
        self.alive_at_stop = True
        if self._waiting_for_response:
            await self.announce_stop("start-failed", "hub")
        await super().stop(now=now)

    async def settle(self) -> None:
        killed = self.exit_signal == SIGKILL and not self.alive_at_stop
        if killed and self.group is not None and self.group.out_of_memory_kills():
            await self.announce_stop("out-of-memory", "kernel")
        await super().settle()
        self.remove_group()
        if self.hold_id is not None:
            self.folders.clear(self.hold_id)

    def remove_group(self) -> None:
        if self.group is not None:
            try:
                self.group.remove()
            except OSError as error:
                self.log.info("Control group of %s is still in use: %s", self._log_name, error)
            self.group = None


def gpus_here() -> int:
    """Return how many GPUs this machine has, by NVIDIA's device files."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def group_name(person: str, hold_id: str) -> str:
    """Return a name that no server of another Nexus on this machine has."""
    return f"{person}-{hold_id[:8]}"
