"""A purge, on the side of the files: plan, notice, quarantine, restore, delete. No database is needed.

Each plan has a folder of records that only root may enter: `plan.jsonl`, which never changes, and the
signed `log.jsonl`, which tells what was done. Every call may be killed at any moment and called again: what
a file's state is follows from the log and from where the file lies, and no file is ever deleted that the
log, on the disk, does not already name. `now` is the caller's clock; how long is waited is what calls of
`look` have seen.

What no check can see: a write, between its file's last look and its unlinking, through a descriptor that
was open all the while (such files are left where /proc shows it); and a file changed and set back to the
same size and times while being moved, by somebody who holds it open. It is put into quarantine then, not
deleted: at deletion the change time, which nobody can set, is asked again.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from nexus_allocator.clients.files import chilling, deleting, handles, plans, quarantine, taking
from nexus_allocator.clients.files.chilling import Cold
from nexus_allocator.clients.files.handles import Parts
from nexus_allocator.clients.files.plans import Head, Listing, PlannedFile, identity_of, rights_of
from nexus_allocator.clients.files.purge_run import LOG, PLAN, Exemptions, Ground, Outcome, covered, opened
from nexus_allocator.clients.files.purge_state import Standing, State, fold
from nexus_allocator.clients.files.signed_log import SignedLog, sync_folder
from nexus_allocator.domain.errors import PurgePhase
from nexus_allocator.domain.purges import Identity, Phase, is_kept_apart

Choice = Callable[[Parts, Identity], bool]


def draft(
    ground: Ground,
    head: Head,
    *,
    choose: Choice,
    owners: frozenset[int] | None,
    exempt: Exemptions,
    now: datetime,
) -> Standing:
    """Write a plan of the files that ``choose`` picks by path and identity; nothing else happens to them.

    Never in a plan: folders and special files, files of other uids than ``owners``, files with several
    names, what is exempt now, what lies in the quarantine or beyond a mount point.
    """
    records = ground.records / head.plan_id
    records.mkdir(mode=0o700, parents=True)
    with handles.opened(ground.place) as place:
        listings = _listings(place, choose=choose, owners=owners, exempt=exempt, now=now)
        written = plans.write(records / PLAN, head, listings)
    log = SignedLog(records / LOG, ground.key)
    facts = {"count": written.files, "size_bytes": written.size_bytes, "digest": written.digest}
    event = log.append("planned", now, plan=head.plan_id, place=head.place, policy=head.policy, **facts)
    sync_folder(records)
    return fold([event])


def rehearse(
    ground: Ground, *, choose: Choice, owners: frozenset[int] | None, exempt: Exemptions, now: datetime
) -> tuple[int, int]:
    """Return how many files and bytes `draft` would plan; nothing is written."""
    files, size_bytes = 0, 0
    with handles.opened(ground.place) as place:
        for listing in _listings(place, choose=choose, owners=owners, exempt=exempt, now=now):
            files += len(listing.chosen)
            size_bytes += sum(identity.size_bytes for _, identity in listing.chosen)
    return files, size_bytes


def _listings(
    place: int, *, choose: Choice, owners: frozenset[int] | None, exempt: Exemptions, now: datetime
) -> Iterator[Listing]:
    for handle, folder, entries in handles.walk(place, skip=quarantine.all_at(place)):
        chosen = []
        for found in entries:
            identity = identity_of(found.status)
            apart = is_kept_apart(identity, owners) or chilling.is_stub(found)
            apart = apart or covered(exempt, found.path, now)
            if not apart and choose(found.path, identity):
                chosen.append((found.name, identity))
        yield Listing(folder, rights_of(os.fstat(handle)), chosen)


def listed(ground: Ground, plan_id: str) -> Iterator[tuple[PlannedFile, State]]:
    """Yield the plan's files and what became of each. Raises UnknownPlan, LogBroken."""
    with opened(ground, plan_id) as run:
        for file in run.plan.files():
            yield file, State(run.standing.states[file.number])


def standing(ground: Ground, plan_id: str) -> Standing:
    """Return where the plan stands. Raises UnknownPlan, LogBroken."""
    return signed_standing(ground, plan_id)[0]


def signed_standing(ground: Ground, plan_id: str) -> tuple[Standing, str]:
    """Return where the plan stands, and the signature of its log's last line. Raises as `standing` does."""
    with opened(ground, plan_id) as run:
        return run.standing, run.log.head


def notice(ground: Ground, plan_id: str, *, told: list[str], now: datetime) -> None:
    """Log who was told of the plan, and how; the grace begins."""
    with opened(ground, plan_id) as run:
        run.standing.require(Phase.PLANNED)
        run.note("noticed", now, told=told)


def look(ground: Ground, plan_id: str, *, now: datetime) -> Standing:
    """Log that the clock was looked at: a wait passes only as it is seen to, at most 36 hours a look."""
    with opened(ground, plan_id) as run:
        run.note("looked", now)
        return run.standing


def cancel(ground: Ground, plan_id: str, *, reason: str, now: datetime) -> None:
    """End a plan of which nothing was taken yet, or all is back. Raises PurgePhase while anything waits."""
    with opened(ground, plan_id) as run:
        run.standing.require(Phase.PLANNED, Phase.NOTICED, Phase.QUARANTINING, Phase.CHILLING)
        if any(run.standing.count(state) for state in (*deleting.WAITING, State.STORED)):
            raise PurgePhase(phase=str(run.standing.phase), must_be="planned or noticed")
        run.note("cancelled", now, reason=reason)


def take(
    ground: Ground,
    plan_id: str,
    *,
    exempt: Exemptions,
    now: datetime,
    busy: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Move what is planned, and is still as it was, into the place's quarantine; the window begins with its
    end.

    ``busy`` is asked before each batch: while it is true (somebody's server lives) the run pauses, to be
    called again. Raises PurgeTooSoon before the grace has passed.
    """
    with opened(ground, plan_id) as run:
        run.standing.require(Phase.NOTICED, Phase.QUARANTINING)
        run.require_waited(run.plan.head.terms.grace, now)
        with handles.opened(ground.place) as place:
            if run.standing.phase is Phase.NOTICED:
                run.note("quarantining", now, quarantine=quarantine.top_inode(place))
            with run.quarantine(place) as shelf:
                done = taking.take_all(run, shelf, exempt=exempt, now=now, busy=busy)
        return done


def chill(ground: Ground, plan_id: str, *, cold: Cold, exempt: Exemptions, now: datetime) -> Outcome:
    """Move what waits in quarantine to an object store, which frees its space; `restore` brings it back."""
    with opened(ground, plan_id) as run:
        run.standing.require(Phase.QUARANTINED, Phase.CHILLING)
        with handles.opened(ground.place) as place:
            if run.standing.phase is Phase.QUARANTINED:
                run.note("chilling", now, prefix=cold.prefix)
            with run.quarantine(place) as shelf:
                return chilling.chill_all(run, shelf, cold, exempt=exempt, now=now)


def restore(
    ground: Ground,
    plan_id: str,
    *,
    under: Parts = (),
    by: str,
    now: datetime,
    cold: Cold | None = None,
) -> Outcome:
    """Put back what waits at or below ``under``: same bytes, rights, times, owners and attributes. What is
    cold comes back from ``cold`` first.

    Folders that are gone are made again with the rights they had. Where something new has the file's name
    the file gets it with `.restored-N` added; what can't be put back stays and is returned as left.
    """
    with opened(ground, plan_id) as run:
        run.standing.require(
            Phase.QUARANTINING, Phase.QUARANTINED, Phase.DELETING, Phase.CHILLING, Phase.COLD
        )
        with handles.opened(ground.place) as place, run.quarantine(place) as shelf:
            stuck = Outcome()
            if cold is not None:
                thawed = chilling.thaw_all(run, shelf, cold, under=under, now=now)
                stuck = replace(thawed, done=0, done_bytes=0)
            done = deleting.restore_all(run, shelf, under=under, by=by, now=now) + stuck
            if cold is not None:
                chilling.forget_restored(run, cold)
            return done


def delete(ground: Ground, plan_id: str, *, exempt: Exemptions, now: datetime) -> Outcome:
    """Delete what still waits once the window has passed. What is exempt by now or was changed goes back."""
    with opened(ground, plan_id) as run:
        run.standing.require(Phase.QUARANTINED, Phase.DELETING)
        run.require_waited(run.plan.head.terms.window, now)
        with handles.opened(ground.place) as place:
            if run.standing.phase is Phase.QUARANTINED:
                run.note("deleting", now)
            with run.quarantine(place) as shelf:
                return deleting.delete_all(run, shelf, exempt=exempt, now=now)
