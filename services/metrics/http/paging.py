"""Paging by key: a cursor says where a page ended, and stays right while rows come and go."""

import base64
import binascii
from collections.abc import Sequence
from datetime import date
from typing import Annotated

import orjson
from fastapi import Query

from services.metrics.http.access import wrong
from shared.problems import ProblemError

After = Annotated[str | None, Query(description="`next` of the page before; the first page without it.", max_length=2000)]
Limit = Annotated[int, Query(ge=1, le=1000, description="Rows a page.")]


def cursor(parts: Sequence[str]) -> str:
    """``parts`` as one word."""
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def read(given: str | None, length: int) -> list[str] | None:
    """The parts of a cursor that was given.

    Raises:
        ProblemError: 422, not a cursor of so many parts.
    """
    if given is None:
        return None
    try:
        parts = orjson.loads(base64.b64decode(given.encode() + b"=" * (-len(given) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise no_cursor() from None
    if not (isinstance(parts, list) and len(parts) == length and all(isinstance(p, str) and "\0" not in p for p in parts)):
        raise no_cursor()
    return parts


def read_dated(given: str | None, length: int) -> tuple[date, list[str]] | None:
    """As :func:`read`, with a day as the first part.

    Raises:
        ProblemError: as :func:`read`.
    """
    parts = read(given, length)
    if parts is None:
        return None
    try:
        return date.fromisoformat(parts[0]), parts[1:]
    except ValueError:
        raise no_cursor() from None


def no_cursor() -> ProblemError:
    """What is answered to a cursor that is not of ours."""
    return wrong("after", "not a cursor of ours: give `next` of the page before, or leave it out")
