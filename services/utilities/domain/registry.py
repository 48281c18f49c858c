"""The registry: which company serves which county with which service, and when. The denominator of co-location."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final, NamedTuple

from shared import counties
from shared.events.case import Service
from shared.events.envelope import CONTROL_CHARACTER, IDENTIFIER
from shared.events.progress import RegistryPeriod, RegistryState

HEADER: Final = ("company", "name", "service", "county", "valid_from", "valid_to")

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


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


class _Line(NamedTuple):
    number: int
    pair: Pair
    name: str
    period: RegistryPeriod


def read_csv(text: str) -> tuple[RegistryState, ...]:
    """The whole registry from CSV with the columns of :data:`HEADER`, by subject.

    A pair may have several lines: periods that do not overlap. ``valid_to`` is the first day without, or empty.

    Raises:
        RegistryErrors: a line is wrong, contradicts another, or there is none.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    lines: list[_Line] = []
    errors: list[str] = []
    try:
        if tuple(reader.fieldnames or ()) != HEADER:
            raise RegistryErrors([f"line 1: the header must be {','.join(HEADER)}"])
        for fields in reader:
            try:
                lines.append(_line(reader.line_num, fields))
            except ValueError as error:
                errors.append(f"line {reader.line_num}: {error}")
    except csv.Error as error:
        errors.append(f"line {reader.line_num}: not CSV: {error}")
    errors += _contradictions(lines)
    if errors:
        raise RegistryErrors(errors)
    if not lines:
        raise RegistryErrors(["the file has no line but the header: an empty registry would remove every company"])
    by_pair: dict[Pair, list[_Line]] = {}
    for line in lines:
        by_pair.setdefault(line.pair, []).append(line)
    return tuple(_state(pair, of_pair) for pair, of_pair in sorted(by_pair.items()))


def _state(pair: Pair, lines: Iterable[_Line]) -> RegistryState:
    by_date = sorted(lines, key=lambda line: line.period.valid_from)
    return RegistryState(
        county=pair.county,
        company=pair.company,
        name=by_date[0].name,
        service=Service(pair.service),
        periods=tuple(line.period for line in by_date),
    )


def _line(number: int, fields: Mapping[str, str | None]) -> _Line:
    given = {name: fields[name] for name in HEADER}
    if None in fields or None in given.values():
        raise ValueError(f"give {len(HEADER)} columns")
    company, name, service, county, begins, ends = (str(value).strip() for value in given.values())
    if not re.fullmatch(IDENTIFIER, company):
        raise ValueError("company is an id of 1 to 64 letters, digits, dots, hyphens and underscores")
    if not 0 < len(name) <= 100 or CONTROL_CHARACTER.search(name):
        raise ValueError("name is what people read, of 1 to 100 characters")
    if service not in set(Service):
        raise ValueError(f"service is one of {', '.join(Service)}")
    code = counties.normalise(county).code
    valid_from = _day("valid_from", begins)
    valid_to = _day("valid_to", ends) if ends else None
    if valid_to is not None and valid_to <= valid_from:
        raise ValueError("valid_to is not after valid_from: it is the first day on which the company serves no longer")
    return _Line(number, Pair(code, company, service), name, RegistryPeriod(valid_from=valid_from, valid_to=valid_to))


def _day(name: str, text: str) -> date:
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(f"{name} is a day of the form yyyy-mm-dd")


def _contradictions(lines: Iterable[_Line]) -> list[str]:
    """A company has one name, and the periods of a pair do not overlap."""
    errors: list[str] = []
    named: dict[str, _Line] = {}
    for line in lines:
        first = named.setdefault(line.pair.company, line)
        if first.name != line.name:
            errors.append(f"line {line.number}: line {first.number} gives {line.pair.company} another name")
    for before, after in pairwise(sorted(lines, key=lambda line: (line.pair, line.period.valid_from, line.number))):
        ends = before.period.valid_to
        if before.pair == after.pair and (ends is None or ends > after.period.valid_from):
            errors.append(f"line {after.number}: its period overlaps that of line {before.number}")
    return errors
