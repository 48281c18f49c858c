"""The newest value of each counter in the order of the topic: what any number of readers follow, each from a position of its own.

There is no queue a reader. Who is slow misses values that others see, never the newest of a counter.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import orjson

MOST_BYTES: Final = 64 * 1024
"""Of one piece that a reader is given: what a server's connection takes at once."""


class Entry(NamedTuple):
    """A counter's newest record: where it stands, and its data as JSON. ``frame`` is the event that readers are sent."""

    offset: int
    county: str
    item: str
    version: int
    data: bytes
    frame: bytes


class Unreadable(ValueError):
    """The record is none of a counter's total."""


class Feed:
    """One life of the topic, as far as it was read. ``next_offset`` is where its reading goes on."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}
        self.next_offset = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, offset: int, key: bytes, value: bytes | None) -> None:
        """Takes the record at ``offset``. One that was read before changes nothing, nor does one of an older version.

        Raises:
            Unreadable: it is passed over.
        """
        if offset < self.next_offset:
            return
        self.next_offset = offset + 1
        if value is None:
            self._entries.pop(key, None)
            return
        entry = _entry(offset, value)
        before = self._entries.get(key)
        if before is not None and entry.version < before.version:
            return
        # Out and in again: the dictionary stays in the order of the offsets.
        self._entries.pop(key, None)
        self._entries[key] = entry

    def piece(
        self, position: int, until: int, county: str | None, item: str | None, most_bytes: int = MOST_BYTES
    ) -> tuple[bytes, int]:
        """Events from offset ``position`` on and before ``until``, about ``most_bytes`` of them, and the position behind them."""
        newest_first = [entry for entry in self._since(position) if entry.offset < until and _fits(entry, county, item)]
        frames: list[bytes] = []
        size = 0
        for entry in reversed(newest_first):
            if size and size + len(entry.frame) > most_bytes:
                return b"".join(frames), position
            frames.append(entry.frame)
            size += len(entry.frame)
            position = entry.offset + 1
        return b"".join(frames), max(position, until)

    def _since(self, position: int) -> Iterator[Entry]:
        for entry in reversed(self._entries.values()):
            if entry.offset < position:
                return
            yield entry

    def picture(self, county: str | None, item: str | None) -> list[bytes]:
        """The data of every counter asked for, by key."""
        return [entry.data for _, entry in sorted(self._entries.items()) if _fits(entry, county, item)]


def _fits(entry: Entry, county: str | None, item: str | None) -> bool:
    return (county is None or entry.county == county) and (item is None or entry.item == item)


def _entry(offset: int, value: bytes) -> Entry:
    try:
        data = orjson.loads(value)["data"]
        county, item, version = str(data["county"]), str(data["item"]), int(data["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"the record at {offset} is no counter's total") from error
    encoded = orjson.dumps(data)
    return Entry(offset, county, item, version, encoded, b"id: %d\nevent: county-metric\ndata: %b\n\n" % (offset, encoded))
