"""What mail says, as plain sentences: a letter has a subject and passages. Called at the edges only."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from nexus_allocator.domain.mailing import LetterKind
from nexus_allocator.domain.notices import notice_sentence
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.domain.wording import Facts, spend_sentence, stop_sentence

LONGEST_SUBJECT = 150


@dataclass(frozen=True)
class Passage:
    """Sentences on one matter, and the portal's page on it, below the portal's address."""

    heading: str
    sentences: tuple[str, ...]
    page: str = ""
    page_label: str = "Open the portal"


@dataclass(frozen=True)
class Letter:
    subject: str
    passages: tuple[Passage, ...]

    @property
    def is_digest(self) -> bool:
        return len(self.passages) > 1


def one_line(text: str) -> str:
    """Return text of people's as a header or heading may hold it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST_SUBJECT]


def _spending(facts: Facts) -> Passage:
    stops_at = facts["stops_at"]
    said = spend_sentence(
        facts["percent"], award_micro=facts["award_micro"], left_micro=facts["left_micro"],
        stops_at=datetime.fromisoformat(stops_at) if stops_at else None,
    )  # fmt: skip
    heading = f"{facts['percent']} % of the credits are used: {facts['account']}"
    return Passage(heading, (f"{facts['account']}: {said}",), f"accounts/{facts['slug']}", "See the account")


def _stopped(facts: Facts) -> Passage:
    name = f"server “{facts['server']}”" if facts["server"] else "server"
    why = stop_sentence(facts["reason"], exit_signal=facts["exit_signal"], exit_code=facts["exit_code"])
    sentences = [f"Your {facts['size']} {name} on {facts['account']} stopped at {facts['at']} UTC.", why]
    if facts["note"]:
        sentences.append(f"Reason given: {facts['note']}")
    sentences.append(f"It cost {facts['cost']} credits. Your files are where they were.")
    return Passage(f"Your {name} has stopped", tuple(sentences), "", "See what it cost")


AFTER = {
    "awarded": "has been awarded",
    "awarded-in-part": "has been awarded in part",
    "denied": "has been denied",
    "returned": "has been returned to you to be revised",
}


def _request(facts: Facts) -> Passage:
    became = AFTER.get(facts["after"], f"is now {facts['after']}")
    sentences = [f"Your request for {facts['tier']} on {facts['account']} {became}."]
    if facts["awarded"]:
        sentences.append(f"Awarded: {facts['awarded']} credits, until {facts['ends_on']}.")
    if facts["reason"]:
        sentences.append(f"Reason given: {facts['reason']}")
    return Passage(
        f"Your request for {facts['tier']} {became}", tuple(sentences), "requests", "See the request"
    )


def _invited(facts: Facts) -> Passage:
    who = f"{facts['by']} invites you" if facts["by"] else "You are invited"
    sentences = (
        f"{who} to the team {facts['team']}, as {facts['role']}.",
        f"Sign in and answer on the page of teams. The invitation lasts until {facts['until']}.",
    )
    return Passage(f"Invitation to {facts['team']}", sentences, "teams", "Answer the invitation")


def _suspended(facts: Facts) -> Passage:
    sentences = (
        "You can't sign in or start servers for now, and your running servers are stopped. "
        "Your files, accounts and teams are kept.",
        f"Reason given: {facts['reason']}",
        "Please write to the help desk.",
    )
    return Passage("You are suspended from the Roman Research Nexus", sentences)


def _reinstated(_facts: Facts) -> Passage:
    return Passage(
        "You may use the Roman Research Nexus again",
        ("You can sign in and start servers again. Files, accounts and teams are as they were.",),
    )


def _agreement(facts: Facts) -> Passage:
    sentences = (
        f"The user agreement has changed: version {facts['version']} is in force now.",
        "Please read and accept it before you start your next server.",
    )
    return Passage("The user agreement has changed", sentences, "agreement", "Read the agreement")


PASSAGES: dict[str, Callable[[Facts], Passage]] = {
    LetterKind.SPENDING_MARK: _spending,
    LetterKind.SERVER_STOPPED: _stopped,
    LetterKind.REQUEST_MOVED: _request,
    LetterKind.INVITED: _invited,
    LetterKind.SUSPENDED: _suspended,
    LetterKind.REINSTATED: _reinstated,
    LetterKind.AGREEMENT_RENEWED: _agreement,
}

HEADINGS: dict[str, Callable[[Facts], str]] = {
    NoticeKind.ALLOCATION_ENDS: lambda f: (
        f"{f['account']}: the {f['tier']} allocation ends on {f['ends_on']}"
    ),
    NoticeKind.ALLOCATION_ENDED: lambda f: f"{f['account']}: the {f['tier']} allocation has ended",
    NoticeKind.ALLOCATION_RENEWED: lambda f: f"{f['account']}: the {f['tier']} allocation began anew",
    NoticeKind.ALLOCATION_LAPSED: lambda f: f"{f['account']}: the {f['tier']} allocation has lapsed",
    NoticeKind.LEFT_TEAM: lambda f: f"You left {f['team']}",
    NoticeKind.REMOVED_FROM_TEAM: lambda f: f"You are no longer in {f['team']}",
    NoticeKind.MEMBER_JOINED: lambda f: f"{f['person']} joined {f['team']}",
    NoticeKind.MEMBER_LEFT: lambda f: f"{f['person']} left {f['team']}",
    NoticeKind.INVITATION_DECLINED: lambda f: f"{f['person']} declined the invitation to {f['team']}",
    NoticeKind.LEADS_TEAM: lambda f: f"You lead {f['team']} now",
    NoticeKind.PLACE_FILLS: lambda f: f"{f['place']} is {f['percent']} % full",
    NoticeKind.PLACE_SOFT: lambda f: f"{f['place']}: make room by {f['grace_until']}",
    NoticeKind.PLACE_LOCKED: lambda f: f"{f['place']}: make room",
    NoticeKind.SCRATCH_ENDS: lambda f: f"The lease of {f['place']} ends on {f['ends_on']}",
    NoticeKind.SCRATCH_ENDED: lambda f: f"The lease of {f['place']} has ended",
    NoticeKind.PURGE_PLANNED: lambda f: f"Files in {f['place']} will be purged",
    NoticeKind.PURGE_CALLED_OFF: lambda f: f"Files in {f['place']} stay",
    NoticeKind.FILES_IN_QUARANTINE: lambda f: f"Files of {f['place']} are in quarantine",
    NoticeKind.FILES_RESTORED: lambda f: f"Files of {f['place']} are back",
    NoticeKind.FILES_BROUGHT_BACK: lambda f: f"Files of {f['place']} as of {f['day']}",
    NoticeKind.EXEMPTION_ANSWERED: lambda f: f"Your exemption in {f['place']}",
    NoticeKind.EVENT_ENDED: lambda f: f"{f['event']} is over",
    NoticeKind.SERVER_ENTERED: lambda _: "An administrator may enter your server",
    NoticeKind.WEBHOOK_DISABLED: lambda f: f"The webhook to {f['url']} was switched off",
    NoticeKind.REVIEWER_APPOINTED: lambda f: "You are a reviewer of the panel now",
    NoticeKind.REVIEWER_ENDED: lambda f: "You are no longer a reviewer of the panel",
    NoticeKind.REVIEW_ASKED: lambda f: f"To review by {f['due_on']}: {f['title']}",
    NoticeKind.OFFER_MADE: lambda f: f"You are offered {f['credits']} credits of the {f['tier']} tier",
    NoticeKind.OFFER_ANSWERED: lambda f: f"{f['person']} {f['answer']} your offer: {f['title']}",
    NoticeKind.OFFER_EXPIRED: lambda f: f"An offer was not answered: {f['title']}",
    NoticeKind.INVITATION_EXPIRED: lambda f: f"Your invitation of {f['whom']} to {f['team']} is over",
}
# Where to go from what a letter says, and how its link reads.
PLACES: dict[str, tuple[str, str]] = {
    NoticeKind.PLACE_FILLS: ("storage", "See what takes most"),
    NoticeKind.PLACE_SOFT: ("storage", "See what takes most"),
    NoticeKind.PLACE_LOCKED: ("storage", "See what takes most"),
    NoticeKind.SCRATCH_ENDS: ("storage", "Renew it"),
    NoticeKind.SCRATCH_ENDED: ("storage", "Renew it"),
    NoticeKind.FILES_BROUGHT_BACK: ("storage/snapshots", "See the snapshots"),
    NoticeKind.ALLOCATION_ENDS: ("requests", "Ask for its renewal"),
    NoticeKind.ALLOCATION_ENDED: ("requests", "Ask for its renewal"),
    NoticeKind.REVIEWER_APPOINTED: ("panel", "Open the panel"),
    NoticeKind.REVIEW_ASKED: ("panel", "Open the panel"),
    NoticeKind.OFFER_MADE: ("requests", "See the offer"),
}

OF_PURGES = (
    NoticeKind.PURGE_PLANNED,
    NoticeKind.PURGE_CALLED_OFF,
    NoticeKind.FILES_IN_QUARANTINE,
    NoticeKind.FILES_RESTORED,
)


def passage(kind: str, facts: Facts) -> Passage:
    """Return what to tell; a notice says in mail what the portal says of it, and of a purge which files."""
    if made := PASSAGES.get(kind):
        return made(facts)
    heading = HEADINGS[kind](facts) if kind in HEADINGS else "News from the Roman Research Nexus"
    page, label = PLACES.get(kind, ("", "Open the portal"))
    if kind in OF_PURGES:
        page, label = f"storage/purges/{facts['plan']}", "See all the files, keep them or have them back"
    return Passage(heading, (notice_sentence(kind, facts), *facts.get("largest", ())), page, label)


def letter(kind: str, facts: Facts) -> Letter:
    told = passage(kind, facts)
    return Letter(one_line(told.heading), (told,))


def digest(day: str, passages: tuple[Passage, ...]) -> Letter:
    count = "1 message" if len(passages) == 1 else f"{len(passages)} messages"
    return Letter(f"Nexus digest of {day}: {count}", passages)
