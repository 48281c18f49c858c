"""What the service keeps: for each kind of event its subject, its merging, and what is told of its state."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic

from services.utilities.domain import installations, presence
from services.utilities.domain.registers import Data, Event, State
from services.utilities.domain.registry import subject_of
from shared.events.progress import Kind
from shared.events.utility import Installation, Presence


@dataclass(frozen=True, slots=True)
class Telling:
    """What a snapshot says of one subject."""

    deleted: bool
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept(Generic[Data]):
    """How one kind is kept."""

    kind: Kind
    model: type[Data]
    subject: Callable[[Data], str]
    merge: Callable[[Iterable[Event[Data]], Iterable[Event[Data]]], State[Data]]
    tell: Callable[[State[Data]], Telling]

    def group(self, events: Iterable[Event[Data]]) -> dict[str, list[Event[Data]]]:
        """The events of each subject."""
        groups: dict[str, list[Event[Data]]] = {}
        for event in events:
            groups.setdefault(self.subject(event.data), []).append(event)
        return groups


def _tell_installation(state: State[Installation]) -> Telling:
    if installations.is_deleted(state):
        return Telling(deleted=True, state={})
    return Telling(deleted=False, state=installations.describe(state).model_dump(mode="json", exclude_none=True))


def _tell_presence(state: State[Presence]) -> Telling:
    return Telling(deleted=False, state=presence.describe(state).model_dump(mode="json"))


INSTALLATIONS: Final[Kept[Installation]] = Kept(
    kind="installation",
    model=Installation,
    subject=lambda data: f"{data.company}/{data.installation_no}",
    merge=installations.merge,
    tell=_tell_installation,
)

PRESENCE: Final[Kept[Presence]] = Kept(
    kind="presence",
    model=Presence,
    subject=lambda data: subject_of(data.county, data.company, data.service),
    merge=presence.merge,
    tell=_tell_presence,
)
