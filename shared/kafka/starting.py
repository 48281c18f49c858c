"""Starting to consume though Kafka is away, or does not let us read yet: said in the log with what to do, and tried again."""

import asyncio
from typing import Final

import structlog
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError
from faststream.kafka import KafkaBroker

from shared.kafka.access import Bootstrap, refusal, who

log = structlog.get_logger()

START_AGAIN_SECONDS: Final = 1.0


async def start_patiently(broker: KafkaBroker, bootstrap: Bootstrap) -> None:
    """Starts ``broker``, which is at ``bootstrap``, and its subscribers, trying again until Kafka answers and lets us read."""
    while True:
        try:
            await broker.start()
        except (KafkaError, OSError) as error:
            why = _may_not_read(error, bootstrap) or await refusal(bootstrap)
            if why is not None:
                log.error("kafka_refuses_us", what_to_do=why, retry_in=START_AGAIN_SECONDS)
            else:
                log.warning("kafka_unreachable", bootstrap=str(bootstrap), error=type(error).__name__, retry_in=START_AGAIN_SECONDS)
            await broker.stop()
            await asyncio.sleep(START_AGAIN_SECONDS)
        else:
            return


def _may_not_read(error: Exception, bootstrap: Bootstrap) -> str | None:
    named = ", ".join(sorted(str(name) for given in error.args for name in ([given] if isinstance(given, str) else given)))
    if isinstance(error, GroupAuthorizationFailedError):
        refused = f"read as a member of group {named}"
    elif isinstance(error, TopicAuthorizationFailedError):
        refused = f"read {named}"
    else:
        return None
    return f"Kafka at {bootstrap} does not let {who(bootstrap)} {refused}: grant it (docs/kafka-security.md)"
