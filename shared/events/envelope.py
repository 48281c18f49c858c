"""The CloudEvents 1.0 envelope in its JSON format, as it stands on every topic of ours."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field

from shared.events.times import Instant

MEDIA_TYPE: Final = "application/cloudevents+json"
BATCH_MEDIA_TYPE: Final = "application/cloudevents-batch+json"

CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""No value may hold one: PostgreSQL refuses U+0000, and the rest forge lines in logs and sheets."""

IDENTIFIER: Final = r"^[A-Za-z0-9._-]{1,64}$"
"""Case, installation and company numbers (CONTRACT §2)."""

EVENT_ID: Final = r"^[A-Za-z0-9._-]{1,128}$"

Data = TypeVar("Data", bound=BaseModel)


class WireModel(BaseModel):
    """Base of what travels: frozen, unknown extra fields ignored (they are counted at the edge)."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Envelope(WireModel):
    """The context attributes that we require. ``time`` stands in for an absent ``recorded_at``."""

    specversion: Literal["1.0"]
    id: str = Field(pattern=EVENT_ID)
    source: str = Field(min_length=1, max_length=256)
    type: str = Field(min_length=1, max_length=128)
    subject: str = Field(min_length=1, max_length=300)
    time: Instant | None = None


def encode(envelope: Envelope, data: Mapping[str, Any] | BaseModel) -> bytes:
    """One event in the structured JSON format; absent attributes and fields are left out."""
    if isinstance(data, BaseModel):
        data = data.model_dump(mode="json", exclude_none=True)
    attributes = envelope.model_dump(mode="json", exclude_none=True)
    return orjson.dumps({**attributes, "datacontenttype": "application/json", "data": data})
