"""`nexus-allocator storage purge`: dry runs, plans and their steps, and the jobs that CronJobs call.

A command that moves or deletes files prints what it would do, and does it with `--yes` only. Every step is
logged beside the plan, signed; `log` prints and checks it.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from nexus_allocator import cli_storage
from nexus_allocator.cli_database import opened, utc_now, writing
from nexus_allocator.cli_storage import MOST_SHOWN, Where, Yes, in_gb, operator, parts_of
from nexus_allocator.clients.files import purging
from nexus_allocator.clients.files.purge_run import LOG, Outcome
from nexus_allocator.clients.files.purge_state import State
from nexus_allocator.clients.files.signed_log import SignedLog
from nexus_allocator.clients.objects.bucket import Bucket
from nexus_allocator.config import read_database_settings, read_storage_settings
from nexus_allocator.domain.errors import BadName
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.purges import readable
from nexus_allocator.policy import load_policy
from nexus_allocator.services import purge_turns, purge_work, storage
from nexus_allocator.services import purges as purges_reading
from nexus_allocator.services.purge_work import PurgeWork
from nexus_allocator.store import purges

purge_app = typer.Typer(no_args_is_help=True, help="Purges: dry run, plan, notice, quarantine, deletion.")

PlanId = Annotated[str, typer.Argument(help="As `plans` prints it.")]


@purge_app.command("turn")
def turn(yes: Yes = False) -> None:
    """Do what is due: dry runs, plans of rules that are on, and each plan's next step. Run it once a day."""
    with work_here() as work:
        acts = purge_turns.turn if yes else purge_turns.owed
        problems = 0
        for done in acts(work, now=utc_now()):
            problems += done.problem is not None
            which = f" of plan {done.plan_id}" if done.plan_id else ""
            size = f", {in_gb(done.size_bytes)}" if done.size_bytes else ""
            why = f": {done.problem}" if done.problem else ""
            typer.echo(f"{done.place}\t{done.what}{which}\t{done.files:,} files{size}{why}")
    if not yes:
        typer.echo("nothing was done (see --yes)")
    if problems:
        raise typer.Exit(1)


@purge_app.command("report")
def report(
    rule: Annotated[str, typer.Argument(help="A rule of `purges` in tiers.yaml.")], place: Where
) -> None:
    """Make a dry run of a rule in a place, on or off, and keep what it found for the administrators' page."""
    with work_here() as work:
        done = purge_turns.report(work, work.policy.purge_rule(rule), Place.named(place), now=utc_now())
    typer.echo(f"{place}: {done.files:,} files, {in_gb(done.size_bytes)}")


@purge_app.command("plan")
def plan(
    rule: Annotated[str, typer.Argument(help="A rule of `purges` in tiers.yaml.")],
    place: Where,
    yes: Yes = False,
) -> None:
    """Print which files of PLACE a rule would purge; with --yes keep that as a plan, if the rule is on."""
    with work_here() as work:
        found, where, now = work.policy.purge_rule(rule), Place.named(place), utc_now()
        if where.kind is not found.kind:
            raise BadName(name=place, must_be=f"one of {found.kind}/…, which the rule {rule} is for")
        plan_id = None
        if yes:
            plan_id, picked = purge_work.plan(work, found, where, now=now)
        else:
            picked = purge_work.rehearse(work, found, where, now=now)
    typer.echo(f"{picked.files:,} files, {in_gb(picked.size_bytes)} of {place} are {found}; the largest:")
    for size, path in picked.largest:
        typer.echo(f"{in_gb(size)}\t{readable(path)}")
    off = "" if found.enabled else f" (the rule {rule} is not switched on)"
    typer.echo(f"plan {plan_id}" if plan_id else f"nothing was planned{off}")


@purge_app.command("plans")
def list_plans() -> None:
    """Print all plans and where they stand."""
    with work_here() as work:
        for file in sorted(work.records.glob(f"*/{LOG}")):
            _echo_standing(work, file.parent.name)


@purge_app.command("notice")
def notice(plan_id: PlanId) -> None:
    """Tell the people of the plan's place, in the portal and by mail; the grace begins."""
    with work_here() as work:
        told = purge_work.announce(work, plan_id, now=utc_now())
    typer.echo(f"told: {', '.join(told) or 'nobody'}")


@purge_app.command("look")
def look() -> None:
    """Look at the clock for all open plans, and do nothing else: a grace passes only as it is seen to."""
    with work_here() as work:
        with work.scopes.reading_scope() as session:
            plan_ids = [row.id.hex for row in purges.every_open(session)]
        for plan_id in plan_ids:
            purge_work.look(work, plan_id, now=utc_now())


@purge_app.command("take")
def take(plan_id: PlanId, yes: Yes = False) -> None:
    """Move a plan's files into quarantine once its grace has passed; pauses while its people work."""
    with work_here() as work:
        if not yes:
            _would(work, plan_id, "be moved into quarantine", State.PLANNED)
            return
        _echo_outcome(purge_work.take(work, plan_id, now=utc_now()), "moved into quarantine")


@purge_app.command("restore")
def restore(
    plan_id: PlanId,
    path: Annotated[str, typer.Argument(help="A file or folder below the place; all without.")] = ".",
) -> None:
    """Put back what waits in quarantine, as it was."""
    with work_here() as work:
        done = purge_work.restore(work, plan_id, under=parts_of(path), by=operator(), now=utc_now())
    _echo_outcome(done, "put back")


@purge_app.command("delete")
def delete(plan_id: PlanId, yes: Yes = False) -> None:
    """Delete for good what still waits of a plan, once its window has passed."""
    with work_here() as work:
        if not yes:
            _would(work, plan_id, "be deleted for good", State.WAITING, State.GOING)
            return
        _echo_outcome(purge_work.delete(work, plan_id, now=utc_now()), "deleted")


@purge_app.command("chill")
def chill(plan_id: PlanId, yes: Yes = False) -> None:
    """Move what of a plan waits in quarantine to the object store; `restore` brings it back."""
    with work_here() as work:
        if not yes:
            _would(work, plan_id, "be kept cold", State.WAITING)
            return
        _echo_outcome(purge_work.chill(work, plan_id, now=utc_now()), "kept cold")


@purge_app.command("cancel")
def cancel(plan_id: PlanId, reason: Annotated[str, typer.Option("--reason", help="Why; kept.")]) -> None:
    """End a plan of which nothing was taken yet."""
    with work_here() as work:
        purge_work.cancel(work, plan_id, reason=reason, now=utc_now())
    typer.echo("cancelled")


@purge_app.command("log")
def log(plan_id: PlanId) -> None:
    """Check a plan's signed log and print it, ending with the signature of its last line."""
    with work_here() as work:
        purge_work.head_of(work, plan_id)
        kept = SignedLog(work.records / plan_id / LOG, work.key)
        for event in kept.read():
            facts = {name: value for name, value in event.items() if name not in ("at", "what", "files")}
            files = f" {len(event['files'])} files" if "files" in event else ""
            typer.echo(f"{event['at']}\t{event['what']}{files}\t{facts or ''}")
        with work.scopes.reading_scope() as session:
            row = purges.by_id(session, uuid.UUID(plan_id))
        if row is not None:
            kept.require_reaches(row.log_head)
        typer.echo(f"signed {kept.head}")


@purge_app.command("recipe")
def recipe(plan_id: PlanId) -> None:
    """Print the commands that make again what of a plan our pipeline made."""
    with work_here() as work:
        purge_work.head_of(work, plan_id)
        file = work.records / plan_id / purge_work.RECIPE
        typer.echo(file.read_text() if file.is_file() else purges_reading.NO_RECIPE, nl=False)


@purge_app.command("answer")
def answer(
    exemption: uuid.UUID,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; its person reads it.")],
    decline: Annotated[bool, typer.Option("--decline", help="End it instead of granting it.")] = False,
) -> None:
    """Grant an exemption that somebody asked for, or decline it."""
    with writing() as session:
        storage.answer_exemption(
            session, exemption, grant=not decline, reason=reason, by=operator(), now=utc_now()
        )
    typer.echo("declined" if decline else "granted")


def _would(work: PurgeWork, plan_id: str, what: str, *states: State) -> None:
    """Print what the next step would touch."""
    _echo_standing(work, plan_id)
    number = 0
    for file, state in purging.listed(work.ground(purge_work.place_of(work, plan_id)), plan_id):
        if state in states:
            number += 1
            if number <= MOST_SHOWN:
                typer.echo(f"{in_gb(file.identity.size_bytes)}\t{readable(file.path)}")
    typer.echo(f"{number:,} files would {what}; nothing was done (see --yes)")


def _echo_standing(work: PurgeWork, plan_id: str) -> None:
    standing = purging.standing(work.ground(purge_work.place_of(work, plan_id)), plan_id)
    counts = ", ".join(
        f"{standing.count(state)} {state.name.lower()}" for state in State if standing.count(state)
    )
    typer.echo(f"{plan_id}\t{standing.phase}\t{in_gb(standing.size_bytes)}\t{counts or 'no files'}")


def _echo_outcome(done: Outcome, what: str) -> None:
    typer.echo(f"{done.done:,} files ({in_gb(done.done_bytes)}) {what}, {len(done.left):,} left")
    for path, reason in done.left[:MOST_SHOWN]:
        typer.echo(f"{reason}\t{readable(path)}")


@contextmanager
def work_here() -> Iterator[PurgeWork]:
    """Yield what the work on the volume of these settings needs."""
    settings = read_storage_settings()
    policy = load_policy(read_database_settings().tiers_file)
    with opened() as database:
        key = settings.key_file.read_bytes().strip()
        yield PurgeWork(
            database, cli_storage.volume_here(), settings.root, settings.records, key, policy,
            objects=Bucket(settings.cold_bucket) if settings.cold_bucket else None,
        )  # fmt: skip
