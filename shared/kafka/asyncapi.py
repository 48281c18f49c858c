"""What a worker reads and writes, as AsyncAPI 3: FastStream's document, with our topics' messages."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from faststream.kafka import KafkaBroker
from faststream.specification import AsyncAPI

from shared.events.envelope import MEDIA_TYPE
from shared.events.messages import TOPICS
from shared.kafka.access import Bootstrap

VERSION: Final = "1"
"""Of the contracts: the topics' names end with it."""

REF: Final = "$ref"


def describe(title: str, kafka: Bootstrap, prefix: str, *, reads: Sequence[str], writes: Sequence[str]) -> dict[str, Any]:
    """The document of one worker; ``reads`` and ``writes`` are topics by their own names, e.g. ``case-events``.

    Nothing is connected: the broker that FastStream describes is never started.
    """
    broker = KafkaBroker(str(kafka))
    for topic in reads:
        broker.subscriber(f"{prefix}.{topic}.v{VERSION}", title=topic, description=_about(topic))(_taker(TOPICS[topic].model))
    for topic in writes:
        name = topic if topic not in reads else f"{topic}-sent"  # one channel by its title; the address is the same
        broker.publisher(f"{prefix}.{topic}.v{VERSION}", title=name, description=_about(topic), schema=TOPICS[topic].model)
    return _told(AsyncAPI(broker, title=title, version=VERSION).to_specification().to_jsonable())


def _about(topic: str) -> str:
    return f"{TOPICS[topic].title}s. The key of a record is {TOPICS[topic].key}."


def _taker(model: Any) -> Any:
    async def take(event: Any) -> None: ...

    take.__annotations__["event"] = model
    return take


def _told(document: Mapping[str, Any]) -> dict[str, Any]:
    """``document`` with what FastStream cannot know of us: CloudEvents' media type, keys, and names without colons."""
    renamed = {old: f"{old.partition(':')[0]}.message" for old in document["components"]["messages"]}
    messages = {}
    for old, message in document["components"]["messages"].items():
        topic = old.partition(":")[0].removesuffix("-sent")
        # Our records bear no such header.
        kept = {name: value for name, value in message.items() if name != "correlationId"}
        messages[renamed[old]] = {
            **kept, "name": topic, "title": TOPICS[topic].title, "contentType": MEDIA_TYPE,
            "bindings": {"kafka": {"key": {"type": "string", "description": TOPICS[topic].key}, "bindingVersion": "0.4.0"}},
        }  # fmt: skip
    servers = {"kafka": {name: value for name, value in document["servers"]["development"].items() if value}}
    schemas = {name.replace(":", "."): schema for name, schema in document["components"]["schemas"].items()}
    whole = {**document, "servers": servers, "components": {"messages": messages, "schemas": schemas}}
    moved = {f"#/components/messages/{old}": f"#/components/messages/{new}" for old, new in renamed.items()}
    moved |= {
        f"#/components/schemas/{name}": f"#/components/schemas/{name.replace(':', '.')}"
        for name in document["components"]["schemas"]
    }
    made: dict[str, Any] = _moved(whole, moved | {"#/servers/development": "#/servers/kafka"})
    return made


def _moved(value: Any, moved: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {name: moved.get(v, v) if name == REF and isinstance(v, str) else _moved(v, moved) for name, v in value.items()}
    if isinstance(value, list):
        return [_moved(inner, moved) for inner in value]
    return value
