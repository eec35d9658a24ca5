"""What the portal tells a person, as sentences. Called at the edges only."""

from collections.abc import Callable

from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.domain.wording import Facts


def _stopped(facts: Facts) -> str:
    count, others = facts["servers"], facts.get("others", 0)
    soon = ""
    if others:
        soon = (
            f" {others} other{'s' if others > 1 else ''}, started while its folder was yours to use, "
            f"{'are' if others > 1 else 'is'} stopped in 10 minutes: save your work and start again."
        )
    if not count:
        return f"No server of yours was running on its credits.{soon}"
    was = f"{count} server{'s' if count > 1 else ''} of yours that ran on its credits {_was(count)} stopped."
    return was + soon


def _was(count: int) -> str:
    return "were" if count > 1 else "was"


FILES = "What you put into its folder stays with the team; your home is yours as before."


def _called(facts: Facts) -> str:
    return f" “{facts['server']}”" if facts["server"] else ""


def _files(facts: Facts) -> str:
    count = facts["files"]
    return f"{count:,} file{'' if count == 1 else 's'} ({facts['gb']:.1f} GB)"


def _brought(facts: Facts) -> str:
    """Say what came of a file or folder that was asked back from a snapshot."""
    if not facts["files"] + facts["as_they_were"]:
        return f"it has nothing at {facts['path']}, so nothing came back."
    come = f"{facts['files']:,} {'file is' if facts['files'] == 1 else 'files are'} back at {facts['path']}"
    beside = f", {facts['beside']:,} of them as NAME.of-{facts['day']} beside what has their name"
    there = f"; {facts['as_they_were']:,} were as they were"
    return f"{come}{beside if facts['beside'] else ''}{there if facts['as_they_were'] else ''}."


def _stuck(facts: Facts) -> str:
    count = facts["stuck"]
    return f"; {count:,} more could not be put back, because something stands in their way" if count else ""


def _beyond(facts: Facts) -> str:
    if grace := facts.get("grace_until"):
        return (
            f"More than {facts['soft_gb']:.1f} GB may stay until {grace}; then nothing more can be written."
        )
    if not facts["enforced"]:
        return "Please make room."
    return "Nothing more can be written there." if facts["percent"] >= 100 else "At 100 % writing fails."


def _by_day(facts: Facts) -> str:
    # An offer from before offers had an end.
    return f", until {facts['answer_by']}" if facts.get("answer_by") else ""


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _grace(facts: Facts) -> str:
    if facts["team"]:
        return f"Until {facts['grace_until']} it can be renewed; nothing can be charged to it."
    return (
        f"Until {facts['grace_until']} the smallest server can be started to read and download, "
        f"for {facts['grace_hours']:g} hours in all, paid by the platform."
    )


NOTICES: dict[str, Callable[[Facts], str]] = {
    NoticeKind.LEFT_TEAM: lambda f: f"You left {f['team']}. {_stopped(f)} {FILES}",
    NoticeKind.REMOVED_FROM_TEAM: lambda f: (
        f"You are no longer in {f['team']}. Reason given: {f['reason']} {_stopped(f)} {FILES}"
    ),
    NoticeKind.MEMBER_JOINED: lambda f: f"{f['person']} joined {f['team']}.",
    NoticeKind.MEMBER_LEFT: lambda f: f"{f['person']} left {f['team']}.",
    NoticeKind.INVITATION_DECLINED: lambda f: f"{f['person']} declined the invitation to {f['team']}.",
    NoticeKind.ALLOCATION_ENDS: lambda f: (
        f"The {f['tier']} allocation of {f['account']} ends on {f['ends_on']}, in {_days(f['days'])}. "
        "Ask for its renewal, and say what came of it. A server that runs at the end goes on as planned."
    ),
    NoticeKind.ALLOCATION_ENDED: lambda f: (
        f"The {f['tier']} allocation of {f['account']} has ended. {_grace(f)} "
        "Ask for its renewal before then to keep what is left of the credits."
    ),
    NoticeKind.ALLOCATION_RENEWED: lambda f: (
        f"The {f['tier']} allocation of {f['account']} began anew, and ends on {f['ends_on']}."
    ),
    NoticeKind.ALLOCATION_LAPSED: lambda f: (
        f"The {f['tier']} allocation of {f['account']} has lapsed with what was left of its credits. "
        + ("Its members have their own accounts." if f["team"] else "You have an Entry allocation again.")
    ),
    NoticeKind.REVIEWER_APPOINTED: lambda f: (
        "You are a reviewer of the panel now. The page Panel lists what waits for your review."
    ),
    NoticeKind.REVIEWER_ENDED: lambda f: (
        "You are no longer a reviewer of the panel. Thank you for your work."
    ),
    NoticeKind.REVIEW_ASKED: lambda f: (
        f"“{f['title']}” came into the round {f['round']}: please review it by {f['due_on']}, "
        "or declare a conflict of interest."
    ),
    NoticeKind.OFFER_MADE: lambda f: (
        f"You are offered {f['credits']} credits of the {f['tier']} tier until {f['ends_on']} in place of "
        f"what you asked for. The page Ask for more has the offer, to accept or to decline{_by_day(f)}."
    ),
    NoticeKind.OFFER_EXPIRED: lambda f: (
        f"The offer of {f['credits']} credits for “{f['title']}” was not answered by {f['answer_by']} and "
        "stands no longer; the request is decided again as it was sent."
    ),
    NoticeKind.INVITATION_EXPIRED: lambda f: (
        f"Your invitation of {f['whom']} to {f['team']} was not answered by {f['answer_by']} and is over."
    ),
    NoticeKind.OFFER_ANSWERED: lambda f: (
        f"{f['person']} {f['answer']} your offer of {f['credits']} credits for “{f['title']}”."
    ),
    NoticeKind.WEBHOOK_DISABLED: lambda f: (
        f"The webhook to {f['url']} was switched off after {f['failures']} failures in a row: {f['why']} "
        "Administration, Webhooks switches it on again."
    ),
    NoticeKind.PLACE_FILLS: lambda f: (
        f"{f['place']} is {f['percent']} % full: {f['used_gb']:.1f} of {f['limit_gb']:.1f} GB. {_beyond(f)}"
    ),
    NoticeKind.PLACE_SOFT: lambda f: (
        f"{f['place']} holds {f['used_gb']:.1f} GB, more than the {f['soft_gb']:.1f} GB that may stay there. "
        f"Please make room by {f['grace_until']}: from then on writing fails. The page Storage shows what "
        "takes most."
    ),
    NoticeKind.PLACE_LOCKED: lambda f: (
        f"{f['place']} held more than {f['soft_gb']:.1f} GB for too long: "
        + ("nothing more can be written there" if f["enforced"] else "servers start beside it")
        + f" until it holds less. It holds {f['used_gb']:.1f} GB. The page Storage shows what takes most."
    ),
    NoticeKind.SCRATCH_ENDS: lambda f: (
        f"The lease of {f['place']} ends on {f['ends_on']}, in {_days(f['days'])}. "
        "Renew it on the page Storage, or copy what you need."
    ),
    NoticeKind.SCRATCH_ENDED: lambda f: (
        f"The lease of {f['place']} has ended: nothing more can be written there, and its files may be "
        "purged, after a notice. Renew it on the page Storage to go on."
    ),
    NoticeKind.PURGE_PLANNED: lambda f: (
        f"{_files(f)} in {f['place']}, {f['rule']}, will be moved out of sight in {f['grace_days']} days at "
        f"the earliest, and deleted {f['window_days']} days later. A file that you change until then stays. "
        "The plan's page lists them all; to keep others, ask there for an exemption."
    ),
    NoticeKind.PURGE_CALLED_OFF: lambda f: (
        f"{_files(f)} in {f['place']} stay where they are: the place is in use again, and their purge was "
        "called off."
    ),
    NoticeKind.FILES_IN_QUARANTINE: lambda f: (
        f"{_files(f)} of {f['place']} wait in quarantine. For {f['window_days']} days they come back with a "
        "click on the plan's page; then they are deleted."
    ),
    NoticeKind.FILES_RESTORED: lambda f: f"{_files(f)} of {f['place']} are back where they were{_stuck(f)}.",
    NoticeKind.FILES_BROUGHT_BACK: lambda f: f"Of {f['place']} as of {f['day']}: {_brought(f)}",
    NoticeKind.EXEMPTION_ANSWERED: lambda f: (
        f"{f['path']} in {f['place']} {'is' if f['is_granted'] else 'is not'} kept from purges until "
        f"{f['until']}, as you asked. Reason given: {f['reason']}"
    ),
    NoticeKind.EVENT_ENDED: lambda f: (
        f"{f['event']} is over. A server that still runs on its credits goes on to its planned end; "
        "your own account is as before."
    ),
    NoticeKind.SERVER_ENTERED: lambda f: (
        f"An administrator, {f['person']}, may enter your server{_called(f)} until {f['until']} UTC. "
        f"Reason given: {f['reason']}"
    ),
    NoticeKind.LEADS_TEAM: lambda f: (
        f"You lead {f['team']} now: you say who is in it and who may use how much, and you ask for more."
    ),
}


def notice_sentence(kind: str, facts: Facts) -> str:
    """Return what to tell; a kind of an older or newer release is named as it is."""
    told = NOTICES.get(kind)
    return told(facts) if told else kind
