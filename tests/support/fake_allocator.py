"""A stand-in for the allocation service: the hub's API with answers a test can set, and every call on record.

Run by uvicorn as a process of its own. ``/control`` sets answers; ``/control/calls`` tells what was asked.
"""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles

import nexus_allocator

CREDIT = 1_000_000
TEAM, TEAM_GID = "wide-field-demo", 40000
SIZES = {
    "small": {
        "slug": "small",
        "label": "Small",
        "cpu": 2,
        "memory_gib": 4,
        "credits_per_hour_micro": 125_000,
    },
    "medium": {
        "slug": "medium",
        "label": "Medium",
        "cpu": 4,
        "memory_gib": 16,
        "credits_per_hour_micro": 300_000,
    },
    "large": {
        "slug": "large",
        "label": "Large",
        "cpu": 16,
        "memory_gib": 64,
        "credits_per_hour_micro": 1_200_000,
    },
}

# What a test may change by ``/control``.
DEFAULTS: dict[str, Any] = {
    "available_micro": 2 * CREDIT,
    "admission_delay_s": 0.0,
    "collected": [],
    "environment": {},
    "failing": False,
    "keep_alive_until": None,
    "last_stop": None,
    "memory_bytes": 4 * 2**30,
    "offers": True,
    "person_delay_s": 0.0,
    "outsiders": [],
    "read_only": False,
    "renamed": {},
    "suspended": [],
    "team_available_micro": 5000 * CREDIT,
    "teams": {},
}


class RefusalError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message


class State:
    def __init__(self) -> None:
        self.people: dict[str, dict[str, Any]] = {}
        self.accepted: set[str] = set()
        self.holds: dict[str, dict[str, Any]] = {}
        self.calls: list[dict[str, Any]] = []
        self.settings: dict[str, Any] = dict(DEFAULTS)

    def hold_micro(self, size: str, hours: float) -> int:
        return round(SIZES[size]["credits_per_hour_micro"] * (hours + 1 / 6))


state = State()
app = FastAPI()
api = APIRouter(prefix="/services/nexus/api/hub")


async def require_token(request: Request) -> None:
    if request.headers.get("Authorization") != f"Bearer {os.environ['NEXUS_INTERNAL_TOKEN']}":
        raise RefusalError(401, "invalid_token", "The token is not the hub's.")
    body = await request.json() if await request.body() else None
    path = request.url.path.removeprefix(api.prefix)
    state.calls.append({"method": request.method, "path": path, "body": body})
    if state.settings["failing"]:
        raise RuntimeError("told to fail")


hub_only = [Depends(require_token)]


@app.exception_handler(RefusalError)
async def refuse(_: Request, error: RefusalError) -> JSONResponse:
    return JSONResponse({"error": error.code, "message": error.message, "facts": {}}, error.status)


@app.post("/control")
async def control(changes: dict[str, Any]) -> dict[str, Any]:
    state.settings |= changes
    return state.settings


@app.get("/control/calls")
async def calls() -> list[dict[str, Any]]:
    return state.calls


@api.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@api.put("/people", dependencies=hub_only)
async def put_person(body: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(state.settings["person_delay_s"])
    name = state.settings["renamed"].get(body["preferred_username"], body["preferred_username"])
    state.people[name] = body
    ours = ["nexus-administrators"] if "nexus-admins" in body["groups"] else []
    team = [] if name in state.settings["outsiders"] else [f"team-{TEAM}"]
    return {
        "person_id": name,
        "hub_name": name,
        "is_administrator": "nexus-admins" in body["groups"],
        "suspended": name in state.settings["suspended"],
        "groups": ["tier-entry", *team, *ours],
    }


@api.get("/people/{name}/standing", dependencies=hub_only)
async def standing(name: str) -> dict[str, bool]:
    if name != TEAM and name not in state.people:
        raise RefusalError(404, "unknown_person", f"Nobody is known as {name}.")
    return {"suspended": name in state.settings["suspended"]}


def require_member(team: str, name: str) -> None:
    if team != TEAM or name in state.settings["outsiders"]:
        raise RefusalError(404, "unknown_account", f"There is no account {team} that you may charge.")


@api.get("/teams/{team}/server", dependencies=hub_only)
async def team_server(team: str, hub_name: str) -> dict[str, Any]:
    require_member(team, hub_name)
    running = [hold for hold in state.holds.values() if hold["hub_name"] == team and not hold["stopped"]]
    shown = running[-1] if running else {}
    return {"label": "Wide-field demo", **{key: shown.get(key) for key in ("size", "started_by", "until")}}


@api.get("/teams/{team}/launch", dependencies=hub_only)
async def team_launch(team: str, hub_name: str) -> dict[str, Any]:
    require_member(team, hub_name)
    page = await launch(hub_name)
    theirs = [account for account in page["accounts"] if account["slug"] == team]
    return page | {"accounts": theirs, "offline": {"offer": None, "collected": []}}


@api.get("/people/{name}/launch", dependencies=hub_only)
async def launch(name: str) -> dict[str, Any]:
    accepted = name in state.accepted
    available = state.settings["available_micro"]
    text = (Path(nexus_allocator.__file__).parent / "policy" / "agreement.html").read_text()
    return {
        "agreement": {
            "version": "2026-1",
            "title": "User agreement",
            "text_html": text,
            "accepted": accepted,
        },
        "accounts": accounts(name, available) if accepted else [],
        "images": [{"slug": "nexus", "label": "Roman Nexus: pipeline and simulator", "default": True}],
        "hours": {"min": 0.25, "max": 24, "step": 0.25, "default": 2},
        "grace_minutes": 10,
        "confinement": "CPU and memory are confined to the size you choose.",
        "last_stop": state.settings.get("last_stop"),
        "can_request": True,
        "offline": {
            "offer": offer(name) if accepted and state.settings["offers"] else None,
            "collected": state.settings["collected"],
        },
    }


def offer(name: str) -> dict[str, Any]:
    """What the person may start while this service fails."""
    return {
        "account": name,
        "size": "small",
        "size_label": "Small",
        "cpu": 2,
        "memory_bytes": 4 * 2**30,
        "image": "nexus",
        "home": name,
        "uid": number_of(name),
        "gid": number_of(name),
        "umask": "0027",
        "rate_micro_per_hour": 125_000,
        "rate_card_version": 2,
        "grace_minutes": 10,
        "minutes": 130,
        "total_minutes": 360,
        "until": (datetime.now(UTC) + timedelta(days=7)).isoformat(),
    }


def number_of(name: str) -> int:
    return 20000 + list(state.people).index(name)


def accounts(name: str, available: int) -> list[dict[str, Any]]:
    burn = {"credits_per_day": 0.4, "runs_out_on": "2027-01-10T00:00:00+00:00"}
    common = {"held_micro": 0, "expires_at": "2027-11-20T00:00:00+00:00"}
    own = {
        "slug": name,
        "label": "My account",
        "kind": "personal",
        "tier": "Entry",
        "balance_micro": available,
    }
    team = {
        "slug": "wide-field-demo",
        "label": "Team wide-field-demo",
        "kind": "team",
        "tier": "Team",
        "balance_micro": 5000 * CREDIT,
    }
    idle = {"credits_per_day": 0, "runs_out_on": None}
    return [
        {**common, **own, "available_micro": available, "burn": burn, "sizes": [SIZES["small"]]},
        {
            **common,
            **team,
            "available_micro": state.settings["team_available_micro"],
            "burn": idle,
            "sizes": list(SIZES.values()),
        },
    ]


@api.post("/people/{name}/agreement", dependencies=hub_only, status_code=204, response_class=Response)
async def accept(name: str, body: dict[str, str]) -> None:
    if body["version"] != "2026-1":
        raise RefusalError(409, "agreement_outdated", "Another version is in force.")
    state.accepted.add(name)


@api.post("/admissions", dependencies=hub_only, status_code=201)
async def admit(body: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(state.settings["admission_delay_s"])
    of_team = body["hub_name"] == TEAM
    # A service asks for nobody; then the team's lead answers for it.
    name = body["started_by"] or "astronomer" if of_team else body["hub_name"]
    if of_team:
        require_member(TEAM, name)
    if name not in state.accepted:
        raise RefusalError(403, "agreement_required", "Please accept the user agreement first.")
    if body["account"] not in (name, "wide-field-demo"):
        raise RefusalError(
            404, "unknown_account", f"There is no account {body['account']} that you may charge."
        )
    if body["size"] not in SIZES or (body["account"] == name and body["size"] != "small"):
        raise RefusalError(
            422, "size_not_allowed", f"The size {body['size']} is not open to {body['account']}."
        )
    need = state.hold_micro(body["size"], body["hours"])
    left = state.settings["available_micro" if body["account"] == name else "team_available_micro"]
    if need > left:
        message = (
            f"This server needs {need / CREDIT:.1f} credits, {left / CREDIT:.1f} left; nothing would fit."
        )
        raise RefusalError(402, "quota_exceeded", message)
    hold_id = f"hold-{len(state.holds) + 1}"
    until = (datetime.now(UTC) + timedelta(hours=body["hours"])).isoformat()
    state.holds[hold_id] = {
        "hub_name": body["hub_name"],
        "stopped": None,
        "size": body["size"],
        "started_by": name,
        "until": until,
    }
    number = TEAM_GID if of_team else number_of(name)
    team_gids = {TEAM: TEAM_GID} if of_team else state.settings["teams"]
    return {
        "hold_id": hold_id,
        "cpu": SIZES[body["size"]]["cpu"],
        "memory_bytes": state.settings["memory_bytes"],
        "image": body["image"],
        "uid": number,
        "gid": number,
        "supplemental_gids": list(team_gids.values()),
        "umask": "0007" if of_team else "0027",
        "home": "" if of_team else name,
        "team": TEAM if of_team else None,
        "teams": list(team_gids),
        "until": until,
        "account": body["account"],
        "rate_micro_per_hour": SIZES[body["size"]]["credits_per_hour_micro"],
        "environment": state.settings["environment"],
        "read_only": state.settings["read_only"],
    }


@api.post("/holds/{hold_id}/{event}", dependencies=hub_only, status_code=204, response_class=Response)
async def hold_event(hold_id: str, event: str, body: dict[str, Any]) -> None:
    if hold_id not in state.holds:
        raise RefusalError(404, "unknown_hold", f"There is no hold {hold_id}.")
    state.holds[hold_id][event] = body


@api.post(
    "/servers/{name}/{server}/stop-intent", dependencies=hub_only, status_code=204, response_class=Response
)
async def stop_intent(name: str, server: str) -> None:
    return None


@api.get("/servers/{name}/{server}/keep-alive", dependencies=hub_only)
async def keep_alive(name: str, server: str) -> dict[str, Any]:
    return {"keep_alive_until": state.settings["keep_alive_until"]}


app.include_router(api)
static = Path(nexus_allocator.__file__).parent / "web" / "static"
app.mount("/services/nexus/static", StaticFiles(directory=static))
