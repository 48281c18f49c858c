"""The backlog by a real broker: what a group has not committed, however little of the topic it has read."""

from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.sample.backlog import OURS, backlog
from shared.kafka import Message, Publisher, Topics


async def test_a_topic_is_behind_until_its_group_has_committed(kafka: str, topics: Topics) -> None:
    topic = topics.case_events
    assert await backlog(kafka, [topic]) == {}
    async with Publisher(kafka, client_id="test") as publisher:
        await publisher.publish([Message(topic, f"case-{number}", b"{}") for number in range(20)])
    assert await backlog(kafka, [topic, topics.parked]) == {topic: 20}
    # The broker forgets the group with its topic, which the fixture deletes.
    group = f"{OURS}-{topics.prefix}"
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in range(8)]
    consumer.assign(partitions)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(partitions)
        fullest = max(partitions, key=lambda partition: ends[partition])
        await consumer.commit({fullest: ends[fullest]})
        assert await backlog(kafka, [topic]) == {topic: 20 - ends[fullest]}
        await consumer.commit(ends)
        assert await backlog(kafka, [topic]) == {}
    finally:
        await consumer.stop()
