"""Figures of notices as tests need them: the published month, and what the registry and the halls say."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from services.metrics.domain import co_location as halls
from services.metrics.domain.notice import Figures, Parameters, notice
from shared import counties, items
from shared.events.progress import PresencePeriod, PresenceState, RegistryPeriod, RegistryState
from shared.events.utility import Business, Level

GOLDEN = {
    "130607": (163, 149), "130626": (94, 83), "130609": (75, 70), "130634": (72, 61), "130636": (50, 44), "130608": (35, 30),
    "130635": (28, 21), "130681": (22, 17), "130684": (18, 15), "130637": (14, 9), "130627": (9, 6), "130623": (8, 5),
    "130624": (7, 4), "130628": (6, 4), "130633": (5, 2), "130683": (4, 3), "130602": (3, 1), "130606": (2, 0),
}  # fmt: skip
"""Handled and completed up to the end of September 2024, by county; those that are missing stand at zero."""

DISABLED = items.find("disabled-service")
SEPTEMBER = date(2024, 9, 30)
BOTH = tuple(Business)

Counts = Mapping[str, Mapping[str, int]]


def counts(by_county: Mapping[str, tuple[int, int]] = GOLDEN) -> dict[str, dict[str, int]]:
    """Every case is applied for and accepted, and so many are completed."""
    return {c: {"handled": n, "applied": n, "accepted": n, "completed": done} for c, (n, done) in by_county.items()}


def hall(standing: Iterable[tuple[str, str, Level]] = ()) -> dict[str, Any]:
    """The answer of co-location where these companies (county, company, level) are registered for water, each handling both
    kinds of business where it has a window."""
    rows = list(standing)
    period = RegistryPeriod(valid_from=date(2023, 1, 1))
    registry = [
        RegistryState(county=county, company=company, name=f"{company}公司", service="water", periods=(period,))
        for county, company, _ in rows
    ]
    presence = [
        PresenceState(
            county=county,
            company=company,
            service="water",
            periods=(PresencePeriod(effective_on=date(2024, 1, 1), level=level, handles=() if level == Level.NONE else BOTH),),
        )
        for county, company, level in rows
    ]
    return halls.co_location(registry, presence, SEPTEMBER)


def made(
    now: Counts | None = None,
    last_month: Counts | None = None,
    month_before: Counts | None = None,
    *,
    month: str = "2024-09",
    as_of: date = SEPTEMBER,
    in_halls: Iterable[tuple[str, str, Level]] = (),
    installations: Mapping[str, Any] | None = None,
    idle_windows: Mapping[str, Any] | None = None,
    **chosen: Any,
) -> dict[str, Any]:
    """The notice of these figures; of the golden month without them."""
    figures = Figures(
        now=counts() if now is None else now,
        last_month=last_month or {},
        month_before=month_before or {},
        co_location=hall(in_halls),
        installations=installations,
        idle_windows=idle_windows,
    )
    return notice(month, as_of, DISABLED, figures, Parameters(**chosen))


def answered(content: Mapping[str, Any], restatement: Any = None, **frozen: Any) -> dict[str, Any]:
    """The notice as the api answers it."""
    return {**content, "frozen": frozen or None, "restatement": restatement}


ALL_COUNTIES = list(counties.BY_CODE)
