"""The feed: whoever follows from any position, by pieces of any size, ends with the newest of each counter; none comes twice."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain.feed import Feed, Unreadable

COUNTIES = ("130607", "130637")
ITEMS = ("disabled-service", "newborn")


def value(county: str, item: str, total: int, version: int) -> bytes:
    data = {"county": county, "item": item, "measure": "handled", "total": total, "version": version}
    return orjson.dumps({"type": "cn.onething.county-metric.v1", "data": data})


def received(piece: bytes) -> list[tuple[int, dict[str, object]]]:
    """Offset and data of each event of a piece."""
    found = []
    for frame in piece.decode().split("\n\n")[:-1]:
        offset, name, data = frame.split("\n")
        assert name == "event: county-metric"
        found.append((int(offset.removeprefix("id: ")), orjson.loads(data.removeprefix("data: "))))
    return found


records = st.lists(st.tuples(st.sampled_from(COUNTIES), st.sampled_from(ITEMS), st.integers(0, 9)), min_size=1, max_size=30)
chosen = st.tuples(st.sampled_from((None, *COUNTIES)), st.sampled_from((None, *ITEMS)))


@given(records, chosen, st.lists(st.integers(0, 6), max_size=30), st.integers(1, 400), st.integers(0, 20))
def test_whoever_follows_has_the_newest_of_each_counter(
    written: list[tuple[str, str, int]], of: tuple[str | None, str | None], reads: list[int], most_bytes: int, begin: int
) -> None:
    feed, state, position = Feed(), {}, 0
    begin = min(begin, len(written))
    seen: list[int] = []

    def read() -> None:
        nonlocal position
        piece, position = feed.piece(position, feed.next_offset, *of, most_bytes)
        for offset, data in received(piece):
            seen.append(offset)
            state[data["county"], data["item"]] = data["total"]

    for offset, (county, item, total) in enumerate(written):
        feed.put(offset, f"{county}|{item}|handled".encode(), value(county, item, total, offset + 1))
        if offset + 1 == begin:
            # It begins with a snapshot, in the middle of it all.
            for row in map(orjson.loads, feed.picture(*of)):
                state[row["county"], row["item"]] = row["total"]
            position = feed.next_offset
        if offset >= begin:
            for _ in range(reads[offset] if offset < len(reads) else 0):
                read()
    while position < feed.next_offset:
        read()
    newest = {(county, item): total for county, item, total in written if of[0] in (None, county) and of[1] in (None, item)}
    assert state == newest
    assert seen == sorted(set(seen))
    assert all(offset >= begin for offset in seen)


def test_what_was_read_before_or_is_of_an_older_version_changes_nothing() -> None:
    feed = Feed()
    feed.put(5, b"a", value("130607", "newborn", 1, 50))
    feed.put(9, b"a", value("130607", "newborn", 2, 40))
    feed.put(5, b"a", value("130607", "newborn", 3, 60))
    assert [orjson.loads(data)["total"] for data in feed.picture(None, None)] == [1]
    assert feed.next_offset == 10
    feed.put(10, b"a", None)
    assert (len(feed), feed.piece(0, 11, None, None)) == (0, (b"", 11))


def test_a_piece_goes_no_further_than_the_round_and_a_position_ahead_of_it_stays() -> None:
    feed = Feed()
    for offset in range(4):
        feed.put(offset, b"%d" % offset, value("130607", "newborn", offset, 1))
    piece, position = feed.piece(1, 3, None, None)
    assert ([offset for offset, _ in received(piece)], position) == ([1, 2], 3)
    assert feed.piece(4, 3, None, None) == (b"", 4)


@pytest.mark.parametrize("bad", [b"", b"{}", b'{"data": 1}', b'{"data": {"county": "1", "item": "x", "version": "y"}}'])
def test_a_record_that_is_no_total_is_passed_over(bad: bytes) -> None:
    feed = Feed()
    with pytest.raises(Unreadable):
        feed.put(3, b"a", bad)
    assert (feed.next_offset, len(feed)) == (4, 0)
