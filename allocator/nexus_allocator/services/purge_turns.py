"""What the clock owes to purges: dry runs, plans of rules that are on, and each plan's next step.

Once a day by a CronJob. A rule plans nothing in a place before a dry run of it there was reported a day ago,
and a rule that is off goes no further with what it planned; what waits can be had back all the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from nexus_allocator.clients.files.purge_run import Outcome
from nexus_allocator.clients.files.signed_log import LogBroken
from nexus_allocator.clients.files.volumes import places_on
from nexus_allocator.domain.errors import AllocatorError, UnknownPlace
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.policy import PurgeRule
from nexus_allocator.domain.purges import PURGES_IN_QUARANTINE, PurgeState
from nexus_allocator.services import purge_work, storage
from nexus_allocator.services.purge_work import PurgeWork
from nexus_allocator.store import purges
from nexus_allocator.store.purge_tables import Purge, PurgeReport

REPORTED_EVERY = timedelta(days=7)
REPORTED_BEFORE = timedelta(days=1)

CALL_OFF, PUT_BACK = "call off", "put back"


@dataclass(frozen=True)
class Turned:
    """One thing that was done, or would be; ``problem`` says why it could not be."""

    what: str
    place: Place
    files: int = 0
    size_bytes: int = 0
    plan_id: str | None = None
    problem: str | None = None


def owed(work: PurgeWork, *, now: datetime) -> Iterator[Turned]:
    """Yield what `turn` would do by what is known now; nothing is done, and no time is seen to pass."""
    for rule, place in _pairs(work):
        yield from _guarded(place, None, _would_begin(work, rule, place, now=now))
    for row in _open(work):
        yield from _guarded(_place(row), row.id.hex, _would_go_on(work, row, now=now))


def _would_begin(work: PurgeWork, rule: PurgeRule, place: Place, *, now: datetime) -> Iterator[Turned]:
    with work.scopes.reading_scope() as session:
        if purges.open_of_rule(session, place, rule.slug) is not None:
            return
        report = purges.report(session, rule.slug, place)
    if not purge_work.has_ended(work, rule, place, now=now):
        return
    if _is_stale(work, report, rule, place, now=now):
        yield Turned("dry run", place)
    elif report is not None and _may_plan(rule, report, now=now):
        yield Turned("plan and announce", place, report.files, report.size_bytes)


def _would_go_on(work: PurgeWork, row: Purge, *, now: datetime) -> Iterator[Turned]:
    step = _next_step(work, row, now=now)
    if step is not None:
        waiting = row.waiting if step in ("delete", PUT_BACK) else row.files
        yield Turned(step, _place(row), waiting, plan_id=row.id.hex)


def turn(work: PurgeWork, *, now: datetime) -> Iterator[Turned]:
    """Do what is due, and yield what was done; one plan's trouble stops no other."""
    with work.scopes.session_scope() as session:
        purges.forget_reports(session, [rule.slug for rule in work.policy.purges])
    for rule, place in _pairs(work):
        yield from _guarded(place, None, _begin(work, rule, place, now=now))
    for row in _open(work):
        yield from _guarded(_place(row), row.id.hex, _go_on(work, row, now=now))


def report(work: PurgeWork, rule: PurgeRule, place: Place, *, now: datetime) -> Turned:
    """Make a dry run and keep what it found."""
    found = purge_work.rehearse(work, rule, place, now=now)
    with work.scopes.session_scope() as session:
        before = purges.report(session, rule.slug, place)
        since = before.since if before is not None and before.policy == str(rule) else now
        purges.put_report(
            session,
            PurgeReport(
                rule=rule.slug, place_kind=place.kind, place_name=place.name, policy=str(rule),
                files=found.files, size_bytes=found.size_bytes, since=since, made_at=now,
            ),
        )  # fmt: skip
    return Turned("dry run", place, found.files, found.size_bytes)


def _begin(work: PurgeWork, rule: PurgeRule, place: Place, *, now: datetime) -> Iterator[Turned]:
    with work.scopes.reading_scope() as session:
        storage.owner(session, place)
        if purges.open_of_rule(session, place, rule.slug) is not None:
            return
        before = purges.report(session, rule.slug, place)
    if not purge_work.has_ended(work, rule, place, now=now):
        if before is not None:
            with work.scopes.session_scope() as session:
                purges.forget_report(session, rule.slug, place)
        return
    if _is_stale(work, before, rule, place, now=now):
        yield report(work, rule, place, now=now)
        with work.scopes.reading_scope() as session:
            before = purges.report(session, rule.slug, place)
    if before is None or not _may_plan(rule, before, now=now):
        return
    plan_id, found = purge_work.plan(work, rule, place, now=now)
    if not found.files:
        purge_work.cancel(work, plan_id, reason="nothing is left that the rule would take", now=now)
        yield report(work, rule, place, now=now)
        return
    purge_work.announce(work, plan_id, now=now)
    yield Turned("plan and announce", place, found.files, found.size_bytes, plan_id)


def _go_on(work: PurgeWork, before: Purge, *, now: datetime) -> Iterator[Turned]:
    plan_id, place = before.id.hex, _place(before)
    row = purge_work.look(work, plan_id, now=now)
    step = _next_step(work, row, now=now)
    if step == "announce":
        purge_work.announce(work, plan_id, now=now)
        yield Turned(step, place, row.files, row.size_bytes, plan_id)
    elif step == CALL_OFF:
        purge_work.call_off(work, row, now=now)
        yield Turned(step, place, row.files, row.size_bytes, plan_id)
    elif step is not None:
        done = ACTS[step](work, plan_id, now=now)
        yield Turned(step, place, done.done, done.done_bytes, plan_id)
        rule = _rule(work, row)
        if step == "quarantine" and rule is not None and rule.cold and done.done:
            yield from _go_on(work, row, now=now)


def _put_back(work: PurgeWork, plan_id: str, *, now: datetime) -> Outcome:
    return purge_work.restore(work, plan_id, under=(), by="the Nexus", now=now)


ACTS = {
    "quarantine": purge_work.take,
    "keep cold": purge_work.chill,
    "delete": purge_work.delete,
    PUT_BACK: _put_back,
}


def _next_step(work: PurgeWork, row: Purge, *, now: datetime) -> str | None:
    """Return what is due of a plan now; None while it waits, or its rule is off.

    A place that is in use again has back what was taken, whether its rule is on or off.
    """
    if not purge_work.has_ended(work, purge_work.rule_of(work, row.id.hex), _place(row), now=now):
        return PUT_BACK if row.waiting else CALL_OFF
    rule = _rule(work, row)
    return None if rule is None else _step_of_rule(rule, row, now=now)


def _step_of_rule(rule: PurgeRule, row: Purge, *, now: datetime) -> str | None:
    if row.state is PurgeState.PLANNED:
        return "announce"
    if rule.cold and row.quarantined_at is not None:
        return "keep cold"
    if row.next_at is not None and now < row.next_at:
        return None
    if row.state in PURGES_IN_QUARANTINE and row.quarantined_at is not None:
        return "delete"
    return "quarantine"


def _rule(work: PurgeWork, row: Purge) -> PurgeRule | None:
    """Return the rule that the plan is of, if it is on."""
    return next((rule for rule in work.policy.purges if rule.slug == row.rule and rule.enabled), None)


def _guarded(place: Place, plan_id: str | None, acts: Iterator[Turned]) -> Iterator[Turned]:
    try:
        yield from acts
    except UnknownPlace:
        # A folder of nobody's that the Nexus knows; nobody could be told.
        return
    except (AllocatorError, LogBroken, OSError) as error:
        slug = error.slug if isinstance(error, AllocatorError) else f"{type(error).__name__}: {error}"
        yield Turned("nothing", place, plan_id=plan_id, problem=slug)


def _pairs(work: PurgeWork) -> list[tuple[PurgeRule, Place]]:
    places = places_on(work.root)
    return [(rule, place) for place in places for rule in work.policy.purges if rule.kind is place.kind]


def _open(work: PurgeWork) -> list[Purge]:
    with work.scopes.reading_scope() as session:
        return list(purges.every_open(session))


def _is_stale(
    work: PurgeWork, found: PurgeReport | None, rule: PurgeRule, place: Place, *, now: datetime
) -> bool:
    if found is None or found.policy != str(rule) or now - found.made_at >= REPORTED_EVERY:
        return True
    with work.scopes.reading_scope() as session:
        last = purges.last_over(session, place, rule.slug)
    return last is not None and last >= found.made_at


def _may_plan(rule: PurgeRule, found: PurgeReport, *, now: datetime) -> bool:
    return rule.enabled and found.files > 0 and now - found.since >= REPORTED_BEFORE


def _place(row: Purge) -> Place:
    return Place(row.place_kind, row.place_name)
