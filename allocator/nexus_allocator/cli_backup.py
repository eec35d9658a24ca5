"""`nexus-allocator backup` and `restore`: the whole state into a folder, and back into what is empty."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from nexus_allocator.cli_database import utc_now
from nexus_allocator.clients.backup_folder import BackupFolder, finished
from nexus_allocator.config import read_database_settings
from nexus_allocator.domain.backups import KEPT_ELSEWHERE
from nexus_allocator.domain.errors import BadBackup
from nexus_allocator.services import backups

HubDatabase = Annotated[
    str | None,
    typer.Option("--hub-database", envvar="NEXUS_HUB_DATABASE_URL", help="SQLAlchemy's URL of the hub's."),
]
Seals = Annotated[Path | None, typer.Option("--seals", help="The folder of the ledger's seals.")]
Records = Annotated[
    Path | None,
    typer.Option("--records", envvar="NEXUS_STORAGE_RECORDS", help="Plans of purges and their logs."),
]


def backup(
    to: Annotated[Path, typer.Argument(help="Where backups are kept; each is a new folder there.")],
    *,
    hub_database: HubDatabase = None,
    seals: Seals = None,
    records: Records = None,
    objects: Annotated[
        list[str] | None, typer.Option("--objects", help="s3://BUCKET/PREFIX to be copied; may be repeated.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, help="Remove older backups there, all but so many.")
    ] = None,
) -> None:
    """Write the state of service and hub, while both run, into a new folder in TO."""
    folder = BackupFolder(to / f"{utc_now():%Y-%m-%dT%H-%M-%SZ}")
    state = _state(hub_database, seals, records)
    made = backups.make(folder, state, prefixes=tuple(objects or ()), clock=utc_now)
    for file in made.manifest.files:
        if not file.path.startswith("objects/"):
            typer.echo(f"{file.size_bytes:>14,} bytes  {file.path}")
    if objects:
        total = sum(each.size_bytes for each in made.manifest.objects)
        typer.echo(f"{total:>14,} bytes  {len(made.manifest.objects):,} objects")
    if hub_database is None:
        typer.echo("The hub's database is NOT in it: give --hub-database.")
    typer.echo(f"{folder.path}, manifest {made.digest}")
    typer.echo("What you keep elsewhere, for no backup holds it:")
    for each in KEPT_ELSEWHERE:
        typer.echo(f"- {each}")
    for old in finished(to)[:-keep] if keep is not None else ():
        shutil.rmtree(old)
        typer.echo(f"removed {old}")


def restore(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="The folder of one backup.")],
    *,
    hub_database: HubDatabase = None,
    seals: Seals = None,
    records: Records = None,
    bucket: Annotated[
        list[str] | None,
        typer.Option("--bucket", help="FROM=TO: objects of the bucket FROM go to TO; may be repeated."),
    ] = None,
    digest: Annotated[
        str | None, typer.Option("--digest", help="The manifest's digest, as the backup printed it.")
    ] = None,
) -> None:
    """Bring a backup back into empty databases, folders and prefixes; hub and service must not run."""
    folder = BackupFolder(source)
    if digest is not None and digest != folder.digest():
        raise BadBackup(problem="its manifest is not the one with this digest")
    restored = backups.restore(folder, _state(hub_database, seals, records, bucket))
    typer.echo(f"restored what was there at {restored.manifest.made_at}, schema {restored.schema}")
    for each in restored.left:
        typer.echo(f"NOT restored, nothing was said of where it goes: {each}")
    typer.echo("Start hub and service with the secrets they had. The service's first round then reconciles.")


def _state(
    hub_database: str | None, seals: Path | None, records: Path | None, buckets: list[str] | None = None
) -> backups.State:
    pairs = [each.partition("=") for each in buckets or ()]
    if any(not target for _, _, target in pairs):
        raise typer.BadParameter("--bucket wants FROM=TO")
    return backups.State(
        allocator_url=read_database_settings().database_url,
        hub_url=hub_database,
        folders={backups.SEALS: seals, backups.RECORDS: records},
        buckets={source: target for source, _, target in pairs},
    )
