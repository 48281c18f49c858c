"""Token buckets: how much somebody may take in a second, with a second's worth at once. In this process, of bounded memory."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MOST_BUCKETS: Final = 20_000
"""About 5 MB. Beyond, the one that was used longest ago is forgotten: it had time to fill again."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """A bucket a key, filled at ``rate`` tokens a second up to ``most`` (a second's worth without it, one at least).

    Who comes while the bucket is not empty is let in, and may overdraw it: so a thing larger than the bucket passes too, and
    the debt is waited for afterwards.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, most_buckets: int = MOST_BUCKETS) -> None:
        self._monotonic = monotonic
        self._most_buckets = most_buckets
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, key: str, rate: float, most: float | None = None) -> int:
        """Whole seconds until there is a token again; 0: come in."""
        bucket = self._filled(key, rate, most)
        return 0 if bucket.tokens > 0 else math.floor(-bucket.tokens / rate) + 1

    def take(self, key: str, rate: float, tokens: float, most: float | None = None) -> None:
        """Takes ``tokens``, into debt where there are not so many."""
        self._filled(key, rate, most).tokens -= tokens

    def _filled(self, key: str, rate: float, most: float | None) -> _Bucket:
        now = self._monotonic()
        full = max(rate, 1.0) if most is None else most
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(full, now)
            if len(self._buckets) > self._most_buckets:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        bucket.tokens = min(bucket.tokens + (now - bucket.at) * rate, full)
        bucket.at = now
        return bucket
