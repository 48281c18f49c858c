"""What counting some events would move: the same merge and the same contributions as the counting, and nothing written."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final

import orjson

from services.metrics.domain.cases import MEASURES, Deltas, merge, view
from services.metrics.domain.wire import CaseRecord, Unreadable, read_case
from services.metrics.handlers.counting import fold
from services.metrics.store import what_if as store
from shared.postgres import Connection

_EPOCH: Final = date(1970, 1, 1)


async def what_if(db: Connection, events: Sequence[Any]) -> dict[str, Any]:
    """The answer of ``POST /v1/what-if``: how each counter would move if ``events`` were counted now, all together.

    ``unreadable`` lists those, by their index, that would be parked; ``cases`` is how many cases the others touch.
    """
    read: list[CaseRecord] = []
    unreadable: list[dict[str, Any]] = []
    for index, event in enumerate(events):
        try:
            read.append(read_case(orjson.dumps(event)))
        except (Unreadable, orjson.JSONEncodeError) as error:
            unreadable.append({"index": index, "message": str(error)})
    folded = fold(read)
    deltas = Deltas()
    # One snapshot, however many sources are asked for.
    async with db.transaction(isolation="repeatable_read", readonly=True):
        for source, cases in folded.items():
            known = await store.states(db, source, cases.keys())
            for case_no, arrived in cases.items():
                old = known.get(case_no)
                new = arrived if old is None else merge(old, arrived.version, arrived.events)
                deltas.move(None if old is None else view(old).contribution, view(new).contribution)
    return {
        "cases": sum(map(len, folded.values())),
        "deltas": [
            {"county": county, "item": item, "day": _EPOCH + timedelta(days=day), "measure": measure, "delta": delta}
            for item, county, day, moved in sorted(deltas.rows())
            for measure, delta in zip(MEASURES, moved, strict=True)
            if delta
        ],
        "unreadable": unreadable,
    }
