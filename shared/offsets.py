"""How far a service has taken each partition: a row of its own schema, moved by compare-and-set in the transaction that
writes what was taken (``docs/decisions/0006-offset-in-the-database.md``)."""

from uuid import UUID

from shared.postgres import Connection


class Fenced(Exception):
    """Another worker has taken this partition on: our batch is not written. Nothing is wrong with the state."""


class OtherTopic(Exception):
    """The stored position belongs to another topic of the same name; the message says what to do."""


async def position(db: Connection, topic: str, partition: int, topic_id: UUID | None = None) -> int:
    """The next offset wanted; 0 where nothing was taken yet.

    ``topic_id``, where known, is stored at first sight and compared ever after: a topic that was made anew counts its
    offsets from 0 again, for other events.

    Raises:
        OtherTopic: the position was stored for a topic with another id.
    """
    row = await db.fetchrow("select next_offset, topic_id from offsets where topic = $1 and partition = $2", topic, partition)
    stored = None if row is None else row["topic_id"]
    if topic_id is not None and stored is not None and stored != topic_id:
        raise OtherTopic(
            f"{topic} was made anew since it was last taken (its id was {stored}, and is {topic_id}): what its offsets meant is"
            " gone. Bring the old topic back, or rebuild from the log that is there"
        )
    if topic_id is not None and stored is None:
        await db.execute(
            """
            insert into offsets (topic, partition, next_offset, topic_id) values ($1, $2, 0, $3)
            on conflict (topic, partition) do update set topic_id = coalesce(offsets.topic_id, excluded.topic_id)
            """,
            topic, partition, topic_id,
        )  # fmt: skip
    return 0 if row is None else int(row["next_offset"])


async def advance(db: Connection, topic: str, partition: int, expected: int, following: int) -> None:
    """Moves the partition's offset from ``expected``, and so locks the partition until the transaction ends.

    Comes first in its transaction: what is read afterwards is read behind that lock, so that one writer alone sees it.

    Raises:
        Fenced: the offset is another.
    """
    if expected == 0:
        await db.execute(
            "insert into offsets (topic, partition, next_offset) values ($1, $2, 0) on conflict do nothing", topic, partition
        )
    status = await db.execute(
        "update offsets set next_offset = $4 where topic = $1 and partition = $2 and next_offset = $3",
        topic, partition, expected, following,
    )  # fmt: skip
    if status != "UPDATE 1":
        raise Fenced(f"{topic}/{partition} is no longer at {expected}")
