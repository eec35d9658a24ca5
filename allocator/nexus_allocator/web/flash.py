"""A notice that survives the redirect after a POST: one of a fixed set, kept in a short-lived cookie.

Only a key travels, never text, so that nobody can plant words in a page.
"""

from collections.abc import Callable

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from nexus_allocator.web.context import Notice, Portal

COOKIE = "nexus-notice"
NOTICES: dict[str, Notice] = {
    "stopping": Notice("good", "The server is being stopped. Its final cost appears here in a moment."),
    "was-stopped": Notice("good", "That server had stopped already."),
    "kept": Notice("good", "The server will not be stopped for being idle while it is kept alive."),
    "not-kept": Notice("good", "The server may be stopped for being idle again."),
    "requested": Notice(
        "good", "Your request was sent. An administrator will answer it; you see the answer here."
    ),
    "drafted": Notice("good", "Your draft was kept. Nobody sees it until you send it."),
    "withdrawn": Notice("good", "Your request was withdrawn."),
    "in-review": Notice("good", "The request is in review, and the person sees that."),
    "returned": Notice("good", "The request was returned to be revised, with your reason."),
    "awarded": Notice("good", "Awarded: the next launch page offers the new sizes."),
    "invited": Notice("good", "Invited: the person finds it on their page of teams when they sign in."),
    "invitation-withdrawn": Notice("good", "The invitation was withdrawn."),
    "joined": Notice("good", "You are in the team. Its credits can pay for your next server."),
    "declined": Notice("good", "You declined the invitation."),
    "left-team": Notice("good", "You left the team."),
    "removed": Notice("good", "The person is no longer in the team, and was told your reason."),
    "role-changed": Notice("good", "The role was changed."),
    "handed-over": Notice("good", "The team has a new lead; you are a manager of it now."),
    "grouped": Notice("good", "The sub-group was changed; it counts from the next server on."),
    "shared": Notice("good", "The part was changed; it counts from the next launch on."),
    "group-made": Notice("good", "The sub-group was made. Put members into it from their own pages."),
    "group-ended": Notice("good", "The sub-group was ended; its members stay in the team."),
    "entered": Notice("good", "You may enter the server now. The person was told."),
    "left": Notice("good", "You may no longer enter the server."),
    "suspended": Notice("good", "Suspended. Servers of the person are being stopped."),
    "reinstated": Notice("good", "Reinstated: the person may sign in again."),
    "held": Notice("good", "New launches are held."),
    "let-through": Notice("good", "New launches go through."),
    "accepted": Notice("good", "You accepted the user agreement."),
    "mail-chosen": Notice("good", "Your choices are kept."),
    "scratch-taken": Notice("good", "The scratch is yours; it is in your next server under scratch."),
    "looking": Notice("good", "The places are being looked at; the figures here are new in a moment."),
    "sized": Notice("good", "The place has its new size; the volume is asked to hold it."),
    "retried": Notice("good", "It is tried again now."),
    "webhook-on": Notice("good", "The endpoint is told of events again."),
    "webhook-off": Notice("good", "The endpoint is told nothing for now."),
    "webhook-tested": Notice("good", "A test is on its way: the outbox tells what becomes of it."),
    "webhook-removed": Notice("good", "The endpoint was removed."),
    "put-away": Notice("good", "Put away."),
    "reviewed": Notice("good", "Your review was kept. You can revise it until the request is decided."),
    "conflict-declared": Notice("good", "Your conflict of interest was kept; others review this request."),
    "round-made": Notice("good", "The round was made."),
    "round-changed": Notice("good", "The round was changed."),
    "appointed": Notice("good", "Appointed: the person was told, and has the page Panel."),
    "dismissed": Notice("good", "The person reviews no longer, and was told. Their reviews stay."),
    "offered": Notice("good", "The offer was made. The person accepts or declines it on their own page."),
    "taken-back": Notice("good", "The offer was taken back; the request is to be decided again."),
    "referred": Notice("good", "The request is before the panel."),
    "placed": Notice("good", "The request is in the round, and its reviewers were told."),
    "offer-accepted": Notice("good", "Accepted and awarded: the next launch page offers the new sizes."),
    "offer-declined": Notice("good", "Declined: your request as you sent it is decided again."),
    "identity-changed": Notice("good", "Changed. The person signs in again."),
    "merged": Notice("good", "The two are one person now."),
    "erased": Notice("good", "Erased: a pseudonym stands in the place of the person."),
    "announced": Notice("good", "Announced: everybody reads it from the moment that you gave."),
    "announcement-withdrawn": Notice("good", "Withdrawn: nobody reads it any more."),
    "joined-event": Notice(
        "good", "You are in. The event's credits can pay for your next server: choose it there."
    ),
    "event-made": Notice("good", "The event was made. Give its code to who may join."),
    "event-ended": Notice(
        "good",
        "The event has ended; what was not used went back. Running servers go on to their planned end.",
    ),
    "restoring": Notice(
        "good", "It is being put back. You are told when it is done, here and by mail; this page shows it."
    ),
    "bringing-back": Notice(
        "good", "It is being brought back. You are told when it is done, here and by mail."
    ),
    "exemption-asked": Notice("good", "Asked. Until an administrator answers, no purge takes it."),
    "exemption-answered": Notice("good", "Answered, and the person was told."),
    "purge-cancelled": Notice("good", "The plan is being cancelled."),
    "asked": Notice("good", "It is being computed: the page looks again by itself."),
    "denied": Notice("good", "The request was denied, with your reason."),
}


def redirect(portal: Portal, path: str, notice: str) -> RedirectResponse:
    """Send the browser to ``path`` below the prefix by GET and leave ``notice`` for the page there."""
    response = RedirectResponse(f"{portal.prefix}{path}", 303)
    response.set_cookie(
        COOKIE,
        notice,
        max_age=60,
        path=portal.prefix,
        httponly=True,
        samesite="lax",
        secure=portal.secure_cookies,
    )
    return response


def take_notice(request: Request) -> tuple[Notice | None, Callable[[Response], None]]:
    """Return the notice left for this page and what removes it from the browser."""
    key = request.cookies.get(COOKIE)

    def forget(response: Response) -> None:
        if key is not None:
            portal: Portal = request.app.state.portal
            response.delete_cookie(COOKIE, path=portal.prefix)

    return (NOTICES.get(key) if key else None), forget
