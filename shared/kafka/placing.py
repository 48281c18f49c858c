"""Which partition a key belongs to, as Kafka's own clients reckon it."""

from struct import unpack
from typing import Final

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_32: Final = 0xFFFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of ``key`` among ``partitions``: murmur2, as Java's client and aiokafka's ``DefaultPartitioner`` have it.

    The same to the bit (a test holds it), at a quarter of the cost of aiokafka's, which goes byte by byte: that was the dearest
    part of publishing an event.
    """
    length = len(key)
    whole = length >> 2
    h = _SEED ^ length
    for k in unpack(f"<{whole}I", key[: whole << 2]):
        k = k * _M & _32
        h = (h * _M & _32) ^ ((k ^ k >> 24) * _M & _32)
    if rest := key[whole << 2 :]:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _32
    h = (h ^ h >> 13) * _M & _32
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions
