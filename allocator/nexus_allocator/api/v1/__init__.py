"""The JSON API for people's own programs: what the portal does, with tokens of the hub."""

from fastapi import APIRouter

from nexus_allocator.api.v1 import (
    accounts,
    administration,
    care,
    identities,
    outgoing,
    own,
    panel,
    purges,
    questions,
    snapshots,
    storage,
    teams,
)

router = APIRouter(prefix="/api/v1")
MODULES = (
    own, accounts, teams, panel, administration, outgoing, care, identities, questions, storage, purges,
    snapshots,
)  # fmt: skip
for module in MODULES:
    router.include_router(module.router)

TAGS = [
    {"name": "policy", "description": "What the Nexus offers to whom, and the user agreement."},
    {"name": "me", "description": "Who one is here, and what one was told."},
    {"name": "servers", "description": "One's running servers."},
    {"name": "accounts", "description": "What is left of credits, how fast it goes, statements and entries."},
    {"name": "requests", "description": "Asking for more: drafts, requests and their moves, renewals."},
    {"name": "teams", "description": "Members, invitations, roles, and how a team divides its credits."},
    {"name": "panel", "description": "For reviewers of the panel: cases, reviews, conflicts of interest."},
    {"name": "storage", "description": "Homes, team folders and scratch: what they hold, may hold, cost."},
    {"name": "files", "description": "Purges of files, exemptions from them, and snapshots."},
    {"name": "admin", "description": "For administrators, with a token that has an `admin` scope."},
    {"name": "hub", "description": "For JupyterHub itself."},
    {"name": "gateway", "description": "For dask-gateway itself."},
    {"name": "lab", "description": "For a running server about itself."},
]
DESCRIPTION = """
Amounts are integers in micro-credits, moments are UTC.

**Tokens.** Send `Authorization: token …` with a token of the hub. What a token may is what its scopes *and*
its owner's rights allow: `custom:nexus:read:own`, `write:own`, `read:team`, `write:team`, and for
administrators `read:admin`, `write:admin`.

**Refusals** have one shape: `error` is a word that stays, `message` a sentence for people, `facts` what it
was made of. What is not yours to see is answered as if it were not there.

**Pages.** Long lists answer `items` and `next`; ask again with `cursor` set to that.

**Once.** A request that changes something may bring an `Idempotency-Key`.
"""
