"""Kafka's requests about permissions and users that aiokafka's admin client has no method for.

ACLs go with aiokafka's own request classes. SCRAM users (KIP-554) are described here with its building blocks.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactBytes, CompactString, Int8, Int16, Int32, Schema, TaggedFields

from shared.kafka.access import Bootstrap, client_options

_ANY: Final = 1
_ALLOW: Final = 3
_EVERYWHERE: Final = "*"
_SHA_512: Final = 2
ITERATIONS: Final = 8192
"""Of SCRAM's key derivation: at least 4096 by RFC 5802, and what Kafka's own tool takes for SHA-512."""


class Resource(IntEnum):
    """Kafka's numbers."""

    TOPIC = 2
    GROUP = 3


class Pattern(IntEnum):
    LITERAL = 3
    PREFIXED = 4


class Operation(IntEnum):
    """Those that are granted here, and those that may be found granted."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12
    CREATE_TOKENS = 13
    DESCRIBE_TOKENS = 14
    TWO_PHASE_COMMIT = 15


class Grant(NamedTuple):
    """One ACL that allows: ``user`` may do ``operation`` on what the pattern names, from any host."""

    user: str
    resource: Resource
    pattern: Pattern
    name: str
    operation: Operation

    def __str__(self) -> str:
        named = f"{self.name}*" if self.pattern is Pattern.PREFIXED else self.name
        return f"{self.user}: {self.operation.name} {self.resource.name.lower()} {named}"


class Foreign(NamedTuple):
    """An ACL of a kind that we never make, e.g. a denial, in Kafka's numbers: shown, and left alone."""

    resource: int
    name: str
    pattern: int
    principal: str
    host: str
    operation: int
    permission: int


@asynccontextmanager
async def admin_of(bootstrap: Bootstrap) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that asks as the user of ``bootstrap``.

    Raises:
        KafkaError: no broker answers, or none lets us in.
    """
    client = AIOKafkaAdminClient(**client_options(bootstrap), request_timeout_ms=30_000)
    try:
        await client.start()
        yield client
    finally:
        await client.close()


async def grants(admin: AIOKafkaAdminClient) -> tuple[set[Grant], list[Foreign]]:
    """All ACLs of topics and groups.

    Raises:
        KafkaError: we may not ask, or the broker has no authorizer.
    """
    found: set[Grant] = set()
    foreign: list[Foreign] = []
    answer = await _ask(admin, DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY))  # type: ignore[arg-type]
    _refuse(answer.error_code, answer.error_message)
    for resource, name, pattern, acls in answer.resources:
        for principal, host, operation, permission in acls:
            kind, _, user = principal.partition(":")
            usual = kind == "User" and host == _EVERYWHERE and permission == _ALLOW and resource in (Resource.TOPIC, Resource.GROUP)
            if usual:
                found.add(Grant(user, Resource(resource), Pattern(pattern), name, Operation(operation)))
            else:
                foreign.append(Foreign(resource, name, pattern, principal, host, operation, permission))
    return found, foreign


async def grant(admin: AIOKafkaAdminClient, wanted: Iterable[Grant]) -> None:
    """Adds ACLs; one that stands is left as it is.

    Raises:
        KafkaError: we may not.
    """
    for each in wanted:
        answer = await _ask(admin, CreateAclsRequest(*_numbers(each)))
        for code, message in answer.creation_responses:
            _refuse(code, message)


async def revoke(admin: AIOKafkaAdminClient, unwanted: Iterable[Grant]) -> None:
    """Removes exactly these ACLs.

    Raises:
        KafkaError: we may not.
    """
    for each in unwanted:
        answer = await _ask(admin, DeleteAclsRequest(*_numbers(each)))
        for code, message, _ in answer.filter_responses:
            _refuse(code, message)


def _numbers(each: Grant) -> tuple[int, str, int, str, str, int, int]:
    principal = f"User:{each.user}"
    return int(each.resource), each.name, int(each.pattern), principal, _EVERYWHERE, int(each.operation), _ALLOW


async def set_passwords(admin: AIOKafkaAdminClient, passwords: Mapping[str, str]) -> None:
    """Makes SCRAM-SHA-512 users, or gives those that stand another password. Only salted passwords travel.

    Raises:
        KafkaError: we may not.
    """
    rows: list[tuple[Any, ...]] = []
    for user, password in passwords.items():
        salt = secrets.token_bytes(32)
        salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
        rows.append((user, _SHA_512, ITERATIONS, salt, salted, {}))
    answer = await _ask(admin, _AlterScram(rows))
    for _, code, message, _ in answer.results:
        _refuse(code, message)


def _refuse(code: int, message: str | None) -> None:
    if code:
        raise for_code(code)(message)


async def _ask(admin: AIOKafkaAdminClient, request: Request[Any]) -> Any:
    return await admin._send_request(request)


_text: Final = CompactString("utf-8")


class _AlterScramResponse(Response):
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("results", CompactArray(("user", _text), ("error_code", Int16), ("error_message", _text), ("tags", TaggedFields))),
        ("tags", TaggedFields),
    )


class _AlterScramStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 51
    API_VERSION = 0
    RESPONSE_TYPE = _AlterScramResponse
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", _text), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", _text), ("mechanism", Int8), ("iterations", Int32), ("salt", CompactBytes),
                ("salted_password", CompactBytes), ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )  # fmt: skip


class _AlterScram(Request[_AlterScramStruct]):
    API_KEY = 51

    def __init__(self, upsertions: list[tuple[Any, ...]]) -> None:
        self._upsertions = upsertions

    def build(self, request_struct_class: type[_AlterScramStruct]) -> _AlterScramStruct:
        return request_struct_class([], self._upsertions, {})
