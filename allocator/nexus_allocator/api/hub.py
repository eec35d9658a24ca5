"""The routes the hub asks; every one but the health check needs its token."""

from dataclasses import replace
from uuid import UUID

from fastapi import APIRouter, Response

from nexus_allocator.api.context import Context, Here
from nexus_allocator.api.models import (
    AccountModel,
    AdmissionModel,
    AgreementBody,
    AgreementModel,
    AnnouncementModel,
    BrakeModel,
    HoursModel,
    IdentityBody,
    ImageModel,
    KeepAliveModel,
    LastStopModel,
    LaunchBody,
    LaunchModel,
    OfflineModel,
    PersonModel,
    RefusalModel,
    StandingModel,
    StartedBody,
    StopIntentBody,
    StoppedBody,
    TeamServerModel,
)
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.rights import Action, Reach, does
from nexus_allocator.domain.wording import pool_sentence
from nexus_allocator.services import (
    admission,
    holds,
    launches,
    leases,
    people,
    stops,
    storage_quotas,
    team_servers,
)

NO_CONTENT = 204
REFUSALS: dict[int | str, dict[str, object]] = {
    status: {"model": RefusalModel} for status in (401, 402, 403, 404, 409, 422, 429)
}

router = APIRouter(prefix="/api/hub", tags=["hub"])
trusted = APIRouter(responses=REFUSALS)


@router.get("/health")
@does(Action.HEALTH_SEE)
def health() -> dict[str, str]:
    return {"status": "ok"}


@trusted.put("/people")
@does(Action.IDENTITY_RECORD)
def sign_in(body: IdentityBody, here: Here) -> PersonModel:
    """The person behind an identity, with their groups; the first call makes the person, and nothing else."""
    is_administrator = here.is_administrator(body.issuer, body.subject, body.groups)
    with here.database.session_scope() as session:
        person = people.sign_in(
            session,
            **body.model_dump(exclude={"groups"}),
            is_administrator=is_administrator,
            now=here.clock(),
        )
        return PersonModel(
            person_id=person.id,
            hub_name=person.hub_name,
            is_administrator=person.is_administrator,
            suspended=person.suspended_at is not None,
            suspension_reason=person.suspension_reason,
            groups=people.groups(session, hub_name=person.hub_name),
        )


@trusted.get("/people/{hub_name}/standing")
@does(Action.STANDING_SEE)
def standing(hub_name: str, here: Here) -> StandingModel:
    with here.database.reading_scope() as session:
        return StandingModel(suspended=people.is_suspended(session, hub_name=hub_name))


@trusted.get("/teams/{team}/server")
@does(Action.LAUNCH_SEE)
def team_server(team: str, hub_name: str, here: Here) -> TeamServerModel:
    """The team's own server, for a member of it."""
    with here.database.reading_scope() as session:
        return TeamServerModel(**vars(team_servers.server_of(session, team=team, hub_name=hub_name)))


@trusted.get("/teams/{team}/launch")
@does(Action.LAUNCH_SEE)
def team_launch_page(team: str, hub_name: str, here: Here) -> LaunchModel:
    """What a member may start as the team's own server: on its account, and never without this service."""
    with here.database.reading_scope() as session:
        team_servers.server_of(session, team=team, hub_name=hub_name)
        page = launches.launch_page(session, policy=here.policy, hub_name=hub_name, now=here.clock())
    theirs = [account for account in page.accounts if account.slug == team]
    nothing = leases.Offline(None, [])
    return _launch_model(here, replace(page, accounts=theirs, last_stop=None), nothing)


@trusted.get("/people/{hub_name}/launch")
@does(Action.LAUNCH_SEE)
def launch_page(hub_name: str, here: Here) -> LaunchModel:
    with here.database.reading_scope() as session:
        page = launches.launch_page(session, policy=here.policy, hub_name=hub_name, now=here.clock())
        overfull = storage_quotas.warnings_of(
            session, hub_name=hub_name, terms=here.policy.storage, now=here.clock()
        )
        offline = leases.offline_of(
            session, policy=here.policy, hub_name=hub_name, grace_minutes=here.grace_minutes, now=here.clock()
        )
    model = _launch_model(here, page, offline)
    model.announcements += [AnnouncementModel.of_place(each) for each in overfull]
    return model


@trusted.post("/people/{hub_name}/agreement", status_code=NO_CONTENT)
@does(Action.AGREEMENT_ACCEPT, over=Reach.ANY)
def accept_agreement(hub_name: str, body: AgreementBody, here: Here) -> Response:
    with here.database.session_scope() as session:
        people.accept_agreement(
            session, policy=here.policy, hub_name=hub_name, version=body.version, now=here.clock()
        )
    return Response(status_code=NO_CONTENT)


@trusted.post("/admissions", status_code=201)
@does(Action.LAUNCH_ADMIT)
def admit(body: LaunchBody, here: Here) -> AdmissionModel:
    with here.counted.admission_s.time(), here.database.session_scope() as session:
        admitted = admission.admit(
            session,
            admission.Launch(**body.model_dump()),
            policy=here.policy,
            grace_minutes=here.grace_minutes,
            now=here.clock(),
        )
        rescue = (
            admitted.home_is_over
            and not admitted.read_only
            and storage_quotas.needs_rescue(
                session, admitted.home, terms=here.policy.storage, now=here.clock()
            )
        )
    return AdmissionModel.of(admitted, rescue=rescue)


@trusted.post("/holds/{hold_id}/started", status_code=NO_CONTENT)
@does(Action.HOLD_REPORT)
def started(hold_id: UUID, body: StartedBody, here: Here) -> Response:
    with here.database.session_scope() as session:
        holds.started(session, hold_id, process_started_at=body.process_started_at)
    return Response(status_code=NO_CONTENT)


@trusted.post("/holds/{hold_id}/stopped", status_code=NO_CONTENT)
@does(Action.HOLD_REPORT)
def stopped(hold_id: UUID, body: StoppedBody, here: Here) -> Response:
    with here.database.session_scope() as session:
        holds.stopped(session, hold_id, body.evidence(), now=here.clock())
    return Response(status_code=NO_CONTENT)


@trusted.post("/servers/{hub_name}/{server_name}/stop-intent", status_code=NO_CONTENT)
@does(Action.STOP_RECORD)
def stop_intent(hub_name: str, server_name: str, body: StopIntentBody, here: Here) -> Response:
    with here.database.session_scope() as session:
        stops.record_intent(
            session,
            hub_name=hub_name,
            server_name=_server(server_name),
            reason=body.reason,
            actor=body.actor,
            now=here.clock(),
        )
    return Response(status_code=NO_CONTENT)


@trusted.get("/servers/{hub_name}/{server_name}/keep-alive")
@does(Action.KEEP_SEE)
def keep_alive(hub_name: str, server_name: str, here: Here) -> KeepAliveModel:
    with here.database.reading_scope() as session:
        until = stops.kept_alive_until(
            session, hub_name=hub_name, server_name=_server(server_name), now=here.clock()
        )
    return KeepAliveModel(keep_alive_until=until)


def _server(segment: str) -> str:
    # A path can't hold an empty segment, and the default server's name is empty.
    return "" if segment == "-" else segment


def _launch_model(here: Context, page: launches.LaunchPage, offline: leases.Offline) -> LaunchModel:
    policy, agreement, hours = here.policy, here.policy.agreement, here.policy.hours
    rates = {slug: policy.rate_micro(size) for slug, size in policy.sizes.items()}
    return LaunchModel(
        agreement=AgreementModel(
            version=agreement.version,
            title=agreement.title,
            text_html=agreement.text_html,
            accepted=page.accepted,
        ),
        accounts=[
            AccountModel.of(choice, tier_label=policy.tiers[choice.tier].label, rates_micro=rates)
            for choice in page.accounts
        ],
        images=[ImageModel(slug=i.slug, label=i.label, default=i.default) for i in policy.images],
        hours=HoursModel(
            min=hours.min_minutes / 60,
            max=hours.max_minutes / 60,
            step=hours.step_minutes / 60,
            default=hours.default_minutes / 60,
        ),
        grace_minutes=here.grace_minutes,
        confinement=here.confinement,
        last_stop=LastStopModel.of(page.last_stop) if page.last_stop else None,
        can_request=page.can_request,
        brake=_brake(page, policy),
        offline=OfflineModel(offer=offline.offer, collected=offline.collected),
        launches_held=page.held.message if page.held else None,
        announcements=[AnnouncementModel.of(each) for each in page.announced],
    )


def _brake(page: launches.LaunchPage, policy: Policy) -> BrakeModel | None:
    if page.brake is None or page.brake.waits_until is None:
        return None
    until = page.brake.waits_until
    text = pool_sentence(page.brake.spent_micro, policy.pool.credits_micro, until)
    return BrakeModel(sizes=list(policy.pool.waiting_sizes), sentence=text, until=until)


router.include_router(trusted)
