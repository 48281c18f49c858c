"""Makes the topics that ``shared.kafka.topics`` names."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from shared.kafka.access import Bootstrap, client_options
from shared.kafka.topics import TopicSpec


async def create_topics(bootstrap: Bootstrap, specs: Iterable[TopicSpec], *, replication: int = 1) -> list[str]:
    """Creates those topics that are not there, and returns their names. Settings of a topic that stands are left alone.

    Raises:
        KafkaError: the broker does not answer, or refuses.
        TimeoutError: the topics were made, but have no leaders after 20 s.
    """
    wanted = {spec.name: spec for spec in specs}
    async with _admin(bootstrap) as admin:
        # The controller knows which stand; a broker's list may be behind it.
        answer = await admin.create_topics(
            [NewTopic(spec.name, spec.partitions, replication, topic_configs=dict(spec.config)) for spec in wanted.values()],
            timeout_ms=20_000,
        )
        made = []
        for answered in answer.to_object()["topic_errors"]:
            kind = for_code(answered["error_code"])
            if kind is NoError:
                made.append(wanted[answered["topic"]])
            elif kind is not TopicAlreadyExistsError:
                raise kind(f"{answered['topic']}: {answered['error_message']}")
        await _led(admin, made)
    return [spec.name for spec in made]


async def _led(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    # The controller answers before the broker knows the new partitions: clients would find none for a moment.
    async with asyncio.timeout(20):
        while specs:
            found = await admin.describe_topics([spec.name for spec in specs])
            leaders = {topic["topic"]: [part["leader"] for part in topic["partitions"]] for topic in found}
            if all(len(leaders[spec.name]) == spec.partitions and min(leaders[spec.name]) >= 0 for spec in specs):
                return
            await asyncio.sleep(0.02)


async def delete_topics(bootstrap: Bootstrap, names: Iterable[str]) -> None:
    """Deletes the topics with all that they hold; returns when the broker knows them no more.

    Raises:
        KafkaError: the broker does not answer.
        TimeoutError: it still knows one after 20 s.
    """
    gone = set(names)
    async with _admin(bootstrap) as admin:
        await admin.delete_topics(list(gone))
        async with asyncio.timeout(20):
            while gone & set(await admin.list_topics()):  # noqa: ASYNC110 - the broker tells nobody
                await asyncio.sleep(0.02)


@asynccontextmanager
async def _admin(bootstrap: Bootstrap) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**client_options(bootstrap), request_timeout_ms=30_000)
    try:
        await client.start()
        yield client
    finally:
        await client.close()
