"""A volume with places on it, the rules of purges and the daily job over them; its methods are sentences."""

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from tests.support.allocator import World
from tests.support.purging import KEY, nobody_has_any_open

from nexus_allocator.clients.files.directory import DirectoryVolume
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.domain.places import QUARANTINE, Owner, Place, PlaceKind
from nexus_allocator.domain.purges import PurgeState
from nexus_allocator.policy import load_policy
from nexus_allocator.services import delivery, purge_turns, purges
from nexus_allocator.services.purge_calls import PurgeCarrier
from nexus_allocator.services.purge_work import PurgeWork

SCRATCH, STARS = Place(PlaceKind.SCRATCH, "astronomer"), Place(PlaceKind.SCRATCH, "stars")


class Shelf:
    """An object store in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, key: str, body: BinaryIO, *, size_bytes: int, sha256: str) -> None:
        self.kept[key] = body.read()
        assert (len(self.kept[key]), hashlib.sha256(self.kept[key]).hexdigest()) == (size_bytes, sha256)

    def holds(self, key: str, *, size_bytes: int, sha256: str) -> bool:
        found = self.kept.get(key)
        return found is not None and hashlib.sha256(found).hexdigest() == sha256

    def get(self, key: str) -> Iterator[bytes]:
        return iter([self.kept[key]])

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


@dataclass
class Store:
    """A volume with these places, and the daily job over it; one rule may be on."""

    folder: Path
    world: World
    is_on: bool = True
    is_cold: bool = False
    objects: Shelf | None = None
    rule: str = "scratch"
    places: tuple[Place, ...] = (SCRATCH, STARS)
    days: dict[str, int] = field(default_factory=dict)
    """Of the rule, in place of the policy file's."""

    def __post_init__(self) -> None:
        self.world.clock.at = datetime.now(UTC) + timedelta(days=100)
        self.root = self.folder / "volume"
        self.root.mkdir()
        self.volume = DirectoryVolume(self.root)
        self.volume.prepare()
        for place in self.places:
            self.volume.create(place, Owner(os.geteuid(), os.getegid(), 0o750))

    @property
    def work(self) -> PurgeWork:
        def switched(document: object) -> object:
            assert isinstance(document, dict)
            for rule in document["purges"]:
                if rule["slug"] == self.rule:
                    rule |= {"enabled": self.is_on, "cold": self.is_cold, **self.days}
            return document

        return PurgeWork(
            self.world.database, self.volume, self.root, self.folder / "records", KEY,
            load_policy(change=switched), nobody_has_any_open, self.objects,
        )  # fmt: skip

    def write(self, *names: str, place: Place = SCRATCH) -> None:
        for name in names:
            path = self.volume.path(place) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())

    def files(self, place: Place = SCRATCH) -> set[str]:
        top = self.volume.path(place)
        found = (path.relative_to(top) for path in top.rglob("*") if path.is_file())
        return {path.as_posix() for path in found if path.parts[0] != QUARANTINE}

    def days_pass(self, days: int) -> list[purge_turns.Turned]:
        done = []
        for _ in range(days):
            self.world.clock.forward(days=1)
            done += list(purge_turns.turn(self.work, now=self.world.clock()))
        return done

    def jobs(self) -> delivery.Delivered:
        carrier = PurgeCarrier(self.work, self.world.clock)
        rng = random.Random(1)  # noqa: S311 - spreads attempts, hides nothing
        return delivery.deliver(
            self.world.database, {Channel.PURGES: carrier}, clock=self.world.clock, rng=rng
        )

    def plans(self, hub_name: str = "astronomer") -> list[purges.PurgeRow]:
        with self.world.database.reading_scope() as session:
            return purges.of_person(session, hub_name=hub_name)

    def page(self, plan: UUID, under: str = "", *, hub_name: str = "astronomer") -> purges.PlanPage:
        with self.world.database.reading_scope() as session:
            return purges.plan_page(
                session, plan, under=under, hub_name=hub_name, records=self.folder / "records",
                policy=self.world.policy,
            )  # fmt: skip

    def asks_back(self, plan: UUID, under: str = "", *, by: str = "astronomer") -> None:
        with self.world.database.session_scope() as session:
            purges.ask_restore(session, plan, under=under, hub_name=by, now=self.world.clock())

    def in_quarantine_or_cold(self) -> UUID:
        """Two folders of files and one file at the top, taken today; return the plan."""
        self.write("runs/one", "runs/two", "runs/deep/three", "a b/four", "five")
        self.days_pass(16)
        (plan,) = self.plans()
        return plan.id

    def in_quarantine(self) -> UUID:
        plan = self.in_quarantine_or_cold()
        assert self.plans()[0].state is PurgeState.QUARANTINED
        return plan
