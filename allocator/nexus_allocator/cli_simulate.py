"""`nexus-allocator simulate`: what a changed policy would cost, refuse and hit, before it is put in force."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from nexus_allocator.cli_database import reading
from nexus_allocator.config import read_database_settings
from nexus_allocator.domain.policy import Policy
from nexus_allocator.policy import load_policy
from nexus_allocator.policy.changes import BadChange, changing
from nexus_allocator.services.whatif import past, population
from nexus_allocator.services.whatif.compare import Comparison, compare
from nexus_allocator.services.whatif.demand import Demand
from nexus_allocator.web.whatif_report import as_csv, as_svg, as_text

Change = Annotated[
    list[str] | None,
    typer.Option(
        help="A value of the policy, such as tiers.entry.credits=12.5, or =x0.5 for half. Repeat it."
    ),
]


def simulate(
    *,
    change: Change = None,
    policy: Annotated[Path | None, typer.Option(help="A whole policy file to compare with, instead.")] = None,
    ledger: Annotated[bool, typer.Option("--ledger", help="Replay this Nexus's ledger.")] = False,
    days: Annotated[int | None, typer.Option(min=1, max=365, help="How long a time.")] = None,
    people: Annotated[int, typer.Option(min=1, max=1_000_000, help="Of the synthetic population.")] = 10_000,
    papers: Annotated[int, typer.Option(min=0, help="That they make in a year.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same people and wishes.")] = 1,
    chart: Annotated[Path | None, typer.Option(help="Write the chart here, as SVG.")] = None,
    table: Annotated[Path | None, typer.Option(help="Write the table here, as CSV.")] = None,
) -> None:
    """Show what changed tiers or rates would do to a year of launches, by the rules of admission itself."""
    tiers_file = read_database_settings().tiers_file if ledger else None
    in_force = load_policy(tiers_file)
    changed = _changed(policy or tiers_file, change or [])
    if ledger:
        demand = _of_ledger(in_force, days)
    else:
        wished = population.Population(people=people, papers=papers, seed=seed, days=days or 365)
        demand = population.draw(wished, in_force)
    found = compare(demand, policy=in_force, changed=changed)
    what = ", ".join(change or []) or (f"as in {policy.name}" if policy else "nothing changed")
    typer.echo(as_text(found, what), nl=False)
    _write(found, what, chart=chart, table=table)


def _changed(file: Path | None, changes: list[str]) -> Policy:
    try:
        return load_policy(file, change=changing(changes))
    except (BadChange, ValidationError, OSError) as error:
        typer.echo(f"The changed policy can't be used: {error}", err=True)
        raise SystemExit(1) from error


def _of_ledger(in_force: Policy, days: int | None) -> Demand:
    with reading() as session:
        return past.demand_of(session, policy=in_force, days=days, now=datetime.now(UTC))


def _write(found: Comparison, what: str, *, chart: Path | None, table: Path | None) -> None:
    if chart:
        chart.write_text(as_svg(found, what), encoding="utf-8")
    if table:
        table.write_text(as_csv(found), encoding="utf-8")
