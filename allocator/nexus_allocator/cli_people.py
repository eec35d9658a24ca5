"""`nexus-allocator person`: another name, two people who are one, erasure of personal data."""

import getpass
import random
from typing import Annotated

import typer

from nexus_allocator.cli_database import utc_now, writing
from nexus_allocator.domain.credits import shown
from nexus_allocator.services import erasure, identities

person_app = typer.Typer(no_args_is_help=True, help="Who somebody is: change, merge, erase.")
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the log for good, so name nobody.")]


@person_app.command("change")
def change(
    hub_name: str,
    *,
    reason: Reason,
    to: Annotated[str | None, typer.Option(help="Another hub name.")] = None,
    email: Annotated[str | None, typer.Option(help="Another e-mail address.")] = None,
) -> None:
    """Give a person another hub name or e-mail address; the home keeps its folder."""
    with writing() as session:
        person = identities.change(
            session, hub_name=hub_name, to=to, email=email, reason=reason, actor=_operator(), now=utc_now()
        )
        typer.echo(f"{person.hub_name} is called so from now on")


@person_app.command("merge")
def merge(keep: str, gone: str, reason: Reason) -> None:
    """Let who signs in as GONE be KEEP from now on, with seats, requests and what is left of the credits."""
    with writing() as session:
        done = identities.merge(
            session, keep=keep, gone=gone, reason=reason, actor=_operator(), now=utc_now()
        )
    typer.echo(f"{gone} is {keep} from now on; {shown(done.moved_micro)} credits went over")
    if done.home:
        typer.echo(f"the files of the home {done.home} are still where they were")


@person_app.command("erase")
def erase(
    hub_name: str,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the log for good.")] = "",
    confirm: Annotated[str | None, typer.Option(help="The hub name again; without it only the plan.")] = None,
) -> None:
    """Print what an erasure of personal data would do; with --confirm HUB_NAME do it."""
    with writing() as session:
        if confirm is None:
            found = erasure.plan(session, hub_name=hub_name)
        else:
            found = erasure.erase(
                session, hub_name=hub_name, typed=confirm, reason=reason, actor=_operator(),
                rng=random.SystemRandom(), now=utc_now(),
            )  # fmt: skip
    _tell(found)
    typer.echo("nothing was changed" if confirm is None else "erased")


def _tell(found: erasure.Plan) -> None:
    for what, count in found.erased:
        typer.echo(f"erased\t{count}\t{what}")
    for what, count in found.kept:
        typer.echo(f"stays\t{count}\t{what}")
    for what in found.elsewhere:
        typer.echo(f"elsewhere\t\t{what}")
    typer.echo(f"{shown(found.left_micro)} credits lapse; teams left: {', '.join(found.teams) or 'none'}")
    if found.leads:
        typer.echo(f"first hand over: {', '.join(found.leads)}")
    if found.home:
        typer.echo(f"remove the folder of the home {found.home}")


def _operator() -> str:
    return f"operator {getpass.getuser()}"
