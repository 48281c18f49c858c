"""The signed push edge that intake and utilities share: from raw bytes to one verdict an item, and back to an answer."""

from shared.meters import EVENTS
from shared.push.body import MOST_BYTES, read_body
from shared.push.edge import Edge
from shared.push.framing import JSON_MEDIA_TYPE, MOST_EVENTS, Push, Unpack, parse
from shared.push.handshake import HANDSHAKE, handshake
from shared.push.keyset import key_set
from shared.push.peers import Peers
from shared.push.settling import Judge, settle

__all__ = [
    "EVENTS", "HANDSHAKE", "JSON_MEDIA_TYPE", "MOST_BYTES", "MOST_EVENTS", "Edge", "Judge", "Peers", "Push",
    "Unpack", "handshake", "key_set", "parse", "read_body", "settle",
]  # fmt: skip
