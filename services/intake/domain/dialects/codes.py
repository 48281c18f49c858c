"""Tables of codes: what a sender's codes mean to us. Data with a source for each line, never a guess."""

import csv
import io
from collections.abc import Collection, Mapping
from typing import Final

Codes = Mapping[tuple[str, str], str]
"""Meaning by kind and code, e.g. ``("channel", "1") -> "window"``."""

COLUMNS: Final = ("kind", "code", "value", "source")

NOTHING: Final = "-"
"""Meaning of a code that is known to say nothing we count."""


class CodesError(ValueError):
    """A table of codes cannot be used; the message names each wrong line."""


def read_codes(text: str, kinds: Mapping[str, Collection[str]]) -> Codes:
    """The codes of a CSV with the columns kind, code, value, source.

    ``kinds`` are the kinds that the dialect knows, each with the values that it may mean; an empty collection: any.

    Raises:
        CodesError: with the number of each line that is wrong, and why.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    found: dict[tuple[str, str], str] = {}
    errors: list[str] = []
    try:
        if tuple(name.strip() for name in next(reader, [])) != COLUMNS:
            raise CodesError(f"line 1: the columns are {','.join(COLUMNS)}")
        for line in reader:
            cells = [cell.strip() for cell in line]
            if not any(cells) or cells[0].startswith("#"):
                continue
            wrong = _wrong(cells, kinds, found)
            if wrong is None:
                found[cells[0], cells[1]] = cells[2]
            else:
                errors.append(f"line {reader.line_num}: {wrong}")
    except csv.Error as error:
        errors.append(f"line {reader.line_num}: {error}")
    if errors:
        raise CodesError("; ".join(errors[:20]))
    return found


def _wrong(cells: list[str], kinds: Mapping[str, Collection[str]], found: Codes) -> str | None:
    if len(cells) != len(COLUMNS):
        return f"{len(cells)} cells instead of {len(COLUMNS)}"
    kind, code, value, source = cells
    if kind not in kinds:
        return f"no such kind; known: {', '.join(kinds)}"
    if not code or not source:
        return "code and source must be given: say where the meaning is written"
    if kinds[kind] and value not in kinds[kind]:
        return f"{value!r} is no meaning of a {kind}; known: {', '.join(sorted(kinds[kind]))}"
    if not value:
        return "the value is missing"
    if (kind, code) in found:
        return f"{kind} {code} stands twice"
    return None
