"""The work of purges on a mounted volume: each act there, followed into the database.

For the command line, its CronJobs and the carrier of files, which have the volume; no request waits for it.
The signed log on disk comes first and the rows after it: who is killed in between finds them brought up to
date by the next act on the plan, or by the next `follow`.
"""

import heapq
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.files import handles, origins, plans, purging
from nexus_allocator.clients.files.chilling import Cold
from nexus_allocator.clients.files.open_files import open_inodes
from nexus_allocator.clients.files.purge_run import LOG, PLAN, Exemptions, Ground, Outcome
from nexus_allocator.clients.files.purge_state import Standing, State
from nexus_allocator.clients.files.signed_log import SignedLog
from nexus_allocator.clients.files.volumes import Volume, with_room
from nexus_allocator.clients.objects.bucket import Objects
from nexus_allocator.domain.errors import NoObjectStore, PlaceNotEnded, PurgeRuleOff, UnknownPlan
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.policy import END_OF, Policy, PurgeRule
from nexus_allocator.domain.purges import (
    PURGES_CLOSED,
    Identity,
    Parts,
    Phase,
    PurgeState,
    is_unused,
    readable,
    shown_state,
    under_pressure,
)
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.domain.remaking import keep_micro_a_year, recipe, remake_micro
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.services import place_ends, storage
from nexus_allocator.services.delivery import Scopes
from nexus_allocator.services.records import By, record
from nexus_allocator.store import purges
from nexus_allocator.store.purge_tables import Purge

GB = 10**9
MOST_NAMED = 10
RECIPE, COSTS = "recipe.sh", "remaking.json"
# A person who asks is logged so, by an id that says nothing of them to others.
PERSON = "person"


@dataclass(frozen=True)
class PurgeWork:
    """What the work is given: the database, the volume mounted at ``root``, plans' records and their key."""

    scopes: Scopes
    volume: Volume
    root: Path
    records: Path
    key: bytes = field(repr=False)
    policy: Policy
    open_inodes: Callable[[int], frozenset[int]] = open_inodes
    objects: Objects | None = None
    """Where what a rule keeps cold goes; None where there is no object store."""

    def cold(self, plan_id: str, place: Place) -> Cold | None:
        """Return where a plan's cold files are, below the prefix of its place's account."""
        if self.objects is None:
            return None
        with self.scopes.reading_scope() as session:
            return Cold(self.objects, f"{storage.account_slug(session, place)}/cold/{plan_id}")

    def ground(self, place: Place) -> Ground:
        return Ground(self.volume.path(place), self.records, self.key, self.open_inodes)


@dataclass
class Found:
    """What a rule picks of a place: how many files and bytes, and the largest, largest first."""

    files: int = 0
    size_bytes: int = 0
    _heap: list[tuple[int, Parts]] = field(default_factory=list)

    def add(self, path: Parts, size_bytes: int) -> None:
        self.files, self.size_bytes = self.files + 1, self.size_bytes + size_bytes
        heapq.heappush(self._heap, (size_bytes, path))
        if len(self._heap) > MOST_NAMED:
            heapq.heappop(self._heap)

    @property
    def largest(self) -> list[tuple[int, Parts]]:
        return sorted(self._heap, reverse=True)


def rehearse(work: PurgeWork, rule: PurgeRule, place: Place, *, now: datetime) -> Found:
    """Return what the rule would take of the place; nothing is written."""
    found, exempt = Found(), _exempt(work, place, now)
    if not has_ended(work, rule, place, now=now):
        return found
    choose = _choosing(work, rule, place, found, exempt=exempt, now=now)
    purging.rehearse(work.ground(place), choose=choose, owners=None, exempt=exempt, now=now)
    return found


def plan(work: PurgeWork, rule: PurgeRule, place: Place, *, now: datetime) -> tuple[str, Found]:
    """Keep what the rule takes of the place as a plan, and return its id.

    Raises PurgeRuleOff, and PlaceNotEnded where the rule waits for an end that has not come.
    """
    if not rule.enabled:
        raise PurgeRuleOff(rule=rule.slug)
    _require_ended(work, rule, place, now=now)
    found, plan_id, exempt = Found(), uuid.uuid4().hex, _exempt(work, place, now)
    choose = _choosing(work, rule, place, found, exempt=exempt, now=now)
    head = plans.Head(plan_id, str(place), str(rule), rule.terms)
    purging.draft(work.ground(place), head, choose=choose, owners=None, exempt=exempt, now=now)
    _write_origins(work, plan_id)
    follow(work, plan_id, rule=rule.slug, now=now)
    return plan_id, found


def _write_origins(work: PurgeWork, plan_id: str) -> None:
    """Write beside the plan what can be made again, at which cost, and the recipe that does it."""
    head, folder = head_of(work, plan_id), work.records / plan_id
    costs, made = {}, []
    with handles.opened(work.volume.path(Place.named(head.place))) as place:
        for file, origin in origins.of_files(place, plans.Plan(folder / PLAN, head).files()):
            costs[str(file.number)] = [remake_micro(origin, work.policy), file.identity.size_bytes]
            made.append((file.path, origin))
    if made:
        (folder / RECIPE).write_text(recipe(made, place=head.place))
        (folder / COSTS).write_text(json.dumps(costs))


def announce(work: PurgeWork, plan_id: str, *, now: datetime) -> list[str]:
    """Tell the place's people of the plan and of its largest files; the grace begins. Return their names."""
    head = head_of(work, plan_id)
    place = Place.named(head.place)
    standing = purging.standing(work.ground(place), plan_id)
    standing.require(Phase.PLANNED)
    found = Found()
    for file in plans.Plan(work.records / plan_id / PLAN, head).files():
        found.add(file.path, file.identity.size_bytes)
    told = _tell(work, head, NoticeKind.PURGE_PLANNED, (found.files, found.size_bytes), now=now, found=found)
    purging.notice(work.ground(place), plan_id, told=told, now=now)
    follow(work, plan_id, now=now)
    return told


def look(work: PurgeWork, plan_id: str, *, now: datetime) -> Purge:
    """Look at the clock for a plan: a wait passes only as it is seen to."""
    purging.look(work.ground(place_of(work, plan_id)), plan_id, now=now)
    return follow(work, plan_id, now=now)


def take(work: PurgeWork, plan_id: str, *, now: datetime) -> Outcome:
    """Move the plan's files into quarantine; pauses while somebody who may write there has a live server.

    Raises PlaceNotEnded where the plan's rule waits for an end that has been taken away.
    """
    place, rule = place_of(work, plan_id), rule_of(work, plan_id)
    _require_ended(work, rule, place, now=now)

    def is_busy() -> bool:
        with work.scopes.reading_scope() as session:
            busy = storage.is_busy(session, place)
        return busy or not has_ended(work, rule, place, now=now)

    exempt = _exempt(work, place, now)
    with _followed(work, plan_id, now=now) as ground:
        done = purging.take(ground, plan_id, exempt=exempt, now=now, busy=is_busy)
    if done.done:
        kind = NoticeKind.FILES_IN_QUARANTINE
        _tell(work, head_of(work, plan_id), kind, (done.done, done.done_bytes), now=now)
    return done


def restore(work: PurgeWork, plan_id: str, *, under: Parts, by: By, now: datetime) -> Outcome:
    """Put back what waits in quarantine at or below ``under``, and tell its people."""
    who = f"{PERSON} {by}" if isinstance(by, UUID) else by
    with _followed(work, plan_id, now=now) as ground:
        cold = work.cold(plan_id, place_of(work, plan_id))
        done = purging.restore(ground, plan_id, under=under, by=who, now=now, cold=cold)
    if done.done:
        head, stuck = head_of(work, plan_id), len(done.left)
        kind = NoticeKind.FILES_RESTORED
        once = f"{plan_id}/{storage.encoded(under)}/{now.isoformat()}"
        _tell(work, head, kind, (done.done, done.done_bytes), now=now, stuck=stuck, once=once)
    return done


def delete(work: PurgeWork, plan_id: str, *, now: datetime) -> Outcome:
    """Delete for good what still waits, once its window has passed. Raises PlaceNotEnded as `take` does."""
    place = place_of(work, plan_id)
    _require_ended(work, rule_of(work, plan_id), place, now=now)
    exempt = _exempt(work, place, now)
    with _followed(work, plan_id, now=now) as ground:
        return purging.delete(ground, plan_id, exempt=exempt, now=now)


def chill(work: PurgeWork, plan_id: str, *, now: datetime) -> Outcome:
    """Move what waits in quarantine to the object store, from where `restore` brings it back.

    Raises NoObjectStore, and PlaceNotEnded as `take` does.
    """
    place = place_of(work, plan_id)
    _require_ended(work, rule_of(work, plan_id), place, now=now)
    cold, exempt = work.cold(plan_id, place), _exempt(work, place, now)
    if cold is None:
        raise NoObjectStore()
    with _followed(work, plan_id, now=now) as ground:
        return purging.chill(ground, plan_id, cold=cold, exempt=exempt, now=now)


def cancel(work: PurgeWork, plan_id: str, *, reason: str, now: datetime) -> None:
    """End a plan of which nothing was taken yet."""
    purging.cancel(work.ground(place_of(work, plan_id)), plan_id, reason=reason, now=now)
    follow(work, plan_id, now=now)


def call_off(work: PurgeWork, row: Purge, *, now: datetime) -> None:
    """End the plan of a place that is in use again, and tell who was warned."""
    cancel(work, row.id.hex, reason="the place is in use again", now=now)
    if row.state is PurgeState.ANNOUNCED:
        kind = NoticeKind.PURGE_CALLED_OFF
        _tell(work, head_of(work, row.id.hex), kind, (row.files, row.size_bytes), now=now)


def has_ended(work: PurgeWork, rule: PurgeRule | None, place: Place, *, now: datetime) -> bool:
    """Say whether the place's right ended as long ago as the rule asks, if it does."""
    if rule is None or rule.ended is None:
        return True
    with work.scopes.reading_scope() as session:
        return place_ends.has_ended(session, place, rule, policy=work.policy, now=now)


def rule_of(work: PurgeWork, plan_id: str) -> PurgeRule | None:
    """Return the rule that a plan is of, on or off; None when the policy has it no longer."""
    with work.scopes.reading_scope() as session:
        row = purges.by_id(session, UUID(plan_id))
    return next((rule for rule in work.policy.purges if row is not None and rule.slug == row.rule), None)


def _require_ended(work: PurgeWork, rule: PurgeRule | None, place: Place, *, now: datetime) -> None:
    if rule is not None and rule.ended is not None and not has_ended(work, rule, place, now=now):
        end = END_OF[rule.kind]
        raise PlaceNotEnded(place=str(place), rule=rule.slug, days=rule.ended.days, end=end)


def follow(work: PurgeWork, plan_id: str, *, now: datetime, rule: str = "") -> Purge:
    """Bring the plan's rows up to date with its log, and return it.

    Raises UnknownPlan, and LogBroken when the log has lost what was kept of it here.
    """
    head, file = head_of(work, plan_id), work.records / plan_id / PLAN
    standing, log_head = purging.signed_standing(work.ground(Place.named(head.place)), plan_id)
    with work.scopes.session_scope() as session:
        row = purges.lock(session, UUID(plan_id))
        known = None if row is None else (row.state, _counts(row))
        if row is None:
            row = _begun(head, standing, log_head, rule=rule, now=now)
            _reckon(work, row)
            purges.add(session, row)
            sections = [_section(plan_id, section, standing) for section in plans.sections(file)]
            purges.add_folders(session, sections)
        elif row.log_head != log_head:
            SignedLog(work.records / plan_id / LOG, work.key).require_reaches(row.log_head)
        _bring_up(row, standing, head, log_head=log_head, now=now)
        if known is not None and known[1] != _counts(row):
            _bring_up_folders(session, row, standing)
        if known is None or known[0] is not row.state:
            record(session, Act.PURGE_MOVED, row.id, by=NEXUS, now=now, after=_facts_of(row))
    return row


def head_of(work: PurgeWork, plan_id: str) -> plans.Head:
    """Return what a plan says of itself. Raises UnknownPlan."""
    file = work.records / plan_id / PLAN
    if not plan_id.isalnum() or not file.is_file():
        raise UnknownPlan(plan=plan_id[:40])
    return plans.read_head(file)


def place_of(work: PurgeWork, plan_id: str) -> Place:
    return Place.named(head_of(work, plan_id).place)


@contextmanager
def _followed(work: PurgeWork, plan_id: str, *, now: datetime) -> Iterator[Ground]:
    """Yield the plan's ground with room to move files; follow what was done, whatever came of it."""
    place = place_of(work, plan_id)
    follow(work, plan_id, now=now)
    try:
        with with_room(work.volume, place):
            yield work.ground(place)
    finally:
        follow(work, plan_id, now=now)


def _choosing(
    work: PurgeWork, rule: PurgeRule, place: Place, found: Found, *, exempt: Exemptions, now: datetime
) -> purging.Choice:
    """Return what says of a file whether the rule takes it; what is taken is added to ``found``."""
    pressed = _pressed(work, rule, place, exempt=exempt, now=now)

    def choose(path: Parts, identity: Identity) -> bool:
        chosen = is_unused(identity, for_days=rule.unused_days, now=now)
        if chosen and pressed is not None:
            chosen = path in pressed
        if chosen:
            found.add(path, identity.size_bytes)
        return chosen

    return choose


def _pressed(
    work: PurgeWork, rule: PurgeRule, place: Place, *, exempt: Exemptions, now: datetime
) -> frozenset[Parts] | None:
    """Return what must go for the place to be no fuller than the rule says; None where it asks for all."""
    if rule.above_percent is None:
        return None
    usage = work.volume.usage(place)
    to_free = usage.charged_bytes - (usage.limit_bytes or 0) * rule.above_percent // 100
    if usage.limit_bytes is None or to_free <= 0:
        return frozenset()
    candidates: list[tuple[Parts, Identity]] = []

    def gather(path: Parts, identity: Identity) -> bool:
        if is_unused(identity, for_days=rule.unused_days, now=now):
            candidates.append((path, identity))
        return False

    purging.rehearse(work.ground(place), choose=gather, owners=None, exempt=exempt, now=now)
    listed = (plans.PlannedFile(0, path[:-1], path[-1], identity) for path, identity in candidates)
    with handles.opened(work.volume.path(place)) as top:
        remakable = frozenset(file.path for file, _ in origins.of_files(top, listed))
    chosen = under_pressure(candidates, to_free_bytes=to_free, now=now, remakable=remakable)
    return frozenset(path for path, _ in chosen)


def _exempt(work: PurgeWork, place: Place, now: datetime) -> Exemptions:
    with work.scopes.reading_scope() as session:
        return tuple(each for _, each in storage.exemptions(session, place, now=now))


def _tell(
    work: PurgeWork,
    head: plans.Head,
    kind: NoticeKind,
    amount: tuple[int, int],
    *,
    now: datetime,
    found: Found | None = None,
    stuck: int = 0,
    once: str | None = None,
) -> list[str]:
    """Tell the plan's people of so many files and bytes; return their names."""
    files, size_bytes = amount
    days = {"grace_days": head.terms.grace.days, "window_days": head.terms.window.days}
    named = [f"{size / GB:.3f} GB: {readable(path)}" for size, path in found.largest] if found else []
    largest = ["The largest of them:", *named] if named else []
    facts = {"files": files, "gb": size_bytes / GB, "rule": head.policy, "stuck": stuck, "largest": largest}
    rule = rule_of(work, head.plan_id)
    with work.scopes.session_scope() as session:
        return storage.notify(
            session, Place.named(head.place), kind, plan=head.plan_id, once=once or head.plan_id,
            facts={**facts, **days}, now=now, everybody=rule is not None and rule.ended is not None,
        )  # fmt: skip


def _begun(head: plans.Head, standing: Standing, log_head: str, *, rule: str, now: datetime) -> Purge:
    place = Place.named(head.place)
    return Purge(
        id=UUID(head.plan_id), place_kind=place.kind, place_name=place.name, rule=rule, policy=head.policy,
        grace_days=head.terms.grace.days, window_days=head.terms.window.days, state=PurgeState.PLANNED,
        files=standing.files, size_bytes=standing.size_bytes, waiting=0, restored=0, deleted=0, left=0,
        cold=0, digest=standing.digest, log_head=log_head, planned_at=now,
    )  # fmt: skip


def _reckon(work: PurgeWork, row: Purge) -> None:
    """Write what remaking and keeping cost into the plan's row."""
    costs = origin_costs(work.records, row.id)
    row.remakable, row.remake_micro = len(costs), sum(micro for micro, _ in costs.values())
    row.remakable_bytes = sum(size for _, size in costs.values())
    row.keep_micro_a_year = keep_micro_a_year(row.size_bytes, work.policy)


def origin_costs(records: Path, purge_id: UUID) -> dict[int, tuple[int, int]]:
    """Return by number the micro-credits to remake, and the bytes, of each file that can be made again."""
    file = records / purge_id.hex / COSTS
    found = json.loads(file.read_text()) if file.is_file() else {}
    return {int(number): (micro, size) for number, (micro, size) in found.items()}


def _section(plan_id: str, section: plans.Section, standing: Standing) -> dict[str, Any]:
    return {
        "purge_id": UUID(plan_id), "first": section.first, "path": storage.encoded(section.folder),
        "files": section.files, "size_bytes": section.size_bytes, "list_offset": section.offset,
        "fates": standing.fates(section.first, section.files),
    }  # fmt: skip


def _bring_up(row: Purge, standing: Standing, head: plans.Head, *, log_head: str, now: datetime) -> None:
    """Write where the plan stands into its row."""
    row.waiting = standing.count(State.WAITING) + standing.count(State.GOING)
    row.restored, row.deleted = standing.count(State.BACK), standing.count(State.DELETED)
    row.left, row.log_head = standing.count(State.LEFT), log_head
    row.cold = standing.count(State.STORED)
    row.state = shown_state(standing.phase, waiting=row.waiting, restored=row.restored, deleted=row.deleted)
    needed = {Phase.NOTICED: head.terms.grace, Phase.QUARANTINED: head.terms.window}.get(standing.phase)
    row.next_at = standing.wait.ends_at(needed) if standing.wait and needed else None
    if row.state is not PurgeState.PLANNED and row.announced_at is None:
        row.announced_at = now
    if standing.phase is Phase.QUARANTINED and row.quarantined_at is None:
        row.quarantined_at = now
    if row.state in PURGES_CLOSED and row.over_at is None:
        row.over_at = now


def _bring_up_folders(session: Session, row: Purge, standing: Standing) -> None:
    """Write what became of files into the rows of their folders."""
    changed = {}
    for each in purges.folders(session, row.id):
        fates = standing.fates(each.first, each.files)
        if fates != each.fates:
            changed[each.first] = fates
    purges.set_fates(session, row.id, changed)


def _counts(row: Purge) -> tuple[int, ...]:
    return row.waiting, row.restored, row.deleted, row.left, row.cold


def _facts_of(row: Purge) -> dict[str, Any]:
    names = ("files", "size_bytes", "waiting", "restored", "deleted", "left", "cold")
    place = str(Place(row.place_kind, row.place_name))
    counts = {name: getattr(row, name) for name in names}
    return {"place": place, "state": row.state, **counts, "log_head": row.log_head}
