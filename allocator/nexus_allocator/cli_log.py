"""`nexus-allocator log`: the decisions and changes that match, as CSV or as lines of JSON."""

import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from nexus_allocator.cli_database import reading
from nexus_allocator.domain.records import About, Act, ActorKind
from nexus_allocator.services import record_reading
from nexus_allocator.store.records import Wanted

DAY = ["%Y-%m-%d"]


class Form(StrEnum):
    CSV = "csv"
    JSON = "json"


def log(
    *,
    text: Annotated[str, typer.Option(help="In the reason, the facts or the act; or an id.")] = "",
    who: Annotated[str, typer.Option(help="By or about this person: a hub name.")] = "",
    act: Annotated[Act | None, typer.Option(help="Only this act.")] = None,
    about: Annotated[About | None, typer.Option(help="Only what is about this.")] = None,
    actor: Annotated[ActorKind | None, typer.Option(help="Only what was done so.")] = None,
    first: Annotated[datetime | None, typer.Option("--from", formats=DAY, help="First UTC day.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=DAY, help="Last UTC day.")] = None,
    form: Annotated[Form, typer.Option(help="CSV, or an object of JSON a line.")] = Form.CSV,
) -> None:
    """Print decisions and changes in the order they happened: who, when, what, on what, why."""
    wanted = Wanted(
        text=text, who=who, act=act, about=about, actor=actor,
        since=first.replace(tzinfo=UTC) if first else None,
        until=last.replace(tzinfo=UTC) + timedelta(days=1) if last else None,
    )  # fmt: skip
    make = record_reading.as_csv if form is Form.CSV else record_reading.as_json_lines
    with reading() as session:
        for chunk in make(session, wanted):
            sys.stdout.write(chunk)
