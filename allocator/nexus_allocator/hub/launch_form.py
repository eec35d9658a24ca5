"""The launch page's form: who pays, how large, how long, and what that costs; live figures are launch.js."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any

from jinja2 import Environment, PackageLoader

from nexus_allocator.domain.credits import MICRO, hold_micro
from nexus_allocator.domain.leases import Offer

TEMPLATES = Environment(
    loader=PackageLoader("nexus_allocator.hub"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
PORTAL = "/services/nexus/"
HUB = "/hub/"


def credits_text(micro: int, rounding: str = ROUND_DOWN) -> str:
    """Return credits as people read them: two decimals, three below a tenth, rounded as the service does."""
    amount = Decimal(micro) / MICRO
    places = "0.001" if 0 < abs(amount) < Decimal("0.1") else "0.01"
    return f"{amount.quantize(Decimal(places), rounding):,}"


def rate_text(micro_per_hour: int) -> str:
    return f"{(Decimal(micro_per_hour) / MICRO).normalize():f}"


def day_text(moment: datetime | str) -> str:
    day = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{day.day} {day:%B %Y}"


def hours_text(hours: float) -> str:
    return f"{hours:g} h"


def need_text(micro: int) -> str:
    """Return a need, which never looks smaller than it is."""
    return credits_text(micro, ROUND_UP)


TEMPLATES.filters |= {
    "credits": credits_text, "need": need_text, "rate": rate_text, "day": day_text, "hours": hours_text,
}  # fmt: skip


def render_form(model: dict[str, Any] | None, chosen: dict[str, Any], now: datetime | None = None) -> str:
    """Return the form's HTML for the service's launch model; ``chosen`` are the last choices, possibly stale.

    Without a model the service does not answer; before the agreement is accepted nothing but it is shown.
    """
    if model is None:
        return TEMPLATES.get_template("launch_unavailable.html").render()
    if not model["agreement"]["accepted"]:
        return TEMPLATES.get_template("launch_agreement.html").render(agreement=model["agreement"])
    view = {
        **model,
        "accounts": [describe_account(account, now or datetime.now(UTC)) for account in model["accounts"]],
    }
    return TEMPLATES.get_template("launch_choices.html").render(
        view,
        chosen=still_valid(model, chosen),
        portal=PORTAL,
        hub=HUB,
        estimate=estimate(model, chosen, now or datetime.now(UTC)),
    )


def render_offline_form(offer: Offer, chosen: dict[str, Any]) -> str:
    """Return the form for what may be started while the service does not answer."""
    hours = {"min": 0.25, "max": offer.longest_hours, "default": min(1.0, offer.longest_hours)}
    return TEMPLATES.get_template("launch_offline.html").render(
        offer=offer, hours=hours, chosen_hours=offered_hours(hours, chosen.get("hours"))
    )


def describe_account(account: dict[str, Any], now: datetime) -> dict[str, Any]:
    sizes = [
        {**size, "runs_out": runs_out(account, size["credits_per_hour_micro"], now)}
        for size in account["sizes"]
    ]
    return {**account, "sizes": sizes}


def runs_out(account: dict[str, Any], rate_micro: int, now: datetime) -> datetime | None:
    """Return when a server at this rate, left running, uses up what is free; None if the end comes first."""
    if not rate_micro:
        return None
    hours = max(account["available_micro"], 0) / rate_micro
    ends = datetime.fromisoformat(account["expires_at"]) if account["expires_at"] else None
    if ends is not None and hours >= (ends - now) / timedelta(hours=1):
        return None
    return now + timedelta(hours=hours)


def still_valid(model: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the choices to show as made: the last ones where still offered, else the first offered."""
    accounts = {account["slug"]: account for account in model["accounts"]}
    account = accounts.get(chosen.get("account")) or next(iter(accounts.values()), None)
    sizes = [size["slug"] for size in account["sizes"]] if account else []
    default_image = next((image["slug"] for image in model["images"] if image["default"]), None)
    images = [image["slug"] for image in model["images"]]
    return {
        "account": account["slug"] if account else None,
        "size": chosen["size"] if chosen.get("size") in sizes else next(iter(sizes), None),
        "image": chosen["image"] if chosen.get("image") in images else default_image,
        "hours": offered_hours(model["hours"], chosen.get("hours")),
    }


def offered_hours(allowed: dict[str, float], hours: Any) -> float:
    try:
        wanted = float(hours)
    except (TypeError, ValueError):
        return allowed["default"]
    return wanted if allowed["min"] <= wanted <= allowed["max"] else allowed["default"]


def estimate(model: dict[str, Any], chosen: dict[str, Any], now: datetime) -> dict[str, Any] | None:
    """Return what the shown choices cost, as the page says it before any script runs."""
    shown = still_valid(model, chosen)
    account = next((account for account in model["accounts"] if account["slug"] == shown["account"]), None)
    size = (
        next((size for size in account["sizes"] if size["slug"] == shown["size"]), None) if account else None
    )
    if account is None or size is None:
        return None
    rate = size["credits_per_hour_micro"]
    hold = hold_micro(rate, int((shown["hours"] * 60 + model["grace_minutes"]) * 60))
    return {
        "hold": hold,
        "left": account["available_micro"] - hold,
        "runs_out": runs_out(account, rate, now),
        "rate": rate,
    }
