"""Asking metrics what counting some events would move: the one call that intake makes to another service."""

from collections.abc import Sequence
from typing import Any, Final

import httpx

from shared.problems import ProblemError

MOST_EVENTS: Final = 1000
"""In one question."""


class WhatIf:
    """Asks ``{url}/v1/what-if`` with the operator's token. ``client`` stays the caller's."""

    def __init__(self, client: httpx.AsyncClient, url: str, token: str) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._token = token

    async def deltas(self, events: Sequence[bytes]) -> list[dict[str, Any]]:
        """What the counters would move by: ``{"county", "item", "day", "measure", "delta"}`` each.

        Raises:
            ProblemError: 503; no address is set, or metrics does not answer or refuses.
        """
        if not self._url:
            raise _unknown("set ONETHING_METRICS_URL to metrics' address")
        if not events:
            return []
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        try:
            answer = await self._client.post(f"{self._url}/v1/what-if", content=b"[" + b",".join(events) + b"]", headers=headers)
        except httpx.HTTPError as error:
            raise _unknown(f"metrics does not answer at {self._url} ({type(error).__name__})") from None
        if answer.status_code != httpx.codes.OK:
            raise _unknown(f"metrics answers {answer.status_code}: see that both services have the same operator token")
        deltas: list[dict[str, Any]] = answer.json()["deltas"]
        return deltas


def _unknown(why: str) -> ProblemError:
    return ProblemError(503, "what-if-unavailable", f"it cannot be told what would be counted: {why}", retry_after=5)
