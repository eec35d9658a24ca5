"""`nexus-allocator announce`: a message that everybody reads in portal, launch page and JupyterLab."""

import getpass
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer

from nexus_allocator.cli_database import writing
from nexus_allocator.domain.care import Level
from nexus_allocator.services import announcements

announce_app = typer.Typer(no_args_is_help=True, help="What everybody reads between two moments.")
MOMENT = ["%Y-%m-%dT%H:%M", "%Y-%m-%d"]


@announce_app.command("add")
def add(
    text: str,
    *,
    until: Annotated[datetime, typer.Option(formats=MOMENT, help="In UTC.")],
    starts: Annotated[
        datetime | None, typer.Option("--from", formats=MOMENT, help="In UTC; else now.")
    ] = None,
    level: Annotated[Level, typer.Option(help="How loudly it speaks.")] = Level.INFO,
) -> None:
    """Announce TEXT and print its id."""
    now = datetime.now(UTC)
    with writing() as session:
        made = announcements.announce(
            session, level=level, text=text, starts_at=starts.replace(tzinfo=UTC) if starts else now,
            ends_at=until.replace(tzinfo=UTC), actor=_operator(), now=now,
        )  # fmt: skip
    typer.echo(str(made))


@announce_app.command("withdraw")
def withdraw(announcement_id: UUID) -> None:
    """Show it no more."""
    with writing() as session:
        announcements.withdraw(session, announcement_id, actor=_operator(), now=datetime.now(UTC))
    typer.echo("withdrawn")


def _operator() -> str:
    return f"operator {getpass.getuser()}"
