"""The command line of the panel's requests and of the outbox, in an administrator's name."""

import csv
import io

from tests.allocator.test_cli_overview import small_hub, told
from tests.support.allocator import Run, World
from tests.support.panel import PanelWorld

from nexus_allocator.domain.mailing import LetterKind
from nexus_allocator.domain.outbox import OutgoingState
from nexus_allocator.services import outbox
from nexus_allocator.services.rights import person_called
from nexus_allocator.store import outbox as rows

__all__ = ["small_hub", "told"]


def test_a_request_is_referred_placed_offered_taken_back_and_the_round_exported(
    told: Run, world: World
) -> None:
    panel = PanelWorld(world, world.administrator("alex"))
    world.astronomer("ann")
    autumn = panel.round("Autumn")
    panel.reviewers("rae")
    request = panel.ask("ann", tier="research", team_label=None, title="=deep()")
    as_alex = ("--as", "alex")
    assert "submitted" in told("request", "refer", str(request), *as_alex, "--reason", "Very large")
    told("request", "place", str(request), str(autumn), *as_alex)
    panel.review("rae", request, 4, for_panel="+1 to all")
    (row,) = csv.DictReader(io.StringIO(told("panel", "cases", str(autumn), *as_alex)))
    assert (row["title"], row["reviews"], row["mean"]) == ("'=deep()", "1", "4.00")
    (said,) = csv.DictReader(io.StringIO(told("panel", "reviews", str(autumn), *as_alex)))
    assert (said["reviewer"], said["merit"], said["for the panel"]) == ("Rae", "4", "'+1 to all")
    award = ("request", "offer", str(request), "60", *as_alex, "--bypass", "Urgent, and small.")
    assert "offered" in told(*award, "--to", "2026-12-31")
    assert "in-review" in told("request", "take-back", str(request), *as_alex, "--reason", "A slip")


def test_a_reviewer_who_administers_too_exports_no_review_before_their_own(told: Run, world: World) -> None:
    panel = PanelWorld(world, world.administrator("alex"))
    world.astronomer("ann")
    world.accepts("alex")
    spring = panel.round("Spring")
    panel.reviewers("rae")
    told("panel", "appoint", "alex")
    request = panel.ask("ann")
    panel.review("rae", request, 4)
    (row,) = csv.DictReader(io.StringIO(told("panel", "cases", str(spring), "--as", "alex")))
    assert (row["reviews"], row["mean"]) == ("1", "")
    assert list(csv.DictReader(io.StringIO(told("panel", "reviews", str(spring), "--as", "alex")))) == []
    panel.review("alex", request, 2)
    found = csv.DictReader(io.StringIO(told("panel", "reviews", str(spring), "--as", "alex")))
    assert {each["reviewer"] for each in found} == {"Rae", "Alex"}


def test_what_was_given_up_is_listed_and_sent_again(told: Run, run: Run, url: str, world: World) -> None:
    world.astronomer("ada")
    world.administrator("alex")
    with world.database.session_scope() as session:
        ada = person_called(session, "ada").id
        outbox.mail(session, ada, LetterKind.SUSPENDED, key="given up", facts={}, now=world.clock())
        row, _ = rows.page(session, states=None, channel=None, limit=1, offset=0)[0]
        row.state, row.problem, row.over_at = OutgoingState.DEAD, "550 no such mailbox", world.clock()
    listed = told("outbox", "list")
    assert "550 no such mailbox" in listed
    assert run(url, "outbox", "retry", "--as", "ada")[0] == 1
    assert told("outbox", "retry", listed.split("\t")[0], "--as", "alex") == "1 to be sent again\n"
    assert told("outbox", "list") == ""
    assert told("outbox", "retry", "--as", "alex") == "0 to be sent again\n"
