"""The registry: which company serves which county with which service, and when. The denominator of co-location."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Pair(NamedTuple):
    """A company that serves a county with a service, at whatever time."""

    county: str
    company: str
    service: str


@dataclass(frozen=True, slots=True)
class Registry:
    """Every pair that is or was."""

    pairs: frozenset[Pair]

    def serves(self, company: str, county: str | None, service: str | None) -> bool:
        """Whether the company ever serves so; ``None`` stands for any county or any service."""
        if county is not None and service is not None:
            return Pair(county, company, service) in self.pairs
        return any(p.company == company and county in (None, p.county) and service in (None, p.service) for p in self.pairs)


def subject_of(county: str, company: str, service: str) -> str:
    """``{county}/{company}/{service}``: the subject of presence and of the registry's pairs."""
    return f"{county}/{company}/{service}"


class RegistryErrors(Exception):
    """The file cannot be taken. ``errors`` says for each wrong line what is wrong."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(self.errors))
