"""Who may see what, by example and by property: what is left of an answer, claims, the readers' file, sessions and links."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain.access import SCOPES, Asker, NotOurs, claimed, limited, told_limited
from services.metrics.domain.readers import Directory, ReadersFileError, fixed, parse
from services.metrics.domain.sessions import (
    LINK_LIFE,
    PRINT,
    SESSION_LIFE,
    digest,
    mint_link,
    mint_session,
    read_link,
    read_session,
    seal,
    unseal,
)
from shared import counties
from shared.limits import Buckets

NOW = datetime(2024, 10, 2, 3, 4, 5, tzinfo=UTC)
KEY = b"k" * 32
OWN = "130607"
CODES = st.sampled_from([unit.code for unit in counties.ROSTER])

leaves = st.none() | st.integers() | st.booleans() | st.text(max_size=5) | CODES
rows = st.fixed_dictionaries({"county": CODES | st.none()}, optional={"count": st.integers(), "companies": st.lists(leaves)})
answers = st.recursive(
    leaves | rows | st.lists(CODES) | st.dictionaries(CODES, st.integers(), max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["rows", "total", "by", "low"]), inner, max_size=3),
    max_leaves=20,
)


def named(part: Any) -> Iterator[str]:
    """Every county that an answer names: as a row's, as a member's name, in a list of codes."""
    if isinstance(part, dict):
        if part and all(key in counties.BY_CODE for key in part):
            yield from part
        if isinstance(part.get("county"), str):
            yield part["county"]
        for value in part.values():
            yield from named(value)
    elif isinstance(part, list):
        if part and all(isinstance(one, str) and one in counties.BY_CODE for one in part):
            yield from part
        for one in part:
            yield from named(one)


@given(answers)
def test_no_other_county_is_left_in_an_answer_however_deep(answer: Any) -> None:
    assert set(named(limited(answer, OWN))) <= {OWN}
    assert limited(answer, None) == answer, "who sees all is given all"
    assert limited(limited(answer, OWN), OWN) == limited(answer, OWN)


class Moved(NamedTuple):
    county: str
    n: int


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    rows: tuple[Moved, ...]
    low: tuple[str, ...]
    added: dict[str, int]
    total: int


def test_rows_of_others_go_and_sums_stay() -> None:
    answer = {
        "rows": [{"county": OWN, "handled": 163}, {"county": "130608", "handled": 40}, {"county": None, "handled": 1}],
        "low": ["130608", OWN],
        "by_service": [{"service": "gas", "opened": 3}],
        "before": {"county": "130608", "day": "2024-09-01"},
        "total": {"handled": 204},
    }
    assert told_limited(answer, OWN) == {
        "limited_to": OWN,
        "rows": [{"county": OWN, "handled": 163}],
        "low": [OWN],
        "by_service": [{"service": "gas", "opened": 3}],
        "before": {"county": None, "day": "2024-09-01"},
        "total": {"handled": 204},
    }
    assert told_limited(answer, None) == answer
    shown = Shown((Moved(OWN, 1), Moved("130608", 2)), ("130608",), {OWN: 1, "130608": 2}, 3)
    assert limited(shown, OWN) == Shown((Moved(OWN, 1),), (), {OWN: 1}, 3)
    assert limited({"words": ["130608", "门"]}, OWN) == {"words": ["130608", "门"]}, "not a list of codes"


def test_a_county_belongs_to_the_scope_county_alone() -> None:
    assert Asker("a", "county", OWN).own == OWN
    for scope, county in (("county", None), ("county", "130629"), ("reader", OWN), ("operator", OWN), ("director", None)):
        with pytest.raises(ValueError, match=r"county|scope"):
            Asker("a", scope, county)  # type: ignore[arg-type]


def claims_of(scopes: Any = None, **claims: Any) -> tuple[str, str | None]:
    known: dict[str, Any] = scopes or {one: one for one in SCOPES}
    return claimed(claims, scope_claim="onething.scope", county_claim="onething_county", scopes=known)


def test_claims_are_read_as_scopes() -> None:
    assert claims_of(onething={"scope": "reader"}) == ("reader", None)
    assert claims_of(**{"onething.scope": "reader"}) == ("reader", None), "a name with a dot goes before a path"
    assert claims_of(onething={"scope": ["county", "reader"]}) == ("reader", None), "of several the widest"
    assert claims_of(onething={"scope": "email county"}, onething_county="130621002003") == ("county", OWN), "codes as of events"
    assert claims_of({"monitor": "county"}, onething={"scope": ["monitor", "reader"]}, onething_county=[OWN]) == ("county", OWN)
    for wrong in (
        {},
        {"onething": "reader"},
        {"onething": {"scope": "director"}},
        {"onething": {"scope": "county"}},
        {"onething": {"scope": "county"}, "onething_county": "130629"},
        {"onething": {"scope": "county"}, "onething_county": [OWN, "130608"]},
        {"onething": {"scope": 1}},
    ):
        with pytest.raises(NotOurs, match="联系审批局"):
            claims_of(**wrong)
    assert claimed({}, scope_claim="s", county_claim="c", scopes={}, default="reader") == ("reader", None)


ENTRY = {"token_sha256": [digest("a token")], "scope": "county", "county": OWN}


def directory(**readers: Any) -> Directory:
    return parse(orjson.dumps(readers))


def test_readers_are_found_by_their_tokens_digest() -> None:
    found = directory(mancheng=ENTRY).beside(fixed("r", ""))
    assert found.of_digest(digest("a token")) == Asker("mancheng", "county", OWN)
    assert found.of_print(digest("a token")[:PRINT]) == Asker("mancheng", "county", OWN)
    assert found.of_digest(digest("r")) == Asker("reader", "reader")
    for nobody in ("", "another", "a token "):
        assert found.of_digest(digest(nobody)) is None
    assert directory().of_digest(digest("")) is None


@pytest.mark.parametrize(
    ("readers", "what"),
    [
        ({"a": {"token_sha256": [digest("x")], "scope": "director"}}, "a/scope"),
        ({"a": {"token_sha256": [digest("x")], "scope": "county"}}, "the scope county needs a county"),
        ({"a": {"token_sha256": [digest("x")], "scope": "county", "county": "130629"}}, "needs a county"),
        ({"a": {"token_sha256": [digest("x")], "scope": "reader", "county": OWN}}, "only the scope county"),
        ({"a": {"token_sha256": [], "scope": "reader"}}, "a/token_sha256"),
        ({"a": {"token_sha256": ["the-token-itself"], "scope": "reader"}}, "a/token_sha256/0"),
        ({"a": {"token_sha256": [digest("x")], "scope": "reader", "token": "y"}}, "a/token"),
        ({"operator": {"token_sha256": [digest("x")], "scope": "reader"}}, "choose another"),
        ({"a": ENTRY, "b": ENTRY}, "a has the same token"),
        ({"满城": ENTRY}, "满城"),
        ([], "the whole"),
    ],
)
def test_a_readers_file_that_cannot_be_used_says_where_and_holds_no_token(readers: Any, what: str) -> None:
    with pytest.raises(ReadersFileError) as told:
        parse(orjson.dumps(readers))
    assert what in str(told.value)
    assert "the-token-itself" not in str(told.value)
    assert digest("x") not in str(told.value)


def test_a_session_says_who_it_is_of_until_it_is_over() -> None:
    asker = Asker("mancheng", "county", OWN)
    text = mint_session(KEY, asker, "print", NOW)
    found = read_session(KEY, text, NOW + SESSION_LIFE - timedelta(seconds=1))
    assert found is not None
    assert (found.asker, found.credential) == (asker, "print")
    assert read_session(KEY, text, NOW + SESSION_LIFE) is None
    assert read_session(b"another", text, NOW) is None
    assert read_link(text, ["token"], NOW) is None
    assert unseal(KEY, text, NOW) == {}, "a session is no login under way"
    assert read_session(KEY, seal(KEY, {"name": "x", "scope": "reader"}, NOW), NOW) is None


def test_a_link_stands_for_its_token() -> None:
    text = mint_link("token", NOW)
    found = read_link(text, ["", "another", "token"], NOW + LINK_LIFE - timedelta(seconds=1))
    assert found is not None
    assert found.token == "token"
    assert "token" not in text
    assert read_link(text, ["another"], NOW) is None
    assert read_link(text, ["token"], NOW + LINK_LIFE) is None
    assert read_link(mint_link("", NOW), ["", "token"], NOW) is None, "an empty token stands for nobody"
    assert mint_link("token", NOW) != text


@given(st.text())
def test_what_was_not_made_by_us_is_nothing(text: str) -> None:
    assert read_session(KEY, text, NOW) is None
    assert read_link(text, ["token"], NOW) is None
    assert unseal(KEY, text, NOW) == {}


def test_what_a_browser_keeps_for_us_comes_back_unchanged_or_not_at_all() -> None:
    text = seal(KEY, {"next": "/cases", "nonce": "n"}, NOW)
    assert unseal(KEY, text, NOW) == {"next": "/cases", "nonce": "n"}
    assert unseal(KEY, text, NOW + timedelta(minutes=11)) == {}
    assert unseal(KEY, text[:-2], NOW) == {}


def test_buckets_are_few_and_fill_again() -> None:
    now = 0.0
    buckets = Buckets(lambda: now, most_buckets=3)
    buckets.take("a", 2, 2)
    assert buckets.wait("a", 2) == 1
    buckets.take("a", 2, 5)
    assert buckets.wait("a", 2) == 3, "the debt is waited for"
    now = 2.6
    assert buckets.wait("a", 2) == 0
    for key in "bcde":
        buckets.take(key, 1, 20, most=20)
    assert len(buckets) == 3
    assert buckets.wait("e", 1, most=20) == 1
    now = 1000.0
    buckets.take("e", 1, 19, most=20)
    assert buckets.wait("e", 1, most=20) == 0, "no more than its most is ever in it"
    buckets.take("e", 1, 1, most=20)
    assert buckets.wait("e", 1, most=20) == 1
