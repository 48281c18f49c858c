"""Times as they travel: RFC 3339 with offset, and ISO days; as strings only (CONTRACT, head)."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, BeforeValidator

_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def read_instant(value: object) -> datetime:
    """``value`` as an instant in UTC.

    Raises:
        ValueError: it is no RFC 3339 string with offset (nor an aware datetime); the message says what one is.
    """
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError("no such time in the calendar") from None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    raise ValueError("a time is an RFC 3339 string with offset, e.g. 2024-09-30T09:00:00+08:00")


def read_day(value: object) -> date:
    """``value`` as a calendar day.

    Raises:
        ValueError: it is no string of the form yyyy-mm-dd (nor a date).
    """
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError("no such day in the calendar") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise ValueError("a day is a string of the form yyyy-mm-dd, e.g. 2024-09-30")


Instant = Annotated[AwareDatetime, BeforeValidator(read_instant)]
"""An aware time, held in UTC; what is finer than a microsecond is cut off.

Pydantic alone would also read numbers (as seconds or milliseconds, by their size) and days without a time: a
sender's mistake would become a time.
"""

Day = Annotated[date, BeforeValidator(read_day)]
"""A calendar day, with no time of day and no zone."""
