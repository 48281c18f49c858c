"""What companies report: for each kind of event its subject, its merging, and what is told of its state."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple

from services.utilities.domain import installations, presence, windows
from services.utilities.domain.limits import DueStep, TimeLimits
from services.utilities.domain.registers import Data, Event, State, loader
from services.utilities.domain.registry import subject_of
from services.utilities.domain.steps import Timing
from services.utilities.domain.wire import InstallationData, PresenceData, WindowData
from shared.events.progress import Kind


class Due(NamedTuple):
    """What due dates follow from, and the limits that they come to."""

    timing: Timing
    steps: list[DueStep]


@dataclass(frozen=True, slots=True)
class Telling:
    """What a snapshot says of one subject; ``due`` is of installations."""

    deleted: bool
    state: dict[str, Any]
    due: Due | None = None


@dataclass(frozen=True, slots=True)
class Kept(Generic[Data]):
    """How one kind is kept."""

    kind: Kind
    model: type[Data]
    load: Callable[[str | bytes], State[Data]]
    subject: Callable[[Data], str]
    merge: Callable[[Iterable[Event[Data]], Iterable[Event[Data]]], State[Data]]
    tell: Callable[[State[Data]], Telling]

    def group(self, events: Iterable[Event[Data]]) -> dict[str, list[Event[Data]]]:
        """The events of each subject."""
        groups: dict[str, list[Event[Data]]] = {}
        for event in events:
            groups.setdefault(self.subject(event.data), []).append(event)
        return groups


def kept_installations(limits: TimeLimits) -> Kept[InstallationData]:
    """Installations, with due dates by ``limits``."""

    def tell(state: State[InstallationData]) -> Telling:
        if installations.is_deleted(state):
            return Telling(deleted=True, state={})
        told, timing, due_steps = installations.describe(state, limits)
        return Telling(deleted=False, state=told, due=Due(timing, due_steps))

    return Kept(
        kind="installation",
        model=InstallationData,
        load=loader(InstallationData),
        subject=lambda data: f"{data.company}/{data.installation_no}",
        merge=installations.merge,
        tell=tell,
    )


def _tell_presence(state: State[PresenceData]) -> Telling:
    return Telling(deleted=False, state=presence.describe(state))


def _tell_window(state: State[WindowData]) -> Telling:
    if windows.is_taken_back(state):
        return Telling(deleted=True, state={})
    return Telling(deleted=False, state=windows.describe(state))


PRESENCE: Final[Kept[PresenceData]] = Kept(
    kind="presence",
    model=PresenceData,
    load=loader(PresenceData),
    subject=lambda data: subject_of(data.county, data.company, data.service),
    merge=presence.merge,
    tell=_tell_presence,
)

WINDOWS: Final[Kept[WindowData]] = Kept(
    kind="window",
    model=WindowData,
    load=loader(WindowData),
    subject=lambda data: f"{subject_of(data.county, data.company, data.service)}/{data.month}",
    merge=windows.merge,
    tell=_tell_window,
)
