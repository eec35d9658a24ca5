"""The platform's budget, for administrators."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import leases, pool
from nexus_allocator.web import views
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, PortalHere

router = APIRouter(prefix="/admin")


@router.get("/pool", response_class=HTMLResponse)
@does(Action.POOL_SEE)
def budget(request: Request, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = pool.page(session, portal.policy.pool, now=portal.clock())
        away = leases.while_away(session, now=portal.clock())
    values = {"budget": views.pool_view(found, portal.policy, now=portal.clock()), "offline": away}
    return page(request, "admin_pool.html", values, visitor=visitor, here="admin")
