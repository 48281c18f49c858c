"""Publishing on a real broker: callers share batches, and neither order nor anybody's failure is shared with them."""

import asyncio
from collections import defaultdict

import pytest
from aiokafka.partitioner import DefaultPartitioner

from deploy.local.topics import create_topics, delete_topics
from shared.kafka import KafkaUnavailable, Message, MessagesTooLarge, Publisher, Topics
from shared.kafka.publisher import CONTENT_TYPE, MOST_BATCH_BYTES, MOST_BYTES
from shared.kafka.topics import PARTITIONS, TopicSpec
from tests.utilities_support import records_of


async def test_what_many_publish_at_once_is_stored_whole_in_order_and_where_the_clients_would_put_it(
    kafka: str, topics: Topics
) -> None:
    keys = [f"BD{number}" for number in range(40)]
    async with Publisher(kafka, client_id="test", timeout_seconds=20) as publisher:

        async def caller(name: int) -> None:
            for turn in range(5):
                await publisher.publish(
                    [Message(topics.case_events, key, b"%d %d" % (name, turn)) for key in keys[name % 7 :: 3]]
                    + [Message(topics.parked, keys[name], b"%d %d" % (name, turn))]
                )

        await asyncio.gather(*(caller(name) for name in range(20)))
    events, parked = await records_of(kafka, topics.case_events), await records_of(kafka, topics.parked)
    assert len(events) == sum(5 * len(keys[name % 7 :: 3]) for name in range(20))
    assert len(parked) == 100
    turns: dict[tuple[bytes, bytes], list[bytes]] = defaultdict(list)
    everywhere = list(range(PARTITIONS))
    for record in events:
        assert record.key is not None
        assert record.value is not None
        name, _, turn = record.value.partition(b" ")
        turns[record.key, name].append(turn)
        assert record.partition == DefaultPartitioner()(record.key, everywhere, everywhere)
        assert list(record.headers) == [CONTENT_TYPE]
    assert {tuple(found) for found in turns.values()} == {(b"0", b"1", b"2", b"3", b"4")}


async def test_more_than_a_batch_goes_in_several(kafka: str, topics: Topics) -> None:
    values = [b"%d" % number + b"x" * 50_000 for number in range(3 * MOST_BATCH_BYTES // 50_000)]
    large = b"y" * (2 * MOST_BATCH_BYTES)
    async with Publisher(kafka, client_id="test", timeout_seconds=20) as publisher:
        await publisher.publish([Message(topics.case_events, "BD1", value) for value in [*values, large, values[0]]])
    assert [record.value for record in await records_of(kafka, topics.case_events)] == [*values, large, values[0]]


async def test_what_cannot_be_published_fails_alone(kafka: str, topics: Topics) -> None:
    async with Publisher(kafka, client_id="test", timeout_seconds=3) as publisher:
        tried = await asyncio.gather(
            publisher.publish([Message(topics.case_events, "BD1", b"one")]),
            publisher.publish([Message(topics.case_events, "BD1", b"x" * MOST_BYTES)]),
            publisher.publish([Message(f"{topics.prefix}.nowhere", "BD1", b"x"), Message(topics.case_events, "BD1", b"never")]),
            publisher.publish([Message(topics.case_events, "BD1", b"two")]),
            publisher.publish([]),
            return_exceptions=True,
        )
        await publisher.publish([Message(topics.case_events, "BD1", b"three")])
    assert [type(outcome) for outcome in tried] == [type(None), MessagesTooLarge, KafkaUnavailable, type(None), type(None)]
    assert [record.value for record in await records_of(kafka, topics.case_events)] == [b"one", b"two", b"three"]


async def test_what_a_topic_does_not_take_for_its_size_is_named_and_all_else_is_stored(kafka: str, topics: Topics) -> None:
    narrow = TopicSpec(f"{topics.prefix}.narrow", PARTITIONS, {"max.message.bytes": "2000"})
    await create_topics(kafka, [narrow])
    small = [b"%d" % number + b"x" * 200 for number in range(300)]
    large, enormous = b"y" * 3000, b"z" * MOST_BYTES

    def on(topic: str, *values: bytes) -> list[Message]:
        return [Message(topic, f"BD{number % 3}", value) for number, value in enumerate(values)]

    async with Publisher(kafka, client_id="test", timeout_seconds=20) as publisher:
        # Together they go in batches that the topic does not take as they are, and with one that it takes in no way.
        _, tried, alone = await asyncio.gather(
            publisher.publish(on(narrow.name, *small[:100])),
            publisher.publish(on(narrow.name, *small[100:200], large, enormous, *small[200:]) + on(topics.parked, b"beside")),
            publisher.publish(on(narrow.name, enormous)),
            return_exceptions=True,
        )
    assert isinstance(tried, MessagesTooLarge)
    assert tried.values == {large, enormous}
    assert isinstance(alone, MessagesTooLarge)
    assert sorted(record.value or b"" for record in await records_of(kafka, narrow.name)) == sorted(small)
    assert [record.value for record in await records_of(kafka, topics.parked)] == [b"beside"]
    await delete_topics(kafka, [narrow.name])


async def test_a_publisher_that_ends_has_sent_what_it_took(kafka: str, topics: Topics) -> None:
    async with Publisher(kafka, client_id="test", timeout_seconds=20) as publisher:
        under_way = [asyncio.create_task(publisher.publish([Message(topics.case_events, "BD1", b"%d" % n)])) for n in range(50)]
        await asyncio.sleep(0)
        await asyncio.gather(*under_way)
    with pytest.raises(KafkaUnavailable):
        await publisher.publish([Message(topics.case_events, "BD1", b"late")])
    assert len(await records_of(kafka, topics.case_events)) == 50
