"""`nexus-allocator announce`: a message that everybody reads in portal, launch page and JupyterLab."""

import getpass
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer

from nexus_allocator.config import read_database_settings
from nexus_allocator.domain.care import Level
from nexus_allocator.services import announcements
from nexus_allocator.store.session import Database

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
    database = Database(read_database_settings().database_url, threads=1)
    try:
        with database.session_scope() as session:
            made = announcements.announce(
                session, level=level, text=text, starts_at=starts.replace(tzinfo=UTC) if starts else now,
                ends_at=until.replace(tzinfo=UTC), actor=_operator(), now=now,
            )  # fmt: skip
    finally:
        database.dispose()
    typer.echo(str(made))


@announce_app.command("withdraw")
def withdraw(announcement_id: UUID) -> None:
    """Show it no more."""
    database = Database(read_database_settings().database_url, threads=1)
    try:
        with database.session_scope() as session:
            announcements.withdraw(session, announcement_id, actor=_operator(), now=datetime.now(UTC))
    finally:
        database.dispose()
    typer.echo("withdrawn")


def _operator() -> str:
    return f"operator {getpass.getuser()}"
