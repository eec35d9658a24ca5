"""Builds the app: routers, error handlers, the rounds beside it, the portal; nothing else."""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from nexus_allocator.api import gateway as gateway_routes
from nexus_allocator.api import hub as hub_routes
from nexus_allocator.api import lab as lab_routes
from nexus_allocator.api import metrics as metrics_routes
from nexus_allocator.api import v1
from nexus_allocator.api.context import Context, allowed
from nexus_allocator.api.refusals import refuse, refuse_for_database, refuse_malformed, refuse_path
from nexus_allocator.carriers import account_store, vault_of
from nexus_allocator.clients.hub import HubClient
from nexus_allocator.config import Settings, read_settings
from nexus_allocator.domain.errors import AllocatorError
from nexus_allocator.domain.policy import Policy
from nexus_allocator.policy import load_policy
from nexus_allocator.rounds import running_rounds, terms_of
from nexus_allocator.services import agreements, rates
from nexus_allocator.services.metering import Clock
from nexus_allocator.store.session import UNUSABLE, Database
from nexus_allocator.web.app import portal_app
from nexus_allocator.web.context import Portal
from nexus_allocator.web.oauth import HubSignIn


def utc_now() -> datetime:
    return datetime.now(UTC)


def app_factory() -> FastAPI:
    """Return the service as uvicorn runs it (``--factory``), set up from the environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # The client logs every request at INFO, which the meter makes once a minute and page.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = read_settings()
    return create_app(settings, load_policy(settings.tiers_file))


def create_app(settings: Settings, policy: Policy, *, clock: Clock = utc_now) -> FastAPI:
    """Return the service for these settings; the database must have been migrated."""
    database = Database(settings.database_url, threads=settings.worker_threads)
    hub = HubClient(settings.hub_api_url, settings.hub_token.get_secret_value())
    portal = _portal(settings, policy, database, hub, clock=clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = settings.worker_threads
        with database.session_scope() as session:
            rates.keep(session, policy.rate_card, now=clock())
            agreements.keep(session, policy.agreement, now=clock())
        # What was imported lives as long as the process: a full collection that walks all of it stops
        # every answer for a quarter of a second.
        gc.collect()
        gc.freeze()
        own_rounds = running_rounds(settings, policy, database, hub, clock=clock)
        try:
            with own_rounds if settings.rounds == "inside" else nullcontext():
                yield
        finally:
            hub.close()
            portal.sign_in.close()
            database.dispose()

    app = FastAPI(
        title="Nexus allocation service", lifespan=lifespan, docs_url=None, redoc_url=None,
        dependencies=[Depends(allowed)], openapi_tags=v1.TAGS,
        description=v1.DESCRIPTION, openapi_url=f"{settings.service_prefix}api/openapi.json",
    )  # fmt: skip
    app.state.portal = portal
    app.state.context = _context(settings, policy, database, hub, clock=clock)
    app.add_exception_handler(AllocatorError, refuse)
    for unusable in UNUSABLE:
        app.add_exception_handler(unusable, refuse_for_database)
    app.add_exception_handler(RequestValidationError, refuse_malformed)
    app.add_exception_handler(HTTPException, refuse_path)
    prefix = settings.service_prefix.rstrip("/")
    app.include_router(hub_routes.router, prefix=prefix)
    app.include_router(lab_routes.router, prefix=prefix)
    app.include_router(gateway_routes.router, prefix=prefix)
    app.include_router(metrics_routes.router, prefix=prefix)
    app.include_router(v1.router, prefix=prefix)
    # Last, because a mount answers every path below it.
    app.mount(prefix, portal_app(portal))
    return app


def _portal(
    settings: Settings, policy: Policy, database: Database, hub: HubClient, *, clock: Clock
) -> Portal:
    return Portal(
        session_scope=database.session_scope,
        reading_scope=database.reading_scope,
        policy=policy,
        hub=hub,
        sign_in=HubSignIn(
            hub_api_url=settings.hub_api_url,
            hub_token=settings.hub_token.get_secret_value(),
            hub_public_url=settings.hub_public_url,
            prefix=settings.service_prefix,
            service=settings.service_prefix.rstrip("/").rpartition("/")[2],
        ),
        prefix=settings.service_prefix,
        hub_public_url=settings.hub_public_url,
        secure_cookies=settings.public_url.startswith("https://"),
        clock=clock,
        tiers_file=settings.tiers_file,
        vault=vault_of(settings),
        purge_records=settings.storage_records,
        store_bucket=settings.store_bucket,
    )


def _context(
    settings: Settings, policy: Policy, database: Database, hub: HubClient, *, clock: Clock
) -> Context:
    return Context(
        database=database,
        hub=hub,
        policy=policy,
        internal_token=settings.internal_token.get_secret_value(),
        administrators=settings.issuer_admins,
        grace_minutes=settings.save_grace_minutes,
        confinement=settings.confinement,
        clock=clock,
        metering=terms_of(settings),
        vault=vault_of(settings),
        metrics_token=settings.metrics_token.get_secret_value() if settings.metrics_token else None,
        tiers_file=settings.tiers_file,
        purge_records=settings.storage_records,
        store=account_store(settings),
    )
