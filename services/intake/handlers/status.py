"""What became of an event, for its sender: stored and where, parked and why, or unknown; and up to when that is known."""

from datetime import datetime
from typing import NamedTuple

from services.intake.domain import Sender
from services.intake.domain.index import METRICS, event_key
from services.intake.store import index, parked
from services.intake.store.index import Place
from services.intake.store.parked import Kept
from shared.postgres import Connection


class Status(NamedTuple):
    """``place`` where it is stored; ``parked`` where it is parked and nothing has come of that since."""

    indexed_to: datetime | None
    place: Place | None
    parked: Kept | None


async def status(db: Connection, sender: Sender, event_id: str) -> Status:
    """What is known of the sender's event. A sender's own source alone is looked at.

    What metrics could not count stands on the log and is parked: it is told as parked, until it is mended.
    """
    key = event_key(sender.source, event_id)
    # First of all: what is indexed afterwards does no harm, what was indexed before is seen.
    up_to = await index.indexed_to(db)
    place = await index.place_of(db, key)
    kept = await parked.of_event(db, event=key, event_id=event_id, sender=sender.id)
    if kept is not None and (kept.replayed_at is not None or (place is not None and kept.record.service != METRICS)):
        kept = None
    return Status(up_to, place, kept)
