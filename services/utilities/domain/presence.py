"""How reports of a company's presence in a hall merge: one register a subject and ``effective_on`` (CONTRACT §2)."""

from collections.abc import Hashable, Iterable

from services.utilities.domain.registers import Event, State, winners
from shared.events.progress import PresencePeriod, PresenceState
from shared.events.utility import Presence

Known = State[Presence]


def merge(old: Iterable[Event[Presence]], new: Iterable[Event[Presence]]) -> Known:
    """The state after both: for each date the report recorded last."""
    return winners([*old, *new], _registers)


def _registers(data: Presence) -> tuple[Hashable, ...]:
    return (data.effective_on,)


def describe(state: Known) -> PresenceState:
    """The whole timeline, by rising date."""
    first = state[0].data
    by_date = sorted((event.data for event in state), key=lambda data: data.effective_on)
    return PresenceState(
        county=first.county,
        company=first.company,
        service=first.service,
        periods=tuple(PresencePeriod(effective_on=d.effective_on, level=d.level, handles=d.handles) for d in by_date),
    )
