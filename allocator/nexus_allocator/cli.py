"""The operator's command line; each command is one transaction, and CronJobs call the same ones."""

import getpass
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from nexus_allocator.cli_announce import announce_app
from nexus_allocator.cli_backup import backup, restore
from nexus_allocator.cli_database import opened, reading, utc_now, writing
from nexus_allocator.cli_events import event_app
from nexus_allocator.cli_log import log
from nexus_allocator.cli_outbox import deliver, outbox_app, webhook_app
from nexus_allocator.cli_overview import server_app, show_app
from nexus_allocator.cli_panel import panel_app
from nexus_allocator.cli_people import person_app
from nexus_allocator.cli_places import places_app
from nexus_allocator.cli_purges import purge_app
from nexus_allocator.cli_requests import request_app
from nexus_allocator.cli_rounds import rounds
from nexus_allocator.cli_simulate import simulate
from nexus_allocator.cli_snapshots import snapshot_app
from nexus_allocator.cli_storage import storage_app
from nexus_allocator.cli_storage_work import storage_work_app
from nexus_allocator.clients.hub import HubClient, Sighting
from nexus_allocator.clients.seals import SealFolder
from nexus_allocator.config import (
    UnknownSetting,
    read_database_settings,
    read_settings,
)
from nexus_allocator.domain.credits import MICRO, shown
from nexus_allocator.domain.errors import AllocatorError, BadAmount, UnknownSubgroup
from nexus_allocator.domain.states import Role, ShareKind, TierSlug
from nexus_allocator.domain.wording import sentence
from nexus_allocator.policy import load_policy
from nexus_allocator.services import (
    allocations,
    answers,
    demo,
    endings,
    events,
    grants,
    invitations,
    leases,
    maintenance,
    memberships,
    metering,
    offers,
    pool,
    request_moves,
    seals,
    shares,
    statements,
    suspensions,
    team_reading,
    teams,
)
from nexus_allocator.services import audit as auditing
from nexus_allocator.services import enforcement as enforcing
from nexus_allocator.store import schema
from nexus_allocator.store.session import Database

SCHEMA_PAUSE_S = 2.0

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
team_app = typer.Typer(no_args_is_help=True, help="Teams and their members.")
app.add_typer(team_app, name="team")
app.add_typer(request_app, name="request")
app.add_typer(show_app, name="show")
app.add_typer(server_app, name="server")
app.add_typer(panel_app, name="panel")
app.add_typer(event_app, name="event")
app.add_typer(announce_app, name="announce")
app.add_typer(person_app, name="person")
app.command()(simulate)
app.command()(deliver)
app.command()(rounds)
app.command()(backup)
app.command()(restore)
app.add_typer(webhook_app, name="webhook")
app.add_typer(outbox_app, name="outbox")
app.command()(log)
storage_app.add_typer(places_app)
storage_app.add_typer(storage_work_app)
app.add_typer(storage_app, name="storage")
storage_app.add_typer(purge_app, name="purge")
storage_app.add_typer(snapshot_app, name="snapshot")

Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the entry for good.")]
DAY = ["%Y-%m-%d"]
# Before an amount such as -2.5 typer would read an option.
NEGATIVE_AMOUNTS = {"ignore_unknown_options": True}


def main() -> None:
    """Run a command; a refusal prints one sentence and ends with 1; a bug shows itself."""
    try:
        app()
    except AllocatorError as error:
        _fail(sentence(error))
    except (ValidationError, UnknownSetting) as error:
        _fail(f"The settings are wrong: {error}")
    except OperationalError as error:
        _fail(f"The database can't be used (is it there, and migrated?): {error.orig}")


@app.command()
def migrate(
    wait: Annotated[bool, typer.Option("--wait", help="Change nothing: wait until another did it.")] = False,
) -> None:
    """Bring the database to the current schema; one that a newer version has left is not touched."""
    with opened() as database:
        while wait and not _has_schema(database):
            time.sleep(SCHEMA_PAUSE_S)
        if wait or schema.is_ready(database):
            typer.echo(f"schema {schema.current(database)}")
            return
        before = schema.current(database)
        schema.upgrade(database)
        typer.echo(f"schema {before or 'empty'} → {schema.current(database)}")


def _has_schema(database: Database) -> bool:
    """Whether the schema is there; while the database itself is not, it is not."""
    try:
        return schema.is_ready(database)
    except OperationalError:
        return False


@app.command("seed-demo")
def seed_demo(
    issuer: Annotated[str, typer.Option(envvar="NEXUS_ISSUER", help="The sign-in provider.")],
) -> None:
    """Make the demo team with its people; run again, it changes nothing."""
    settings = read_database_settings()
    policy = load_policy(settings.tiers_file)
    with writing(settings) as session:
        made = demo.seed(session, policy=policy, issuer=issuer, now=utc_now())
    typer.echo("demo team made" if made else "demo team is there already")


@app.command()
def audit(
    hub: Annotated[bool, typer.Option("--hub", help="Compare with the hub's live servers too.")] = False,
    sealed: Annotated[
        Path | None, typer.Option("--seals", help="Compare with the seals in this folder too.")
    ] = None,
) -> None:
    """Recompute every chain, balance, hold and total; end with 1 when something does not add up."""
    settings = read_database_settings()
    silence = 3 * timedelta(seconds=settings.metering_interval_s)
    outside = auditing.Outside(
        sightings=_sightings() if hub else None, seals=SealFolder(sealed).read_all() if sealed else None
    )
    with reading(settings) as session:
        report = auditing.audit(session, meter_silence=silence, now=utc_now(), outside=outside)
    typer.echo(
        f"{report.allocations} allocations, {report.holds} holds, "
        f"{shown(report.balance_micro)} credits held together, {len(report.drifts)} drifts"
    )
    for drift in report.drifts:
        typer.echo(f"{drift.kind} {drift.subject}: expected {drift.expected}, found {drift.found}")
    if report.drifts:
        raise typer.Exit(1)


@app.command()
def seal(
    folder: Annotated[Path, typer.Argument(help="Outside the database, best on another machine.")],
) -> None:
    """Write today's heads of all chains into FOLDER, once a day; run again, it changes nothing."""
    with reading() as session:
        written = seals.seal_day(session, SealFolder(folder), now=utc_now())
    typer.echo(f"sealed {len(written.heads)} heads, {written.digest}" if written else "sealed already today")


@app.command()
def statement(
    account: str,
    first: Annotated[datetime, typer.Option("--from", formats=DAY, help="First UTC day.")],
    last: Annotated[datetime, typer.Option("--to", formats=DAY, help="Last UTC day.")],
    entries: Annotated[bool, typer.Option("--entries", help="Every entry, not a sum per day.")] = False,
) -> None:
    """Print ACCOUNT's statement as CSV: credits per day and resource between two balances."""
    days = {"first": first.date(), "last": last.date()}
    with reading() as session:
        if entries:
            text = statements.entries_csv(session, slug=account, **days)
        else:
            text = statements.as_csv(statements.of_account(session, slug=account, **days))
    typer.echo(text, nl=False)


@app.command("import-grants")
def import_grants(
    file: Annotated[Path, typer.Argument(help="CSV: number, email, ends_on and perhaps credits.")],
) -> None:
    """Keep a list of grants approved elsewhere: their holders' Research requests are awarded at once."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"{file} can't be read as UTF-8 text: {error}")
    with writing() as session:
        kept = grants.import_list(session, grants.read_list(text), actor=_operator(), now=utc_now())
    typer.echo(f"{kept} grants kept")


@app.command()
def turn() -> None:
    """Do what the clock owes: requests' states, notices, Entry's renewal, lapses. Run it once a day."""
    settings = read_database_settings()
    with opened(settings) as database:
        policy = load_policy(settings.tiers_file)
        made = request_moves.turn_all(database, policy=policy, now=utc_now())
        made += offers.turn_all(database, now=utc_now()) + invitations.turn_all(database, now=utc_now())
        ended = events.turn_all(database, now=utc_now())
        ended += endings.turn_all(database, policy=policy, now=utc_now())
        with database.session_scope() as session:
            answers.forget_old(session, now=utc_now())
    typer.echo(f"{made} moves, {ended} allocations told of, renewed or lapsed")


@app.command()
def reconcile() -> None:
    """Read the hub's live servers once and bring every hold up to it; end with 1 when the hub is silent."""
    settings = read_settings()
    terms = metering.Terms(settings.metering_interval, settings.posting_interval, settings.hold_start_timeout)
    with (
        opened(settings) as database,
        HubClient(settings.hub_api_url, settings.hub_token.get_secret_value()) as hub,
    ):
        result = metering.run_round(database, hub, terms=terms, clock=utc_now)
        policy = load_policy(settings.tiers_file)
        enforced = enforcing.enforce(database, hub, terms=policy.enforcement, now=utc_now())
        pool.measure(database, policy.pool, now=utc_now())
        if not result.trouble:
            leases.collect(database, hub.every_server(), now=utc_now())
    done = asdict(result) | {"noticed": enforced.noticed, "stopped": enforced.stopped}
    typer.echo(", ".join(f"{name} {value}" for name, value in done.items()))
    if result.trouble:
        _fail(f"The hub's answer was not whole ({result.trouble}); nothing was ended.")


@app.command(context_settings=NEGATIVE_AMOUNTS)
def grant(account: str, credits: str, reason: Reason) -> None:  # noqa: A002 - the word people use
    """Add CREDITS to ACCOUNT."""
    _change(allocations.grant, account, credits, reason)


@app.command(context_settings=NEGATIVE_AMOUNTS)
def correct(account: str, credits: str, reason: Reason) -> None:  # noqa: A002 - the word people use
    """Repair ACCOUNT by CREDITS, which may be negative; what was entered stays."""
    _change(allocations.correct, account, credits, reason)


@app.command()
def transfer(source: str, target: str, credits: str, reason: Reason) -> None:  # noqa: A002 - the word people use
    """Move CREDITS from SOURCE to TARGET: a team and one of its members, either way."""
    with writing() as session:
        allocations.transfer(
            session, source=source, target=target, amount_micro=_micro(credits), reason=reason,
            actor=_operator(), now=utc_now(),
        )  # fmt: skip
    typer.echo(f"{credits} credits moved from {source} to {target}")


@app.command()
def suspend(hub_name: str, reason: Reason) -> None:
    """Refuse a person's sign-in and launches from now on; the service then ends servers and tokens."""
    with writing() as session:
        servers = suspensions.suspend(
            session, hub_name=hub_name, reason=reason, actor=_operator(), now=utc_now()
        )
    typer.echo(f"{hub_name} is suspended; {len(servers)} servers to stop")


@app.command()
def reinstate(hub_name: str) -> None:
    """Let a suspended person sign in and launch again."""
    with writing() as session:
        suspensions.reinstate(session, hub_name=hub_name, actor=_operator(), now=utc_now())
    typer.echo(f"{hub_name} may launch again")


@app.command("hold-launches")
def hold_launches(
    message: Annotated[str, typer.Argument(help="What people read who would start a server.")],
    minutes: Annotated[int | None, typer.Option(min=1, help="Let them through again then.")] = None,
) -> None:
    """Hold new launches for maintenance; running servers go on."""
    until = None if minutes is None else utc_now() + timedelta(minutes=minutes)
    with writing() as session:
        maintenance.hold(session, message=message, until=until, actor=_operator(), now=utc_now())
    typer.echo(f"launches are held {f'until {until:%Y-%m-%d %H:%M} UTC' if until else 'until lifted'}")


@app.command("let-launches")
def let_launches() -> None:
    """Let launches through again."""
    with writing() as session:
        maintenance.lift(session, actor=_operator(), now=utc_now())
    typer.echo("launches go through")


@team_app.command("create")
def team_create(
    slug: str,
    label: Annotated[str, typer.Option(help="The name people read.")],
    tier: Annotated[TierSlug, typer.Option(help="What the team may use.")] = TierSlug.TEAM,
) -> None:
    """Make a team with its account, allocation and gid."""
    settings = read_database_settings()
    policy = load_policy(settings.tiers_file)
    with writing(settings) as session:
        team = teams.create(
            session, policy=policy, slug=slug, label=label, tier=tier, actor=_operator(), now=utc_now()
        )
        typer.echo(f"team {team.slug} with gid {team.gid}")


@team_app.command("add")
def team_add(
    team: str, hub_name: str, role: Annotated[Role, typer.Option(help="In the team.")] = Role.MEMBER
) -> None:
    """Let a person join a team, or change their role in it."""
    with writing() as session:
        teams.add_member(session, team=team, hub_name=hub_name, role=role, now=utc_now())
    typer.echo(f"{hub_name} is {role} of {team}")


@team_app.command("show")
def team_show(team: str) -> None:
    """Print who is in TEAM, their parts and what each took, and who is invited."""
    with reading() as session:
        found = team_reading.operators_page(session, slug=team, now=utc_now())
    typer.echo(f"{found.label}: {shown(found.account.sums.available_micro)} credits available")
    for row in found.members:
        part = f"{row.part.kind} {shown(row.part.amount_micro)}" if row.part else "no part"
        words = [
            row.hub_name,
            row.role or "left",
            row.subgroup or "-",
            part,
            f"took {shown(row.taken_micro)}",
        ]
        typer.echo("\t".join(words))
    for group in found.groups:
        part = f"{group.part.kind} {shown(group.part.amount_micro)}" if group.part else "no part"
        typer.echo(f"{group.label}\tsub-group of {group.members}\t{part}")
    for invitation in found.invitations:
        typer.echo(f"{invitation.whom}\tinvited as {invitation.role}\tuntil {invitation.expires_at.date()}")


@team_app.command("invite")
def team_invite(
    team: str,
    whom: Annotated[str, typer.Argument(help="A hub name or an e-mail address.")],
    role: Annotated[Role, typer.Option(help="Member or manager.")] = Role.MEMBER,
) -> None:
    """Invite somebody; they find it in the portal and answer it there."""
    settings = read_database_settings()
    policy = load_policy(settings.tiers_file)
    with writing(settings) as session:
        invitations.invite(session, policy=policy, team=team, whom=whom, role=role, by=None, now=utc_now())
    typer.echo(f"{whom} is invited to {team}")


@team_app.command("remove")
def team_remove(team: str, hub_name: str, reason: Reason) -> None:
    """Take a person out of TEAM; the service stops what they run on its credits within a metering round."""
    with writing() as session:
        servers = memberships.remove(
            session, team=team, member=hub_name, reason=reason, by=None, now=utc_now()
        )
    typer.echo(f"{hub_name} is no longer in {team}; {len(servers)} servers to stop")


@team_app.command("lead")
def team_lead(team: str, hub_name: str) -> None:
    """Hand TEAM over to one of its members; its lead becomes a manager."""
    with writing() as session:
        memberships.hand_over(session, team=team, to=hub_name, by=None, now=utc_now())
    typer.echo(f"{hub_name} leads {team}")


@team_app.command("group")
def team_group(team: str, label: str, hub_names: list[str]) -> None:
    """Put members into the sub-group LABEL of TEAM, which is made when it is not there."""
    with writing() as session:
        try:
            subgroup_id = shares.subgroup_called(session, team=team, label=label)
        except UnknownSubgroup:
            subgroup_id = shares.make_subgroup(session, team=team, label=label, by=None, now=utc_now()).id
        for hub_name in hub_names:
            shares.group(session, team=team, member=hub_name, subgroup_id=subgroup_id, by=None, now=utc_now())
    typer.echo(f"{', '.join(hub_names)} in {label}")


@team_app.command("share")
def team_share(
    team: str,
    *,
    member: Annotated[str | None, typer.Option(help="Whose part: a hub name.")] = None,
    group: Annotated[str | None, typer.Option(help="Or which sub-group's.")] = None,
    cap: Annotated[str | None, typer.Option(help="At most so many credits.")] = None,
    fair: Annotated[str | None, typer.Option(help="So many kept while they use them.")] = None,
) -> None:
    """Give a member or a sub-group a part of TEAM's credits; without --cap or --fair take it away."""
    if (member is None) == (group is None) or (cap is not None and fair is not None):
        _fail("Name one holder, --member or --group, and one part at most, --cap or --fair.")
    amount = cap if fair is None else fair
    with writing() as session:
        holder = shares.Holder(
            member, shares.subgroup_called(session, team=team, label=group) if group is not None else None
        )
        if amount is None:
            shares.lift_share(session, team=team, holder=holder, by=None, now=utc_now())
        else:
            kind = ShareKind.CAP if fair is None else ShareKind.FAIR
            shares.set_share(
                session,
                team=team,
                holder=holder,
                kind=kind,
                amount_micro=_micro(amount),
                by=None,
                now=utc_now(),
            )
    typer.echo(f"{member or group}: {'no part' if amount is None else amount + ' credits'}")


def _change(act: Callable[..., object], account: str, amount: str, reason: str) -> None:
    with writing() as session:
        act(
            session,
            account=account,
            amount_micro=_micro(amount),
            reason=reason,
            actor=_operator(),
            now=utc_now(),
        )
    typer.echo(f"{account}: {amount} credits entered")


def _sightings() -> list[Sighting]:
    settings = read_settings()
    with HubClient(settings.hub_api_url, settings.hub_token.get_secret_value()) as hub:
        return hub.active_servers()


def _micro(amount: str) -> int:
    must_be = "a number of credits with at most six decimals"
    try:
        micro = Decimal(amount) * MICRO
    except InvalidOperation as error:
        raise BadAmount(amount=amount[:40], must_be=must_be) from error
    if not micro.is_finite() or micro != micro.to_integral_value():
        raise BadAmount(amount=amount[:40], must_be=must_be)
    return int(micro)


def _operator() -> str:
    return f"operator {getpass.getuser()}"


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise SystemExit(1)
