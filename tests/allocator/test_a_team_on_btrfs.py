"""A team's folder from its making to a leaver's last look, with the kernel's own limits on a btrfs volume."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.allocator.test_places import delivered, opens
from tests.allocator.test_requests import award, submit
from tests.support.allocator import FakeHub, World
from tests.support.volumes import FILL, LIST, as_person, btrfs_volume

from nexus_allocator.clients.files.btrfs import BtrfsVolume
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.quotas import GB
from nexus_allocator.domain.states import NoticeKind, TierSlug
from nexus_allocator.hub import start_lab
from nexus_allocator.policy import load_policy
from nexus_allocator.policy.changes import changing
from nexus_allocator.services import admission, place_looks, storage_charges
from nexus_allocator.services.memberships import ACCESS_LASTS, stop_leavers
from nexus_allocator.store.outbox_tables import Outgoing

STARS, HOME = Place(PlaceKind.TEAM, "stars"), Place(PlaceKind.HOME, "ann")
MIB = 1 << 20
# Sparse: the room is reserved by fallocate and never written.
SIZE_BYTES = 4 << 30
# Metadata of the folder, and blocks reserved ahead of what is written.
SLACK = 4 * MIB

# Reserves so many bytes in a file and says which errno ended it.
RESERVE = """
import errno, json, os, sys
try:
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o664)
    os.posix_fallocate(file, 0, int(sys.argv[2]))
    refused = None
except OSError as error:
    refused = errno.errorcode[error.errno]
print(json.dumps({"errno": refused, "uid": os.getuid(), "groups": os.getgroups()}))
"""


@pytest.fixture
def volume() -> Iterator[BtrfsVolume]:
    with btrfs_volume(size_bytes=SIZE_BYTES) as mounted:
        volume = BtrfsVolume(mounted)
        volume.prepare()
        yield volume


@pytest.fixture
def world(world: World) -> World:
    # Sizes that a test can fill: 1 GB until the Team award, 2 GB after it.
    small = ["tiers.research.team_gb=1", "tiers.team.team_gb=2", "tiers.entry.home_gb=1"]
    world.policy = load_policy(change=changing(small))
    return world


def as_server(admitted: admission.Admission, code: str, *words: object) -> dict[str, object]:
    """Run code as the process of a server that was admitted: with its uid, gid and groups."""
    return as_person(admitted.uid, code, *words, gids=(admitted.gid, *admitted.supplemental_gids))


def looked(world: World, volume: BtrfsVolume, records: Path) -> int:
    done = place_looks.look_at_all(
        world.database, volume, "main", indices=records, terms=world.policy.storage, clock=world.clock
    )
    assert done.failed == []
    return done.overfull


def test_a_team_of_two_fills_its_folder_gets_more_and_a_leaver_loses_it(
    world: World, volume: BtrfsVolume, hub: FakeHub, tmp_path: Path
) -> None:
    opens(world, driver="btrfs", enforces=True)
    admin = world.administrator()
    for name in ("ann", "ben"):
        world.astronomer(name)
    world.team("stars", "ann", "ben", tier=TierSlug.RESEARCH)
    assert delivered(world, volume).failed == 0
    folder = volume.path(STARS)
    ann, ben = (world.launch(name) for name in ("ann", "ben"))
    assert ann.uid != ben.uid
    for name, admitted in (("ann", ann), ("ben", ben)):
        hub.runs(name, admitted.hold_id, world.started(admitted.hold_id))

    # Two servers, two uids, one limit: what one has reserved the other is refused, with the right error.
    reserved = GB - 40 * MIB
    hers = as_server(ann, RESERVE, folder / "hers", reserved)
    assert (hers["errno"], hers["uid"], hers["groups"]) == (None, ann.uid, ann.supplemental_gids)
    his = as_server(ben, FILL, folder / "his")
    assert (his["errno"], his["uid"]) == ("EDQUOT", ben.uid)
    assert isinstance(his["written"], int)
    assert GB - SLACK <= reserved + his["written"] <= GB
    assert as_server(ann, FILL, folder / "more")["errno"] == "EDQUOT"
    assert (folder / "his").stat().st_gid == (folder / "hers").stat().st_gid == ann.supplemental_gids[0]

    # Who leads the team sees it, in the portal and by mail.
    world.clock.forward(hours=1)
    assert looked(world, volume, tmp_path) == 1
    (told,) = [line for line in world.told("ann") if "teams/stars" in line]
    assert told.startswith("teams/stars is 9")
    with world.database.reading_scope() as session:
        mailed = session.query(Outgoing).filter_by(kind=NoticeKind.PLACE_FILLS.value).all()
    assert len(mailed) == 1

    # An award that changes the tier changes the limit; both write on without a new server.
    award(world, submit(world, "ann", account="stars", tier="team"), admin)
    assert delivered(world, volume).failed == 0
    assert volume.usage(STARS).limit_bytes == 2 * GB
    assert as_server(ben, RESERVE, folder / "again", 8 * MIB)["errno"] is None
    assert as_server(ann, RESERVE, folder / "hers-too", 8 * MIB)["errno"] is None
    world.clock.forward(days=1)
    looked(world, volume, tmp_path)
    # A full day at what the first look found, in integer micro-credits.
    assert storage_charges.charge_all(world.database, card=world.policy.rate_card, now=world.clock()) > 2000

    # A leaver's server is stopped after ten minutes; the next has the folder no more, the files stay.
    assert world.leaves("ben", "stars") == []
    assert as_server(ben, LIST, folder)["errno"] is None
    world.clock.at += ACCESS_LASTS
    with hub.client() as client:
        stop_leavers(world.database, client, now=world.clock())
    assert hub.stops == [("ben", "")]
    world.stopped(ben.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    after = world.launch("ben")
    assert (after.uid, after.supplemental_gids) == (ben.uid, [])
    assert as_server(after, LIST, folder)["errno"] == "EACCES"
    assert as_server(after, RESERVE, folder / "back", MIB)["errno"] == "EACCES"
    assert as_server(ann, LIST, folder)["errno"] is None
    assert (folder / "his").stat().st_uid == ben.uid


def test_a_home_that_the_kernel_says_is_full_is_found_so_by_its_own_server(
    world: World, volume: BtrfsVolume
) -> None:
    opens(world, driver="btrfs", enforces=True)
    world.astronomer("ann")
    delivered(world, volume)
    admitted = world.launch("ann")
    home = volume.path(HOME)
    asks = Path(start_lab.__file__).read_text().partition('if __name__ == "__main__"')[0]
    asks += "\nimport json\nprint(json.dumps({'room': has_room(Path(sys.argv[1]))}))"
    assert as_server(admitted, asks, home) == {"room": True}
    assert as_server(admitted, RESERVE, home / "big", GB - 8 * MIB)["errno"] is None
    assert as_server(admitted, FILL, home / "rest")["errno"] == "EDQUOT"
    assert as_server(admitted, asks, home) == {"room": False}
    assert volume.usage(HOME).percent in (98, 99, 100)
    (home / "big").unlink()
    assert as_server(admitted, asks, home) == {"room": True}
