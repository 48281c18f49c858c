"""From a body to its items: structured, binary and batch CloudEvents (HTTP binding 1.0.2), and further media types."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import orjson
from fastapi import Request

from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.problems import ProblemError
from shared.push.body import Share, inflated, too_large
from shared.verdicts import FieldError

MOST_EVENTS: Final = 1000

JSON_MEDIA_TYPE: Final = "application/json"

_ATTRIBUTE: Final = re.compile(r"[a-z0-9]{1,64}")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')

Unpack = Callable[[Any], list[Any]]
"""From a decoded JSON body to its items. Raises a :class:`ProblemError` (400) where the body is not of that form."""


@dataclass(frozen=True, slots=True)
class Push:
    """A verified request: its items as JSON values, how it was framed, and the SHA-256 of its body as it was received."""

    request_id: str
    items: list[Any]
    batch: bool
    digest: str = ""


def parse(request: Request, body: bytes, further: Mapping[str, Unpack] = MappingProxyType({}), share: Share | None = None) -> Push:
    """The items of a structured, binary or batch CloudEvents body, or of a ``further`` media type that this sender may use.

    Raises:
        ProblemError: 415 for another media type or coding, 400 for broken JSON, gzip or attributes, 422 for an empty batch,
            413 for too many events or bytes.
    """
    media_type = _media_type(request, further)
    digest = hashlib.sha256(body).hexdigest()
    request_id = request.headers.get("webhook-id") or digest[:32]
    content = _json(inflated(request, body, share))
    if media_type == JSON_MEDIA_TYPE:
        return Push(request_id, [_attributes(request) | {"data": content}], batch=False, digest=digest)
    if media_type == MEDIA_TYPE:
        if not isinstance(content, dict):
            raise ProblemError(400, "malformed", f"{MEDIA_TYPE} holds one JSON object; for a list send {BATCH_MEDIA_TYPE}")
        return Push(request_id, [content], batch=False, digest=digest)
    if media_type in further:
        content = further[media_type](content)
    if not isinstance(content, list):
        raise ProblemError(400, "malformed", f"{BATCH_MEDIA_TYPE} holds a JSON array; for one event send {MEDIA_TYPE}")
    if not content:
        raise ProblemError(422, "empty-batch", "the batch is empty: send at least one event")
    if len(content) > MOST_EVENTS:
        raise too_large()
    return Push(request_id, content, batch=True, digest=digest)


def _media_type(request: Request, further: Mapping[str, Unpack]) -> str:
    given, _, parameters = request.headers.get("content-type", "").partition(";")
    media_type = given.strip().lower()
    known = media_type in (MEDIA_TYPE, BATCH_MEDIA_TYPE) or media_type in further
    if not known and not (media_type == JSON_MEDIA_TYPE and "ce-specversion" in request.headers):
        allowed = " or ".join((MEDIA_TYPE, BATCH_MEDIA_TYPE, *further))
        raise ProblemError(415, "media-type", f"send {allowed}, or {JSON_MEDIA_TYPE} with the event's attributes as ce- headers")
    if parameters:
        _refuse_other_charset(parameters)
    return media_type


def _refuse_other_charset(parameters: str) -> None:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8", "us-ascii"):
            raise ProblemError(415, "media-type", "send the body in UTF-8")


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProblemError(
            400, "malformed", f"the body is not JSON in UTF-8: see line {error.lineno}, column {error.colno}"
        ) from None


def _attributes(request: Request) -> dict[str, Any]:
    """The context attributes of binary mode.

    Raises:
        ProblemError: 400; a value is not UTF-8 once it is decoded, or an attribute is named twice.
    """
    attributes: dict[str, Any] = {}
    for raw_name, raw in request.headers.raw:
        if not raw_name.startswith(b"ce-"):
            continue
        name = raw_name[3:].decode("latin-1")
        if not _ATTRIBUTE.fullmatch(name):
            continue  # no attribute's name: nothing that we read
        if name in attributes:
            raise _bad_attribute(name, f"ce-{name} stands twice: send it once")
        try:
            attributes[name] = _decoded(raw)
        except UnicodeDecodeError:
            raise _bad_attribute(name, f"ce-{name} is not percent-encoded UTF-8") from None
    return attributes


def _bad_attribute(name: str, message: str) -> ProblemError:
    return ProblemError(400, "malformed", "mend the ce- headers", errors=[FieldError(pointer=f"/{name}", message=message)])


def _decoded(raw: bytes) -> str:
    """A header's value as the binding has it: first unquoted, as older senders write it, then percent-decoded once."""
    text = raw.decode("latin-1")
    if quoted := _QUOTED.fullmatch(text):
        text = re.sub(r"\\(.)", r"\1", quoted[1])
    return unquote_to_bytes(text.encode("latin-1")).decode("utf-8")
