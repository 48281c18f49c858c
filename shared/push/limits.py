"""How many events a sender may push in a second: a bucket a sender, in this process."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from shared.problems import ProblemError


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Limits:
    """Buckets of tokens, one an event, filled at the sender's rate up to a second's worth.

    A request is let in while its bucket is not empty, and may overdraw it: so a batch larger than a second's worth passes, and
    the sender waits until the debt is paid. Only proven senders have a bucket, so their number is bounded.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._buckets: dict[str, _Bucket] = {}

    def admit(self, sender: str, rate: float | None) -> None:
        """Lets a request in.

        Raises:
            ProblemError: 429 with the seconds until the bucket has a token again.
        """
        if rate is None:
            return
        now = self._monotonic()
        bucket = self._buckets.setdefault(sender, _Bucket(max(rate, 1.0), now))
        bucket.tokens = min(bucket.tokens + (now - bucket.at) * rate, max(rate, 1.0))
        bucket.at = now
        if bucket.tokens <= 0:
            wait = math.floor(-bucket.tokens / rate) + 1
            what = f"you may push {rate:g} events a second: send the same events again after {wait} s"
            raise ProblemError(429, "too-fast", what, retry_after=wait)

    def charge(self, sender: str, rate: float | None, events: int) -> None:
        """Takes a token an event; call after :meth:`admit`."""
        if rate is not None:
            self._buckets[sender].tokens -= events
