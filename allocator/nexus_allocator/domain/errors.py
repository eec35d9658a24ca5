"""Refusals: each a slug, a status and facts; `wording.sentence` makes the text at the edge."""

# ruff: noqa: N818 - refusals carry the glossary's names, such as QuotaExceeded

from typing import Any, ClassVar


class AllocatorError(Exception):
    """A refusal that is the asker's to mend. A bug is any other exception."""

    slug: ClassVar[str]
    status: ClassVar[int]

    def __init__(self, **facts: Any) -> None:
        super().__init__(self.slug, facts)
        self.facts = facts


class InvalidToken(AllocatorError):
    slug, status = "invalid_token", 401


class NotAllowed(AllocatorError):
    slug, status = "not_allowed", 403


class ScopeNeeded(AllocatorError):
    """The person may, their token may not."""

    slug, status = "scope_needed", 403


class KeyReused(AllocatorError):
    slug, status = "key_reused", 422


class AgreementRequired(AllocatorError):
    slug, status = "agreement_required", 403


class Suspended(AllocatorError):
    slug, status = "suspended", 403


class AllocationExpired(AllocatorError):
    slug, status = "allocation_expired", 403


class UnknownPerson(AllocatorError):
    slug, status = "unknown_person", 404


class UnknownAccount(AllocatorError):
    slug, status = "unknown_account", 404


class UnknownTeam(AllocatorError):
    slug, status = "unknown_team", 404


class UnknownHold(AllocatorError):
    slug, status = "unknown_hold", 404


class UnknownServer(AllocatorError):
    slug, status = "unknown_server", 404


class UnknownRequest(AllocatorError):
    slug, status = "unknown_request", 404


class UnknownInvitation(AllocatorError):
    slug, status = "unknown_invitation", 404


class UnknownAnnouncement(AllocatorError):
    slug, status = "unknown_announcement", 404


class UnknownQuestion(AllocatorError):
    slug, status = "unknown_question", 404


class QuestionRunning(AllocatorError):
    slug, status = "question_running", 409


class BadChanges(AllocatorError):
    slug, status = "bad_changes", 422


class UnknownOutgoing(AllocatorError):
    slug, status = "unknown_outgoing", 404


class UnknownEndpoint(AllocatorError):
    slug, status = "unknown_endpoint", 404


class EndpointRegistered(AllocatorError):
    slug, status = "endpoint_registered", 409


class SecretUnreadable(AllocatorError):
    slug, status = "secret_unreadable", 409


class BadUrl(AllocatorError):
    slug, status = "bad_url", 422


class BadEvents(AllocatorError):
    slug, status = "bad_events", 422


class UnknownEvent(AllocatorError):
    slug, status = "unknown_event", 404


class AlreadyJoined(AllocatorError):
    slug, status = "already_joined", 409


class EventOver(AllocatorError):
    slug, status = "event_over", 409


class EventNotBegun(AllocatorError):
    slug, status = "event_not_begun", 409


class EventFull(AllocatorError):
    slug, status = "event_full", 409


class TooManyTries(AllocatorError):
    slug, status = "too_many_tries", 429


class AlreadyEntered(AllocatorError):
    slug, status = "already_entered", 409


class UnknownSubgroup(AllocatorError):
    slug, status = "unknown_subgroup", 404


class UnknownMember(AllocatorError):
    slug, status = "unknown_member", 404


class LiveServers(AllocatorError):
    slug, status = "live_servers", 409


class SamePerson(AllocatorError):
    slug, status = "same_person", 422


class NotConfirmed(AllocatorError):
    slug, status = "not_confirmed", 422


class TeamRoleNeeded(AllocatorError):
    slug, status = "team_role_needed", 403


class LeadStays(AllocatorError):
    slug, status = "lead_stays", 409


class AlreadyMember(AllocatorError):
    slug, status = "already_member", 409


class AlreadyInvited(AllocatorError):
    slug, status = "already_invited", 409


class InvitationOver(AllocatorError):
    slug, status = "invitation_over", 409


class LaunchesHeld(AllocatorError):
    slug, status = "launches_held", 409


class ReadOnlyNow(AllocatorError):
    slug, status = "read_only_now", 402


class BadResults(AllocatorError):
    slug, status = "bad_results", 422


class AgreementChanged(AllocatorError):
    slug, status = "agreement_changed", 409


class ShareExceeded(AllocatorError):
    slug, status = "share_exceeded", 402


class AgreementOutdated(AllocatorError):
    slug, status = "agreement_outdated", 409


class ServerLimit(AllocatorError):
    slug, status = "server_limit", 409


class GpuLimit(AllocatorError):
    slug, status = "gpu_limit", 409


class DaskLimit(AllocatorError):
    slug, status = "dask_limit", 409


class PoolBrake(AllocatorError):
    """The platform's budget goes too fast; large launches wait."""

    slug, status = "pool_brake", 429


class RequestOpen(AllocatorError):
    slug, status = "request_open", 409


class IllegalMove(AllocatorError):
    slug, status = "illegal_move", 409


class NameTaken(AllocatorError):
    slug, status = "name_taken", 409


class RateCardChanged(AllocatorError):
    slug, status = "rate_card_changed", 409


class NotBetweenTeamAndMember(AllocatorError):
    slug, status = "not_between_team_and_member", 422


class TransferTooLarge(AllocatorError):
    slug, status = "transfer_too_large", 402


class QuotaExceeded(AllocatorError):
    slug, status = "quota_exceeded", 402


class InvalidRequest(AllocatorError):
    slug, status = "invalid_request", 422


class UnknownSize(AllocatorError):
    slug, status = "unknown_size", 422


class SizeNotAllowed(AllocatorError):
    slug, status = "size_not_allowed", 422


class UnknownImage(AllocatorError):
    slug, status = "unknown_image", 422


class BadHours(AllocatorError):
    slug, status = "bad_hours", 422


class BadAmount(AllocatorError):
    slug, status = "bad_amount", 422


class BadDate(AllocatorError):
    slug, status = "bad_date", 422


class BadReason(AllocatorError):
    slug, status = "bad_reason", 422


class BadName(AllocatorError):
    slug, status = "bad_name", 422


class BadAddress(AllocatorError):
    slug, status = "bad_address", 422


class BadGrantList(AllocatorError):
    slug, status = "bad_grant_list", 422


class TierNotRequestable(AllocatorError):
    slug, status = "tier_not_requestable", 422


class NotReviewer(AllocatorError):
    slug, status = "not_reviewer", 403


class Conflicted(AllocatorError):
    """A conflict of interest, declared or plain to see."""

    slug, status = "conflicted", 403


class UnknownRound(AllocatorError):
    slug, status = "unknown_round", 404


class PanelNotHeard(AllocatorError):
    slug, status = "panel_not_heard", 409


class ReviewClosed(AllocatorError):
    slug, status = "review_closed", 409


class AlreadyReviewer(AllocatorError):
    slug, status = "already_reviewer", 409


class AlreadyWithPanel(AllocatorError):
    slug, status = "already_with_panel", 409


class OfferOver(AllocatorError):
    slug, status = "offer_over", 409


class BadRound(AllocatorError):
    slug, status = "bad_round", 422


class BadScores(AllocatorError):
    slug, status = "bad_scores", 422


class BadComment(AllocatorError):
    slug, status = "bad_comment", 422


class HubUnavailable(AllocatorError):
    """The hub did not answer, or not in full; nothing is concluded from that."""

    slug, status = "hub_unavailable", 503


class UnknownPlace(AllocatorError):
    slug, status = "unknown_place", 404


class NotHeldHere(AllocatorError):
    """The volume's driver can't do it, and says so rather than pretend."""

    slug, status = "not_held_here", 422


class PlaceBusy(AllocatorError):
    slug, status = "place_busy", 409


class UnknownPurgeRule(AllocatorError):
    slug, status = "unknown_purge_rule", 404


class PurgeRuleOff(AllocatorError):
    slug, status = "purge_rule_off", 409


class PlaceNotEnded(AllocatorError):
    slug, status = "place_not_ended", 409


class UnknownExemption(AllocatorError):
    slug, status = "unknown_exemption", 404


class PurgeTooSoon(AllocatorError):
    slug, status = "purge_too_soon", 409


class PurgePhase(AllocatorError):
    slug, status = "purge_phase", 409


class BadPurgeTerms(AllocatorError):
    slug, status = "bad_purge_terms", 422


class UnknownPlan(AllocatorError):
    slug, status = "unknown_plan", 404


class NoObjectStore(AllocatorError):
    slug, status = "no_object_store", 409


class NoAccountStore(AllocatorError):
    """Accounts have no prefixes in an object store here."""

    slug, status = "no_account_store", 409


class DatabaseUnavailable(AllocatorError):
    """The database can't be reached, or can't write now: its disk may be full. Nothing was changed."""

    slug, status = "database_unavailable", 503


class BackupFailed(AllocatorError):
    slug, status = "backup_failed", 503


class BadBackup(AllocatorError):
    """Not whole, altered, of another kind, or made by a newer version."""

    slug, status = "bad_backup", 409


class TargetNotEmpty(AllocatorError):
    """A backup is restored into what is empty only."""

    slug, status = "target_not_empty", 409


class ObjectStoreUnavailable(AllocatorError):
    """Whoever gives credentials for it did not answer, or refused us."""

    slug, status = "object_store_unavailable", 503


class NothingToRestore(AllocatorError):
    slug, status = "nothing_to_restore", 409


class SnapshotUnderWay(AllocatorError):
    """What was asked of a snapshot is being made or brought by somebody slow; it is to be asked again."""

    slug, status = "snapshot_under_way", 409


class UnknownVolume(AllocatorError):
    slug, status = "unknown_volume", 404


class TeamPays(AllocatorError):
    """A team's own server is charged to nobody else."""

    slug, status = "team_pays", 422


class TooManyTeams(AllocatorError):
    slug, status = "too_many_teams", 409


class BadDays(AllocatorError):
    slug, status = "bad_days", 422


class ScratchUnpaid(AllocatorError):
    slug, status = "scratch_unpaid", 402
