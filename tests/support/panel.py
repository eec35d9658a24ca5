"""Sentences about the panel, over a world: rounds, reviewers, reviews, decisions."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from tests.support.allocator import World

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.panel import Opinion, Window
from nexus_allocator.services import decisions, offers, panel_lists, panels, requests, reviews, workbench
from nexus_allocator.services.workbench import Workbench
from nexus_allocator.store import panel as rows
from nexus_allocator.store.tables import TierRequest

CASE = "Shapes of galaxies over two thousand square degrees, with injected signals."


@dataclass
class PanelWorld:
    """A world with an administrator, and what people say in it."""

    world: World
    admin: UUID

    def round(self, label: str = "Spring", *, opens_in: float = 0, days: float = 30) -> UUID:
        opens_at = self.world.clock() + timedelta(days=opens_in)
        closes_at = opens_at + timedelta(days=days)
        window = Window(opens_at, closes_at, closes_at + timedelta(days=14))
        with self.world.database.session_scope() as session:
            plan = panels.RoundPlan(label, window, 9000 * MICRO)
            return panels.make_round(session, plan, by=self.admin, now=self.world.clock()).id

    def reviewers(self, *names: str) -> None:
        for name in names:
            self.world.astronomer(name)
            with self.world.database.session_scope() as session:
                panels.appoint(session, name, by=self.admin, now=self.world.clock())

    def ask(self, hub_name: str = "ann", **changes: object) -> UUID:
        wish = {"account": hub_name, "tier": "team", "justification": CASE, "team_label": "Shapes"}
        with self.world.database.session_scope() as session:
            ask = requests.Ask(**(wish | changes))  # type: ignore[arg-type]
            return requests.submit(
                session, ask, policy=self.world.policy, hub_name=hub_name, now=self.world.clock()
            ).id

    def opinion(self, score: int = 4, **said: str) -> Opinion:
        return Opinion({each.slug: score for each in self.world.policy.panel.criteria}, **said)

    def review(self, hub_name: str, request_id: UUID, score: int = 4, **said: str) -> None:
        with self.world.database.session_scope() as session:
            reviews.give(
                session, request_id, self.opinion(score, **said), hub_name=hub_name,
                policy=self.world.policy, now=self.world.clock(),
            )  # fmt: skip

    def declare(self, hub_name: str, request_id: UUID) -> None:
        with self.world.database.session_scope() as session:
            reviews.declare(
                session, request_id, hub_name=hub_name, reason="We share a grant.", now=self.world.clock()
            )

    def award(self, request_id: UUID, *, by: UUID | None = None, **changes: object) -> TierRequest:
        with self.world.database.session_scope() as session:
            return decisions.award(
                session, policy=self.world.policy, request_id=request_id, administrator_id=by or self.admin,
                award=decisions.Award(**changes), now=self.world.clock(),  # type: ignore[arg-type]
            )  # fmt: skip

    def send_back(self, request_id: UUID) -> None:
        with self.world.database.session_scope() as session:
            decisions.send_back(
                session, request_id=request_id, administrator_id=self.admin, reason="Which fields?",
                now=self.world.clock(),
            )  # fmt: skip

    def offer(self, request_id: UUID, credits: float = 1200, **changes: object) -> int:  # noqa: A002
        given = decisions.Award(round(credits * MICRO), **changes)  # type: ignore[arg-type]
        with self.world.database.session_scope() as session:
            return offers.make(
                session, policy=self.world.policy, request_id=request_id, administrator_id=self.admin,
                award=given, now=self.world.clock(),
            ).number  # fmt: skip

    def accepts(self, hub_name: str, request_id: UUID, number: int = 1) -> TierRequest:
        with self.world.database.session_scope() as session:
            return offers.accept(
                session, request_id, number, hub_name=hub_name, policy=self.world.policy,
                now=self.world.clock(),
            )  # fmt: skip

    def declines(self, hub_name: str, request_id: UUID, number: int = 1) -> TierRequest:
        with self.world.database.session_scope() as session:
            return offers.decline(
                session, request_id, number, hub_name=hub_name, reason="Too little for the survey.",
                now=self.world.clock(),
            )  # fmt: skip

    def bench(self, request_id: UUID, viewer: UUID) -> Workbench:
        with self.world.database.reading_scope() as session:
            found = workbench.workbench(
                session, request_id, viewer=viewer, policy=self.world.policy, now=self.world.clock()
            )
        assert found is not None
        return found

    def queue(self) -> panel_lists.Queue:
        with self.world.database.reading_scope() as session:
            return panel_lists.queue(session, viewer=self.admin, now=self.world.clock())

    def to_applicant(self, request_id: UUID) -> panel_lists.ForApplicant:
        with self.world.database.reading_scope() as session:
            return panel_lists.for_applicants(session, [request_id])[request_id]

    def round_of(self, request_id: UUID) -> UUID | None:
        with self.world.database.reading_scope() as session:
            case = rows.case(session, request_id)
        assert case is not None
        return case.round_id
