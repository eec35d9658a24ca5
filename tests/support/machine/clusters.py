"""Dask clusters of the member: held for at their largest, charged by their workers, swept by the gateway."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.support.allocator import GRACE_MINUTES, TERMS
from tests.support.machine.ground import Charged
from tests.support.machine.workshop import Workshop

from nexus_allocator.domain.clusters import ClusterShape
from nexus_allocator.domain.credits import charge_micro, hold_micro
from nexus_allocator.domain.errors import QuotaExceeded, ShareExceeded, Suspended, UnknownAccount
from nexus_allocator.domain.policy import GIB
from nexus_allocator.domain.states import LIVE
from nexus_allocator.services import clusters
from nexus_allocator.services.clusters import ClusterLaunch, ClusterReport, ClusterState

# A scheduler of one core and 2 GiB, workers of two cores and 4 GiB, by the first rate card.
SCHEDULER_MICRO, WORKER_MICRO = 62_500, 125_000


@dataclass
class Cluster:
    """What the gateway knows of one cluster; ``workers`` is None before it has been shown."""

    hold_id: UUID
    most: int
    workers: int | None = None
    # The report before: when, and how many workers then.
    reported: tuple[datetime, int] | None = None
    due_micro: float = 0.0
    seen_s: float = 0.0
    unreported_s: float = 0.0
    ended: ClusterState | None = field(default=None)

    @property
    def whole_micro(self) -> int:
        return SCHEDULER_MICRO + self.most * WORKER_MICRO

    def report(self, now: datetime) -> None:
        """Count the time since the report before, with the workers that were there at both of its ends."""
        assert self.workers is not None
        before, had = self.reported or (now, 0)
        seconds = max(0.0, (now - before).total_seconds())
        there = min(had, self.workers, self.most)
        self.due_micro += seconds * (SCHEDULER_MICRO + there * WORKER_MICRO) / 3600
        self.seen_s += seconds
        self.unreported_s = max(self.unreported_s, seconds)
        self.reported = max(now, before), self.workers


class Clusters(Workshop):
    """The gateway tells its whole list now and then, and stops what it is answered to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.clusters: list[Cluster] = []
        self.known: list[Cluster] = []

    @rule(
        workers=st.integers(1, 4),
        hours=st.integers(1, 8).map(lambda steps: steps / 4),
        shown=st.sampled_from([None, 0, 3]),
    )
    def launch_a_cluster(self, workers: int, hours: float, shown: int | None) -> None:
        available = self.world.figures(self.account).available
        whole = SCHEDULER_MICRO + workers * WORKER_MICRO
        needed = hold_micro(whole, round(hours * 3600) + GRACE_MINUTES * 60)
        room = self.room(self.name, available, {})
        refusal: type[Exception] | None = None
        if self.is_suspended or not self.is_member:
            refusal = Suspended if self.is_suspended else UnknownAccount
        elif needed > min(room, available):
            refusal = QuotaExceeded if needed > available else ShareExceeded
        if refusal is not None:
            with pytest.raises(refusal):
                self.admit(workers, hours)
            return
        made = self.admit(workers, hours)
        assert made.amount_micro == needed, "held for the cluster at its largest"
        self.clusters.append(Cluster(made.hold_id, workers, shown))
        self.known.append(self.clusters[-1])
        self.charged.append(Charged(made.hold_id, self.name, self.group_of(self.name)))

    def admit(self, workers: int, hours: float) -> clusters.ClusterAdmission:
        shape = ClusterShape(workers, 2, 4 * GIB, 1, 2 * GIB)
        with self.database.session_scope() as session:
            return clusters.admit(
                session, ClusterLaunch(self.name, self.account, hours, shape), policy=self.world.policy,
                grace_minutes=GRACE_MINUTES, now=self.clock(),
            )  # fmt: skip

    @precondition(lambda self: self.clusters)
    @rule(data=st.data(), workers=st.integers(0, 5))
    def workers_come_and_go(self, data: st.DataObject, workers: int) -> None:
        data.draw(st.sampled_from(self.clusters)).workers = workers

    @precondition(lambda self: self.clusters)
    @rule(data=st.data(), how=st.sampled_from([ClusterState.STOPPED, ClusterState.FAILED, None]))
    def a_cluster_ends(self, data: st.DataObject, how: ClusterState | None) -> None:
        """The gateway says so with its next report, or has forgotten it by then."""
        cluster = data.draw(st.sampled_from(self.clusters))
        cluster.ended = how
        if how is None or cluster.workers is None:
            self.clusters.remove(cluster)

    @precondition(lambda self: self.known)
    @rule(after_s=st.sampled_from([0, 15, 900]))
    def the_gateway_reports(self, after_s: int) -> None:
        self.clock.forward(seconds=after_s)
        self.passed()
        shown = [cluster for cluster in self.clusters if cluster.workers is not None]
        open_before = {each.hold_id for each in shown if self.world.hold(each.hold_id).state in LIVE}
        to_stop = clusters.report(
            self.database,
            [
                ClusterReport(each.hold_id, "c", each.ended or ClusterState.RUNNING, each.workers or 0)
                for each in shown
            ],
            terms=TERMS,
            now=self.clock(),
        )
        for each in shown:
            if each.ended is not None:
                assert self.world.hold(each.hold_id).state not in LIVE
                self.clusters.remove(each)
                continue
            if each.hold_id in open_before:
                each.report(self.clock())
            self.answered(each, asked=each.hold_id in to_stop)

    def answered(self, cluster: Cluster, *, asked: bool) -> None:
        """Whatever has no claim to run any more is stopped by the gateway, which tells so the next time."""
        hold = self.world.hold(cluster.hold_id)
        assert asked or hold.state in LIVE, "what lives without an open hold is swept"
        assert asked or self.clock() < hold.until, "and what outlives it"
        assert asked or not self.is_suspended, "no cluster of a suspended person lives on"
        if asked:
            cluster.ended = ClusterState.STOPPED

    def most_beyond(self, hold_id: UUID) -> int:
        for cluster in self.known:
            if cluster.hold_id == hold_id:
                return charge_micro(cluster.whole_micro, cluster.unreported_s) + 1
        return super().most_beyond(hold_id)

    @invariant()
    def clusters_cost_what_their_workers_did_between_two_reports(self) -> None:
        for cluster in self.known:
            hold = self.world.hold(cluster.hold_id)
            assert 0 <= hold.posted_micro <= hold.usage_micro
            # Rounded down, by less than a micro-credit and a millisecond of the whole cluster.
            assert cluster.due_micro - 2 <= hold.usage_micro <= cluster.due_micro + 1e-3
            assert hold.usage_micro <= charge_micro(cluster.whole_micro, cluster.seen_s) + 1
