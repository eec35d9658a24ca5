"""Mail as people get it, through a real SMTP server on this machine, and what a kill can do to it."""

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.allocator.test_requests import award, submit
from tests.support.allocator import START, FakeHub, World
from tests.support.mail import (
    PASSWORD,
    PORTAL,
    SENDER,
    USER,
    PostOffice,
    certificate,
    delivered,
    html_part,
    nothing,
    post_office,
    start_deliverer,
    text_part,
)

from nexus_allocator.clients.mail import Post, Site, message
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.letters import HEADINGS, PASSAGES, letter
from nexus_allocator.domain.mailing import MAIL_KINDS, LetterKind, MailKind, Timing, last_digest, timing_of
from nexus_allocator.domain.outbox import Channel, DeliveryFailed, OutgoingState
from nexus_allocator.domain.states import NoticeKind, StopReason
from nexus_allocator.services import (
    agreements,
    decisions,
    enforcement,
    invitations,
    mail_choices,
    outbox,
    stops,
    suspensions,
)
from nexus_allocator.services.delivery import Delivered
from nexus_allocator.store import outbox as rows
from nexus_allocator.store import people

ADA = "astronomer@example.org"


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with post_office() as running:
        yield running


def only(office: PostOffice, to: str = ADA) -> tuple[str, str]:
    """Return subject and text of the one message that was sent to somebody, and forget it."""
    found = office.to(to)
    assert [message["To"] for message in office.messages] == [to]
    office.messages.clear()
    return str(found[0]["Subject"]), " ".join(text_part(found[0]).split())


def chooses(world: World, kind: MailKind, timing: Timing, hub_name: str = "astronomer") -> None:
    with world.database.session_scope() as session:
        mail_choices.choose(session, {kind: timing}, hub_name=hub_name, now=world.clock())


def suspends(world: World, reason: str = "A lost key.") -> None:
    with world.database.session_scope() as session:
        suspensions.suspend(session, hub_name="astronomer", reason=reason, actor="t", now=world.clock())


def write(world: World, person_id: UUID, number: int = 0) -> None:
    with world.database.session_scope() as session:
        outbox.mail(
            session, person_id, LetterKind.SUSPENDED, key=f"test/{number}", facts={"reason": "A test."},
            now=world.clock(),
        )  # fmt: skip


def states(world: World) -> list[tuple[str, int, str | None]]:
    with world.database.reading_scope() as session:
        found = rows.page(session, states=None, channel=Channel.MAIL, limit=100, offset=0)
    return [(row.state.value, row.attempts, row.problem) for row, _ in found]


def test_a_letter_is_text_and_plain_html_with_the_row_s_id_and_moment(
    world: World, office: PostOffice
) -> None:
    world.astronomer()
    suspends(world, "Keys <b>lost</b> & found.")
    assert delivered(world, office) == Delivered(sent=1)
    sent = office.messages[0]
    assert sent["From"] == f"Roman Research Nexus <{SENDER}>"
    assert (sent["To"], sent["Auto-Submitted"]) == (ADA, "auto-generated")
    assert sent["Message-ID"].endswith("@roman.example>")
    assert sent["Date"].datetime == START
    assert "Reason given: Keys <b>lost</b> & found." in text_part(sent)
    assert "Keys &lt;b&gt;lost&lt;/b&gt; &amp; found." in html_part(sent)
    assert f"{PORTAL}preferences" in text_part(sent)
    assert f'href="{PORTAL}preferences"' in html_part(sent)


def test_suspension_and_reinstatement_are_written_once_each_however_often_they_are_pressed(
    world: World, office: PostOffice
) -> None:
    world.astronomer()
    for _ in range(2):
        suspends(world)
        world.clock.forward(seconds=1)
    delivered(world, office)
    subject, text = only(office)
    assert subject == "You are suspended from the Roman Research Nexus"
    assert "Reason given: A lost key. Please write to the help desk." in text
    for _ in range(2):
        with world.database.session_scope() as session:
            suspensions.reinstate(session, hub_name="astronomer", actor="t", now=world.clock())
    delivered(world, office)
    assert only(office)[0] == "You may use the Roman Research Nexus again"


def test_ends_are_written_of_30_14_7_and_1_days_ahead(world: World, office: PostOffice) -> None:
    admin = world.administrator()
    world.astronomer()
    award(world, submit(world), admin)
    delivered(world, office)
    office.messages.clear()
    ends = world.allocation("astronomer").expires_at
    for days in (30, 14, 7, 1):
        world.clock.at = ends - timedelta(days=days)
        world.turn()
        world.turn()
        delivered(world, office)
        subject, text = only(office)
        assert subject == "Your own account: the Research allocation ends on 2027-03-02"
        assert f"in {'1 day' if days == 1 else f'{days} days'}." in text
        assert f"Ask for its renewal: {PORTAL}requests" in text
    assert len(world.told("astronomer")) == 4, "and the portal tells the same"


def test_marks_of_spending_go_to_owners_and_to_who_runs_on_the_account(
    world: World, office: PostOffice, hub: FakeHub
) -> None:
    for name in ("lee", "mia", "tom"):
        world.astronomer(name)
    world.team("field", "lee", "mia", "tom")
    launched = world.launch("mia", account="field", hours=8)
    began = world.started(launched.hold_id)
    world.correct("field", 1 - world.figures("field").balance / MICRO)
    terms = world.policy.enforcement
    # A Small server costs an eighth of a credit an hour.
    for hours, mark in ((6, 75), (7.2, 90), (8, 100)):
        world.clock.at = began + timedelta(hours=hours)
        world.seen(launched.hold_id, began)
        with hub.client() as client:
            for _ in range(2):
                enforcement.enforce(world.database, client, terms=terms, now=world.clock())
        delivered(world, office)
        assert sorted(each["To"] for each in office.messages) == ["lee@example.org", "mia@example.org"]
        assert set(office.subjects) == {f"{mark} % of the credits are used: Field"}
        office.messages.clear()


def test_a_server_that_somebody_else_stopped_is_written_of_with_the_reason_known_later(
    world: World, office: PostOffice
) -> None:
    world.astronomer()
    admitted = world.launch(hours=8)
    world.started(admitted.hold_id)
    world.clock.forward(hours=1)
    world.stopped(admitted.hold_id)
    assert delivered(world, office) == Delivered()
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=False, exit_signal=9)
    world.clock.forward(minutes=2)
    assert delivered(world, office) == Delivered(sent=1)
    subject, text = only(office)
    assert subject == "Your server has stopped"
    assert "Your small server on Your own account stopped at 2026-03-02 10:00 UTC." in text
    assert "Its process was ended by signal 9." in text
    assert "It cost 0.12 credits." in text


def test_one_s_own_stop_is_no_news(world: World, office: PostOffice) -> None:
    world.astronomer()
    admitted = world.launch()
    world.started(admitted.hold_id)
    with world.database.session_scope() as session:
        stops.stop_own(session, hub_name="astronomer", owner="astronomer", server_name="", now=world.clock())
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    never = world.launch(server_name="b")
    world.stopped(never.hold_id)
    world.clock.forward(minutes=5)
    assert world.hold(admitted.hold_id).stop_reason == StopReason.OWN_HAND
    assert delivered(world, office) == Delivered()


def test_a_request_s_answer_is_written(world: World, office: PostOffice) -> None:
    admin = world.administrator()
    world.astronomer()
    request_id = submit(world)
    with world.database.session_scope() as session:
        decisions.send_back(
            session, request_id=request_id, administrator_id=admin, reason="How deep?", now=world.clock()
        )
    delivered(world, office)
    subject, text = only(office)
    assert subject == "Your request for Research has been returned to you to be revised"
    assert "Reason given: How deep?" in text
    award(world, submit(world), admin, credits_micro=200_000_000)
    delivered(world, office)
    subject, text = only(office)
    assert subject == "Your request for Research has been awarded in part"
    assert "Awarded: 200.00 credits, until 2027-03-02." in text


def test_an_invitation_reaches_somebody_the_nexus_does_not_know_unless_it_is_withdrawn(
    world: World, office: PostOffice
) -> None:
    world.astronomer("lee")
    world.team("field", "lee")
    world.invite("field", "new@example.com", by="lee")
    gone = world.invite("field", "gone@example.com", by="lee")
    with world.database.session_scope() as session:
        invitations.withdraw(session, gone, by="lee", now=world.clock())
    assert delivered(world, office) == Delivered(sent=1, dropped=1)
    subject, text = only(office, "new@example.com")
    assert subject == "Invitation to Field"
    assert "Lee invites you to the team Field, as member." in text


def test_a_new_agreement_is_written_of_to_who_accepted_an_earlier_one(
    world: World, office: PostOffice
) -> None:
    world.astronomer()
    world.signed_in("passer-by")
    renewed = replace(world.policy.agreement, version="2027-1")
    for agreement in (world.policy.agreement, renewed, renewed):
        with world.database.session_scope() as session:
            agreements.keep(session, agreement, now=world.clock())
    assert delivered(world, office) == Delivered(sent=1)
    subject, text = only(office)
    assert (subject, "version 2027-1 is in force" in text) == ("The user agreement has changed", True)


def test_people_choose_never_or_a_digest_and_essential_mail_comes_all_the_same(
    world: World, office: PostOffice
) -> None:
    world.astronomer()
    chooses(world, MailKind.INVITATIONS, Timing.NEVER)
    chooses(world, MailKind.STANDING, Timing.NEVER)
    world.astronomer("lee")
    for slug in ("one", "two"):
        world.team(slug, "lee")
    world.invite("one", "astronomer")
    suspends(world)
    assert delivered(world, office) == Delivered(sent=1)
    assert only(office)[0] == "You are suspended from the Roman Research Nexus"
    chooses(world, MailKind.INVITATIONS, Timing.AT_ONCE)
    world.invite("two", "astronomer")
    assert delivered(world, office) == Delivered(sent=1)


def test_a_digest_tells_once_a_day_what_came_before_it(world: World, office: PostOffice) -> None:
    world.astronomer()
    world.astronomer("lee")
    chooses(world, MailKind.INVITATIONS, Timing.DIGEST)
    for slug in ("one", "two", "three"):
        world.team(slug, "lee")
    world.invite("one", "astronomer")
    world.invite("two", "astronomer")
    assert delivered(world, office) == Delivered()
    world.clock.at = START.replace(hour=6, minute=59) + timedelta(days=1)
    assert delivered(world, office) == Delivered()
    world.clock.forward(minutes=2)
    world.invite("three", "astronomer")
    for _ in range(2):
        delivered(world, office)
    sent = office.messages[0]
    subject, text = only(office)
    assert subject == "Nexus digest of 2026-03-03: 2 messages"
    assert "Invitation to One" in text
    assert "Invitation to Two" in text
    assert "Three" not in text
    assert "<h2>Invitation to Two</h2>" in html_part(sent)
    world.clock.forward(days=1)
    delivered(world, office)
    assert only(office)[0] == "Nexus digest of 2026-03-04: 1 message"


def test_the_digest_due_last_is_that_of_today_from_seven_on() -> None:
    assert last_digest(datetime(2026, 3, 2, 6, 59, tzinfo=UTC)) == datetime(2026, 3, 1, 7, tzinfo=UTC)
    assert last_digest(datetime(2026, 3, 2, 7, 0, tzinfo=UTC)) == datetime(2026, 3, 2, 7, tzinfo=UTC)
    assert timing_of(MailKind.STANDING, Timing.NEVER) is Timing.AT_ONCE


@pytest.mark.parametrize(
    ("answers", "after"),
    [
        ({ADA: "450 busy"}, ("waiting", 1, "The recipient was refused: 450 busy")),
        ({ADA: "550 no such mailbox"}, ("dead", 1, "The recipient was refused: 550 no such mailbox")),
        ({"DATA": "451 later"}, ("waiting", 1, "The message was refused: 451 later")),
        ({"DATA": "554 spam"}, ("dead", 1, "The message was refused: 554 spam")),
    ],
)
def test_a_refusal_for_now_is_tried_again_and_one_for_good_is_not(
    world: World, office: PostOffice, answers: dict[str, str], after: tuple[str, int, str]
) -> None:
    write(world, world.astronomer())
    office.answers = answers
    delivered(world, office)
    assert states(world) == [after]
    assert office.messages == []


def test_a_server_that_is_away_is_tried_again_and_without_one_nothing_piles_up(world: World) -> None:
    person_id = world.astronomer()
    write(world, person_id)
    with post_office() as gone:
        pass
    assert delivered(world, gone) == Delivered(failed=1)
    assert states(world) == [("waiting", 1, "The mail server can't be reached: ConnectionRefusedError")]
    world.clock.forward(seconds=15)
    assert delivered(world, None) == Delivered(dropped=1)
    assert states(world) == [("dropped", 2, "No mail server is set up.")]


def test_who_has_no_address_is_not_written_to(world: World, office: PostOffice) -> None:
    write(world, world.astronomer())
    with world.database.session_scope() as session:
        person = people.by_hub_name(session, "astronomer")
        assert person is not None
        person.email = None
    assert delivered(world, office) == Delivered(dropped=1)


@pytest.mark.parametrize("address", ["a@b\r\nBcc: c@d", "no address", "", "<a@b>, <c@d>", "a" * 400])
def test_an_address_that_no_header_can_hold_is_given_up(address: str) -> None:
    told = letter(LetterKind.REINSTATED, {})
    with pytest.raises(DeliveryFailed) as failure:
        message(told, to=address, row_id=uuid4(), at=START, site=Site(SENDER, PORTAL))
    assert failure.value.is_final


def test_what_people_write_can_t_make_headers(world: World, office: PostOffice) -> None:
    facts = {"team": "Field\r\nBcc: all@example.org\x00", "role": "member", "by": None, "until": "2026-04-01"}
    made = message(
        letter(LetterKind.INVITED, facts), to=ADA, row_id=uuid4(), at=START, site=Site(SENDER, PORTAL)
    )
    post = Post(office.server())
    post.send(made)
    post.close()
    assert office.messages[0]["Bcc"] is None
    assert office.subjects == ["Invitation to Field Bcc: all@example.org"]


def test_starttls_and_login_reach_a_server_whose_certificate_is_trusted_and_no_other(tmp_path: Path) -> None:
    server, trusting = certificate(tmp_path)
    made = message(
        letter(LetterKind.REINSTATED, {}), to=ADA, row_id=uuid4(), at=START, site=Site(SENDER, PORTAL)
    )
    with post_office(tls=server) as office:
        strict = replace(office.server(), security="starttls", user=USER, password=PASSWORD)
        post = Post(strict, context=trusting)
        post.send(made)
        post.close()
        with pytest.raises(DeliveryFailed, match="SMTPAuthenticationError"):
            Post(replace(strict, password="wrong"), context=trusting).send(made)
        with pytest.raises(DeliveryFailed, match="can't be reached: SSLCertVerificationError"):
            Post(strict).send(made)
    assert (len(office.messages), set(office.logins)) == (1, {USER})


def test_a_killed_deliverer_loses_nothing_and_sends_again_only_what_nobody_can_know_was_taken(
    world: World, office: PostOffice
) -> None:
    """Killed before the server took the mail, killed when it had, and then let be."""
    world.clock.at = datetime.now(UTC)
    write(world, world.astronomer())
    running = []

    def kill() -> None:
        running[-1].kill()
        running[-1].wait(10)

    for office.at_hello, office.at_data, taken, lease_s in ((kill, nothing, 0, 0.5), (nothing, kill, 1, 60)):
        running.append(start_deliverer(world, office, lease_s=lease_s))
        said, _ = running[-1].communicate(timeout=60)
        assert (running[-1].returncode, len(office.messages)) == (-signal.SIGKILL, taken), said
        time.sleep(0.5)
    office.at_data = nothing
    world.clock.at = datetime.now(UTC)
    assert delivered(world, office) == Delivered(), "the claim has not ended yet"
    world.clock.forward(seconds=60)
    assert delivered(world, office) == Delivered(sent=1)
    assert delivered(world, office) == Delivered()
    assert len(office.messages) == 2
    assert len({(message["Message-ID"], message["Date"]) for message in office.messages}) == 1
    assert states(world) == [(OutgoingState.SENT, 3, None)]


def test_every_notice_and_letter_has_a_choice_by_which_it_goes_and_a_subject() -> None:
    assert set(MAIL_KINDS) == {*NoticeKind, *LetterKind} - {LetterKind.DIGEST}
    assert set(HEADINGS) | set(PASSAGES) == set(MAIL_KINDS)
