"""What could not be used: ``cn.onething.parked.v1`` on ``parked``, keyed by its origin (DESIGN §4).

The record's id is where the unusable thing came from, so that a retry parks it once.
"""

from typing import Any, Final

from pydantic import Field

from shared.events.envelope import WireModel
from shared.verdicts import FieldError

TYPE: Final = "cn.onething.parked.v1"


class Parked(WireModel):
    """``payload`` is redacted; what could not be parsed has ``digest`` (keyed) and ``length`` only."""

    service: str
    origin: str = Field(max_length=300)
    reason: str
    errors: tuple[FieldError, ...] = ()
    sender: str | None = None
    event_id: str | None = None
    payload: dict[str, Any] | None = None
    digest: str
    length: int
