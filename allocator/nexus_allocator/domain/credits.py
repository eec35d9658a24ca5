"""Credits as integers: every amount is in micro-credits, and people read credits."""

from decimal import Decimal

MICRO = 1_000_000
SECONDS_PER_HOUR = 3600


def shown(amount_micro: int) -> str:
    """Return ``amount_micro`` in credits as people read it: two decimals, three below a tenth.

    Rounded towards zero, so that what is left never looks like more than it is.
    """
    places = 2 if abs(amount_micro) >= MICRO // 10 or amount_micro == 0 else 3
    step = MICRO // 10**places
    whole = abs(amount_micro) // step * step
    sign = "-" if amount_micro < 0 and whole else ""
    return f"{sign}{Decimal(whole) / MICRO:.{places}f}"


def shown_need(amount_micro: int) -> str:
    """Return a needed amount in credits, rounded up, so that a need never looks smaller than it is."""
    places = 2 if amount_micro >= MICRO // 10 else 3
    step = MICRO // 10**places
    return f"{Decimal(-(-amount_micro // step) * step) / MICRO:.{places}f}"


def exact(amount_micro: int) -> str:
    """Return ``amount_micro`` in credits with all six decimals, as a file for further sums wants them."""
    return f"{Decimal(amount_micro) / MICRO:.6f}"


def charge_micro(rate_micro_per_hour: int, seconds: float) -> int:
    """Return the micro-credits that ``seconds`` at this rate cost, rounded down once from the whole time."""
    return rate_micro_per_hour * int(seconds * 1000) // (SECONDS_PER_HOUR * 1000)


def hold_micro(rate_micro_per_hour: int, seconds: int) -> int:
    """Return the micro-credits to set aside for ``seconds``: rounded up, so that it covers the charge."""
    return -(-rate_micro_per_hour * seconds // SECONDS_PER_HOUR)
