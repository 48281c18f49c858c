"""Rendering the page: templates, their filters, and the shapes of its charts. Nothing in it needs a script to be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.metrics.domain.board import nice_ceiling
from services.metrics.http.page import words
from shared import counties, items
from shared.clock import SHANGHAI
from shared.pages import HEADERS as COMMON

HEADERS: Final = {
    **COMMON,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
        " frame-ancestors 'none'; base-uri 'none'"
    ),
}

HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Bar:
    """One month of the trend, in the chart's own units. ``labelled``: whether the month is written below it."""

    x: float
    y: float
    width: float
    height: float
    value: int
    month: str
    labelled: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of bars, ``width`` by ``height``; ``lines`` are the places of its horizontal lines with what they mean."""

    width: int
    height: int
    base: float
    left: float
    bars: Sequence[Bar]
    lines: Sequence[tuple[float, int]]


def chart(rows: Sequence[Mapping[str, Any]], measure: str) -> Chart:
    """The trend of ``rows`` (``month`` and the measures) as bars."""
    width, height, left, top, base = 720, 220, 44.0, 18.0, 190.0
    end = nice_ceiling(max((row[measure] for row in rows), default=0))
    scale = (base - top) / end
    slot = (width - left) / max(1, len(rows))
    every = -(-len(rows) // 12)
    bars = [
        Bar(
            round(left + slot * place + slot * 0.2, 1), round(base - row[measure] * scale, 1), round(slot * 0.6, 1),
            round(row[measure] * scale, 1), row[measure], row["month"], (len(rows) - 1 - place) % every == 0,
        )
        for place, row in enumerate(rows)
    ]  # fmt: skip
    lines = [(round(base - end * part * scale, 1), int(end * part)) for part in (0, 0.5, 1) if end * part == int(end * part)]
    return Chart(width, height, base, left, bars, lines)


def query(**given: Any) -> str:
    """The parameters that are given, as an address has them."""
    found = {name: value for name, value in given.items() if value not in (None, "")}
    return "?" + urlencode(found) if found else ""


def month_end(month: str, until: date) -> str:
    """The last day of a month (``2024-09``), or ``until`` where that is before it."""
    return min((date.fromisoformat(f"{month}-01") + timedelta(days=31)).replace(day=1) - timedelta(days=1), until).isoformat()


def county(code: str | None) -> str:
    """A unit's name."""
    return counties.BY_CODE[code].name if code in counties.BY_CODE else code or "—"


def item(code: str | None) -> str:
    """An item's name."""
    return items.BY_CODE[code].name if code in items.BY_CODE else code or "—"


def moment(given: datetime | str) -> str:
    """A moment in China's time, to the minute."""
    instant = datetime.fromisoformat(given) if isinstance(given, str) else given
    return f"{instant.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def signed(number: int) -> str:
    """A change with its sign."""
    return f"+{number}" if number > 0 else f"−{-number}" if number < 0 else "0"


def percent(share: float | None) -> str:
    """A share to one decimal."""
    return "—" if share is None else f"{share * 100:.1f}%"


def chinese(day: date) -> str:
    """2024年9月30日."""
    return f"{day.year}年{day.month}月{day.day}日"


def register_value(name: str, value: Any) -> str:
    """What a case's register holds, in words."""
    if value is None or value == []:
        return "(已撤回)" if name.startswith("step:") else "—"
    if name == "delete":
        return "已删除" if value else "未删除(后来的登记恢复了它)"
    if name.startswith("step:"):
        outcome = f",{words.OUTCOMES.get(value['outcome'], value['outcome'])}" if value.get("outcome") else ""
        return moment(value["occurred_at"]) + outcome
    if name == "county":
        return f"{county(value)}({value})"
    if name == "item":
        return f"{item(value)}({value})"
    if name == "channel":
        return words.CHANNELS.get(str(value), str(value))
    if name == "services":
        return "、".join(words.SERVICES.get(one, one) for one in value)
    return str(value)


_pages = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_pages.filters |= {
    "county": county, "item": item, "moment": moment, "signed": signed, "percent": percent, "chinese": chinese,
    "segment": lambda text: quote(text, safe=""),
    "source": lambda text: quote(text, safe=":"),
}  # fmt: skip
_pages.globals |= {
    "words": words, "query": query, "month_end": month_end, "register_value": register_value, "catalogue": items.CATALOGUE,
}  # fmt: skip


def text(name: str, **values: Any) -> str:
    """A template filled in."""
    rendered: str = _pages.get_template(name).render(**values)
    return rendered


def render(name: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page with the headers that all have."""
    return page(text(name, **values).encode(), status)


def page(body: bytes, status: int = 200) -> HTMLResponse:
    """A page that is rendered already."""
    return HTMLResponse(body, status, HEADERS)


def message(title: str, *said: str, status: int = 200) -> HTMLResponse:
    """A page that only says something."""
    return render("message.html", status, title=title, said=said)
