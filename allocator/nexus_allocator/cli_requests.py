"""`nexus-allocator request`: what waits for a decision, and deciding it in an administrator's name."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated
from uuid import UUID

import typer

from nexus_allocator.cli_database import reading, utc_now, writing
from nexus_allocator.config import read_database_settings
from nexus_allocator.domain.credits import MICRO, shown
from nexus_allocator.domain.errors import BadAmount
from nexus_allocator.policy import load_policy
from nexus_allocator.services import decisions, offers, panels, portal_lists, rights
from nexus_allocator.services.portal_lists import RequestRow

request_app = typer.Typer(no_args_is_help=True, help="Requests for more, and what is answered.")
DAY = ["%Y-%m-%d"]
As = Annotated[
    str, typer.Option("--as", help="The administrator who decides: their name stands at the decision.")
]
Reason = Annotated[str, typer.Option("--reason", help="The applicant reads it.")]
Last = Annotated[
    datetime | None, typer.Option("--to", formats=DAY, help="The last UTC day; as the tier states.")
]
Note = Annotated[str | None, typer.Option(help="The applicant reads it.")]
Bypass = Annotated[str | None, typer.Option(help="Why, where too few of the panel's reviews are in.")]


@request_app.command("list")
def show_all(
    decided: Annotated[bool, typer.Option("--decided", help="The last decisions instead.")] = False,
) -> None:
    """Print the requests that wait, the longest waiting first."""
    with reading() as session:
        rows = portal_lists.decided_requests(session) if decided else portal_lists.waiting_requests(session)
    for row in rows:
        typer.echo("\t".join(_words(row)))


@request_app.command("show")
def show(request_id: UUID) -> None:
    """Print one request, its moves, and the account as it stands."""
    with reading() as session:
        row, account = portal_lists.request(session, request_id=request_id, now=utc_now())
    typer.echo("\t".join(_words(row)))
    typer.echo(f"{account.label}: {shown(account.sums.available_micro)} credits available")
    typer.echo(row.justification)
    for move in row.history:
        typer.echo(
            "\t".join([f"{move.at:%Y-%m-%d %H:%M}", move.after, move.by or "nexus", move.reason or ""])
        )


@request_app.command("review")
def review(request_id: UUID, administrator: As) -> None:
    """Take a request into review."""
    _decide(administrator, request_id, decisions.review)


@request_app.command("award")
def award(
    request_id: UUID,
    administrator: As,
    *,
    credits: Annotated[str | None, typer.Option(help="As the tier states, unless given.")] = None,  # noqa: A002
    last: Last = None,
    note: Note = None,
    bypass: Bypass = None,
) -> None:
    """Say yes, in whole or in part: the credits are granted at once."""
    policy = load_policy(read_database_settings().tiers_file)
    given = replace(_given(credits, last, note), bypass=bypass)
    _decide(administrator, request_id, decisions.award, policy=policy, award=given)


@request_app.command("deny")
def deny(request_id: UUID, administrator: As, reason: Reason) -> None:
    """Say no, with a reason."""
    _decide(administrator, request_id, decisions.deny, reason=reason)


@request_app.command("return")
def send_back(request_id: UUID, administrator: As, reason: Reason) -> None:
    """Return a request to be revised."""
    _decide(administrator, request_id, decisions.send_back, reason=reason)


@request_app.command("offer")
def offer(
    request_id: UUID,
    administrator: As,
    credits: str,  # noqa: A002 - the word people use
    *,
    last: Last = None,
    note: Note = None,
    bypass: Bypass = None,
) -> None:
    """Offer other terms than were asked for; the applicant accepts or declines them."""
    policy = load_policy(read_database_settings().tiers_file)
    given = replace(_given(credits, last, note), bypass=bypass)
    _decide(administrator, request_id, offers.make, policy=policy, award=given)


@request_app.command("take-back")
def take_back(request_id: UUID, administrator: As, reason: Reason) -> None:
    """Take an offer back: the request is to be decided again."""
    _decide(administrator, request_id, offers.take_back, reason=reason)


@request_app.command("refer")
def refer(
    request_id: UUID, administrator: As, reason: Annotated[str, typer.Option(help="Reviewers read it.")]
) -> None:
    """Bring a request before the panel whose tier does not ask for that."""
    _decide(administrator, request_id, panels.refer, reason=reason)


@request_app.command("place")
def place(request_id: UUID, administrator: As, round_id: UUID) -> None:
    """Put a request into a round of the panel, or into another."""
    _decide(administrator, request_id, panels.place, round_id=round_id)


def _given(credits: str | None, last: datetime | None, note: str | None) -> decisions.Award:  # noqa: A002
    ends = last.replace(tzinfo=UTC) + timedelta(days=1) if last else None
    return decisions.Award(_micro(credits), None, ends, note)


def _decide(administrator: str, request_id: UUID, decide: Callable[..., object], **said: object) -> None:
    """Do to a request what an administrator decided, and print its state then."""
    with writing() as session:
        who = rights.person_called(session, administrator).id
        decide(session, request_id=request_id, administrator_id=who, now=utc_now(), **said)
        session.flush()
        state = portal_lists.request(session, request_id=request_id, now=utc_now())[0].state
    typer.echo(f"request {request_id} is {state}")


def _words(row: RequestRow) -> list[str]:
    asked = "" if row.asked_micro is None else f"asks for about {shown(row.asked_micro)} credits"
    return [
        str(row.id),
        f"{row.submitted_at:%Y-%m-%d}",
        row.hub_name,
        row.account,
        row.tier,
        row.state,
        asked,
    ]


def _micro(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        micro = Decimal(text) * MICRO
    except InvalidOperation as error:
        raise BadAmount(amount=text[:20], must_be="a number of credits") from error
    if not micro.is_finite() or micro != micro.to_integral_value():
        raise BadAmount(amount=text[:20], must_be="a number of credits with at most six decimals")
    return int(micro)
