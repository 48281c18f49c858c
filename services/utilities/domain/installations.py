"""How the events of one installation merge, and what is derived from them (CONTRACT §2)."""

from collections.abc import Hashable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from services.utilities.domain.registers import Event, State, winners
from shared.events.case import Operation
from shared.events.progress import InstallationState
from shared.events.utility import Installation, InstallationStep

ATTRIBUTES: Final = ("county", "service", "case_no", "case_source", "customer_kind")
"""Each is a register of its own; an event that does not name one says nothing about it."""

REPEATING: Final = frozenset({InstallationStep.PAUSED, InstallationStep.RESUMED})
"""Steps that happen many times: each ``occurred_at`` is a register of its own."""

_USUAL_ORDER: Final = {step: place for place, step in enumerate(InstallationStep)}

Known = State[Installation]


def merge(old: Iterable[Event[Installation]], new: Iterable[Event[Installation]]) -> Known:
    """The state after both: the highest ``data_version`` alone counts, and in it each register's winner."""
    events = [*old, *new]
    highest = max((event.data.data_version for event in events), default=1)
    return winners((event for event in events if event.data.data_version == highest), _registers)


def _registers(data: Installation) -> Iterator[Hashable]:
    if data.operation is Operation.DELETE:
        yield "deleted"
    else:
        yield (data.step, data.occurred_at) if data.step in REPEATING else (data.step,)
    for name in ATTRIBUTES:
        if getattr(data, name) is not None:
            yield (name, "attribute")


def is_deleted(state: Known) -> bool:
    """Whether its latest delete is not older than its latest other event, by time recorded, then id.

    Both are always kept: the latest other event holds its own step's register. A later event revives the installation.
    """
    deletes = [event.mark[:2] for event in state if event.data.operation is Operation.DELETE]
    others = [event.mark[:2] for event in state if event.data.operation is not Operation.DELETE]
    return bool(deletes) and (not others or max(deletes) >= max(others))


def describe(state: Known) -> InstallationState:
    """What is known of the installation now, whether deleted or not.

    ``state`` is by rising mark, so what comes later in it overwrites.
    """
    attributes: dict[str, Any] = {}
    steps: dict[tuple[InstallationStep, datetime | None], datetime | None] = {}
    for event in state:
        data = event.data
        attributes |= {name: value for name in ATTRIBUTES if (value := getattr(data, name)) is not None}
        if data.step is not None and data.operation is not Operation.DELETE:
            register = (data.step, data.occurred_at if data.step in REPEATING else None)
            steps[register] = data.occurred_at if data.operation is Operation.UPSERT else None
    happened = sorted((at, _USUAL_ORDER[step], step) for (step, _), at in steps.items() if at is not None)
    once = [(step, at) for at, _, step in happened if step not in REPEATING]
    return InstallationState(
        installation_no=state[0].data.installation_no,
        company=state[0].data.company,
        data_version=state[0].data.data_version,
        step=once[-1][0] if once else None,
        steps=dict(once),
        paused=tuple(at for at, _, step in happened if step is InstallationStep.PAUSED),
        resumed=tuple(at for at, _, step in happened if step is InstallationStep.RESUMED),
        **attributes,
    )
