"""What a notice says, as one JSON document: its parameters, its figures for each unit, and its paragraphs.

The same figures and parameters always give the same document, so that it can be hashed and frozen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

import orjson

from services.metrics.domain.figures import LowOp, Ties, rank
from services.metrics.domain.notice import words
from services.metrics.domain.notice.freezing import INSTALLATION_FIGURES
from shared.items import Item

ISSUER: Final = "保定市行政审批局"
"""Who sends the notice: the bureau whose roster this is."""

DIGITS: Final = 6
"""Decimals of a fraction: a millionth, far below what is printed, and the same in every JSON writer."""

_HALLS: Final = ("applicable", "co_located", "none_at_all")
_HALL: Final = ("county", "name", *_HALLS)
_COMPANY: Final = ("company", "name", "service", "level", "handles", "since", "co_located")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What may be chosen, and is printed in the notice.

    ``low``, ``low_op``: which units stand low, fewer than ``low`` (``lt``) or that many or fewer (``le``). ``top``: up to
    which rank units are named as leading; a tie at the end is not cut. ``ties``: ranks after a tie are left out (``skip``:
    1, 1, 3) or not (``dense``: 1, 1, 2).
    """

    low: int = 10
    low_op: LowOp = "lt"
    top: int = 5
    ties: Ties = "skip"


@dataclass(frozen=True, slots=True)
class Figures:
    """What the notice is made of, all of one snapshot of the database.

    ``now``, ``last_month`` and ``month_before`` have, by county, each measure from the beginning to the end of the
    notice's month, of the month before it, and of the one before that. The others are the answers of the routes of their
    name: ``idle_windows`` of the month alone, the others of its last day.
    """

    now: Mapping[str, Mapping[str, int]]
    last_month: Mapping[str, Mapping[str, int]]
    month_before: Mapping[str, Mapping[str, int]]
    co_location: Mapping[str, Any]
    installations: Mapping[str, Any] | None = None
    idle_windows: Mapping[str, Any] | None = None


def notice(month: str, as_of: date, item: Item, figures: Figures, chosen: Parameters) -> dict[str, Any]:
    """The notice as plain JSON values. ``as_of`` is the month's last day, or an earlier one while it runs."""
    counts = _of(figures.now, "handled")
    before, before_that = _of(figures.last_month, "handled"), _of(figures.month_before, "handled")
    ranking = rank(counts, item.pilots, low=chosen.low, low_op=chosen.low_op, ties=chosen.ties)
    ranked_before = rank(before, item.pilots, ties=chosen.ties)
    ranks_before = {row.county: row.rank for row in ranked_before.rows} if ranked_before.total else {}
    rows = [
        {
            **asdict(row),
            "share": _fraction(row.share),
            "added": row.count - before.get(row.county, 0),
            "added_before": before.get(row.county, 0) - before_that.get(row.county, 0),
            "rank_before": ranks_before.get(row.county),
            **{measure: figures.now.get(row.county, {}).get(measure, 0) for measure in ("applied", "accepted", "completed")},
        }
        for row in ranking.rows
    ]
    summed = ("added", "added_before", "applied", "accepted", "completed")
    content = {
        "month": month,
        "as_of": as_of,
        "item": item.code,
        "item_name": item.name,
        "issuer": ISSUER,
        "title": words.title(month, item.name),
        "parameters": asdict(chosen),
        "low": {"than": chosen.low, "op": chosen.low_op, "counties": ranking.low},
        "zero": {"counties": ranking.zero},
        "total": ranking.total,
        "totals": {name: sum(row[name] for row in rows) for name in summed},
        "rows": rows,
        "co_location": _co_location(figures.co_location),
        "installations": _installations(figures.installations),
        "idle_windows": _idle_windows(figures.idle_windows),
    }
    plain: dict[str, Any] = orjson.loads(orjson.dumps(content))
    plain["sections"] = words.sections(plain)
    plain["notes"] = words.notes(plain)
    plain["paragraph"] = "".join(section["text"] for section in plain["sections"])
    return plain


def _of(by_county: Mapping[str, Mapping[str, int]], measure: str) -> dict[str, int]:
    return {county: measures.get(measure, 0) for county, measures in by_county.items()}


def _co_location(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "counties": [
            {**_members(row, _HALL), "rate": _fraction(row["rate"]), "companies": [_members(c, _COMPANY) for c in row["companies"]]}
            for row in answer["counties"]
        ],
        "total": {**_members(answer["total"], _HALLS), "rate": _fraction(answer["total"]["rate"])},
    }


def _members(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Those members alone: an answer may come to have more, and what is frozen must not change by that."""
    return {name: row[name] for name in names}


def _installations(answer: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The rows that count something."""
    return (
        [_members(row, ("county", "service", *INSTALLATION_FIGURES)) for row in answer["rows"] if row["opened"]] if answer else []
    )


def _idle_windows(answer: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The idle windows, once anybody told anything of the month: else each window would stand there for want of reports."""
    if not answer or (answer["total"]["idle"] == answer["total"]["co_located"] and not answer["total"]["reported"]):
        return []
    return [_members(row, ("county", "company", "name", "service", "reported")) for row in answer["rows"]]


def _fraction(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
