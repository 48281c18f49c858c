"""How many events a sender may push in a second: a bucket a sender, in this process."""

import time
from collections.abc import Callable

from shared.limits import Buckets
from shared.problems import ProblemError


class Limits:
    """Buckets of tokens, one an event, filled at the sender's rate up to a second's worth.

    A batch larger than a second's worth passes, and the sender waits until the debt is paid. Only proven senders have a bucket.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._buckets = Buckets(monotonic)

    def admit(self, sender: str, rate: float | None) -> None:
        """Lets a request in.

        Raises:
            ProblemError: 429 with the seconds until the bucket has a token again.
        """
        if rate is not None and (wait := self._buckets.wait(sender, rate)):
            what = f"you may push {rate:g} events a second: send the same events again after {wait} s"
            raise ProblemError(429, "too-fast", what, retry_after=wait)

    def charge(self, sender: str, rate: float | None, events: int) -> None:
        """Takes a token an event; call after :meth:`admit`."""
        if rate is not None:
            self._buckets.take(sender, rate, events)
