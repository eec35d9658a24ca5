"""Another name, two people who are one, and erasure: nobody loses credits, and the ledger stays whole."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from tests.support.allocator import ISSUER, START, FakeHub, World

from nexus_allocator.domain.errors import (
    AllocatorError,
    BadAddress,
    BadName,
    BadReason,
    LeadStays,
    LiveServers,
    NameTaken,
    NotAllowed,
    NotConfirmed,
    RequestOpen,
    SamePerson,
    Suspended,
    UnknownPerson,
)
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import Role, TierSlug
from nexus_allocator.services import (
    allocations,
    decisions,
    erasure,
    identities,
    launches,
    people,
    record_reading,
    requests,
    statements,
    stops,
)
from nexus_allocator.services.audit import audit
from nexus_allocator.services.delivery import deliver
from nexus_allocator.services.hub_calls import HubCarrier
from nexus_allocator.store import accounts
from nexus_allocator.store import identities as moving
from nexus_allocator.store import people as people_rows
from nexus_allocator.store.base import Base
from nexus_allocator.store.records import Wanted

REASON = "Asked for by mail."


def done(world: World, act: Callable[..., Any], **words: Any) -> Any:
    with world.database.session_scope() as session:
        return act(session, reason=REASON, actor="operator ops", now=world.clock(), **words)


def erased(world: World, hub_name: str, **words: Any) -> erasure.Plan:
    rng = random.Random(5)  # noqa: S311 - the same pseudonym each time
    return done(world, erasure.erase, **{"hub_name": hub_name, "typed": hub_name, "rng": rng} | words)


def ask(world: World, hub_name: str, tier: str, *, why: str = "The whole survey, twice over.") -> Any:
    with world.database.session_scope() as session:
        asked = requests.Ask(hub_name, tier, why, title="Deep", members=("mia",))
        return requests.submit(session, asked, policy=world.policy, hub_name=hub_name, now=world.clock()).id


def awarded(world: World, hub_name: str, tier: str = "research", *, why: str = "The whole survey.") -> None:
    request_id = ask(world, hub_name, tier, why=why)
    with world.database.session_scope() as session:
        admin = people_rows.by_hub_name(session, "admin")
        assert admin is not None
        decisions.award(
            session, policy=world.policy, request_id=request_id, administrator_id=admin.id,
            award=decisions.Award(), now=world.clock(),
        )  # fmt: skip


def charged(world: World, hub_name: str, hours: float = 4, **wish: Any) -> None:
    admitted = world.launch(hub_name, hours=hours, **wish)
    began = world.started(admitted.hold_id)
    world.clock.forward(hours=hours)
    world.seen(admitted.hold_id, began)
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)


def require_whole(world: World) -> None:
    with world.database.reading_scope() as session:
        report = audit(session, meter_silence=timedelta(days=3650), now=world.clock())
    assert [drift for drift in report.drifts if drift.kind != "meter_silent"] == []


def signed_in_as(world: World, subject: str) -> str:
    with world.database.session_scope() as session:
        return people.sign_in(
            session, issuer=ISSUER, subject=subject, preferred_username=subject, display_name=subject.title(),
            email=f"{subject}@example.org", is_administrator=False, now=world.clock(),
        ).hub_name  # fmt: skip


def test_another_hub_name_keeps_home_account_and_past_and_frees_the_old_one_for_nobody(world: World) -> None:
    world.astronomer("smith")
    charged(world, "smith")
    before = world.figures("smith").balance
    done(world, identities.change, hub_name="smith", to="jones", email="jones@example.org")
    assert signed_in_as(world, "smith") == "jones"
    assert world.figures("jones").balance == before
    admitted = world.launch("jones")
    assert (admitted.home, admitted.account) == ("smith", "jones")
    with pytest.raises(UnknownPerson):
        world.launch("smith")
    assert signed_in_as(world, "smith2") == "smith2"
    with world.database.reading_scope() as session:
        assert people_rows.is_taken(session, "smith")
        row = record_reading.page(session, Wanted(act=Act.IDENTITY_CHANGED)).rows[0]
    assert (row.what, dict(row.after), row.reason) == ("jones", {"changed": ["hub_name", "email"]}, REASON)


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ({"to": "Jones"}, BadName),
        ({"to": "hub"}, BadName),
        ({"to": "other"}, NameTaken),
        ({"email": "nobody"}, BadAddress),
        ({"email": "a b@c.org"}, BadAddress),
        ({"email": "x" * 250 + "@c.org"}, BadAddress),
    ],
)
def test_a_name_or_address_that_can_not_be_is_refused(
    world: World, words: dict[str, str], refusal: type[AllocatorError]
) -> None:
    world.astronomer()
    world.astronomer("other")
    with pytest.raises(refusal):
        done(world, identities.change, hub_name="astronomer", **words)


def test_two_people_become_one_with_credits_seats_requests_and_past(world: World) -> None:
    for name in ("admin", "mia", "ada", "ada2"):
        world.astronomer(name)
    world.administrator()
    world.team("grism", "ada2", "mia")
    world.team("prism", "mia", "ada", "ada2")
    world.share("prism", "ada2", 7)
    awarded(world, "ada2")
    charged(world, "ada2", account="grism", size="large")
    charged(world, "ada")
    together = world.figures("ada").balance + world.figures("ada2").balance
    moved = done(world, identities.merge, keep="ada", gone="ada2")
    assert moved.home == "ada2"
    assert world.figures("ada").balance == together
    assert world.figures("ada2").balance == 0
    assert world.allocation("ada").tier is TierSlug.RESEARCH
    assert signed_in_as(world, "ada2") == "ada"
    with world.database.reading_scope() as session:
        page = launches.launch_page(session, policy=world.policy, hub_name="ada", now=world.clock())
        mine = requests.tiers_to_ask_for(session, world.policy, people_account(session, "ada"))
    assert {choice.slug for choice in page.accounts} == {"ada", "grism", "prism"}
    assert [tier.slug for tier in mine] == [TierSlug.TEAM]
    members = {row.hub_name: row for row in world.team_page("grism", "ada").members}
    assert members["ada"].role is Role.LEAD
    assert members["ada"].taken_micro > 0
    with pytest.raises(Suspended):
        world.launch("ada2", account="ada2")
    require_whole(world)
    with world.database.reading_scope() as session:
        row = record_reading.page(session, Wanted(act=Act.PEOPLE_MERGED)).rows[0]
    assert (row.what, row.person, row.after["hold.person_id"]) == ("ada", "ada2", 1)


def people_account(session: Session, slug: str) -> Any:
    return accounts.by_slug(session, slug)


def test_a_debt_goes_over_too_and_a_newcomer_takes_the_account_as_it_is(world: World) -> None:
    for name in ("ada", "ada2"):
        world.astronomer(name)
    world.correct("ada2", -30)
    done(world, identities.merge, keep="ada", gone="ada2")
    assert world.figures("ada").balance == 20_000_000
    world.signed_in("ada3")
    done(world, identities.merge, keep="ada3", gone="ada")
    assert world.figures("ada").balance == 20_000_000
    assert {signed_in_as(world, name) for name in ("ada", "ada2", "ada3")} == {"ada3"}
    assert world.launch("ada3", account="ada").home == "ada3"
    require_whole(world)


def test_who_runs_servers_is_suspended_or_waits_twice_is_not_merged(world: World) -> None:
    for name in ("ada", "ada2", "mia"):
        world.astronomer(name)

    def refused(kind: type[AllocatorError], keep: str = "ada", gone: str = "ada2") -> None:
        with pytest.raises(kind):
            done(world, identities.merge, keep=keep, gone=gone)

    refused(SamePerson, gone="ada")
    refused(UnknownPerson, gone="nobody")
    admitted = world.launch("ada2")
    refused(LiveServers, keep="ada2", gone="ada")
    world.stopped(admitted.hold_id)
    for name in ("ada", "ada2"):
        ask(world, name, "research")
    refused(RequestOpen)
    with pytest.raises(BadReason), world.database.session_scope() as session:
        identities.merge(session, keep="ada", gone="mia", reason="", actor="operator o", now=START)
    done(world, identities.merge, keep="ada", gone="mia")
    refused(Suspended, gone="mia")


def test_a_merge_ends_the_gone_one_s_servers_and_tokens_and_what_they_held_comes_over_then(
    world: World, hub: FakeHub
) -> None:
    for name in ("ada", "ada2"):
        world.astronomer(name)
    running = world.launch("ada2", hours=8)
    began = world.started(running.hold_id)
    hub.runs("ada2", running.hold_id, began)
    hub.people_tokens = {"ada": ["kept"], "ada2": ["of a browser", "of a server"]}
    held = world.figures("ada2").held
    moved = done(world, identities.merge, keep="ada", gone="ada2")
    assert (moved.moved_micro, world.figures("ada2").available) == (25_000_000 - held, 0)
    with hub.client() as client:
        carriers = {Channel.HUB: HubCarrier(client)}
        deliver(world.database, carriers, clock=world.clock, rng=random.Random(1))  # noqa: S311
    assert hub.stops == [("ada2", "")], "the name under which the hub knows it"
    assert hub.people_tokens == {"ada": ["kept"], "ada2": []}
    assert identities.finish_merges(world.database, now=world.clock()) == 0, "it lives still"
    world.clock.forward(minutes=6)
    world.stopped(running.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    hold = world.hold(running.hold_id)
    assert (hold.stop_reason, hold.usage_micro) == ("suspended", 12_500)
    assert identities.finish_merges(world.database, now=world.clock()) == 1
    assert identities.finish_merges(world.database, now=world.clock()) == 0
    assert world.figures("ada").balance == 50_000_000 - 12_500
    assert world.figures("ada2").balance == 0
    with world.database.reading_scope() as session:
        last = launches.last_stop(session, people_rows.by_hub_name(session, "ada").id)
    assert last is not None, "past servers are who is kept's"
    require_whole(world)


def test_every_reference_to_a_person_is_known_to_a_merge() -> None:
    assert moving.references() == {*moving.MOVED, *moving.BY_HAND, *moving.LEFT}


def test_an_erasure_is_planned_without_changing_anything(world: World) -> None:
    world.astronomer("zebedee")
    world.astronomer("mia")
    world.team("grism", "mia", "zebedee")
    with world.database.reading_scope() as session:
        planned = erasure.plan(session, hub_name="zebedee")
    assert planned.teams == ("Grism",)
    assert (planned.leads, planned.servers, planned.home) == ((), 0, "zebedee")
    assert planned.left_micro == 25_000_000
    assert dict(planned.kept) == {"the hub name among names that are never given again": 1}
    assert world.launch("zebedee").home == "zebedee"


def test_after_an_erasure_no_table_names_the_person_and_every_sum_is_as_before(world: World) -> None:
    world.astronomer("mia")
    world.astronomer("zebedee")
    world.administrator()
    world.team("grism", "mia", "zebedee")
    awarded(world, "zebedee", why="I, Zebedee, need this.")
    world.invite("grism", "Zebedee@example.org", by="mia")
    charged(world, "zebedee", server_name="zebedee-lab")
    admitted = world.launch("zebedee")
    with world.database.session_scope() as session:
        stops.stop_own(session, hub_name="zebedee", owner="zebedee", server_name="", now=world.clock())
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    world.leaves("zebedee", "grism")
    with world.database.session_scope() as session:
        asked = requests.Ask("mia", "research", "Together.", members=("zebedee", "admin"))
        requests.draft(session, asked, policy=world.policy, hub_name="mia", now=world.clock())
    used = world.figures("grism").balance
    planned = erased(world, "zebedee")
    assert planned.left_micro > 0
    assert holding(world, "zebedee") == {"taken_name"}
    assert world.figures("grism").balance == used
    with world.database.reading_scope() as session:
        assert people_rows.by_hub_name(session, "zebedee") is None
        row = record_reading.page(session, Wanted(act=Act.PERSON_ERASED)).rows[0]
    assert row.what.startswith("erased-")
    assert world.figures(row.what).balance == 0
    require_whole(world)
    assert signed_in_as(world, "zebedee") == "zebedee-2", "a newcomer like any other"


def holding(world: World, word: str) -> set[str]:
    """Return the tables in which a word stands, in any column of any row."""
    found = set()
    with world.database.reading_scope() as session:
        for table in Base.metadata.tables.values():
            rows = session.execute(table.select()).all()
            if any(word in str(value).casefold() for row in rows for value in row):
                found.add(table.name)
    return found


def test_who_was_merged_into_the_person_is_erased_with_them(world: World) -> None:
    for name in ("zebedee", "zebedeeold"):
        world.astronomer(name)
    done(world, identities.merge, keep="zebedee", gone="zebedeeold")
    with pytest.raises(UnknownPerson):
        erased(world, "zebedeeold")
    erased(world, "zebedee")
    assert holding(world, "zebedee") == {"taken_name"}


def test_an_erasure_needs_the_name_typed_no_servers_and_no_team_to_lead(world: World) -> None:
    world.astronomer("zebedee")
    for typed in ("", "Zebedee", "zebede"):
        with pytest.raises(NotConfirmed):
            erased(world, "zebedee", typed=typed)
    admitted = world.launch("zebedee")
    with pytest.raises(LiveServers):
        erased(world, "zebedee")
    world.stopped(admitted.hold_id)
    world.team("grism", "zebedee")
    with pytest.raises(LeadStays):
        erased(world, "zebedee")
    assert world.launch("zebedee").account == "zebedee"


def test_what_can_not_be_altered_is_counted_beforehand(world: World) -> None:
    world.astronomer("zebedee")
    world.astronomer("mia")
    world.team("grism", "mia")
    world.team("zebedee-team", "mia")
    with world.database.session_scope() as session:
        allocations.grant(session, account="mia", amount_micro=5, reason="For zebedee.", actor="operator o",
                          now=world.clock())  # fmt: skip
    with world.database.reading_scope() as session:
        kept = dict(erasure.plan(session, hub_name="zebedee").kept)
    assert kept["entries of the ledger with the name in their reason or signature"] == 1
    assert kept["records of the log with the name in their reason"] == 1
    assert kept["teams named after them"] == 1


def test_entries_are_signed_with_ids_and_statements_show_the_name_of_today(world: World) -> None:
    world.astronomer()
    world.administrator("boss")
    world.signed_in("admin", is_administrator=True)
    awarded(world, "astronomer")
    with world.database.session_scope() as session:
        assert "admin" not in str(session.execute(text("SELECT actor FROM entry")).all())
    done(world, identities.change, hub_name="admin", to="chief")
    day = world.clock().date()
    with world.database.reading_scope() as session:
        sheet = statements.entries_csv(session, slug="astronomer", first=day, last=day)
    assert "Research award,chief" in sheet


def test_nobody_changes_themselves_and_only_administrators_change_others(world: World) -> None:
    admin, person = world.administrator(), world.astronomer()
    with world.database.reading_scope() as session:
        assert identities.acting_on(session, admin, Action.PERSON_ERASE, "astronomer") == admin
        for actor, whom in ((admin, "admin"), (person, "admin"), (person, "astronomer")):
            with pytest.raises(NotAllowed):
                identities.acting_on(session, actor, Action.PERSON_ERASE, whom)
