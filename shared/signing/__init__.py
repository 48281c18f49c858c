"""Who signed a request: secrets, the two schemes of signatures, and the parties that may push. No I/O."""

from shared.signing.keys import Key
from shared.signing.party import Party, PartyEntry, Scheme
from shared.signing.proof import TOLERANCE_SECONDS, SignatureError, verify

__all__ = ["TOLERANCE_SECONDS", "Key", "Party", "PartyEntry", "Scheme", "SignatureError", "verify"]
