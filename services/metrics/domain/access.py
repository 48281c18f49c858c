"""Who may see what, pure: the scopes, one table of routes, and what is left of an answer for those who see one county.

The rules and their reasons: ``docs/access.md``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

from shared import counties

Scope = Literal["reader", "county", "operator"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks. ``name`` is for the audit and for limits; ``county`` is set for the scope ``county``, and for that alone."""

    name: str
    scope: Scope
    county: str | None = None

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise ValueError(f"no such scope; allowed: {', '.join(SCOPES)}")
        if self.scope == "county" and self.county not in counties.BY_CODE:
            raise ValueError("the scope county needs a county: the code of a unit of the roster, as 130607")
        if self.scope != "county" and self.county is not None:
            raise ValueError("only the scope county has a county")

    @property
    def own(self) -> str | None:
        """The one county whose rows may be seen; ``None``: every county's."""
        return self.county


class Sight(StrEnum):
    """What those who see one county are answered by a route. Its value is the word for it in ``docs/access.md``."""

    NOTHING = "403"
    OWN = "own county"
    OWN_AND_CITY = "own county, city totals"
    CITY = "the same"


class Needs(StrEnum):
    """Whom a route answers."""

    NOBODY = "open"
    READER = "reader"
    OPERATOR = "operator"


class Rule(NamedTuple):
    """One route's rule: whom it answers, what of it those who see one county, and how much of a reader's rate it takes."""

    needs: Needs
    county: Sight
    cost: int = 1


_OPEN: Final = Rule(Needs.NOBODY, Sight.CITY)
_OPERATOR: Final = Rule(Needs.OPERATOR, Sight.NOTHING)
LIST: Final = 5
"""A list is read from the database each time, an answer that stands is not."""
DOCUMENT: Final = 20
RECOUNT: Final = 50
"""It reads every case."""

_READ: Final = Needs.READER
RULES: Final[Mapping[str, Rule]] = {
    "GET /v1/counts": Rule(_READ, Sight.OWN_AND_CITY),
    "GET /v1/ranking": Rule(_READ, Sight.OWN_AND_CITY),
    "GET /v1/co-location": Rule(_READ, Sight.OWN_AND_CITY),
    "GET /v1/idle-windows": Rule(_READ, Sight.OWN_AND_CITY),
    "GET /v1/installations": Rule(_READ, Sight.OWN_AND_CITY),
    "GET /v1/installations/list": Rule(_READ, Sight.OWN, LIST),
    "GET /v1/joint-installations": Rule(_READ, Sight.OWN, LIST),
    "GET /v1/cases": Rule(_READ, Sight.OWN, LIST),
    "GET /v1/cases/{source:path}/{case_no}": Rule(_READ, Sight.OWN, LIST),
    "GET /v1/changes": Rule(_READ, Sight.OWN, LIST),
    "GET /v1/unplaced": Rule(_READ, Sight.NOTHING, LIST),
    "GET /v1/notices": Rule(_READ, Sight.CITY),
    # Issued to all counties, it names all counties: who got the paper may read it here. What is not issued is not theirs.
    "GET /v1/notices/{month}": Rule(_READ, Sight.CITY, DOCUMENT),
    "POST /v1/notices/{month}": _OPERATOR,
    "GET /v1/snapshot": Rule(_READ, Sight.OWN, LIST),
    "GET /v1/stream": Rule(_READ, Sight.OWN, LIST),
    "GET /v1/consistency": Rule(_READ, Sight.NOTHING, RECOUNT),
    "GET /v1/recount": Rule(_READ, Sight.NOTHING, RECOUNT),
    "POST /v1/rebuild": _OPERATOR,
    "POST /v1/what-if": _OPERATOR,
    "GET /v1/audit": _OPERATOR,
    # The page.
    "GET /": Rule(_READ, Sight.OWN_AND_CITY, LIST),
    "GET /live": Rule(_READ, Sight.OWN_AND_CITY),
    "GET /cases": Rule(_READ, Sight.OWN, LIST),
    "GET /cases/{source:path}/{case_no}": Rule(_READ, Sight.OWN, LIST),
    "GET /changes": Rule(_READ, Sight.OWN, LIST),
    "GET /units/{code}": Rule(_READ, Sight.OWN, LIST),
    "GET /joint": Rule(_READ, Sight.OWN, LIST),
    "GET /halls/{code}": Rule(_READ, Sight.OWN, LIST),
    "GET /installations": Rule(_READ, Sight.OWN, LIST),
    "GET /check": Rule(_READ, Sight.NOTHING, RECOUNT),
    # No figure of a county is in these.
    "GET /login": _OPEN,
    "POST /session": _OPEN,
    "POST /logout": _OPEN,
    "GET /oidc/login": _OPEN,
    "GET /oidc/callback": _OPEN,
    "GET /static/{name}": _OPEN,
    "GET /favicon.ico": _OPEN,
    "GET /livez": _OPEN,
    "GET /readyz": _OPEN,
    "GET /metrics": _OPEN,
    "GET /openapi.json": _OPEN,
    "GET /asyncapi.json": _OPEN,
}
"""By method and path. A route that is not here answers nobody who sees one county alone."""

CLOSED: Final = Rule(Needs.READER, Sight.NOTHING, LIST)


def rule_of(method: str, path: str) -> Rule:
    """The rule of a route; ``path`` as the route has it."""
    return RULES.get(f"{method} {path}", CLOSED)


def limited(answer: T, own: str | None) -> T:
    """What of ``answer`` may be seen with ``own``: all of it with ``None``, else without whatever is another county's.

    Rows that name another county (member ``county``), codes in lists of codes and members named by a code are left out, at any
    depth, in dictionaries and in our dataclasses; so are rows whose county is not known. A part that is no row (what a case was
    before) loses the county's code alone. What is not told by county (sums, shares, the city's months) stays.
    """
    return answer if own is None else _seen(answer, own)


def told_limited(answer: Mapping[str, Any], own: str | None) -> dict[str, Any]:
    """As :func:`limited`, and saying so: ``limited_to`` is the county whose rows are there."""
    return dict(answer) if own is None else {"limited_to": own, **limited(dict(answer), own)}


def _seen(part: Any, own: str) -> Any:
    if isinstance(part, Mapping):
        by_county = bool(part) and all(key in counties.BY_CODE for key in part)
        return {
            key: None if key == "county" and value != own else _seen(value, own)
            for key, value in part.items()
            if not by_county or key == own
        }
    if isinstance(part, tuple) and hasattr(part, "_fields"):
        return part._replace(**{name: _seen(getattr(part, name), own) for name in part._fields})  # type: ignore[attr-defined]
    if isinstance(part, list | tuple):
        return type(part)(_seen(one, own) for one in part if not _is_anothers(one, part, own))
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{field.name: _seen(getattr(part, field.name), own) for field in fields(part) if field.init})
    return part


def _is_anothers(one: Any, whole: Sequence[Any], own: str) -> bool:
    if isinstance(one, str):
        return one != own and all(isinstance(code, str) and code in counties.BY_CODE for code in whole)
    if isinstance(one, Mapping):
        return "county" in one and one["county"] != own
    return hasattr(one, "county") and one.county != own


class NotOurs(ValueError):
    """The claims open nothing; the message says why, in Chinese, and names nobody."""


def claimed(
    claims: Mapping[str, Any], *, scope_claim: str, county_claim: str, scopes: Mapping[str, Scope], default: Scope | None = None
) -> tuple[Scope, str | None]:
    """The scope and county that an issuer's claims stand for.

    A claim's name may be a path (``realm_access.roles``); its value a word, words parted by blanks, or a list. ``scopes`` reads
    the issuer's words as ours. Of several the widest counts: operator, reader, county. A county may have 6, 9 or 12 digits.

    Raises:
        NotOurs: no scope is claimed, or the scope ``county`` without a county of the roster.
    """
    found = {scopes[word] for word in _words(claims, scope_claim) if word in scopes} or ({default} if default else set())
    scope = next((one for one in ("operator", "reader", "county") if one in found), None)
    if scope is None:
        raise NotOurs("您的账号还没有查看权限,请联系审批局开通。")
    if scope != "county":
        return scope, None
    codes = _words(claims, county_claim)
    try:
        (code,) = codes
        return "county", counties.normalise(code).code
    except ValueError:
        raise NotOurs("您的账号没有登记所属的县(市、区),或不在名册中,请联系审批局更正。") from None


def _words(claims: Mapping[str, Any], path: str) -> list[str]:
    value: Any = claims
    for name in [path] if path in claims else path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return value.split()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list | tuple) else []
