"""Text for people: one sentence per refusal and per reason a server stopped. Called at the edges only."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from nexus_allocator.domain.credits import shown, shown_need
from nexus_allocator.domain.errors import AllocatorError
from nexus_allocator.domain.quotas import GB, Filling, Overfull
from nexus_allocator.domain.states import StopReason

Facts = Mapping[str, Any]


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):.1f}"


def hours(value: float) -> str:
    return f"{value:g} h"


def _quota(facts: Facts) -> str:
    need, left = shown_need(facts["requested_micro"]), shown(facts["available_micro"])
    if facts.get("what") == "cluster":
        return (
            f"This cluster needs {need} credits at its largest, {left} left; ask for fewer workers or hours."
        )
    fits = facts["fits"]
    if fits is None:
        instead = "nothing smaller would fit; ask for more credits"
    else:
        instead = f"a {fits['label']} server for {hours(fits['hours'])} would fit"
    return f"This server needs {need} credits, {left} left; {instead}."


def _read_only(facts: Facts) -> str:
    return (
        f"The allocation of {facts['account']} has ended. Until {facts['until']} one {facts['size']} server "
        f"at a time may read, for {hours(facts['hours_left'])} more; ask for a renewal to work on."
    )


def _share(facts: Facts) -> str:
    need, left = shown_need(facts["requested_micro"]), shown(facts["available_micro"])
    fits = facts["fits"]
    if fits is None:
        instead = "ask the team's lead for a larger part"
    else:
        instead = f"a {fits['label']} server for {hours(fits['hours'])} would fit"
    return (
        f"This server needs {need} credits, and your part of {facts['account']} has {left} left; {instead}."
    )


def _bad_hours(facts: Facts) -> str:
    return (
        f"Planned hours must be a number from {facts['min']:g} to {facts['max']:g} "
        f"in steps of {facts['step']:g}; got {facts['hours']}."
    )


def _limit(facts: Facts) -> str:
    plural = "server" if facts["limit"] == 1 else "servers"
    return (
        f"{facts['account']} may run {facts['limit']} {plural} at once and has {facts['live']}. "
        "Stop one first."
    )


def pool_sentence(spent_micro: int, budget_micro: int, until: datetime) -> str:
    """Return why large launches wait; ``until`` is the earliest the brake can lift."""
    spent, budget = shown(spent_micro), shown(budget_micro)
    return (
        f"The Nexus as a whole spends its budget faster than planned ({spent} of {budget} credits of this "
        f"period), until {until.day} {until:%B, %H:%M} UTC at the earliest."
    )


# How a state reads after "this request is"; the pages' labels stand in their templates.
STATES: dict[str, str] = {
    "draft": "a draft",
    "submitted": "waiting for an administrator",
    "in-review": "in review",
    "returned": "returned to the person for revision",
    "offered": "offered on other terms, which the person may accept",
    "accepted": "accepted on other terms",
    "awarded": "awarded",
    "awarded-in-part": "awarded in part",
    "denied": "denied",
    "withdrawn": "withdrawn",
    "active": "active",
    "expiring": "about to end",
    "grace": "ended and in its days of grace",
    "expired": "ended",
    "renewed": "renewed by a later one",
}


def _illegal_move(facts: Facts) -> str:
    may = ", ".join(STATES[state] for state in facts["may"])
    instead = f"from you it can only become {may}" if may else "nothing more can be done to it"
    return f"This request is {STATES[facts['state']]} and can't become {STATES[facts['wanted']]}; {instead}."


# How a conflict of interest reads after "you".
CONFLICTS: dict[str, str] = {
    "applicant": "sent it yourself",
    "in-team": "are a member of the team that asks",
    "named": "are named in it as somebody who would join",
    "declared": "declared a conflict of interest",
}


def _listed(facts: Facts, key: str) -> str:
    return ", ".join(facts[key]) or "none"


SENTENCES: dict[str, Callable[[Facts], str]] = {
    "invalid_token": lambda f: "The token is missing or not the right one.",
    "not_allowed": lambda f: "This is for administrators.",
    "scope_needed": lambda f: f"Your token may not do this; it needs one of {_listed(f, 'scopes')}.",
    "key_reused": lambda f: "This Idempotency-Key was used for another request; take a new one.",
    "agreement_required": lambda f: f"Please accept the user agreement (version {f['version']}) first.",
    "suspended": lambda f: (
        "This person is suspended; please write to the help desk."
        + (f" Reason given: {f['reason']}" if f.get("reason") else "")
    ),
    "allocation_expired": lambda f: f"The allocation of {f['account']} ended on {f['expired_at']}.",
    "unknown_person": lambda f: f"Nobody is known as {f['person']}.",
    "unknown_account": lambda f: f"There is no account {f['account']} that you may charge.",
    "unknown_team": lambda f: f"There is no team {f['team']}.",
    "team_pays": lambda f: f"A team's own server runs on its credits: choose the account {f['team']}.",
    "unknown_hold": lambda f: f"There is no hold {f['hold_id']}.",
    "unknown_server": lambda f: f"{f['person']} has no running server called {f['server']}.",
    "unknown_request": lambda f: f"There is no request {f['request_id']}.",
    "unknown_invitation": lambda f: "There is no such invitation for you.",
    "unknown_announcement": lambda f: "There is no such announcement.",
    "unknown_question": lambda f: "There is no such question.",
    "question_running": lambda f: "Another question is being answered; please wait for it.",
    "bad_changes": lambda f: f"The changed policy can't be used: {f['problem']}.",
    "unknown_outgoing": lambda f: "There is no such row in the outbox.",
    "unknown_endpoint": lambda f: "There is no such endpoint.",
    "endpoint_registered": lambda f: f"{f['url']} is registered already.",
    "secret_unreadable": lambda f: "The secret was sealed with another key; rotate it.",
    "bad_url": lambda f: f"{f['url']!r} can't be an endpoint: give {f['must_be']}.",
    "bad_events": lambda f: f"Choose events among {_listed(f, 'known')}.",
    "unknown_event": lambda f: "No event has this code; please look at it again.",
    "already_joined": lambda f: f"You are in {f['event']} already: its credits can pay for your next server.",
    "event_over": lambda f: f"{f['event']} ended on {f['ended']}.",
    "event_not_begun": lambda f: f"{f['event']} begins at {f['starts']} UTC; join it from then on.",
    "event_full": lambda f: (
        f"{f['event']} is full: {f['most']} people have joined. Ask who holds it for a place."
    ),
    "too_many_tries": lambda f: (
        f"That were {f['most']} tries within {f['minutes']} minutes; please wait so long and try again."
    ),
    "unknown_subgroup": lambda f: f"{f['team']} has no such sub-group.",
    "already_entered": lambda f: f"You may enter this server already, until {f['until']}.",
    "unknown_member": lambda f: f"{f['person']} is not in {f['team']}.",
    "live_servers": lambda f: (
        f"{f['person']} runs {f['servers']} server{'' if f['servers'] == 1 else 's'}; stop them first."
    ),
    "same_person": lambda f: f"{f['person']} is one person already: name two.",
    "not_confirmed": lambda f: f"Nothing was erased: type the name {f['person']} exactly.",
    "team_role_needed": lambda f: f"In {f['team']} this is for {_listed(f, 'roles')}; you are {f['role']}.",
    "lead_stays": lambda f: f"The lead of {f['team']} hands it over to another member first.",
    "already_member": lambda f: f"{f['person']} is in {f['team']} already.",
    "already_invited": lambda f: f"{f['person']} has an open invitation to {f['team']} already.",
    "invitation_over": lambda f: (
        f"This invitation to {f['team']} {f['ended']}; ask the team for another one."
    ),
    "share_exceeded": _share,
    "read_only_now": _read_only,
    "launches_held": lambda f: f"No new servers just now: {f['message']}",
    "bad_results": lambda f: f"Please say what came of the allocation so far: {f['must_be']}.",
    "agreement_changed": lambda f: (
        f"The text of agreement {f['version']} was accepted in other words; give the new text a new version."
    ),
    "bad_address": lambda f: f"{f['address']!r} is neither a hub name nor an e-mail address.",
    "agreement_outdated": lambda f: (
        f"Version {f['given']} is not in force; please read and accept version {f['version']}."
    ),
    "server_limit": _limit,
    "gpu_limit": lambda f: (
        f"{f['account']} may use {f['limit']} GPUs at once and uses {f['live']}; "
        f"this size has {f['wanted']}. Stop a server with a GPU first."
    ),
    "dask_limit": lambda f: (
        f"{f['account']} may have {f['limit']} Dask cores at once and has {f['live']}; this cluster has "
        f"up to {f['wanted']}. Ask for fewer workers or close another cluster first."
    ),
    "pool_brake": lambda f: (
        f"{pool_sentence(f['spent_micro'], f['budget_micro'], datetime.fromisoformat(f['until']))} "
        f"So {f['label']} has to wait; {_listed(f, 'going')} can start now."
    ),
    "request_open": lambda f: "A request for this account is already waiting for a decision.",
    "bad_grant_list": lambda f: (
        f"Nothing was imported. Line {f['line']}: {f['problem']}"
        + (f" (and {f['more']} more)." if f["more"] else ".")
    ),
    "illegal_move": _illegal_move,
    "name_taken": lambda f: f"The name {f['name']} is taken; names are never given twice.",
    "quota_exceeded": _quota,
    "rate_card_changed": lambda f: (
        f"Rate card {f['version']} was used with other rates ({_listed(f, 'changed')}); "
        "give the new rates a new version."
    ),
    "not_between_team_and_member": lambda f: (
        f"Credits move between a team and its members only, which {f['source']} and {f['target']} are not."
    ),
    "transfer_too_large": lambda f: (
        f"{f['account']} has {shown(f['available_micro'])} credits free to give, "
        f"not {shown_need(f['requested_micro'])}."
    ),
    "invalid_request": lambda f: f"The request can't be read: {f['problem']}.",
    "unknown_size": lambda f: f"There is no server size {f['size']}; choose one of {_listed(f, 'known')}.",
    "size_not_allowed": lambda f: (
        f"{f['account']} ({f['tier']}) may not use size {f['size']}; it may use {_listed(f, 'allowed')}."
    ),
    "unknown_image": lambda f: f"There is no image {f['image']}; choose one of {_listed(f, 'known')}.",
    "bad_hours": _bad_hours,
    "bad_amount": lambda f: f"The amount {f['amount']} must be {f['must_be']}.",
    "bad_date": lambda f: f"The date {f['date']} must be {f['must_be']}.",
    "bad_reason": lambda f: f"Please give a reason of {f['min']} to {f['max']} characters.",
    "bad_name": lambda f: f"{f['name']!r} can't be a name: use {f['must_be']}.",
    "tier_not_requestable": lambda f: (
        f"{f['tier']} can't be requested for this account; it may ask for {_listed(f, 'requestable')}."
    ),
    "not_reviewer": lambda f: "This is for the panel's reviewers.",
    "conflicted": lambda f: (
        f"You can't act on this request, because you {CONFLICTS[f['kind']]}. Somebody else has to."
    ),
    "unknown_round": lambda f: f"There is no round {f['round']}.",
    "panel_not_heard": lambda f: (
        f"The panel has not been heard: {f['reviews']} of {f['needed']} reviews without a conflict are in. "
        "Wait for them, or state why this is decided without."
    ),
    "review_closed": lambda f: f"This request is {STATES[f['state']]}; there is nothing to review now.",
    "already_reviewer": lambda f: f"{f['person']} is a reviewer already.",
    "already_with_panel": lambda f: "This request is with the panel already.",
    "offer_over": lambda f: "This offer no longer stands; open your requests to see what does.",
    "bad_round": lambda f: f"A round must be {f['must_be']}.",
    "bad_scores": lambda f: (
        f"Give each of {_listed(f, 'criteria')} a whole score from {f['low']} to {f['high']}."
    ),
    "bad_comment": lambda f: f"A comment has at most {f['max']:,} characters.",
    "hub_unavailable": lambda f: f"The hub did not answer ({f['problem']}); please try again in a moment.",
    "unknown_place": lambda f: f"There is no place {f['place']} on this volume.",
    "not_held_here": lambda f: f"A volume of kind {f['driver']} can't {f['act']}.",
    "place_busy": lambda f: f"{f['place']} can't be touched now: {f['problem']}.",
    "unknown_purge_rule": lambda f: (
        f"There is no purge rule {f['rule']}; there are: {', '.join(f['known']) or 'none'}."
    ),
    "purge_rule_off": lambda f: f"The purge rule {f['rule']} is not switched on: see purges in tiers.yaml.",
    "place_not_ended": lambda f: (
        f"{f['place']} is in use: the rule {f['rule']} takes files only {f['days']} days after {f['end']}."
    ),
    "unknown_exemption": lambda f: f"There is no exemption {f['exemption']} in force.",
    "purge_too_soon": lambda f: (
        f"It is too soon: {_days(f['passed'])} of {_days(f['needed'])} days were seen to pass."
    ),
    "purge_phase": lambda f: f"The plan is {f['phase']}; this can be done while it is {f['must_be']}.",
    "bad_purge_terms": lambda f: (
        f"A purge warns and waits at least a day each; got {f['grace']} and {f['window']} days."
    ),
    "unknown_plan": lambda f: f"There is no purge plan {f['plan']}.",
    "bad_days": lambda f: f"Days must be a whole number from 1 to {f['most']}; got {f['days']}.",
    "scratch_unpaid": lambda f: (
        f"Full to its end it would cost {shown_need(f['cost_micro'])} credits, "
        f"{shown(f['available_micro'])} are left; ask for a smaller one, or for fewer days."
    ),
    "no_object_store": lambda f: "There is no object store for cold files: set NEXUS_STORAGE_COLD_BUCKET.",
    "no_account_store": lambda f: "Accounts keep no objects here: this Nexus has no bucket for them.",
    "object_store_unavailable": lambda f: "The object store gives no credentials just now. Try again soon.",
    "database_unavailable": lambda f: (
        "The service's database can't be used just now. Nothing was changed; please try again in a "
        "minute, and tell the operator if it lasts."
    ),
    "backup_failed": lambda f: f"No backup was made: {f['problem']}.",
    "bad_backup": lambda f: f"This backup is not restored: {f['problem']}. Nothing was changed.",
    "target_not_empty": lambda f: (
        f"Nothing was restored: {f['target']} is not empty ({f['found']}). "
        "A backup goes into what is empty only."
    ),
    "nothing_to_restore": lambda f: "Nothing of this waits in quarantine any more.",
    "snapshot_under_way": lambda f: (
        f"The snapshot {f['snapshot']} of {f['place']} is on its way. Ask again in some minutes."
    ),
    "too_many_teams": lambda f: (
        f"{f['person']} is in {f['most']} teams, and files shared over the network (NFS) know no more groups "
        "of one person. Leave a team first."
    ),
    "unknown_volume": lambda f: f"No volume {f['volume']} is known.",
}


def sentence(error: AllocatorError) -> str:
    """Return what to tell a person about this refusal: what was wrong and what to do."""
    return SENTENCES[error.slug](error.facts)


STOPS: dict[str, str] = {
    StopReason.OWN_HAND: "You stopped it.",
    StopReason.IDLE: "It was idle for too long.",
    StopReason.MAX_AGE: "It reached the longest time a server may run.",
    StopReason.PLANNED_HOURS: "Its planned hours and the time to save were over.",
    StopReason.START_FAILED: "JupyterLab did not answer after the start, so the server was ended.",
    StopReason.OUT_OF_MEMORY: "It used more memory than the server has.",
    StopReason.NODE_LOST: "The machine it ran on was lost; files in your home are as they were last saved.",
    StopReason.QUOTA: "The account ran out of credits.",
    StopReason.ADMINISTRATOR: "An administrator stopped it.",
    StopReason.SUSPENDED: "The person was suspended.",
    StopReason.LEFT_TEAM: "The team's credits paid for it, and its owner left the team.",
    StopReason.ACCESS_ENDED: "Its owner had left a team whose folder it could still reach.",
    StopReason.TEAM_HAND: "Somebody of the team stopped it.",
    StopReason.MEMBER_GONE: "Somebody left the team, who might have been in its server still.",
    StopReason.UNPAID: "What its launch had set aside was given back before, so nothing paid for it.",
    StopReason.SHUTDOWN: "The platform was shut down.",
    StopReason.NEVER_STARTED: "It never started; nothing was charged.",
    StopReason.REPLACED: "It never started, and a new launch took its place; nothing was charged.",
    StopReason.UNKNOWN: "It ended while nobody was watching; the reason is not known.",
}


def stop_sentence(reason: str, *, exit_signal: int | None, exit_code: int | None) -> str:
    """Return why a server stopped, for people."""
    if reason == StopReason.SIGNAL:
        hint = " That is often a sign of too little memory." if exit_signal == 9 else ""
        return f"Its process was ended by signal {exit_signal}.{hint}"
    if reason == StopReason.EXIT:
        return f"Its process ended by itself with exit code {exit_code}."
    return STOPS.get(reason, f"It was stopped: {reason}.")


def spend_sentence(percent: int, *, award_micro: int, left_micro: int, stops_at: datetime | None) -> str:
    """Return what to tell people of an award that is used up to ``percent``; the whole has a stop's time."""
    if stops_at is None:
        left, award = shown(left_micro), shown(award_micro)
        return f"{percent} % of the award is used: {left} of {award} credits are left."
    return (
        "The credits of this account are used up. Save your work now: its running servers are stopped at "
        f"{stops_at:%H:%M} UTC unless credits come in."
    )


def overfull_sentence(place: Overfull) -> str:
    """Return what to tell of a place that holds more than its soft limit."""
    used, hard = place.used_bytes / GB, place.limits.hard_bytes / GB
    soft, ends = place.limits.soft_bytes / GB, place.limits.grace_ends_at
    held = f"{place.place} holds {used:.1f} of {hard:.1f} GB."
    if place.filling is Filling.FULL:
        return f"{held} Nothing more can be written there. The page Storage shows what takes most."
    if place.filling is Filling.LOCKED:
        return f"{held} More than {soft:.1f} GB were there for too long: make room to write again."
    until = f" until {ends:%Y-%m-%d}" if ends else " for a while"
    return f"{held} More than {soft:.1f} GB may stay{until}; then nothing more can be written."


def length(span: timedelta) -> str:
    """Return a duration as hours and minutes."""
    minutes = int(span.total_seconds()) // 60
    return f"{minutes // 60} h {minutes % 60:02d} min"
