"""`nexus-allocator storage list|size|settle|close-volume`: which places there are, and how large."""

from typing import Annotated

import typer

from nexus_allocator import cli_storage
from nexus_allocator.cli_storage import Where
from nexus_allocator.config import read_database_settings
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.quotas import GB
from nexus_allocator.policy import load_policy
from nexus_allocator.services import places
from nexus_allocator.store import places as rows

places_app = typer.Typer()


@places_app.command("list")
def list_places() -> None:
    """Print all places: volume, what was last found, limit, and whether the volume has them so."""
    with cli_storage._database() as found, found.reading_scope() as session:
        every = rows.every(session)
        usage = rows.latest_usage(session, [row.id for row in every])
        for row in every:
            used = usage.get(row.id)
            held = "not looked at" if used is None else f"{used.used_bytes / GB:.3f} GB"
            limit = "no limit" if row.hard_bytes is None else f"of {row.hard_bytes / GB:g} GB"
            made = row.made_at is not None and row.applied_bytes == row.limit_bytes
            done = "as ordered" if made else "waits for its volume"
            typer.echo(f"{row.place}\t{row.volume or 'no volume'}\t{held} {limit}\t{done}")


@places_app.command("size")
def size(
    place: Where,
    gb: Annotated[float, typer.Argument(min=0, help="The hard limit until the next award.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept.")],
) -> None:
    """Give a place another size than its tier's, until the next award; its volume is asked by the outbox."""
    with cli_storage._database() as found, found.session_scope() as session:
        places.set_size(
            session, cli_storage._place(place), round(gb * GB), policy=_policy(), reason=reason,
            by=cli_storage._operator(), now=cli_storage._now(),
        )  # fmt: skip
    typer.echo(f"{place}: {gb:g} GB")


@places_app.command("settle")
def settle() -> None:
    """Open places that are missing, and order again what a volume was not seen to have done; run it daily."""
    with cli_storage._database() as found:
        touched = places.settle_all(found, policy=_policy(), now=cli_storage._now())
    typer.echo(f"{touched} places opened or ordered")


@places_app.command("close-volume")
def close_volume(name: str) -> None:
    """Let a volume take no more places; those on it stay."""
    with cli_storage._database() as found, found.session_scope() as session:
        places.close_volume(session, name, by=cli_storage._operator(), now=cli_storage._now())
    typer.echo("closed")


def _policy() -> Policy:
    return load_policy(read_database_settings().tiers_file)
