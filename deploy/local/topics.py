"""Makes the topics that ``shared.kafka.topics`` names."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from shared.kafka.access import Bootstrap, client_options
from shared.kafka.topics import TopicSpec


async def create_topics(bootstrap: Bootstrap, specs: Iterable[TopicSpec], *, replication: int = 1) -> list[str]:
    """Creates those topics that are not there, and returns their names. Settings of a topic that stands are left alone.

    Raises:
        KafkaError: the broker does not answer, or refuses.
        TimeoutError: the topics were made, but have no leaders after 20 s.
    """
    async with _admin(bootstrap) as admin:
        standing = set(await admin.list_topics())
        missing = [spec for spec in specs if spec.name not in standing]
        if not missing:
            return []
        answer = await admin.create_topics(
            [NewTopic(spec.name, spec.partitions, replication, topic_configs=dict(spec.config)) for spec in missing],
            timeout_ms=20_000,
        )
        for error in answer.to_object()["topic_errors"]:
            # Another start may have made it since it was looked for.
            if (kind := error["error_code"]) and for_code(kind) is not TopicAlreadyExistsError:
                raise for_code(kind)(f"{error['topic']}: {error['error_message']}")
        await _led(admin, missing)
    return [spec.name for spec in missing]


async def _led(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    # The controller answers before the broker knows the new partitions: clients would find none for a moment.
    async with asyncio.timeout(20):
        while True:
            found = await admin.describe_topics([spec.name for spec in specs])
            leaders = {topic["topic"]: [part["leader"] for part in topic["partitions"]] for topic in found}
            if all(len(leaders[spec.name]) == spec.partitions and min(leaders[spec.name]) >= 0 for spec in specs):
                return
            await asyncio.sleep(0.02)


async def delete_topics(bootstrap: Bootstrap, names: Iterable[str]) -> None:
    """Deletes the topics with all that they hold.

    Raises:
        KafkaError: the broker does not answer.
    """
    async with _admin(bootstrap) as admin:
        await admin.delete_topics(list(names))


@asynccontextmanager
async def _admin(bootstrap: Bootstrap) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**client_options(bootstrap), request_timeout_ms=30_000)
    try:
        await client.start()
        yield client
    finally:
        await client.close()
