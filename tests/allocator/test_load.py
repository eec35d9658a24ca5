"""The bench of the allocation service, short: the limits are `make bench`'s; here all is answered."""

import re

import pytest
from tests.bench import allocator as bench
from tests.support.postgres import PostgresServer, postgres_server

from nexus_allocator.store.chains import LINKS_PER_CHECKPOINT

__all__ = ["postgres_server"]

# A hundredth of the population and a few seconds of load.
SIZES = {"people": 100, "teams": 20, "entries": 20_000, "seconds": 2}


@pytest.mark.postgres
def test_random_arrivals_and_two_hundred_at_once_are_all_answered(postgres_server: PostgresServer) -> None:
    with bench.bench_over(postgres_server, **SIZES) as running:
        for phase in (bench.balance_plan, bench.open_loop, bench.all_at_once, bench.pages):
            phase(running)
    table = running.table
    print("\n".join(bench.told([table])))
    assert [name for name in table.over() if "not answered well" in name] == []
    # Of the longest account's hundreds of links only those after its last checkpoint are read.
    assert table.rows["entries of the longest account"][0] > 500
    read = [int(rows) for rows in re.findall(r" on link \(actual rows=(\d+)", "\n".join(table.notes))]
    assert read
    assert max(read) < LINKS_PER_CHECKPOINT
