"""Which keys a new file of parties adds and takes away, told by their prints. Pure."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from shared.signing.party import Party


class KeysChanged(NamedTuple):
    """One party whose keys are others now; each key by its print, which is no way back to it."""

    party: str
    added: list[str]
    removed: list[str]


def changed_keys(before: Mapping[str, Party], after: Mapping[str, Party]) -> Iterator[KeysChanged]:
    """The parties whose keys differ, by name; one that is new has only added ones, one that is gone only removed ones."""
    for party in sorted(before.keys() | after.keys()):
        old, new = (_prints(parties.get(party)) for parties in (before, after))
        if old != new:
            yield KeysChanged(party, sorted(new - old), sorted(old - new))


def _prints(party: Party | None) -> set[str]:
    return set() if party is None else {key.fingerprint for key in party.keys}
