"""The id that Kafka gives a topic when it is created: a topic made anew under the same name has another.

aiokafka 0.14 speaks Kafka's Metadata request only up to version 5, which does not carry it; version 10 (KIP-516) does, and
is described here with the client's own building blocks.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final
from uuid import UUID

from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_KEY: Final = 3
_VERSION: Final = 10
_NONE: Final = UUID(int=0)
_text: Final = CompactString("utf-8")


class _Uuid(AbstractType[UUID]):
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


class _Response(Response):
    API_KEY = _KEY
    API_VERSION = _VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(("node_id", Int32), ("host", _text), ("port", Int32), ("rack", _text), ("tags", TaggedFields)),
        ),
        ("cluster_id", _text),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _text),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("topic_authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _Struct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = _KEY
    API_VERSION = _VERSION
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _text), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _Request(Request[_Struct]):
    API_KEY = _KEY

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_Struct]) -> _Struct:
        topics: list[tuple[Any, ...]] = [(_NONE, topic, {}) for topic in self._topics]
        return request_struct_class(topics, False, False, False, {})


async def topic_id(consumer: AIOKafkaConsumer, topic: str) -> UUID | None:
    """The topic's id; ``None`` where the broker gives none.

    Raises:
        aiokafka.errors.KafkaError: the broker does not answer.
    """
    client = consumer._client
    answer = await client.send(client.get_random_node(), _Request([topic]))
    for entry in answer.topics:
        error_code, name, found = entry[0], entry[1], entry[2]
        if name == topic and not error_code and found != _NONE:
            return UUID(int=found.int)
    return None
