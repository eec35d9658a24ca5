"""`nexus-allocator storage snapshot`: daily snapshots, what they hold, and files brought back from one."""

from typing import Annotated

import typer

from nexus_allocator.cli_database import opened, utc_now
from nexus_allocator.cli_storage import Where, Yes, in_gb, parts_of, volume_here
from nexus_allocator.config import read_database_settings, read_storage_settings
from nexus_allocator.domain.places import Place
from nexus_allocator.policy import load_policy
from nexus_allocator.services import snapshot_asks, snapshots

snapshot_app = typer.Typer(no_args_is_help=True, help="Snapshots of homes and team folders.")


@snapshot_app.command("turn")
def turn(yes: Yes = False) -> None:
    """Take the day's snapshots and drop those whose time is over; run it daily. Off until switched on."""
    terms, problems = load_policy(read_database_settings().tiers_file).snapshots, 0
    if not terms.enabled:
        typer.echo("snapshots are not switched on: see snapshots in tiers.yaml")
        return
    root, volume = read_storage_settings().root, volume_here()
    with opened() as database:
        for done in snapshots.turn(volume, root, terms, now=utc_now(), apply=yes):
            problems += done.problem is not None
            dropped = f", dropped {', '.join(done.dropped)}" if done.dropped else ""
            did = f"taken {done.taken or 'before'}{dropped}"
            typer.echo(f"{done.place}\t{done.problem or did}")
            if yes:
                with database.session_scope() as session:
                    names = [each.name for each in volume.snapshots(done.place)]
                    snapshot_asks.keep_seen(session, done.place, names, now=utc_now())
    if not yes:
        typer.echo("nothing was done (see --yes)")
    if problems:
        raise typer.Exit(1)


@snapshot_app.command("list")
def list_snapshots(place: Where) -> None:
    """Print a place's snapshots, and the space that they alone keep."""
    volume, where = volume_here(), Place.named(place)
    for each in volume.snapshots(where):
        typer.echo(each.name)
    typer.echo(f"{in_gb(volume.usage(where).snapshot_bytes)} are kept by them alone")


@snapshot_app.command("restore")
def restore(
    place: Where,
    day: Annotated[str, typer.Argument(help="As `list` prints it.")],
    path: Annotated[str, typer.Argument(help="A file or folder below the place; '.' for all of it.")],
) -> None:
    """Bring back a file, a folder or a whole place as it was; nothing that is there is written over."""
    done = snapshots.restore(volume_here(), Place.named(place), day, parts_of(path))
    typer.echo(
        f"{done.files:,} files brought back, {done.beside:,} of them as NAME.of-{day} beside what has their "
        f"name; {done.as_they_were:,} were as they were"
    )
