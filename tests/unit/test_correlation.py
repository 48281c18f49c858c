"""Which ids of callers are kept, which lines are left out, and what is said of keys that change."""

import httpx
import pytest
from fastapi import FastAPI

from shared import problems
from shared.correlation import MOST_LINES, _Thinned, correlate, request_id_of
from shared.signing import Key, Party
from shared.signing.changes import KeysChanged, changed_keys


@pytest.mark.parametrize("given", ["a", "0af7651916cd43dd8448eb211c80319c", "push-2024.09_30", "x" * 64])
def test_a_plain_id_of_the_callers_is_kept(given: str) -> None:
    assert request_id_of([(b"host", b"x"), (b"x-request-id", given.encode())]) == given


@pytest.mark.parametrize(
    "given", ["", "x" * 65, "two words", "a\nb", '{"event": "forged"}', "名", "130602196107130211", "r-13931278460", "0312-5937164"]
)
def test_any_other_gets_one_of_ours(given: str) -> None:
    made = request_id_of([(b"x-request-id", given.encode())])
    assert made != given
    assert made != request_id_of([]), "each its own"


def test_a_flood_of_refusals_is_counted_and_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("shared.correlation.time.monotonic", lambda: now)
    lines = _Thinned()
    assert [lines.next() for _ in range(MOST_LINES)] == [0] * MOST_LINES
    assert [lines.next() for _ in range(7)] == [None] * 7
    now += 10
    assert (lines.next(), lines.next()) == (7, 0), "the next one says how many were left out"


def test_changed_keys_are_told_by_their_prints() -> None:
    one, two, three = (Key("whsec_" + letter * 40) for letter in "ABC")
    channel = Key.of_text("a secret that somebody chose".replace(" ", "-"))
    before = {"stays": Party((one,)), "rotates": Party((two, one)), "goes": Party((two,))}
    after = {"stays": Party((one,)), "rotates": Party((three, two)), "comes": Party((channel,))}
    assert list(changed_keys(before, after)) == [
        KeysChanged("comes", ["(channel)"], []),
        KeysChanged("goes", [], [two.fingerprint]),
        KeysChanged("rotates", [three.fingerprint], [one.fingerprint]),
    ]
    assert "AAAA" not in one.fingerprint


async def test_a_fault_of_ours_is_a_problem_that_says_which_request_it_was_and_nothing_of_what_was_sent() -> None:
    app = FastAPI()
    problems.install(app)

    @app.get("/broken/{name}")
    async def broken(name: str) -> None:
        raise RuntimeError(name)

    correlate(app, "test")
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answer = await client.get("/broken/somebody", headers={"x-request-id": "r-1"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (500, "r-1")
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json()["type"], answer.json()["instance"]) == ("urn:onething:problem:fault", "urn:onething:request:r-1")
        assert "somebody" not in answer.text
        unknown = await client.get("/somebody", headers={"x-request-id": "r-2"})
        assert (unknown.status_code, unknown.json()["instance"]) == (404, "urn:onething:request:r-2")
