"""`nexus-allocator event`: workshops with a join code, made, listed and ended from the command line."""

import getpass
import random
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from nexus_allocator.cli_database import reading, writing
from nexus_allocator.config import read_database_settings
from nexus_allocator.domain.credits import MICRO, shown
from nexus_allocator.domain.errors import BadAmount
from nexus_allocator.policy import load_policy
from nexus_allocator.services import events
from nexus_allocator.services.events import EventRow, Plan

event_app = typer.Typer(
    no_args_is_help=True, help="Workshops: credits between two moments, joined by a code."
)
MOMENT = ["%Y-%m-%dT%H:%M", "%Y-%m-%d"]


@event_app.command("create")
def create(
    label: Annotated[str, typer.Argument(help="The name people read.")],
    *,
    ends: Annotated[datetime, typer.Option(formats=MOMENT, help="End in UTC.")],
    starts: Annotated[
        datetime | None, typer.Option(formats=MOMENT, help="Beginning in UTC; else now.")
    ] = None,
    size: Annotated[list[str], typer.Option(help="A server size that may be started. Repeat it.")],
    people: Annotated[int, typer.Option(min=1, help="At most so many may join.")],
    per_person: Annotated[str | None, typer.Option(help="Credits for each who joins.")] = None,
    pool: Annotated[str | None, typer.Option(help="Or credits that all share.")] = None,
) -> None:
    """Make an event and print its join code."""
    settings = read_database_settings()
    now = datetime.now(UTC)
    plan = Plan(
        label=label, sizes=tuple(size), most_people=people, ends_at=ends.replace(tzinfo=UTC),
        starts_at=starts.replace(tzinfo=UTC) if starts else now, per_person_micro=_micro(per_person),
        pool_micro=_micro(pool),
    )  # fmt: skip
    with writing(settings) as session:
        made = events.make(
            session, plan, policy=load_policy(settings.tiers_file), actor=_operator(),
            rng=random.SystemRandom(), now=now,
        )  # fmt: skip
    typer.echo(f"{made.slug}: join with {made.code}")


@event_app.command("list")
def show() -> None:
    """Print the events, the latest to end first."""
    with reading() as session:
        for row in events.listing(session):
            typer.echo(_line(row))


@event_app.command("end")
def end(code: str, reason: Annotated[str, typer.Option("--reason", help="Why; kept in the log.")]) -> None:
    """End an event now; what runs goes on to its planned end, what was not used goes back."""
    with writing() as session:
        events.end(
            session, events.coded(session, code), actor=_operator(), reason=reason, now=datetime.now(UTC)
        )
    typer.echo(f"{code} has ended")


def _line(row: EventRow) -> str:
    each, pool = row.per_person_micro, row.pool_micro
    money = f"{shown(each)} each" if each is not None else f"{shown(pool or 0)} together"
    span = f"{row.starts_at:%Y-%m-%d %H:%M} to {row.ends_at:%Y-%m-%d %H:%M} UTC"
    return "\t".join([row.code, row.label, span, f"{row.people} of {row.most_people}", money])


def _micro(amount: str | None) -> int | None:
    if amount is None:
        return None
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
