"""Dialects: every example of every dialect, and what holds of any row."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intake.domain import Sender
from services.intake.domain import dialects as package
from services.intake.domain.dialects import DIALECTS, CodesError
from services.intake.domain.dialects.exchange.offices import division
from services.intake.domain.index import Unusable, read_parked
from services.intake.domain.mending import corrected, replayed
from services.intake.domain.rows import is_row, judge_item, judge_row, rows_of
from shared.events import case
from shared.parking import parked_event, redact_row
from shared.verdicts import Accepted, Refusal, Rejected, Verdict
from tests.intake_support import SENDER, SOURCE, event

HOME = Path(str(package.__file__)).parent
EXAMPLES = sorted(HOME.glob("*/examples/*.json"))
NOW = datetime(2024, 10, 10, tzinfo=UTC)

PEOPLE = ("张三", "李四", "王五", "某证件号", "某手机号", "某街", "某电话", "某证照号", "某说明", "某理由", "第一行", "072150")
"""What the examples have in columns that are never read."""


def _sender(dialect: str) -> Sender:
    codes = (HOME / dialect / "examples" / "codes.csv").read_text("utf-8")
    return Sender(SENDER, SOURCE, dialect=DIALECTS[dialect].with_codes(codes))


EXCHANGE = _sender("exchange")


def _judged(example: dict[str, Any], sender: Sender) -> list[Verdict]:
    items = rows_of(example["body"])
    assert items is not None
    assert all(is_row(item) for item in items)
    return [judge_item(item, sender, NOW) for item in items]


def _shown(verdict: Verdict) -> dict[str, Any]:
    if isinstance(verdict, Accepted):
        return {"id": verdict.event_id, "status": "accepted"}
    return {"status": "rejected", "reason": verdict.reason, "pointers": [error.pointer for error in verdict.errors]}


def test_every_folder_is_a_dialect_with_examples_of_each_of_its_tables() -> None:
    assert set(DIALECTS) == {folder.name for folder in HOME.iterdir() if (folder / "__init__.py").exists()}
    assert len(DIALECTS) >= 2
    for name, dialect in DIALECTS.items():
        sender = _sender(name)
        assert sender.dialect is not None
        shown = [sender.dialect.table(orjson.loads(f.read_bytes())["body"]["table"]) for f in EXAMPLES if f.parts[-3] == name]
        assert {id(table) for table in shown if table} == {id(table) for table in dialect.tables.values()}


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_an_example_becomes_the_events_that_it_shows(file: Path) -> None:
    example = orjson.loads(file.read_bytes())
    sender = _sender(file.parts[-3])
    verdicts = _judged(example, sender)
    assert [_shown(verdict) for verdict in verdicts] == example["results"]
    published = [orjson.loads(value) for v in verdicts if isinstance(v, Accepted) for value in v.values()]
    assert [{"id": one["id"], "data": one["data"]} for one in published] == example["events"]
    for one in published:
        assert (one["source"], one["type"], one["subject"]) == (SOURCE, case.TYPE, one["data"]["case_no"])
    assert {v.key for v in verdicts if isinstance(v, Accepted) and v.value} == {one["subject"] for one in published}
    # A repeat is the same bytes; nothing of what is not read comes out of either way.
    assert verdicts == _judged(example, sender)
    out = b"".join(v.value + b"".join(v.before) for v in verdicts if isinstance(v, Accepted)).decode() + "".join(
        str(v.errors) + str(v.event_id) + str(redact_row(v.kept or {})) for v in verdicts if isinstance(v, Rejected)
    )
    assert not [person for person in PEOPLE if person in out]


def test_the_ids_of_a_rows_events_put_its_deletion_last_even_within_one_second() -> None:
    row = orjson.loads((HOME / "exchange/examples/accept.json").read_bytes())["body"]["rows"][0]
    ids = []
    for operation in "IUD":
        verdict = judge_row({"table": "up_pro_accept", "row": row | {"cd_operation": operation}}, EXCHANGE, NOW)
        assert isinstance(verdict, Accepted)
        ids += [orjson.loads(value)["id"] for value in verdict.values()]
    assert len(set(ids)) == 7
    assert max(ids, key=str.encode) == ids[-1]
    assert ids[-1].endswith(".delete")


def test_a_sender_without_a_dialect_sends_no_rows_and_one_with_it_events_too() -> None:
    items = rows_of({"table": "up_pro_accept", "rows": [{}]})
    assert items is not None
    plain = judge_row(items[0], Sender(SENDER, SOURCE), NOW)
    assert isinstance(plain, Rejected)
    assert plain.reason == "no-dialect"
    assert isinstance(judge_item(event(), EXCHANGE, NOW), Accepted)


@pytest.mark.parametrize(
    "content", [None, [], {}, {"table": "t"}, {"rows": []}, {"table": 1, "rows": []}, {"table": "t", "rows": {}}]
)
def test_a_body_of_another_form_has_no_rows(content: object) -> None:
    assert rows_of(content) is None


def test_a_parked_row_shows_codes_and_times_and_no_number_of_a_person() -> None:
    row = {
        "org_code": "某办事处",
        "project_no": "110101199003077571",
        "cd_time": "2024-09-30 10:30:05",
        "event_name": 7,
        "x": {"a": 1},
    }
    assert redact_row({"table": "up_pro_accept", "row": row}) == {
        "table": "up_pro_accept",
        "row": {
            "org_code": "«removed»",
            "project_no": "«removed»",
            "cd_time": "2024-09-30 10:30:05",
            "event_name": 7,
            "x": "«removed»",
        },
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind;code", "line 1"),
        ("kind,code,value,source\nchannel,1,fax,x", "line 2: 'fax' is no meaning of a channel"),
        ("kind,code,value,source\nitem,1,tea,x", "'tea'"),
        ("kind,code,value,source\nchanel,1,web,x", "no such kind"),
        ("kind,code,value,source\nchannel,1,web,", "source must be given"),
        ("kind,code,value,source\ncounty,A,130607,x\n\n# note\ncounty,A,130602,y", "line 5: county A stands twice"),
        ("kind,code,value,source\nevent,1,accepted", "3 cells"),
        ('kind,code,value,source\nevent,1,"accepted', "line 2"),
    ],
)
def test_a_table_of_codes_that_cannot_be_used_is_refused_by_its_lines(text: str, says: str) -> None:
    with pytest.raises(CodesError, match=says.replace("(", r"\(")):
        DIALECTS["exchange"].with_codes(text)


def test_a_senders_own_codes_come_before_the_dialects() -> None:
    own = DIALECTS["exchange"].with_codes("\ufeffkind,code,value,source\nchannel,1,mobile,their list of 2024\n")
    assert own.codes["channel", "1"] == "mobile"
    assert own.codes["channel", "2"] == DIALECTS["exchange"].codes["channel", "2"]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("91350100M000100Y43", "350100"),  # the example of GB 32100-2015
        ("11130607MB00000008", "130607"),
        ("11130607mb00000008", "130607"),
        ("11130607MB00000009", None),
        ("11130607MB0000000", None),
        ("I1130607MB00000008", None),
        ("1113060XMB00000008", None),
        ("某某某某某某某某某某某某某某某某某某", None),
    ],
)
def test_the_division_is_read_of_a_credit_code_whose_check_character_fits(code: str, found: str | None) -> None:
    assert division(code) == found


columns = st.sampled_from(
    sorted({name for table in DIALECTS["exchange"].tables.values() for name in table.columns | table.dropped})
)
whole = st.integers(-(2**63), 2**64 - 1)  # what the decoder of requests gives as an integer; beyond, it gives a float
cells = st.one_of(
    st.none(), st.booleans(), whole, st.floats(), st.text(max_size=20), st.lists(whole, max_size=2),
    st.sampled_from(["I", "D", "02", "10", "2024-09-30 10:00:00", "11130607MB00000008", "g-1", "BD1"]),
)  # fmt: skip


@given(
    st.sampled_from(["up_pro_accept", "up_pro_process", "up_pro_result", "x"]),
    st.dictionaries(columns | st.text(max_size=9), cells),
)
def test_judging_a_row_never_raises_and_what_it_publishes_is_a_case_event(table: str, row: dict[str, Any]) -> None:
    verdict = judge_row({"table": table, "row": row}, EXCHANGE, NOW)
    if isinstance(verdict, Accepted):
        assert all(isinstance(judge_item(orjson.loads(value), EXCHANGE, NOW), Accepted) for value in verdict.values())
    else:
        assert verdict.errors
        assert orjson.dumps(redact_row(verdict.kept or {}))


def _parked(row: dict[str, Any]) -> Unusable:
    """A process row as it comes back from the topic after it was rejected."""
    item = {"table": "up_pro_process", "row": row}
    verdict = judge_item(item, EXCHANGE, NOW)
    assert isinstance(verdict, Rejected)
    value = parked_event(
        service="intake", origin="http/intake/x/m-1/0", verdict=verdict, raw=b"x", item=item, fields=(), sender=SENDER, at=NOW
    )  # fmt: skip
    record = read_parked(value, {SENDER: SOURCE})
    assert record is not None
    return record


def test_a_parked_row_is_mended_by_its_code_or_by_a_corrected_row() -> None:
    rows = orjson.loads((HOME / "exchange/examples/process.json").read_bytes())["body"]["rows"]
    unknown = next(row for row in rows if row["event_name"] == "88")
    record = _parked(unknown)
    assert record.reason == "unknown-code"
    # The code is added to the table: what was parked is replayed as it is.
    assert EXCHANGE.dialect is not None
    codes = "kind,code,value,source\nevent,88,returned,their letter of 2024-10-09\n"
    knowing = {SENDER: Sender(SENDER, SOURCE, dialect=EXCHANGE.dialect.with_codes(codes))}
    (before,) = replayed(record, None, {SENDER: EXCHANGE}, "t", NOW)
    (after,) = replayed(record, None, knowing, "t", NOW)
    assert isinstance(before, Rejected)
    assert isinstance(after, Accepted)
    assert (after.event_id, orjson.loads(after.value)["data"]["step"]) == ("p-4.process.20240930110000.1I.returned", "returned")
    # Or the row was wrong: its correction keeps the row's id, and so its place.
    (event,) = corrected(record, {"table": "up_pro_process", "row": unknown | {"event_name": "02"}}, {SENDER: EXCHANGE}, NOW)
    assert event["id"] == "p-4.process.20240930110000.1I.accepted"
    with pytest.raises(Refusal):
        corrected(
            record, {"table": "up_pro_process", "row": unknown | {"event_name": "02", "row_guid": "p-9"}}, {SENDER: EXCHANGE}, NOW
        )
