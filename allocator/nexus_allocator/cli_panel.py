"""`nexus-allocator panel`: the operator's work on rounds and reviewers."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated
from uuid import UUID

import typer

from nexus_allocator.cli_database import reading, utc_now, writing
from nexus_allocator.config import read_database_settings
from nexus_allocator.domain.credits import MICRO, shown
from nexus_allocator.domain.errors import BadAmount
from nexus_allocator.domain.panel import Window
from nexus_allocator.domain.rights import Action
from nexus_allocator.policy import load_policy
from nexus_allocator.services import exports, panel_lists, panels, rights

panel_app = typer.Typer(no_args_is_help=True, help="The panel's rounds and reviewers.")

DAY = ["%Y-%m-%d"]
First = Annotated[datetime, typer.Option("--from", formats=DAY, help="First UTC day.")]
Last = Annotated[datetime, typer.Option("--to", formats=DAY, help="Last UTC day on which requests come in.")]
Due = Annotated[datetime, typer.Option("--due", formats=DAY, help="UTC day when reviews are due.")]
As = Annotated[str, typer.Option("--as", help="The administrator who looks.")]
Budget = Annotated[str | None, typer.Option(help="Credits it may award; shown, not enforced.")]


@panel_app.command("open")
def open_round(label: str, first: First, last: Last, *, due: Due, budget: Budget = None) -> None:
    """Make a round: requests sent between its days come into it."""
    with writing() as session:
        made = panels.make_round(
            session, _plan(label, first, last, due=due, budget=budget), by=None, now=utc_now()
        )
        typer.echo(f"{made.id}\t{made.label}")


@panel_app.command("change")
def change_round(
    round_id: UUID, label: str, first: First, last: Last, *, due: Due, budget: Budget = None
) -> None:
    """Give a round another name, days and budget; the requests in it stay."""
    with writing() as session:
        plan = _plan(label, first, last, due=due, budget=budget)
        changed = panels.change_round(session, round_id, plan, by=None, now=utc_now())
        typer.echo(f"{changed.id}\t{changed.label}")


@panel_app.command("rounds")
def rounds() -> None:
    """Print the rounds, the latest first: id, name, days, requests."""
    with reading() as session:
        for row, requests in panel_lists.rounds(session):
            days = " ".join(_last_day(moment) for moment in (row.closes_at, row.due_at))
            budget = "no budget" if row.budget_micro is None else f"{shown(row.budget_micro)} credits"
            words = [str(row.id), row.label, f"{row.opens_at.date()} {days}", f"{requests} requests", budget]
            typer.echo("\t".join(words))


@panel_app.command("reviewers")
def reviewers() -> None:
    """Print who reviews, since when, and how many requests each has reviewed."""
    with reading() as session:
        for row in panel_lists.reviewers(session):
            typer.echo(f"{row.hub_name}\tsince {row.since.date()}\t{row.reviews} requests reviewed")


@panel_app.command("appoint")
def appoint(hub_name: str) -> None:
    """Make a person a reviewer; they are told."""
    with writing() as session:
        panels.appoint(session, hub_name, by=None, now=utc_now())
    typer.echo(f"{hub_name} is a reviewer")


@panel_app.command("dismiss")
def dismiss(hub_name: str) -> None:
    """End a reviewer's term; their reviews stay and count."""
    with writing() as session:
        panels.dismiss(session, hub_name, by=None, now=utc_now())
    typer.echo(f"{hub_name} is no reviewer any more")


@panel_app.command("cases")
def cases(round_id: UUID, administrator: As) -> None:
    """Print the requests of a round as CSV, with their scores as far as the administrator may see them."""
    with reading() as session:
        viewer = rights.overseer(session, rights.person_called(session, administrator).id, Action.PANEL_SEE)
        told = exports.cases(session, round_id, viewer=viewer.id, now=utc_now())
        typer.echo("".join(told), nl=False)


@panel_app.command("reviews")
def reviews(round_id: UUID, administrator: As) -> None:
    """Print the reviews of a round's requests as CSV, as far as the administrator may see them."""
    policy = load_policy(read_database_settings().tiers_file)
    with reading() as session:
        viewer = rights.overseer(session, rights.person_called(session, administrator).id, Action.PANEL_SEE)
        told = exports.reviews(session, round_id, viewer=viewer.id, policy=policy, now=utc_now())
        typer.echo("".join(told), nl=False)


def _plan(
    label: str, first: datetime, last: datetime, *, due: datetime, budget: str | None
) -> panels.RoundPlan:
    day = timedelta(days=1)
    window = Window(_start(first.date()), _start(last.date() + day), _start(due.date() + day))
    return panels.RoundPlan(label, window, None if budget is None else _micro(budget))


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _last_day(moment: datetime) -> str:
    return (moment - timedelta(microseconds=1)).date().isoformat()


def _micro(amount: str) -> int:
    try:
        micro = Decimal(amount) * MICRO
        if micro == micro.to_integral_value():
            return int(micro)
    except (InvalidOperation, ValueError, OverflowError):
        pass
    raise BadAmount(amount=amount[:40], must_be="a number of credits with at most six decimals")
