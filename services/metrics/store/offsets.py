"""How far each partition is counted, and the fence that keeps a second writer out."""

from shared.postgres import Connection


class Fenced(Exception):
    """Another worker has counted this partition on: our batch is not written. Nothing is wrong with the figures."""


async def position(db: Connection, topic: str, partition: int) -> int:
    """The next offset wanted; 0 where nothing was counted yet."""
    found = await db.fetchval("select next_offset from offsets where topic = $1 and partition = $2", topic, partition)
    return 0 if found is None else int(found)


async def advance(db: Connection, topic: str, partition: int, expected: int, wanted: int) -> None:
    """Moves the partition's offset by compare-and-set, and so locks the partition until the transaction ends.

    Done first in the transaction: what is read afterwards is read behind that lock, so one writer alone sees it.

    Raises:
        Fenced: the offset is not ``expected``.
    """
    if expected == 0:
        await db.execute(
            "insert into offsets (topic, partition, next_offset) values ($1, $2, 0) on conflict do nothing", topic, partition
        )
    status = await db.execute(
        "update offsets set next_offset = $4 where topic = $1 and partition = $2 and next_offset = $3",
        topic, partition, expected, wanted,
    )  # fmt: skip
    if status != "UPDATE 1":
        raise Fenced(f"{topic}/{partition} is no longer at {expected}")
