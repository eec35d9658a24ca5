"""`nexus-allocator storage`: scans, usage, quotas and exemptions; purges are in `cli_purges`."""

import getpass
import os
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from nexus_allocator.carriers import volume_at
from nexus_allocator.cli_database import opened, reading, utc_now, writing
from nexus_allocator.clients.files.handles import Parts
from nexus_allocator.clients.files.volumes import Volume, places_on
from nexus_allocator.config import read_storage_settings
from nexus_allocator.domain.errors import UnknownPlace
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.purges import readable
from nexus_allocator.services import storage

storage_app = typer.Typer(
    no_args_is_help=True, help="Homes, team folders and scratch: scans, quotas, purges."
)

DAY = ["%Y-%m-%d"]
GB = 10**9
MOST_SHOWN = 20
Where = Annotated[str, typer.Argument(help="homes/NAME, teams/NAME or scratch/NAME.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without, only what would be done is printed.")]


@storage_app.command("usage")
def usage(place: Where) -> None:
    """Print what a place takes, of that in quarantine and snapshots, and its limit."""
    found = volume_here().usage(Place.named(place))
    limit = (
        "no limit"
        if found.limit_bytes is None
        else f"limit {in_gb(found.limit_bytes)}, {found.percent} % used"
    )
    typer.echo(
        f"{place}: {in_gb(found.used_bytes)}, of these {in_gb(found.quarantined_bytes)} in quarantine "
        f"(not charged); snapshots {in_gb(found.snapshot_bytes)}; {limit}"
    )


@storage_app.command("quota")
def quota(
    place: Where, gb: Annotated[float, typer.Argument(min=0, help="The hard limit.")], yes: Yes = False
) -> None:
    """Set a place's hard limit; what is there already stays."""
    volume, limit = volume_here(), round(gb * GB)
    used = volume.usage(Place.named(place)).used_bytes
    holds = "the kernel refuses what is beyond" if volume.holds.limit else "this volume only remembers it"
    typer.echo(f"{place}: {in_gb(used)} used, limit {in_gb(limit)}; {holds}")
    if yes:
        volume.set_quota(Place.named(place), limit)
    else:
        typer.echo("nothing was done (see --yes)")


@storage_app.command("warn")
def warn() -> None:
    """Tell the people of places that are 80, 90 or 100 % full, each mark once a month; run it daily."""
    settings, volume = read_storage_settings(), volume_here()
    with opened() as database:
        for place in places_on(settings.root):
            found = volume.usage(place)
            try:
                with database.session_scope() as session:
                    mark = storage.warn(session, place, found, enforced=volume.holds.limit, now=utc_now())
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
        f"{found.entries:,} files in {found.folders:,} folders, {in_gb(found.own_bytes)}; "
        f"{found.folders_read:,} folders read, {found.unreadable} unreadable"
    )
    table = scanner.folders(index)
    top = table["id"].to_numpy()[table["parent"].to_numpy() == scanner.NO_PARENT]
    below = scanner.bytes_below(table)
    rows = [row for row in range(len(table)) if table["parent"][row].as_py() in top]
    for row in sorted(rows, key=lambda each: -below[each])[:MOST_SHOWN]:
        typer.echo(f"{in_gb(int(below[row]))}\t{readable((table['name'][row].as_py(),))}")


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
            session, Place.named(place), parts_of(path), until=until.replace(tzinfo=UTC), reason=reason,
            by=operator(), now=utc_now(),
        )  # fmt: skip
    typer.echo(f"exemption {made}")


@storage_app.command("exemptions")
def exemptions(place: Where) -> None:
    """Print what of a place is exempt now."""
    with reading() as session:
        for number, each in storage.exemptions(session, Place.named(place), now=utc_now()):
            typer.echo(f"{number}\t{readable(each.path)}\tuntil {each.until:%Y-%m-%d}\t{each.reason}")


@storage_app.command("end-exemption")
def end_exemption(exemption: uuid.UUID, yes: Yes = False) -> None:
    """End an exemption before its date: from then on a purge may take what it kept."""
    with reading() as session:
        place, kept = storage.exemption(session, exemption)
    typer.echo(f"{readable(kept.path)} in {place}, kept until {kept.until:%Y-%m-%d}: {kept.reason}")
    if not yes:
        typer.echo("nothing was done (see --yes)")
        return
    with writing() as session:
        storage.end_exemption(session, exemption, by=operator(), now=utc_now())
    typer.echo("ended")


def volume_here() -> Volume:
    return volume_at(read_storage_settings().mount)


def parts_of(path: str) -> Parts:
    return tuple(name for name in os.fsencode(path).split(b"/") if name not in (b"", b"."))


def in_gb(size_bytes: int) -> str:
    return f"{size_bytes / GB:.3f} GB"


def operator() -> str:
    return f"operator {getpass.getuser()}"
