"""How reports of what a window handled in a month merge: one register (CONTRACT §2)."""

from collections.abc import Hashable, Iterable
from typing import Any

from services.utilities.domain.registers import Event, State, winners
from services.utilities.domain.wire import WindowData
from shared.events.case import Operation

Known = State[WindowData]


def merge(old: Iterable[Event[WindowData]], new: Iterable[Event[WindowData]]) -> Known:
    """The report recorded last, be it one that takes the others back."""
    return winners([*old, *new], _registers)


def _registers(_: WindowData) -> tuple[Hashable, ...]:
    return ("reported",)


def is_taken_back(state: Known) -> bool:
    """Whether nothing is reported any more."""
    return state[-1].data.operation is not Operation.UPSERT


def describe(state: Known) -> dict[str, Any]:
    """What was reported, as :class:`shared.events.progress.WindowState` has it in JSON."""
    data = state[-1].data
    return {
        "county": data.county,
        "company": data.company,
        "service": data.service,
        "month": data.month,
        "public_service_handled": data.public_service_handled,
    }
