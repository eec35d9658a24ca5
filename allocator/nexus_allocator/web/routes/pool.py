"""The platform's budget, for administrators."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from nexus_allocator.services import leases, pool
from nexus_allocator.web import views
from nexus_allocator.web.rendering import page
from nexus_allocator.web.sessions import Administrator, PortalHere, current_administrator

router = APIRouter(prefix="/admin", dependencies=[Depends(current_administrator)])


@router.get("/pool", response_class=HTMLResponse)
def budget(request: Request, portal: PortalHere, visitor: Administrator) -> HTMLResponse:
    with portal.reading_scope() as session:
        found = pool.page(session, portal.policy.pool, now=portal.clock())
        away = leases.while_away(session, now=portal.clock())
    values = {"budget": views.pool_view(found, portal.policy, now=portal.clock()), "offline": away}
    return page(request, "admin_pool.html", values, visitor=visitor, here="admin")
