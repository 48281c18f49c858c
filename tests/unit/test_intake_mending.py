"""What a correction may be, what a replay publishes, and how the index reads the log."""

import random
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from deploy.local.parked import in_chunks
from services.intake.domain import Sender, judge
from services.intake.domain.index import Unusable, event_key, key_of, read_parked
from services.intake.domain.mending import corrected, in_case_order, replayed
from shared.parking import HIDDEN, parked_event
from shared.verdicts import Accepted, FieldError, Refusal, Rejected
from tests.intake_support import SENDER, SOURCE, changed, event

NOW = datetime(2024, 9, 30, 1, 30, tzinfo=UTC)
SENDERS = {SENDER: Sender(SENDER, SOURCE)}
FIELDS = frozenset({"case_no", "county", "item", "step", "occurred_at", "recorded_at", "channel", "services", "operation"})


def park(item: Any, *, service: str = "intake", origin: str = "http/x/0", sender: str | None = SENDER) -> Unusable:
    """``item`` as it comes back from the topic after it was rejected."""
    verdict = judge(item, SENDERS[SENDER], NOW)
    if isinstance(verdict, Accepted):
        verdict = Rejected(verdict.event_id, "malformed", (FieldError(pointer="/data/x", message="x"),))
    raw = orjson.dumps(item)
    value = parked_event(
        service=service, origin=origin, verdict=verdict, raw=raw, item=item, fields=FIELDS, sender=sender, at=NOW
    )  # fmt: skip
    read = read_parked(value, {SENDER: SOURCE})
    assert read is not None
    return read


def refused(record: Unusable, given: object) -> tuple[str, list[str]]:
    with pytest.raises(Refusal) as caught:
        corrected(record, given, SENDERS, NOW)
    return caught.value.reason, [error.pointer for error in caught.value.errors]


def test_a_parked_record_is_read_with_what_it_is_found_by() -> None:
    record = park(event("e-1", "BD-1", county="1", applicant={"name": "张三"}))
    assert (record.reason, record.sender, record.source, record.event_id, record.case_no) == (
        "unknown-county", SENDER, SOURCE, "e-1", "BD-1"
    )  # fmt: skip
    assert record.event == event_key(SOURCE, "e-1") == key_of(orjson.dumps(event("e-1")))
    assert record.parked_at == NOW
    assert park([1]).event is None
    assert park(changed(event("e-1", county="1"), source=None)).source == SOURCE  # told by its sender


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"[]", b"1", b'{"id":1,"source":"x"}', b'{"id":"x"}', b"\xff", b'{"id":"\\ud800"}']
)
def test_what_is_no_event_has_no_key_and_is_no_parked_record(value: bytes | None) -> None:
    assert key_of(value) is None
    assert read_parked(value, {}) is None


def test_source_and_id_cannot_be_mistaken_for_one_another() -> None:
    assert event_key("a", "bc") != event_key("ab", "c")


def test_a_correction_is_filled_in_normalised_and_without_people() -> None:
    record = park(event("e-1", "BD-1", county="1"))
    short = {"subject": "BD-1", "data": {**event()["data"], "case_no": "BD-1", "recorded_at": None, "applicant": {"name": "张三"}}}
    [made] = corrected(record, short, SENDERS, NOW)
    assert (made["id"], made["source"], made["specversion"]) == ("e-1", SOURCE, "1.0")
    assert (made["data"]["county"], made["data"]["recorded_at"]) == ("130607", "2024-09-30T01:00:01.000002Z")
    assert "applicant" not in made["data"]
    # The same instant written otherwise is the same.
    assert corrected(record, event("e-1", "BD-1", recorded_at="2024-09-30T01:00:01.000002Z"), SENDERS, NOW) == [made]


def test_a_correction_keeps_id_and_place_unless_they_were_what_was_wrong() -> None:
    record = park(event("e-1", "BD-1", county="1"))
    assert refused(record, event("e-2", "BD-1")) == ("invalid", ["/id"])
    assert refused(record, event("e-1", "BD-1", recorded_at="2024-09-30T08:00:00Z")) == ("invalid", ["/data/recorded_at"])
    assert refused(record, event("e-1", "BD-1", step="gone")) == ("invalid", ["/data/step"])
    assert refused(record, changed(event("e-1", "BD-1"), source="urn:other")) == ("not-entitled", ["/source"])
    for wrong in (None, 1, "x"):
        assert refused(record, wrong) == ("malformed", [""])
    late = park(event("e-1", "BD-1", recorded_at="2025-01-01T00:00:00Z"))
    assert late.reason == "future"
    assert corrected(late, event("e-1", "BD-1"), SENDERS, NOW)[0]["data"]["recorded_at"] == "2024-09-30T01:00:01.000002Z"
    nameless = park(changed(event("e-1", county="1"), id="张三"))
    assert corrected(nameless, event("e-9"), SENDERS, NOW)[0]["id"] == "e-9"


def test_several_events_may_stand_for_one_parked_row() -> None:
    record = park(["row"])
    given = [event("e-1", step="applied"), event("e-2", step="accepted")]
    assert [made["id"] for made in corrected(record, given, SENDERS, NOW)] == ["e-1", "e-2"]
    assert refused(record, [given[0], event("e-2", county="1")]) == ("unknown-county", ["/1/data/county"])
    assert refused(record, []) == refused(record, given * 11) == ("malformed", [""])


@pytest.mark.parametrize(
    ("record", "reason", "pointers"),
    [
        (park(event("e-1", county="1", channel="张三")), "needs-fix", ["/data/channel"]),
        (park(event("e-1", services=["water", "张三"])), "needs-fix", ["/data/services"]),
        (park(changed(event("e-1"), subject="张三")), "needs-fix", ["/subject"]),
        (park("{broken"), "needs-fix", [""]),
        (park(event("e-1", county="1")), "unknown-county", ["/data/county"]),
        (park(event("e-1", county="1"), service="utilities", sender="water-1"), "not-ours", [""]),
        (park(event("e-1", step="x"), service="metrics", origin="p.progress.v1/0/1", sender=None), "not-ours", [""]),
        (park(changed(event("e-1"), source="urn:other"), sender=None), "not-entitled", ["/source"]),
    ],
)
def test_a_replay_says_what_is_missing(record: Unusable, reason: str, pointers: list[str]) -> None:
    [verdict] = replayed(record, None, SENDERS, "p.case-events.v1", NOW)
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, [error.pointer for error in verdict.errors]) == (reason, pointers)
    assert HIDDEN not in str(verdict)


def test_what_was_only_early_or_unknown_then_is_replayed_as_it_was_parked() -> None:
    early = park(event("e-1", occurred_at="2024-09-30T02:00:00Z"))
    assert early.reason == "future"
    [verdict] = replayed(early, None, SENDERS, "t", datetime(2024, 10, 1, tzinfo=UTC))
    assert isinstance(verdict, Accepted)
    assert verdict == judge(event("e-1", occurred_at="2024-09-30T02:00:00Z"), SENDERS[SENDER], datetime(2024, 10, 1, tzinfo=UTC))
    poison = park(event("e-2"), service="metrics", origin="p.case-events.v1/3/7", sender=None)
    assert isinstance(replayed(poison, None, SENDERS, "p.case-events.v1", NOW)[0], Accepted)


def test_a_cases_events_go_together_and_in_the_order_in_which_they_were_recorded() -> None:
    told = [
        (f"BD{case}", f"2024-09-{day:02}T09:00:00.{part:06}+08:00") for case in range(3) for day in (1, 2, 30) for part in (0, 7)
    ]
    values = [orjson.dumps(event(f"e-{n}", case, recorded_at=at)) for n, (case, at) in enumerate(told)]
    mixed = random.Random(5).sample(values, len(values))
    assert [value for _, value in in_case_order(mixed)] == values
    assert {key for key, _ in in_case_order(mixed)} == {"BD0", "BD1", "BD2"}


def test_requests_part_no_case_and_hold_no_more_than_is_taken() -> None:
    rows = [
        {"id": f"{case}-{n}", "sender": "s", "case_no": f"c{case}", "recorded_at": f"2024-09-{30 - n % 28:02}T00:00:00Z"}
        for case, many in enumerate([150, 60, 1, 700, 3])
        for n in range(many)
    ] + [{"id": f"x{n}"} for n in range(5)]
    chunks = list(in_chunks(random.Random(5).sample(rows, len(rows))))
    assert sorted(one for chunk in chunks for one in chunk) == sorted(row["id"] for row in rows)
    assert max(map(len, chunks)) <= 500
    at = {row["id"]: row.get("recorded_at", "") for row in rows}
    for case in ("0", "1", "4"):
        [holding] = [chunk for chunk in chunks if any(one.startswith(f"{case}-") for one in chunk)]
        times = [at[one] for one in holding if one.startswith(f"{case}-")]
        assert times == sorted(times)
