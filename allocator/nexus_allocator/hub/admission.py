"""What every spawner of the Nexus does around a server: ask, tell when it started, settle when it stopped.

A mixin, to stand before LocalProcessSpawner on one machine and before KubeSpawner in a cluster.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import object_session
from traitlets import Instance, default
from traitlets.config import LoggingConfigurable

from nexus_allocator.domain.leases import Lease, LeaseRefused
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.hub.launch_form import render_form, render_offline_form
from nexus_allocator.hub.offline import AWAY, OfflineBook
from nexus_allocator.hub.options import read_form, read_options
from nexus_allocator.hub.refusals import OUT_OF_ORDER, refusal, refusal_from
from nexus_allocator.hub.service import Admission, AllocationService, Refused, ServiceUnavailable

LEASE_OVER = "planned-hours"
NO_LAUNCH_BY_LINK = "A link cannot start a server: check the choices below and press Start server."


if TYPE_CHECKING:
    Server: Any = None
else:
    # Not Spawner itself, whose every subclass must say how to start, poll and stop.
    Server = LoggingConfigurable


class AdmittedServer(Server):  # type: ignore[misc]
    """State kept by the hub for each server: ``hold_id`` and ``process_started_at`` (UTC, ISO 8601).

    ``exit_signal``, ``exit_code``, ``alive_at_stop`` and ``ended_at`` (only when seen) are the spawner's to
    fill in. ``last_stop`` outlives the server: a stop the service missed can be read from the hub later.
    """

    service = Instance(AllocationService, config=True)

    admission: Admission | None = None
    hold_id: str | None = None
    process_started_at: datetime | None = None
    exit_signal: int | None = None
    exit_code: int | None = None
    alive_at_stop: bool | None = None
    ended_at: datetime | None = None
    last_stop: dict[str, Any] | None = None
    refused_options: dict[str, Any] | None = None
    stop_told: str | None = None
    # The hub forgets whose request it was before it shows why that was refused.
    last_asked_by: str | None = None
    offline: OfflineBook
    background: set[asyncio.Task[None]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.background = set()
        self.offline = OfflineBook()

    # -- the launch page

    @default("options_form")
    def _default_options_form(self) -> Any:
        return type(self).render_launch_form

    async def render_launch_form(self) -> str:
        """Return the form for this person, fresh from the service; an outage is told in its place."""
        try:
            visitor = asked_by(self.handler) or self.last_asked_by or self.user.name
            model = await self.service.launch_model(self.user.name, asked_by=visitor)
        except (Refused, ServiceUnavailable) as error:
            self.log.warning("No launch page for %s: %s", self.user.name, error)
            model = None
        chosen = self.refused_options or self.orm_spawner.user_options or {}
        if model is None and self.offline.offer is not None:
            return render_offline_form(self.offline.offer, chosen)
        if model is not None:
            self.offline.heard(model.get("offline"))
            self.keep_state()
        return render_form(model, chosen)

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return read_form

    def options_from_query(self, query_data: dict[str, list[str]]) -> dict[str, Any]:
        """Starting costs credits, so it takes a form with an XSRF token, never a mere link."""
        raise refused_link()

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Any:
        # The hub warns of options that nobody applies; ours are judged and applied by admission.
        return lambda spawner, options: None

    # -- asking

    @default("pre_spawn_hook")
    def _default_pre_spawn_hook(self) -> Any:
        return type(self).ask_admission

    async def ask_admission(self) -> None:
        """Place the hold that pays for this server, or raise the refusal."""
        self.last_asked_by = visitor = asked_by(self.handler)
        try:
            options = read_options(self.user_options)
            admission = await self.service.admit(self.user.name, self.name, options, started_by=visitor)
        except ValueError as error:
            raise self._refused(refusal(self.handler, 422, str(error))) from error
        except Refused as error:
            self.log.info("Refused %s: %s", self._log_name, error.code)
            raise self._refused(refusal_from(self.handler, error)) from error
        except ServiceUnavailable as error:
            admission = self.take_lease(options, error)
        self.refused_options = None
        self.admission = admission
        self.hold_id = admission.hold_id
        self.cpu_guarantee = self.cpu_limit = admission.cpu
        self.mem_guarantee = self.mem_limit = admission.memory_bytes
        self.apply_admission(admission)
        # Kept before the process exists, so that a hub killed in between still knows what to settle.
        self.keep_state()

    def take_lease(self, options: dict[str, Any], outage: ServiceUnavailable) -> Admission:
        """Return an admission under an offline lease, or raise the refusal; both are kept and counted."""
        self.log.warning("No answer about %s: %s", self._log_name, outage)
        try:
            now = datetime.now(UTC)
            lease = self.offline.grant(options, self.leases_elsewhere(), server_name=self.name, now=now)
        except LeaseRefused as error:
            self.keep_state()
            self.log.info("Refused %s while the service is away: %s", self._log_name, error)
            told = AWAY.format(why=error) if self.offline.offer else OUT_OF_ORDER
            raise self._refused(refusal(self.handler, 503, told)) from error
        self.log.warning("Offline lease %s for %s until %s", lease.id, self._log_name, lease.until)
        return self.offline.admission(lease)

    def leases_elsewhere(self) -> list[Lease]:
        """Return the leases in the states of the person's other servers."""
        others = {name: orm for name, orm in self.user.orm_user.orm_spawners.items() if name != self.name}
        books = [OfflineBook.from_state((orm.state or {}).get("offline")) for orm in others.values()]
        return [lease for book in books for lease in book.leases]

    def keep_state(self) -> None:
        """Write the state now: what the hub's one session holds unwritten, anybody's next answer takes back.

        That would also forget all that the hub has read of everybody, to be read again one by one.
        """
        state = self.get_state()
        if self.orm_spawner.state != state:
            self.orm_spawner.state = state
            write_now(self.orm_spawner)

    def _refused(self, error: Exception) -> Exception:
        """Keep the refused choices for the next form only: the hub stored them for every later launch."""
        self.refused_options = dict(self.user_options)
        self.orm_spawner.user_options = None
        write_now(self.orm_spawner)
        return error

    def apply_admission(self, admission: Admission) -> None:
        """Turn the resolved image, ids and environment into this spawner's own settings."""
        raise NotImplementedError

    # -- telling

    def tell_started(self, process_started_at: datetime, pid: int) -> None:
        """Report the start without holding it up: the metering sees the server in the hub's list, too."""
        self.process_started_at = process_started_at
        if self.hold_id is not None:
            self.offline.has_started(self.hold_id, process_started_at)
            self._in_background(self.service.started(self.hold_id, process_started_at, pid))

    def _in_background(self, call: Coroutine[Any, Any, Any]) -> None:
        async def attempt() -> None:
            try:
                await call
            except (Refused, ServiceUnavailable) as error:
                self.log.warning("Not told to the allocation service (%s): %s", self._log_name, error)

        task = asyncio.ensure_future(attempt())
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    @default("post_stop_hook")
    def _default_post_stop_hook(self) -> Any:
        return type(self).settle

    async def settle(self) -> None:
        """Settle the hold, if there is one; the hub runs this after a refusal, too.

        When the service is away, its own reconciliation settles later from the hub's list of servers.
        """
        if self.hold_id is None:
            return
        if self.alive_at_stop is None and self.process_started_at is not None:
            # Nobody called stop: the process was found gone.
            self.alive_at_stop = False
        started_at = self.process_started_at
        evidence = {
            # The news of its start may have been lost.
            "process_started_at": started_at.isoformat() if started_at else None,
            "stopped_at": self.ended_at.isoformat() if self.ended_at else None,
            "alive_at_stop": self.alive_at_stop,
            "exit_signal": self.exit_signal,
            "exit_code": self.exit_code,
        }
        self.last_stop = {"hold_id": self.hold_id, **evidence}
        self.offline.has_ended(
            self.hold_id,
            Evidence(self.ended_at, self.alive_at_stop, self.exit_signal, self.exit_code),
            started=started_at,
            reason=self.stop_told,
        )
        try:
            await self.service.stopped(self.hold_id, evidence)
        except (Refused, ServiceUnavailable) as error:
            self.log.warning("Not settled now (%s, hold %s): %s", self._log_name, self.hold_id, error)

    async def announce_stop(self, reason: str, actor: str) -> None:
        self.stop_told = reason
        try:
            await self.service.announce_stop(self.user.name, self.name, reason=reason, actor=actor)
        except (Refused, ServiceUnavailable) as error:
            self.log.warning("Reason %s not recorded for %s: %s", reason, self._log_name, error)

    def end_overdue_lease(self) -> None:
        """Stop a server whose offline lease is over: while the service is away nobody else would."""
        lease = self.offline.lease_of(self.hold_id)
        if lease is not None and self.ready and datetime.now(UTC) >= lease.until and self.stop_told is None:
            self.stop_told = LEASE_OVER
            self._in_background(self.end_lease())

    async def end_lease(self) -> None:
        await self.announce_stop(LEASE_OVER, "hub")
        await self.stop()
        # As for a server that ended by itself: the hub clears up after it and settles.
        await self.poll_and_notify()

    # -- what the hub keeps

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self.hold_id is not None:
            state["hold_id"] = self.hold_id
        if self.process_started_at is not None:
            state["process_started_at"] = self.process_started_at.isoformat()
        if self.last_stop is not None:
            state["last_stop"] = self.last_stop
        if (offline := self.offline.as_state()) is not None:
            state["offline"] = offline
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.hold_id = state.get("hold_id")
        self.last_stop = state.get("last_stop")
        self.offline = OfflineBook.from_state(state.get("offline"))
        started = state.get("process_started_at")
        self.process_started_at = datetime.fromisoformat(started) if started else None

    def clear_state(self) -> None:
        super().clear_state()
        self.hold_id = self.process_started_at = self.admission = self.stop_told = None
        self.exit_signal = self.exit_code = self.alive_at_stop = self.ended_at = None

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Say what is happening while a server starts."""
        yield {"progress": 10, "message": "Asking the allocation service"}
        while self.admission is None:
            await asyncio.sleep(0.2)
        yield {
            "progress": 40,
            "message": f"Credits set aside on {self.admission.account}; starting the server",
        }
        while self.process_started_at is None:
            await asyncio.sleep(0.2)
        yield {"progress": 60, "message": "Server started; waiting for JupyterLab to answer"}


def write_now(row: Any) -> None:
    """Commit the hub's session, to which the row belongs; the spawner's own handle on it is deprecated."""
    if (session := object_session(row)) is not None:
        session.commit()


def asked_by(handler: Any) -> str | None:
    """Return the hub's name of the person whose request it is, None for a service and for the hub itself."""
    visitor: Any = getattr(handler, "current_user", None)
    return visitor.name if getattr(visitor, "kind", None) == "user" else None


def refused_link() -> Exception:
    error = ValueError(NO_LAUNCH_BY_LINK)
    error.jupyterhub_message = NO_LAUNCH_BY_LINK  # type: ignore[attr-defined]
    return error
