"""Places: what they hold and cost, scratch to ask for; for administrators all of them."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from nexus_allocator.clients.objects.credentials import prefix_of
from nexus_allocator.domain.errors import BadName
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.quotas import GB
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import places, scratch, storage_reading
from nexus_allocator.services.rights import overseer
from nexus_allocator.services.scratch import Offer
from nexus_allocator.web.context import Portal, Visitor
from nexus_allocator.web.flash import redirect
from nexus_allocator.web.forms import Errors
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, OwnForm, PortalHere, SignedIn
from nexus_allocator.web.storage_views import BY_LABELS, By, ScratchForm, place_view

router = APIRouter()
administration = APIRouter(prefix="/admin/storage")
Text = Annotated[str, Form()]


@router.get("/storage", response_class=HTMLResponse)
@does(Action.STORAGE_SEE)
def reached(request: Request, portal: PortalHere, visitor: SignedIn) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = storage_reading.mine(
            session, hub_name=visitor.hub_name, policy=portal.policy, now=portal.clock()
        )
    values = {"places": [place_view(each, By.FOLDERS) for each in found]}
    return page(request, "storage.html", values, visitor=visitor, here="storage")


@router.get("/accounts/{slug}/storage", response_class=HTMLResponse)
@does(Action.STORAGE_SEE)
def of_account(
    *, request: Request, slug: str, portal: PortalHere, visitor: SignedIn, by: By = By.FOLDERS
) -> HTMLResponse:
    return account_page(request, portal, visitor, ScratchForm(slug), by=by)


@router.post("/accounts/{slug}/storage/scratch", dependencies=[OwnForm])
@does(Action.SCRATCH_TAKE)
def take_scratch(
    *,
    request: Request,
    slug: str,
    portal: PortalHere,
    visitor: SignedIn,
    size_gb: Text = "",
    days: Text = "",
    do: Text = "reckon",
) -> Response:
    """Show what it would cost, and with ``do`` "take" take it."""
    form = ScratchForm(slug, size_gb, days)
    with portal.session_scope() as session:
        found = storage_reading.of_account(
            session, slug, hub_name=visitor.hub_name, policy=portal.policy, now=portal.clock()
        )
        scratch.require_taker(session, slug, hub_name=visitor.hub_name)
        errors = form.errors(most_bytes=found.scratch_most_bytes, most_days=found.scratch_most_days)
        if errors:
            return account_page(request, portal, visitor, form, errors=errors)
        act = scratch.take if do == "take" else scratch.offer
        offer = act(session, form.wish(), hub_name=visitor.hub_name, policy=portal.policy, now=portal.clock())
    if do == "take":
        return redirect(portal, f"accounts/{slug}/storage", "scratch-taken")
    return account_page(request, portal, visitor, form, offer=offer)


@router.post("/accounts/{slug}/storage/look", dependencies=[OwnForm])
@does(Action.STORAGE_SEE)
def look_again(slug: str, portal: PortalHere, visitor: SignedIn) -> Response:
    with portal.session_scope() as session:
        storage_reading.look_again(session, slug, hub_name=visitor.hub_name, now=portal.clock())
    return redirect(portal, f"accounts/{slug}/storage", "looking")


@administration.get("", response_class=HTMLResponse)
@does(Action.STORAGE_OVERSEE)
def all_places(
    *, request: Request, portal: PortalHere, visitor: Administrator, q: Annotated[str, Query()] = ""
) -> HTMLResponse:
    return overview(request, portal, visitor, query=q)


@administration.post("/size", dependencies=[OwnForm])
@does(Action.STORAGE_SIZE)
def set_size(
    *,
    request: Request,
    portal: PortalHere,
    visitor: Administrator,
    place: Text = "",
    gb: Text = "",
    reason: Text = "",
) -> Response:
    typed = {"place": place, "gb": gb, "reason": reason}
    errors = size_errors(typed)
    if errors:
        return overview(request, portal, visitor, typed=typed, errors=errors)
    with portal.session_scope() as session:
        actor = overseer(session, visitor.person_id, Action.STORAGE_SIZE)
        places.set_size(
            session, Place.named(place.strip()), round(float(gb) * GB), policy=portal.policy, reason=reason,
            by=actor.id, now=portal.clock(),
        )  # fmt: skip
    return redirect(portal, "admin/storage", "sized")


def size_errors(typed: dict[str, str]) -> Errors:
    errors: Errors = {}
    try:
        Place.named(typed["place"].strip())
    except BadName:
        kinds = ", ".join(f"{kind}/NAME" for kind in PlaceKind)
        errors["place"] = f"Name a place: {kinds}."
    if ScratchForm("", typed["gb"], "1").errors(most_bytes=places.LARGEST_BYTES, most_days=1):
        errors["gb"] = "Give a size above zero and at most a million GB."
    if len(typed["reason"].strip()) < 3:
        errors["reason"] = "Say why; it is kept."
    return errors


def account_page(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    form: ScratchForm,
    *,
    by: By = By.FOLDERS,
    offer: Offer | None = None,
    errors: Errors | None = None,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = storage_reading.of_account(
            session, form.account, hub_name=visitor.hub_name, policy=portal.policy, now=portal.clock()
        )
    bucket = portal.store_bucket
    values = {
        "objects": f"s3://{bucket}/{prefix_of(found.account)}" if bucket else None,
        "storage": found, "places": [place_view(each, by) for each in found.places], "by": by,
        "ways": BY_LABELS, "typed": form, "offer": offer, "errors": errors or {},
    }  # fmt: skip
    status = 422 if errors else 200
    return page(request, "storage_account.html", values, visitor=visitor, here="storage", status=status)


def overview(
    request: Request,
    portal: Portal,
    visitor: Visitor,
    *,
    query: str = "",
    typed: dict[str, str] | None = None,
    errors: Errors | None = None,
) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = storage_reading.everything(session, policy=portal.policy, query=query, now=portal.clock())
    values = {
        "everything": found, "places": [place_view(each, By.FOLDERS) for each in found.rows], "query": query,
        "typed": typed or dict.fromkeys(("place", "gb", "reason"), ""), "errors": errors or {},
    }  # fmt: skip
    status = 422 if errors else 200
    return page(request, "admin_storage.html", values, visitor=visitor, here="admin", status=status)
