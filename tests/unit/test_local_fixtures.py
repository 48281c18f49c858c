"""The fixtures hold what the other tests rely on."""

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.kafka import Topics
from tests.conftest import TestDatabase


async def test_topics_take_and_give_records(kafka: str, topics: Topics) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        await producer.send_and_wait(topics.parked, b"value", b"key")
    async with AIOKafkaConsumer(topics.parked, bootstrap_servers=kafka, auto_offset_reset="earliest", group_id=None) as consumer:
        record = await consumer.getone()
    assert (record.key, record.value) == (b"key", b"value")


async def test_events_are_kept_for_ever_and_snapshots_compacted(kafka: str, topics: Topics) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        described = {topic["topic"]: topic for topic in await admin.describe_topics([s.name for s in topics.specs()])}
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, s.name) for s in topics.specs()])
    finally:
        await admin.close()
    assert {name: len(topic["partitions"]) for name, topic in described.items()} == {s.name: s.partitions for s in topics.specs()}
    configs = {
        resource["resource_name"]: {entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]}
        for answer in answers
        for resource in answer.to_object()["resources"]
    }
    policies = {name: config["cleanup.policy"] for name, config in configs.items()}
    assert {name for name, policy in policies.items() if policy == "compact"} == {topics.progress, topics.county_metrics}
    assert configs[topics.case_events]["retention.ms"] == configs[topics.utility_events]["retention.ms"] == "-1"


async def test_a_service_has_its_own_schema_and_no_other(database: TestDatabase) -> None:
    connection = await asyncpg.connect(database.dsn("metrics"))
    try:
        assert await connection.fetchval("select current_schemas(false)") == ["metrics"]
        assert not await connection.fetchval("select has_schema_privilege('utilities', 'usage')")
        assert not await connection.fetchval("select has_schema_privilege('metrics', 'create')")
        assert not await connection.fetchval(
            "select rolsuper or rolcreatedb or rolcreaterole from pg_roles where rolname = current_user"
        )
    finally:
        await connection.close()
