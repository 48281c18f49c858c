"""What a dialect is made of: tables of rows, and the reading of one row's columns. Pure: no I/O."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from services.intake.domain.dialects.codes import NOTHING, Codes, read_codes
from shared import counties, items
from shared.clock import SHANGHAI, rfc3339
from shared.events.case import Channel, Step
from shared.events.envelope import CONTROL_CHARACTER
from shared.verdicts import MALFORMED, MOST_ERRORS, FieldError, Refusal

UNKNOWN_CODE: Final = "unknown-code"

STEPS: Final = frozenset({*(step.value for step in Step), "completed:granted", "completed:denied", "delete", NOTHING})
"""What a code of an action or a result may mean: a step, a completion with its outcome, the whole case deleted, nothing."""

KINDS: Final[Mapping[str, frozenset[str]]] = {
    "table": frozenset(),
    "column": frozenset(),
    "item": frozenset(items.BY_CODE),
    "county": frozenset(counties.BY_CODE),
    "channel": frozenset(channel.value for channel in Channel),
}
"""The kinds of codes that every dialect has. ``table`` and ``column`` are further names of its tables and columns."""

_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?")
_LONGEST: Final = 256


def plain(name: str) -> str:
    """A name as it is compared: ``row_guid``, ``ROW_GUID``, ``rowguid`` and ``rowGuid`` are one."""
    return name.replace("_", "").lower()


class Cell(NamedTuple):
    """A value of an event's ``data``, and the column that it was read from, as the sender wrote its name."""

    value: Any
    column: str


class Said(NamedTuple):
    """One event that a row tells: the last part of its id, and its ``data``."""

    suffix: str
    data: Mapping[str, Cell]


class Told(NamedTuple):
    """All that a row tells. ``id`` begins the ids of its events; a repeated row has the same one."""

    id: Cell
    events: tuple[Said, ...]


class Row:
    """The columns of one row, found by their plain names. What is wrong is gathered, so that one answer names it all.

    A getter gives ``None`` for what is absent and for what is wrong: :meth:`check` tells, and is called when all was read.
    An empty or blank text is absent, for so databases export what is not there.
    """

    def __init__(self, given: Mapping[str, Any], codes: Codes) -> None:
        self._codes = codes
        self._cells: dict[str, Cell] = {}
        self._errors: list[FieldError] = []
        self._reason = "invalid"
        for name, value in given.items():
            if len(name) > _LONGEST:
                continue  # no column's name, however it is spelt
            key = plain(name)
            key = plain(codes.get(("column", key), key))
            if key in self._cells and value is not None:
                self.wrong(name, "the row has this column twice, under two spellings", MALFORMED)
            else:
                self._cells[key] = Cell(value, name)

    def wrong(self, column: str, message: str, reason: str = "invalid") -> None:
        """Notes an error at ``column``; the first reason that says more than ``invalid`` becomes the row's."""
        if self._reason == "invalid":
            self._reason = reason
        error = FieldError(pointer=f"/{column}", message=message)
        if error not in self._errors and len(self._errors) < MOST_ERRORS:
            self._errors.append(error)

    def check(self) -> None:
        """Raises a :class:`Refusal` with all that was noted, if anything was."""
        if self._errors:
            raise Refusal(self._reason, *self._errors)

    def present(self, column: str) -> bool:
        """Whether the column says anything; what it says is not looked at."""
        value = self._cells.get(plain(column), Cell(None, column)).value
        return value is not None and (not isinstance(value, str) or bool(value.strip()))

    def text(self, column: str, *, needed: bool = True) -> Cell | None:
        """A text or a whole number, trimmed: fixed-width columns come padded."""
        cell = self._cells.get(plain(column), Cell(None, column))
        value: object = cell.value
        name = cell.column
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value) if abs(value) < 10**20 else "9" * (_LONGEST + 1)
        if value is None or (isinstance(value, str) and not value.strip(" ")):
            if needed:
                self.wrong(name, "is missing")
            return None
        if not isinstance(value, str) or len(value) > _LONGEST:
            self.wrong(name, f"is no text of at most {_LONGEST} characters")
            return None
        if CONTROL_CHARACTER.search(value):
            self.wrong(name, "holds a control character: remove it", MALFORMED)
            return None
        return Cell(value.strip(" "), name)

    def time(self, column: str, *, needed: bool = True) -> Cell | None:
        """A time ``yyyy-MM-dd HH:mm:ss`` of China's clocks, as RFC 3339 with offset."""
        found = self.text(column, needed=needed)
        if found is None:
            return None
        if _TIME.fullmatch(found.value):
            try:
                return Cell(rfc3339(datetime.fromisoformat(found.value).replace(tzinfo=SHANGHAI)), found.column)
            except (ValueError, OverflowError):
                pass
        self.wrong(found.column, "is no time of the form yyyy-MM-dd HH:mm:ss (China's time)")
        return None

    def day(self, column: str) -> Cell | None:
        """The day of an optional date or time; of a time its day in China."""
        found = self.text(column, needed=False)
        if found is None:
            return None
        time = found.value if " " in found.value else f"{found.value} 00:00:00"
        if _TIME.fullmatch(time):
            try:
                return Cell(datetime.fromisoformat(time).date().isoformat(), found.column)
            except ValueError:
                pass
        self.wrong(found.column, "is no date of the form yyyy-MM-dd, with or without a time")
        return None

    def code(self, column: str, kind: str, *, needed: bool = True) -> Cell | None:
        """What a code means by the tables; a code that they do not know is an error of its own, never guessed."""
        found = self.text(column, needed=needed)
        if found is None:
            return None
        value = self._codes.get((kind, found.value))
        if value is None:
            self.unknown(found.column, kind)
            return None
        return Cell(value, found.column)

    def look_up(self, column: str, kind: str) -> Cell | None:
        """As :meth:`code`, but a code that is not known is no error."""
        found = self.text(column, needed=False)
        value = self._codes.get((kind, found.value)) if found else None
        return None if found is None or value is None else Cell(value, found.column)

    def unknown(self, column: str, kind: str) -> None:
        self.wrong(
            column, f"the table of codes has no such {kind}: have it added with its source, then send the row again", UNKNOWN_CODE
        )


class Table(NamedTuple):
    """One table of a dialect.

    ``columns`` are those that are read; ``dropped`` those that are known and never read, people's data above all:
    they appear in no event, no error and no parked record.
    """

    columns: frozenset[str]
    dropped: frozenset[str]
    read: Callable[[Row], Told]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way of telling cases by rows. ``kinds`` are the codes that it looks up, ``codes`` what they mean."""

    name: str
    title: str
    tables: Mapping[str, Table]
    kinds: Mapping[str, frozenset[str]]
    codes: Codes = field(default_factory=dict)
    versions: re.Pattern[str] = re.compile(r"$")
    """What may follow a table's plain name, e.g. the version of the exchange."""

    def with_codes(self, text: str) -> "Dialect":
        """The dialect with further codes, or other meanings of known ones.

        Raises:
            CodesError: the table cannot be used.
        """
        own = read_codes(text, self.kinds)
        named = {(kind, plain(code) if kind in ("table", "column") else code): value for (kind, code), value in own.items()}
        return replace(self, codes={**self.codes, **named})

    def table(self, name: str) -> Table | None:
        """The table of this name, in any spelling."""
        key = plain(self.codes.get(("table", plain(name)), name))
        for known, table in self.tables.items():
            if key.startswith(plain(known)) and self.versions.fullmatch(key.removeprefix(plain(known))):
                return table
        return None

    def kept(self, table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of ``row`` that are read: what may be kept of one that cannot be used."""
        known = {plain(name) for name in table.columns}
        return {name: value for name, value in row.items() if len(name) <= _LONGEST and self._plain(name) in known}

    def ignored(self, table: Table, row: Mapping[str, Any]) -> int:
        """How many columns of ``row`` the table does not know."""
        known = {plain(name) for name in table.columns | table.dropped}
        return sum(1 for name in row if self._plain(name) not in known)

    def _plain(self, name: str) -> str:
        return plain(self.codes.get(("column", plain(name)), name))


def only(**cells: Cell | None) -> dict[str, Cell]:
    """The fields that the row says: an absent one says nothing."""
    return {name: cell for name, cell in cells.items() if cell is not None}


def step_of(meaning: Cell) -> dict[str, Cell]:
    """The step, and the outcome of a completion, that a code's meaning names."""
    step, _, outcome = meaning.value.partition(":")
    return only(step=Cell(step, meaning.column), outcome=Cell(outcome, meaning.column) if outcome else None)
