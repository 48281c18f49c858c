"""Time as the trade reads it: instants in UTC, business days in China's time."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")

Clock = Callable[[], datetime]
"""Gives the present instant, aware, in UTC. Services take one, so that tests can turn it."""


def now() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.now(UTC)


def business_day(instant: datetime) -> date:
    """The calendar day of ``instant`` in Asia/Shanghai: the day that a notice counts it under."""
    return instant.astimezone(SHANGHAI).date()


def rfc3339(instant: datetime) -> str:
    """``instant`` as RFC 3339 in UTC, e.g. ``2024-09-30T15:59:59Z``; microseconds only where there are any."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
