"""Why figures moved: an arrival, or one of the changes that take something back or put it elsewhere.

An arrival adds: a new case, a further step, an attribute that nobody had named yet. All else is a change, is written into
the journal, and is told apart in what the counters move by. What a case adds in the same batch in which it changes is an
arrival all the same, so that the two together always are what the counters moved by.
"""

from collections import defaultdict
from typing import Final, Literal, NamedTuple

from services.metrics.domain.cases import MEASURES, CaseView, Contribution, Deltas

Why = Literal["moved", "corrected", "deleted", "restored"]
WHYS: Final[tuple[Why, ...]] = ("moved", "corrected", "deleted", "restored")

Cause = Literal["new", "moved", "corrected", "deleted", "restored", "recount"]
CAUSES: Final[tuple[Cause, ...]] = ("new", *WHYS, "recount")
"""All that moves a figure. ``recount``: the counters were set to what the cases, or the log, say."""

_HANDLED: Final = MEASURES.index("handled")
_COMPLETED: Final = MEASURES.index("completed")
_ON_TIME: Final = MEASURES.index("completed_on_time")
_ONLINE: Final = MEASURES.index("online")
_STEPS: Final = tuple(MEASURES.index(m) for m in ("applied", "accepted", "completed", "not_accepted", "returned", "withdrawn"))
"""The places of the measures that have a step of their own; the others are derived from those, channel and promise."""


class Entry(NamedTuple):
    """A change of one case: what it counted for, and what was left of that; ``None``: nothing."""

    source_id: int
    case_no: str
    why: Why
    before: Contribution | None
    after: Contribution | None


class Moved:
    """What a batch moves: the counters by arrivals, and by each kind of change; and the changes themselves."""

    def __init__(self) -> None:
        self.arrived = Deltas()
        self.changed: defaultdict[Why, Deltas] = defaultdict(Deltas)
        self.entries: list[Entry] = []

    def take(self, source_id: int, case_no: str, old: CaseView | None, new: CaseView, *, replaced: bool) -> None:
        """Takes in that a case, seen as ``old``, is seen as ``new``; ``replaced``: by a higher data version."""
        before = None if old is None else old.contribution
        if old is None or before == new.contribution or (why := change(old, new, replaced=replaced)) is None:
            self.arrived.move(before, new.contribution)
            return
        after = left(before, new.contribution, whole=replaced)
        self.entries.append(Entry(source_id, case_no, why, before, after))
        self.changed[why].move(before, after)
        self.arrived.move(after, new.contribution)


def change(old: CaseView, new: CaseView, *, replaced: bool) -> Why | None:
    """Why a case that counts for something else than it did does so; ``None``: things arrived, and none was taken back.

    A first day that falls earlier is an arrival: a step told late. One that falls later means that a step went.
    """
    if old.deleted != new.deleted:
        return "deleted" if new.deleted else "restored"
    before, after = old.contribution, new.contribution
    if before is None:
        return None
    if after is None:
        return "corrected"
    if (before.county, before.item) != (after.county, after.item):
        return "moved"
    was, now = before.days, after.days
    first_was, first_now = was[_HANDLED], now[_HANDLED]
    taken_back = (
        replaced
        or any(was[place] is not None and was[place] != now[place] for place in _STEPS)
        or (first_was is not None and first_now is not None and first_now > first_was)
        or (old.channel is not None and (was[_ONLINE] is None) != (now[_ONLINE] is None))
        or (old.promised_on is not None and was[_COMPLETED] is not None and was[_ON_TIME] != now[_ON_TIME])
    )
    return "corrected" if taken_back else None


def left(before: Contribution | None, after: Contribution | None, *, whole: bool) -> Contribution | None:
    """``after`` without what arrived along with a change: steps that the case did not have, and what follows from them.

    ``whole``: it was replaced as a whole, so that all of it is the change.
    """
    if before is None or after is None or whole:
        return after
    was = before.days
    arrived = {place for place in _STEPS if was[place] is None}
    if was[_COMPLETED] is None:
        arrived.add(_ON_TIME)
    return after._replace(days=tuple(None if place in arrived else day for place, day in enumerate(after.days)))
