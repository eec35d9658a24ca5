"""`nexus-allocator storage`: scans, usage, exemptions, and purges step by step.

A command that moves or deletes files prints what it would do, and does it with `--yes` only. Every step is
logged beside the plan, signed; `log` prints and checks it.
"""

import getpass
import os
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from nexus_allocator.carriers import volume_at
from nexus_allocator.cli_database import opened, reading, writing
from nexus_allocator.clients.files import plans, purging
from nexus_allocator.clients.files.handles import Parts
from nexus_allocator.clients.files.purge_run import LOG, PLAN, Exemptions, Ground, Outcome
from nexus_allocator.clients.files.purge_state import State
from nexus_allocator.clients.files.signed_log import SignedLog
from nexus_allocator.clients.files.volumes import Volume, with_room
from nexus_allocator.config import StorageSettings, read_database_settings, read_storage_settings
from nexus_allocator.domain.errors import BadName, PurgeRuleOff, UnknownPlace, UnknownPlan
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.policy import PurgeRule
from nexus_allocator.domain.purges import Identity, Phase, is_unused
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.policy import load_policy
from nexus_allocator.services import storage
from nexus_allocator.store.session import Database

storage_app = typer.Typer(
    no_args_is_help=True, help="Homes, team folders and scratch: scans, quotas, purges."
)

DAY = ["%Y-%m-%d"]
GB = 10**9
MOST_SHOWN = 20
Where = Annotated[str, typer.Argument(help="homes/NAME, teams/NAME or scratch/NAME.")]
PlanId = Annotated[str, typer.Argument(help="As `plans` prints it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without, only what would be done is printed.")]


@storage_app.command("usage")
def usage(place: Where) -> None:
    """Print what a place takes, of that in quarantine and snapshots, and its limit."""
    found = _volume().usage(_place(place))
    limit = (
        "no limit" if found.limit_bytes is None else f"limit {_gb(found.limit_bytes)}, {found.percent} % used"
    )
    typer.echo(
        f"{place}: {_gb(found.used_bytes)}, of these {_gb(found.quarantined_bytes)} in quarantine "
        f"(not charged); snapshots {_gb(found.snapshot_bytes)}; {limit}"
    )


@storage_app.command("quota")
def quota(
    place: Where, gb: Annotated[float, typer.Argument(min=0, help="The hard limit.")], yes: Yes = False
) -> None:
    """Set a place's hard limit; what is there already stays."""
    volume, limit = _volume(), round(gb * GB)
    used = volume.usage(_place(place)).used_bytes
    holds = "the kernel refuses what is beyond" if volume.holds.limit else "this volume only remembers it"
    typer.echo(f"{place}: {_gb(used)} used, limit {_gb(limit)}; {holds}")
    if yes:
        volume.set_quota(_place(place), limit)


@storage_app.command("warn")
def warn() -> None:
    """Tell the people of places that are 80, 90 or 100 % full, each mark once a month; run it daily."""
    settings, volume = read_storage_settings(), _volume()
    with opened() as database:
        for place in _places(settings.root):
            found = volume.usage(place)
            try:
                with database.session_scope() as session:
                    mark = storage.warn(session, place, found, enforced=volume.holds.limit, now=_now())
            except UnknownPlace:
                typer.echo(f"{place}: nobody's")
                continue
            if mark:
                typer.echo(f"{place}: {found.percent} % full")


@storage_app.command("scan")
def scan(
    folder: Annotated[Path, typer.Argument(help="The tree to scan.")],
    index: Annotated[Path, typer.Argument(help="The folder of its index, made if need be.")],
    *,
    threads: Annotated[int, typer.Option(min=1, max=256, help="More pays off on network storage.")] = 2,
    whole: Annotated[bool, typer.Option("--whole", help="Read every folder again.")] = False,
) -> None:
    """Bring an index of a tree up to date, at the lowest priority, and print its heaviest folders."""
    from nexus_allocator.clients.files import scanner  # noqa: PLC0415 - a heavy import for this command alone

    found = scanner.scan(folder, index, started_ns=time.time_ns(), threads=threads, whole=whole)
    typer.echo(
        f"{found.entries:,} files in {found.folders:,} folders, {_gb(found.own_bytes)}; "
        f"{found.folders_read:,} folders read, {found.unreadable} unreadable"
    )
    table = scanner.folders(index)
    top = table["id"].to_numpy()[table["parent"].to_numpy() == scanner.NO_PARENT]
    below = scanner.bytes_below(table)
    rows = [row for row in range(len(table)) if table["parent"][row].as_py() in top]
    for row in sorted(rows, key=lambda each: -below[each])[:MOST_SHOWN]:
        typer.echo(f"{_gb(int(below[row]))}\t{_shown((table['name'][row].as_py(),))}")


@storage_app.command("exempt")
def exempt(
    place: Where,
    path: Annotated[str, typer.Argument(help="Below the place; '.' for the whole place.")],
    *,
    until: Annotated[datetime, typer.Option(formats=DAY, help="UTC day.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept.")],
) -> None:
    """Keep what lies at or below PATH from every purge until a day."""
    with writing() as session:
        made = storage.exempt(
            session, _place(place), _parts(path), until=until.replace(tzinfo=UTC), reason=reason,
            by=_operator(), now=_now(),
        )  # fmt: skip
    typer.echo(f"exemption {made}")


@storage_app.command("exemptions")
def exemptions(place: Where) -> None:
    """Print what of a place is exempt now."""
    with reading() as session:
        for number, each in storage.exemptions(session, _place(place), now=_now()):
            typer.echo(f"{number}\t{_shown(each.path)}\tuntil {each.until:%Y-%m-%d}\t{each.reason}")


@storage_app.command("end-exemption")
def end_exemption(exemption: uuid.UUID) -> None:
    """End an exemption before its date."""
    with writing() as session:
        storage.end_exemption(session, exemption, by=_operator(), now=_now())
    typer.echo("ended")


@storage_app.command("plan")
def plan(
    rule: Annotated[str, typer.Argument(help="A rule of `purges` in tiers.yaml.")],
    place: Where,
    yes: Yes = False,
) -> None:
    """Print which files of PLACE a rule would purge; with --yes keep that as a plan, if the rule is on."""
    found = load_policy(read_database_settings().tiers_file).purge_rule(rule)
    where = _place(place)
    if where.kind is not found.kind:
        raise BadName(name=place, must_be=f"one of {found.kind}/…, which the rule {rule} is for")
    if yes and not found.enabled:
        raise PurgeRuleOff(rule=rule)
    head = plans.Head(uuid.uuid4().hex, place, str(found), found.terms)
    _draft(head, found, where, keep=yes)


@storage_app.command("plans")
def list_plans() -> None:
    """Print all plans and where they stand."""
    settings = read_storage_settings()
    for file in sorted(settings.records.glob(f"*/{LOG}")):
        _echo_standing(_ground(settings, file.parent.name), file.parent.name)


@storage_app.command("notice")
def notice(plan_id: PlanId) -> None:
    """Tell the people of the plan's place, in the portal and by mail; the grace begins."""
    settings = read_storage_settings()
    ground, head = _ground(settings, plan_id), _head(settings, plan_id)
    standing = purging.standing(ground, plan_id)
    standing.require(Phase.PLANNED)
    facts = _facts(head, standing.files, standing.size_bytes)
    with writing() as session:
        told = storage.notify(
            session, _place(head.place), NoticeKind.PURGE_PLANNED, plan=plan_id, facts=facts, now=_now()
        )
    purging.notice(ground, plan_id, told=told, now=_now())
    typer.echo(f"told: {', '.join(told) or 'nobody'}")


@storage_app.command("look")
def look() -> None:
    """Look at the clock for all plans: a grace passes only as it is seen to. Run it once a day."""
    settings = read_storage_settings()
    for file in sorted(settings.records.glob(f"*/{LOG}")):
        ground = _ground(settings, file.parent.name)
        if purging.standing(ground, file.parent.name).phase not in (Phase.FINISHED, Phase.CANCELLED):
            purging.look(ground, file.parent.name, now=_now())


@storage_app.command("take")
def take(plan_id: PlanId, yes: Yes = False) -> None:
    """Move a plan's files into quarantine once its grace has passed; pauses while its people work."""
    settings = read_storage_settings()
    ground, head = _ground(settings, plan_id), _head(settings, plan_id)
    if not yes:
        _would(ground, plan_id, "be moved into quarantine", State.PLANNED)
        return
    place = _place(head.place)
    with opened() as database, with_room(_volume(), place):
        done = purging.take(
            ground, plan_id, exempt=_exempt(database, place), now=_now(), busy=lambda: _busy(database, place)
        )
        if done.done:
            facts = _facts(head, done.done, done.done_bytes)
            kind = NoticeKind.FILES_IN_QUARANTINE
            with database.session_scope() as session:
                storage.notify(session, place, kind, plan=plan_id, facts=facts, now=_now())
    _echo_outcome(done, "moved into quarantine")


@storage_app.command("restore")
def restore(
    plan_id: PlanId,
    path: Annotated[str, typer.Argument(help="A file or folder below the place; all without.")] = ".",
) -> None:
    """Put back what waits in quarantine, as it was."""
    settings = read_storage_settings()
    with with_room(_volume(), _place(_head(settings, plan_id).place)):
        done = purging.restore(
            _ground(settings, plan_id), plan_id, under=_parts(path), by=_operator(), now=_now()
        )
    _echo_outcome(done, "put back")


@storage_app.command("delete")
def delete(plan_id: PlanId, yes: Yes = False) -> None:
    """Delete for good what still waits of a plan, once its window has passed."""
    settings = read_storage_settings()
    ground, place = _ground(settings, plan_id), _place(_head(settings, plan_id).place)
    if not yes:
        _would(ground, plan_id, "be deleted for good", State.WAITING, State.GOING)
        return
    with opened() as database, with_room(_volume(), place):
        done = purging.delete(ground, plan_id, exempt=_exempt(database, place), now=_now())
    _echo_outcome(done, "deleted")


@storage_app.command("cancel")
def cancel(plan_id: PlanId, reason: Annotated[str, typer.Option("--reason", help="Why; kept.")]) -> None:
    """End a plan of which nothing was taken yet."""
    purging.cancel(_ground(read_storage_settings(), plan_id), plan_id, reason=reason, now=_now())
    typer.echo("cancelled")


@storage_app.command("log")
def log(plan_id: PlanId) -> None:
    """Check a plan's signed log and print it, ending with the signature of its last line."""
    settings = read_storage_settings()
    _head(settings, plan_id)
    kept = SignedLog(settings.records / plan_id / LOG, _key(settings))
    for event in kept.read():
        facts = {name: value for name, value in event.items() if name not in ("at", "what", "files")}
        files = f" {len(event['files'])} files" if "files" in event else ""
        typer.echo(f"{event['at']}\t{event['what']}{files}\t{facts or ''}")
    typer.echo(f"signed {kept.head}")


def _draft(head: plans.Head, rule: PurgeRule, place: Place, *, keep: bool) -> None:
    settings, now = read_storage_settings(), _now()
    ground = _ground(settings, head.plan_id)
    found: list[tuple[int, Parts]] = []

    def choose(path: Parts, identity: Identity) -> bool:
        chosen = is_unused(identity, for_days=rule.unused_days, now=now)
        if chosen:
            found.append((identity.size_bytes, path))
        return chosen

    with opened() as database:
        exempt = _exempt(database, place)
    ground = Ground(_volume().path(place), ground.records, ground.key)
    if keep:
        purging.draft(ground, head, choose=choose, owners=None, exempt=exempt, now=now)
    else:
        purging.rehearse(ground, choose=choose, owners=None, exempt=exempt, now=now)
    total = sum(size for size, _ in found)
    typer.echo(f"{len(found):,} files, {_gb(total)} of {place} are {rule}; the largest:")
    for size, path in sorted(found, reverse=True)[:MOST_SHOWN]:
        typer.echo(f"{_gb(size)}\t{_shown(path)}")
    off = "" if rule.enabled else f" (the rule {rule.slug} is not switched on)"
    typer.echo(f"plan {head.plan_id}" if keep else f"nothing was planned{off}")


def _would(ground: Ground, plan_id: str, what: str, *states: State) -> None:
    """Print what the next step would touch."""
    _echo_standing(ground, plan_id)
    number = 0
    for file, state in purging.listed(ground, plan_id):
        if state in states:
            number += 1
            if number <= MOST_SHOWN:
                typer.echo(f"{_gb(file.identity.size_bytes)}\t{_shown(file.path)}")
    typer.echo(f"{number:,} files would {what}; nothing was done (see --yes)")


def _echo_standing(ground: Ground, plan_id: str) -> None:
    standing = purging.standing(ground, plan_id)
    counts = ", ".join(
        f"{standing.count(state)} {state.name.lower()}" for state in State if standing.count(state)
    )
    typer.echo(f"{plan_id}\t{standing.phase}\t{_gb(standing.size_bytes)}\t{counts or 'no files'}")


def _echo_outcome(done: Outcome, what: str) -> None:
    typer.echo(f"{done.done:,} files ({_gb(done.done_bytes)}) {what}, {len(done.left):,} left")
    for path, reason in done.left[:MOST_SHOWN]:
        typer.echo(f"{reason}\t{_shown(path)}")


def _facts(head: plans.Head, files: int, size_bytes: int) -> dict[str, Any]:
    days = {"grace_days": head.terms.grace.days, "window_days": head.terms.window.days}
    return {"files": files, "gb": size_bytes / GB, "rule": head.policy, **days}


def _exempt(database: Database, place: Place) -> Exemptions:
    with database.reading_scope() as session:
        return tuple(each for _, each in storage.exemptions(session, place, now=_now()))


def _busy(database: Database, place: Place) -> bool:
    with database.reading_scope() as session:
        return storage.is_busy(session, place)


def _volume() -> Volume:
    settings = read_storage_settings()
    return volume_at(settings.root, settings.driver)


def _ground(settings: StorageSettings, plan_id: str) -> Ground:
    file = settings.records / plan_id / PLAN
    place = settings.root
    if plan_id.isalnum() and file.is_file():
        place = _volume().path(_place(plans.read_head(file).place))
    return Ground(place, settings.records, _key(settings))


def _head(settings: StorageSettings, plan_id: str) -> plans.Head:
    file = settings.records / plan_id / PLAN
    if not plan_id.isalnum() or not file.is_file():
        raise UnknownPlan(plan=plan_id[:40])
    return plans.read_head(file)


def _key(settings: StorageSettings) -> bytes:
    return settings.key_file.read_bytes().strip()


def _places(root: Path) -> list[Place]:
    """Return the places on the volume; a folder whose name none may have is not one."""
    found = []
    for kind in PlaceKind:
        for folder in sorted((root / kind).iterdir()):
            with suppress(BadName):
                found.append(Place(kind, folder.name))
    return found


def _place(text: str) -> Place:
    kind, _, name = text.partition("/")
    if kind not in list(PlaceKind):
        raise BadName(name=text[:40], must_be="homes/NAME, teams/NAME or scratch/NAME")
    return Place(PlaceKind(kind), name)


def _parts(path: str) -> Parts:
    return tuple(name for name in os.fsencode(path).split(b"/") if name not in (b"", b"."))


def _shown(path: Parts) -> str:
    """Return a path that a terminal can show whatever its bytes are."""
    return repr(b"/".join(path).decode("utf-8", "backslashreplace"))[1:-1]


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / GB:.3f} GB"


def _operator() -> str:
    return f"operator {getpass.getuser()}"


def _now() -> datetime:
    return datetime.now(UTC)
