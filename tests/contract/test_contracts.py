"""Contracts: the snapshots are what the code says, public validators pass them, examples pass every reader, promises hold."""

import csv
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from faststream.kafka import KafkaBroker
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import TypeAdapter

from deploy.local import contracts
from deploy.local.compat import broken_promises
from deploy.local.parts import ROOT
from deploy.local.service import SERVICES
from services.intake import kafka as intake
from services.intake.domain import Sender, judge
from services.intake.domain.index import read_parked
from services.metrics.domain.wire import read_case, read_snapshot
from services.metrics.kafka import counting as metrics
from services.utilities.domain.judging import judge as judge_utility
from services.utilities.domain.judging import read as read_utility
from services.utilities.domain.registry import Pair, Registry
from services.utilities.kafka import consuming as utilities
from shared.events.case import Service
from shared.events.messages import TOPICS, schemas
from shared.kafka import Topics
from shared.verdicts import Accepted
from tests.intake_support import SENDER, SOURCE

EXAMPLES = ROOT / "shared" / "events" / "examples"
ASYNCAPI = Path(__file__).parent / "asyncapi" / "asyncapi-3.0.0.json"
ASYNCAPI_SHA256 = "c2dbba431be79986d9429561b781b55e7233e46e8953b14a095120d4bbbc7838"


def _stored(kind: str) -> Iterator[tuple[str, Any]]:
    for file in sorted((contracts.FOLDER / kind).glob("*.json")):
        yield file.name, json.loads(file.read_bytes())


def test_the_snapshots_are_what_the_code_says() -> None:
    assert not contracts.differences(), f"run `{contracts.RENEW}` and commit docs/contracts"


def test_nothing_that_was_released_is_broken() -> None:
    assert list((contracts.FOLDER / "released").glob("*/*.json"))
    assert not contracts.broken(), "keep the released contract, or put a new version beside it (CONTRACT)"


def test_public_validators_pass_every_document() -> None:
    for _, document in _stored("openapi"):
        assert document["openapi"].startswith("3.1.")
        assert not list(OpenAPIV31SpecValidator(document).iter_errors())
    assert hashlib.sha256(ASYNCAPI.read_bytes()).hexdigest() == ASYNCAPI_SHA256, (
        "the public schema was altered: see the README beside it"
    )
    public = Draft7Validator(json.loads(ASYNCAPI.read_bytes()))
    names = []
    for name, document in _stored("asyncapi"):
        names.append(name)
        assert document["asyncapi"] == "3.0.0"
        assert not [(list(e.absolute_path), e.message[:200]) for e in public.iter_errors(document)]
        assert all(_resolves(document, reference) for reference in _references(document))
        for message in document["components"]["messages"].values():
            assert message["payload"]["$ref"].startswith("#/components/schemas/")
    assert names == [f"{service}.json" for service in sorted(SERVICES)]
    for _, schema in _stored("events"):
        Draft202012Validator.check_schema(schema)
    # A validator that passes anything proves nothing.
    assert list(public.iter_errors(document | {"channels": {"x": {"adress": 1}}}))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            else:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _resolves(document: Any, reference: str) -> bool:
    found = document
    for part in reference.removeprefix("#/").split("/"):
        if part not in found:
            return False
        found = found[part]
    return True


def _consumed(module: ModuleType) -> set[str]:
    """The topics that a service's worker subscribes to: each of its functions ``subscribe…`` is asked, with nothing behind it."""
    broker = KafkaBroker()
    for name, subscribe in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("subscribe"):
            types = {
                name: parameter.annotation for name, parameter in inspect.signature(subscribe, eval_str=True).parameters.items()
            }
            stand_in: dict[Any, Any] = {KafkaBroker: broker, Topics: Topics(), int: 1, str: "group"}
            subscribe(*(stand_in.get(kind) for kind in types.values()))
    return {topic.name for subscriber in broker.subscribers for topic in getattr(subscriber, "topics", ())}


@pytest.mark.parametrize("service", SERVICES)
def test_each_asyncapi_names_the_topics_that_its_worker_consumes(service: str) -> None:
    consumed = _consumed({"intake": intake, "utilities": utilities, "metrics": metrics}[service])
    document = json.loads((contracts.FOLDER / "asyncapi" / f"{service}.json").read_bytes())
    received = {
        document["channels"][operation["channel"]["$ref"].rpartition("/")[2]]["address"]
        for operation in document["operations"].values()
        if operation["action"] == "receive"
    }
    assert received == consumed
    assert consumed


def _readers(topic: str) -> list[Callable[[bytes], object]]:
    """Every reader of a topic's records, as its services have them."""
    readers: dict[str, list[Callable[[bytes], object]]] = {
        "case-events": [read_case, lambda value: _judged(value)],
        "utility-events": [read_utility],
        "progress": [read_snapshot],
        "parked": [lambda value: read_parked(value, {SENDER: SOURCE})],
    }
    return readers.get(topic, [])  # what leaves the system has no reader here


def _judged(value: bytes) -> object:
    """A case event that is pushed as it stands on the topic comes out as it went in."""
    verdict = judge(orjson.loads(value), Sender(SENDER, SOURCE), datetime(2024, 10, 1, tzinfo=UTC))
    assert isinstance(verdict, Accepted)
    return orjson.loads(verdict.value) == orjson.loads(value)


def _topic_of(kind: str) -> str:
    """The topic whose message has this type; what a province pushes is shown as it stands on ``case-events``."""
    found = [topic for topic in TOPICS if topic != "province-push" and f'"{kind}"' in json.dumps(schemas()[topic])]
    assert len(found) == 1, f"{kind} is the type of no message in shared/events/messages.py"
    return found[0]


def _as_published(value: bytes) -> bytes:
    """A utility event is shown as a company pushes it: what the edge makes of it stands on the topic."""
    with (ROOT / "deploy/local/sample/registry.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = [(row["county"], row["company"], Service(row["service"])) for row in csv.DictReader(lines)]
    registry = Registry(frozenset(Pair(*row) for row in rows))
    pushed = json.loads(value)
    assert not list(Draft202012Validator(schemas()["pushed-utility-event"]).iter_errors(pushed))
    verdict = judge_utility(pushed, pushed["source"].rpartition(":")[2], registry, datetime(2024, 10, 1, tzinfo=UTC))
    assert isinstance(verdict, Accepted)
    return verdict.value


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*/*.json")), ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_an_example_passes_its_schema_and_every_reader_of_its_topic(file: Path) -> None:
    topic = _topic_of(orjson.loads(file.read_bytes())["type"])
    value = _as_published(file.read_bytes()) if topic == "utility-events" else file.read_bytes()
    stored = json.loads((contracts.FOLDER / "events" / f"{topic}.schema.json").read_bytes())
    assert not list(Draft202012Validator(stored).iter_errors(orjson.loads(value)))
    assert TypeAdapter(TOPICS[topic].model).validate_json(value)
    for read in _readers(topic):
        assert read(value)


RELEASED: dict[str, Any] = {
    "$defs": {
        "Step": {"enum": ["applied", "accepted"], "type": "string"},
        "A": {"type": "object", "properties": {"kind": {"const": "a"}, "n": {"type": "integer", "minimum": 1, "maximum": 9}}},
        "B": {"type": "object", "properties": {"kind": {"const": "b"}}},
    },
    "type": "object",
    "properties": {
        "step": {"$ref": "#/$defs/Step"},
        "item": {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]},
        "state": {"oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]},
        "days": {"type": "array", "items": {"type": "string", "format": "date"}},
        "by": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {},
    },
    "required": ["step"],
}


def _changed(*path: str, to: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(RELEASED))
    place = made
    for part in path[:-1]:
        place = place[part]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return made


STEP = ("$defs", "Step", "enum")


@pytest.mark.parametrize(
    ("present", "says"),
    [
        (RELEASED, None),
        (_changed("properties", "new", to={"type": "string"}), None),
        (_changed(*STEP, to=["applied", "accepted", "completed"]), None),
        (_changed("properties", "item", to={"anyOf": [{"type": "string"}, {"type": "null"}, {"type": "integer"}]}), None),
        (_changed("$defs", "A", "properties", "n", to={"type": "integer", "minimum": 0, "maximum": 10}), None),
        (_changed("properties", "item", to=None), "/item: the field is gone"),
        (_changed(*STEP, to=["applied"]), "/step: 'accepted' is no longer allowed"),
        (_changed("properties", "item", to={"type": "string"}), "/item: null is no longer allowed"),
        (_changed("properties", "item", "anyOf", to=[{"type": "string", "maxLength": 8}, {"type": "null"}]), "maxLength is 8 now"),
        (_changed("properties", "item", "anyOf", to=[{"type": "string", "pattern": "x"}, {"type": "null"}]), "pattern is 'x' now"),
        (_changed("properties", "step", to={"type": "integer"}), "/step: string is no longer allowed"),
        (_changed("required", to=["step", "item"]), "/item: is required now"),
        (_changed("required", to=[]), "/step: is no longer always there"),
        (_changed("properties", "state", to={"$ref": "#/$defs/A"}), "/state: object b is no longer allowed"),
        (_changed("$defs", "A", "properties", "n", "minimum", to=2), "/state/n: minimum is 2 now"),
        (_changed("properties", "days", "items", "format", to="date-time"), "/days/items: format is 'date-time' now"),
        (_changed("properties", "by", "additionalProperties", "type", to="integer"), "/by/additionalProperties: string is no"),
        (_changed("additionalProperties", to=False), "further fields are no longer allowed"),
        (_changed("properties", "free", to={"enum": [1]}), "/free: 'any other value' is no longer allowed"),
    ],
)  # fmt: skip
def test_a_change_that_breaks_a_promise_is_told_and_an_addition_is_not(present: dict[str, Any], says: str | None) -> None:
    found = broken_promises(RELEASED, present)
    assert found == [] if says is None else len(found) == 1 and says in found[0], found
