"""`storage list|scratch|growth|size|settle|measure|charge|objects|close-volume`: places and their cost."""

from datetime import datetime
from typing import Annotated

import typer

from nexus_allocator import cli_storage
from nexus_allocator.cli_database import opened, reading, utc_now, writing
from nexus_allocator.cli_storage import MOST_SHOWN, Where, Yes
from nexus_allocator.clients.objects.bucket import Bucket
from nexus_allocator.clients.objects.credentials import ACCOUNTS
from nexus_allocator.config import read_database_settings, read_storage_settings
from nexus_allocator.domain.credits import shown
from nexus_allocator.domain.places import Place
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.quotas import GB, MONTH_DAYS
from nexus_allocator.policy import load_policy
from nexus_allocator.services import place_looks, places, scratch, storage_charges, storage_reading
from nexus_allocator.services.storage_reading import PlaceReading
from nexus_allocator.store import accounts
from nexus_allocator.store import places as rows
from nexus_allocator.store.places_tables import PlaceUsage

places_app = typer.Typer()


@places_app.command("list")
def list_places() -> None:
    """Print all places: volume, what was last found, limit, and whether the volume has them so."""
    with reading() as session:
        every = rows.every(session)
        usage = rows.latest_usage(session, [row.id for row in every])
        for row in every:
            held = _used(usage.get(row.id))
            limit = "no limit" if row.hard_bytes is None else f"of {_limit(row.hard_bytes)}"
            made = row.made_at is not None and row.applied_bytes == row.limit_bytes
            done = "as ordered" if made else "waits for its volume"
            typer.echo(f"{row.place}\t{row.volume or 'no volume'}\t{held} {limit}\t{done}")


@places_app.command("scratch")
def list_scratch() -> None:
    """Print all scratch: who pays, what it holds of its size, when its lease ends or ended, what it cost."""
    with reading() as session:
        found = storage_reading.every_place(session, policy=_policy(), now=utc_now())
    for each in sorted((each for each in found if each.ends_at is not None), key=_ends_at):
        lease = f"{'ended' if each.ended_at else 'ends'} on {_ends_at(each):%Y-%m-%d}"
        paid = f"{shown(each.paid_micro)} credits in {MONTH_DAYS} days"
        size = f"{each.used_bytes / GB:.3f} of {_limit(each.hard_bytes)}"
        typer.echo(f"{each.place}\t{each.account}\t{size}\t{lease}\t{paid}")


@places_app.command("growth")
def growth(
    most: Annotated[int, typer.Option(min=1, help="Print so many places.")] = MOST_SHOWN,
) -> None:
    """Print which places grew most in 30 days, and what all together hold and cost a month."""
    with reading() as session:
        found = storage_reading.every_place(session, policy=_policy(), now=utc_now())
    for each in sorted(found, key=lambda each: -each.grown_bytes)[:most]:
        grown, used = each.grown_bytes / GB, each.used_bytes / GB
        typer.echo(f"{each.place}\t{grown:+.3f} GB\t{used:.3f} GB\t{shown(each.month_micro)} credits a month")
    grown, used = (sum(getattr(each, name) for each in found) / GB for name in ("grown_bytes", "used_bytes"))
    month = sum(each.month_micro for each in found)
    typer.echo(f"all {len(found)}\t{grown:+.3f} GB\t{used:.3f} GB\t{shown(month)} credits a month")


@places_app.command("size")
def size(
    place: Where,
    gb: Annotated[float, typer.Argument(min=0, help="The hard limit until the next award.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept.")],
    yes: Yes = False,
) -> None:
    """Give a place another size than its tier's, until the next award; its volume is asked by the outbox."""
    with reading() as session:
        row = places.called(session, Place.named(place))
        used = _used(rows.latest_usage(session, [row.id]).get(row.id))
    typer.echo(f"{place}: {used}, may hold {_limit(row.hard_bytes)}, would {gb:g} GB")
    if not yes:
        typer.echo("nothing was done (see --yes)")
        return
    with writing() as session:
        places.set_size(
            session, Place.named(place), round(gb * GB), policy=_policy(), reason=reason,
            by=cli_storage.operator(), now=utc_now(),
        )  # fmt: skip
    typer.echo(f"{place}: {gb:g} GB")


@places_app.command("settle")
def settle() -> None:
    """Open missing places, order what a volume was not seen to have done, end leases; run it daily."""
    with opened() as found:
        ended = scratch.turn_all(found, policy=_policy(), now=utc_now())
        touched = places.settle_all(found, policy=_policy(), now=utc_now())
    typer.echo(f"{touched} places opened or ordered, {ended} leases of scratch told of or ended")


@places_app.command("measure")
def measure(
    *, threads: Annotated[int, typer.Option(min=1, max=256, help="More pays off on network storage.")] = 2
) -> None:
    """Look what each place of this volume holds, tell its people as it fills; run it daily."""
    settings = read_storage_settings()
    with opened() as found:
        looked = place_looks.look_at_all(
            found, cli_storage.volume_here(), settings.volume, indices=settings.records / "indices",
            terms=_policy().storage, threads=threads, clock=utc_now,
        )  # fmt: skip
    typer.echo(f"{looked.places} places looked at, {looked.overfull} over their soft limit")
    for place, problem in looked.failed:
        typer.echo(f"{place}: {problem}", err=True)
    if looked.failed:
        raise typer.Exit(1)


@places_app.command("charge")
def charge() -> None:
    """Charge the days that are over for what the places held; run it daily, after `measure`."""
    with opened() as found:
        total = storage_charges.charge_all(found, card=_policy().rate_card, now=utc_now())
    typer.echo(f"{shown(total)} credits charged")


@places_app.command("objects")
def objects(
    bucket: Annotated[str, typer.Option(envvar="NEXUS_STORE_BUCKET", help="The bucket of accounts.")],
) -> None:
    """Print what each account's prefix of the object store holds, the largest first; lists every object."""
    found = Bucket(bucket).held_below(ACCOUNTS)
    with reading() as session:
        known = {account.slug for account in accounts.by_slugs(session, list(found))}
    for name, held in sorted(found.items(), key=lambda each: each[1].size_bytes, reverse=True):
        whose = "" if name in known else "\tno account of this name"
        typer.echo(f"{name}\t{held.size_bytes / GB:.3f} GB\t{held.objects:,} objects{whose}")


@places_app.command("close-volume")
def close_volume(name: str) -> None:
    """Let a volume take no more places; those on it stay."""
    with writing() as session:
        places.close_volume(session, name, by=cli_storage.operator(), now=utc_now())
    typer.echo("closed")


def _used(usage: PlaceUsage | None) -> str:
    return "not looked at" if usage is None else f"{usage.used_bytes / GB:.3f} GB"


def _limit(limit_bytes: int | None) -> str:
    return "any amount" if limit_bytes is None else f"{limit_bytes / GB:g} GB"


def _ends_at(scratch_place: PlaceReading) -> datetime:
    assert scratch_place.ends_at is not None  # noqa: S101 - a scratch has an end
    return scratch_place.ends_at


def _policy() -> Policy:
    return load_policy(read_database_settings().tiers_file)
