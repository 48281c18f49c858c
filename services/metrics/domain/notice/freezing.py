"""Freezing: one form of the document in bytes, its hash, and what has changed since.

The canonical form is RFC 8785's (JSON Canonicalization Scheme) for what a notice holds: names in order, no blanks, numbers
in the shortest form. Anyone can so recompute the hash, in any language.
"""

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from services.metrics.domain.notice.words import SERVICES
from shared import counties

BESIDE: Final = ("frozen", "restatement")
"""Members of an answer that stand beside the notice: not part of what is hashed."""

COUNTY_FIGURES: Final = {
    "handled": ("count", "办件量"), "added": ("added", "当月办理量"), "added_before": ("added_before", "上月办理量"),
    "applied": ("applied", "申报量"), "accepted": ("accepted", "受理量"), "completed": ("completed", "办结量"),
}  # fmt: skip
HALL_FIGURES: Final = {"applicable": "应进驻", "co_located": "已进驻"}
INSTALLATION_FIGURES: Final = {
    "opened": "受理", "connected": "接通", "cancelled": "取消", "in_progress": "在办", "due_soon": "临期", "overdue": "超期",
    "median_working_days": "办理工作日中位数",
}  # fmt: skip
STANDING: Final = {
    "co_located": "已进驻", "own_window": "独立窗口(未全办)", "comprehensive_window": "综合窗口(未全办)", "agency": "委托代办",
    "none": "未进驻",
}  # fmt: skip
Content = Mapping[str, Any]
Row = Mapping[str, Any]
Key = tuple[str, str]
"""A county's code (empty: the city) and the name of a figure."""


def canonical(value: Any) -> bytes:
    """``value`` in the canonical form.

    Raises:
        ValueError: a number that has no plain decimal form here (below a millionth, not finite), or a value that is not JSON.
    """
    return _canonical(value).encode()


def _canonical(value: Any) -> str:
    match value:
        case None | bool() | int() | str():
            return json.dumps(value, ensure_ascii=False)
        case float():
            if value == 0:
                return "0"
            if not 1e-6 <= abs(value) < 1e15:
                raise ValueError(f"{value} has no plain decimal form")
            return format(Decimal(repr(value)), "f").removesuffix(".0")
        case Mapping():
            members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
            return "{" + ",".join(f"{_canonical(name)}:{_canonical(content)}" for name, content in members) + "}"
        case list() | tuple():
            return "[" + ",".join(_canonical(one) for one in value) + "]"
    raise ValueError(f"{type(value).__name__} is not JSON")


def digest(content: Content) -> str:
    """The notice's SHA-256 in hexadecimal, over its canonical form, without what stands beside it."""
    return hashlib.sha256(canonical({name: value for name, value in content.items() if name not in BESIDE})).hexdigest()


def verified(answer: Content) -> bool:
    """Whether an answer's notice is the one that its ``frozen.sha256`` is of.

    Raises:
        ValueError: it is no frozen notice; the message says so.
    """
    frozen = answer.get("frozen")
    if not isinstance(frozen, Mapping) or not isinstance(frozen.get("sha256"), str):
        raise ValueError("no frozen notice: it has no frozen.sha256")
    return digest(answer) == str(frozen["sha256"])


def standing(company: Row) -> str:
    """How a company stands in a hall, in one word of :data:`STANDING`."""
    return "co_located" if company["co_located"] else str(company["level"])


def restatement(frozen: Content, live: Content) -> dict[str, Any] | None:
    """What present knowledge changes in a frozen notice: each figure that differs, by the roster's order; ``None``: nothing.

    ``live`` is made with the parameters of ``frozen``. ``changes`` are of counties, ``total`` of the city; each has
    ``measure``, its Chinese ``measure_name``, and the value then (``frozen``) and ``now``, ``null`` where there is none.
    """
    then, now = _figures(frozen), _figures(live)
    changed = [key for key in {**then, **now} if then.get(key, _absent(key)) != now.get(key, _absent(key))]
    if not changed:
        return None
    names = {**_company_names(live), **_company_names(frozen)}
    rows = [
        {"county": county, "name": counties.BY_CODE[county].name if county else "全市", "measure": measure,
         "measure_name": _measure_name(measure, names), "frozen": then.get((county, measure), _absent((county, measure))),
         "now": now.get((county, measure), _absent((county, measure)))}
        for county, measure in sorted(changed, key=lambda key: counties.ORDER.get(key[0], -1))
    ]  # fmt: skip
    return {
        "changes": [row for row in rows if row["county"]],
        "total": [{name: value for name, value in row.items() if name != "county"} for row in rows if not row["county"]],
        "now": {name: live[name] for name in ("total", "low", "zero", "paragraph")},
    }


def _figures(content: Content) -> dict[Key, Any]:
    """Every figure that the notice prints, but those that follow from others: ranks, shares, rates."""
    found: dict[Key, Any] = {("", "handled"): content["total"]}
    found |= {("", name): content["totals"][name] for name in COUNTY_FIGURES if name != "handled"}
    found |= {("", name): content["co_location"]["total"][name] for name in (*HALL_FIGURES, "none_at_all")}
    for row in content["rows"]:
        found |= {(row["county"], name): row[member] for name, (member, _) in COUNTY_FIGURES.items()}
    for hall in content["co_location"]["counties"]:
        found |= {(hall["county"], name): hall[name] for name in (*HALL_FIGURES, "none_at_all")}
        for company in hall["companies"]:
            found[hall["county"], f"presence:{company['company']}/{company['service']}"] = standing(company)
    for row in content["installations"]:
        found |= {(row["county"], f"{name}:{row['service']}"): row[name] for name in INSTALLATION_FIGURES}
    for row in content["idle_windows"]:
        found[row["county"], f"idle:{row['company']}/{row['service']}"] = "reported" if row["reported"] else "not_reported"
    return found


def _absent(key: Key) -> int | None:
    """What a figure is that stands nowhere: rows of installations that count nothing are left out."""
    kind, _, of = key[1].partition(":")
    return 0 if of and kind in INSTALLATION_FIGURES and kind != "median_working_days" else None


def _company_names(content: Content) -> dict[str, str]:
    halls = (company for hall in content["co_location"]["counties"] for company in hall["companies"])
    return {row["company"]: row["name"] for row in (*content["idle_windows"], *halls)}


def _measure_name(measure: str, companies: Mapping[str, str]) -> str:
    kind, _, of = measure.partition(":")
    if kind in ("presence", "idle"):
        company, _, service = of.rpartition("/")
        what = "进驻情况" if kind == "presence" else "进厅不办事"
        return f"{companies.get(company, company)}{SERVICES.get(service, service)}{what}"
    if of:
        return f"联合报装{SERVICES.get(of, of)}{INSTALLATION_FIGURES[kind]}"
    if kind == "none_at_all":
        return "无企业进驻"
    return HALL_FIGURES[kind] if kind in HALL_FIGURES else COUNTY_FIGURES[kind][1]


def value_in_words(measure: str, value: Any) -> Any:
    """A figure of a restatement as it is printed: numbers as they are, standings and the like in Chinese."""
    kind = measure.partition(":")[0]
    if value is None:
        return "无"
    if kind == "presence":
        return STANDING.get(value, value)
    if kind == "idle":
        return "是" if value == "reported" else "是(未报送办理数)"
    if isinstance(value, bool):
        return "是" if value else "否"
    return value
