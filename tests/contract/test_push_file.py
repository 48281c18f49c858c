"""What ``./onething push`` reads, how it puts batches together, and where it goes on."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from deploy.local.client import Answered
from deploy.local.push_items import MOST_BYTES, Batch, FileError, Item, batches, read_items
from deploy.local.push_journal import RECEIPTS, REJECTED, STATE, Journal
from shared.events.messages import PushedCaseEvent

URL = "http://receiver.test/v1/senders/s/events"
SOURCE = "urn:onething:province:hebei"
ROW = {"row_guid": "r", "project_no": "BD1"}


def _written(folder: Path, name: str, content: str) -> Path:
    file = folder / name
    file.write_text(content, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", '{"id":"1"}\n\n{"id":"2"}\n', [Item(1, {"id": "1"}), Item(3, {"id": "2"})]),
        ("a.txt", '{"id":"1"}', [Item(1, {"id": "1"})]),
        ("a.json", '[{"id":"1"},\n 5]', [Item(1, {"id": "1"}), Item(2, 5)]),
        ("a.json", '{\n"id":"1"\n}', [Item(1, {"id": "1"})]),
        ("a.json", '{"table":"t","rows":[{"a":1},{"a":2}]}', [Item(1, {"a": 1}, "t"), Item(2, {"a": 2}, "t")]),
        ("a.jsonl", '{"table":"t","row":{"a":1}}\n{"id":"2"}', [Item(1, {"a": 1}, "t"), Item(2, {"id": "2"})]),
        ("a.rejected.jsonl", '{"place":7,"problem":{},"table":"t","item":{"a":1}}', [Item(1, {"a": 1}, "t")]),
        ("a.rejected.jsonl", '{"place":7,"problem":{},"item":{"id":"1"}}', [Item(1, {"id": "1"})]),
    ],
)
def test_each_kind_of_file_is_read(tmp_path: Path, name: str, content: str, expected: list[Item]) -> None:
    assert list(read_items(_written(tmp_path, name, content), SOURCE)) == expected


def test_a_csv_of_case_events_becomes_events_of_the_contract(tmp_path: Path) -> None:
    text = (
        "\ufeffid,case_no,item,county,step,occurred_at,recorded_at,data_version,services\n"
        "e-1,BD1,joint-installation,130607,applied,2024-09-30T09:00:00+08:00,2024-09-30T09:00:01+08:00,2,water gas\n"
        ",BD2,,,completed,2024-09-30T09:00:00+08:00,2024-09-30T09:00:01+08:00,,\n"
    )
    items = list(read_items(_written(tmp_path, "a.csv", text), SOURCE))
    events = [PushedCaseEvent.model_validate(item.value) for item in items]
    assert [(e.id, e.subject, e.data.data_version) for e in events[:1]] == [("e-1", "BD1", 2)]
    assert (events[0].source, len(events[0].data.services or ())) == (SOURCE, 2)
    # A missing id is the content's, so a repeat is the same event.
    assert events[1].id.startswith("csv-")
    assert [item.value for item in read_items(tmp_path / "a.csv", SOURCE)] == [item.value for item in items]
    assert [item.place for item in items] == [2, 3]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", '{"id":"1"}\n{"id":', "第 2 行"),
        ("a.json", "[1,", "行 1"),
        ("empty.jsonl", "", "不是 UTF-8 的 JSON"),
        ("a.csv", "a,b\n1,2\n", "case_no"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_by_its_place(tmp_path: Path, name: str, content: str, says: str) -> None:
    with pytest.raises(FileError, match=says):
        list(read_items(_written(tmp_path, name, content), SOURCE))
    with pytest.raises(FileError, match="读不了"):
        list(read_items(tmp_path / "absent.json", SOURCE))


def test_batches_keep_order_and_are_of_one_kind_and_bounded() -> None:
    items = [*(Item(n, {"id": str(n)}) for n in range(5)), Item(5, ROW, "a"), Item(6, ROW, "b"), Item(7, ROW, "b")]
    made = list(batches(items, 2))
    assert [[item.place for item in batch.items] for batch in made] == [[0, 1], [2, 3], [4], [5], [6, 7]]
    assert orjson.loads(made[0].body()) == [{"id": "0"}, {"id": "1"}]
    assert orjson.loads(made[-1].body()) == {"table": "b", "rows": [ROW, ROW]}
    large = [Item(n, {"x": "y" * (MOST_BYTES // 3)}) for n in range(4)]
    assert [len(batch.items) for batch in batches(large)] == [2, 2]
    assert list(batches([])) == []


def _answer(batch: Batch, *rejected: int) -> Answered:
    problem = {"type": "urn:onething:problem:invalid", "title": "Invalid event"}
    results: list[dict[str, Any]] = [
        {"index": n, "status": "rejected", "problem": problem} if n in rejected else {"index": n, "status": "accepted"}
        for n in range(len(batch.items))
    ]
    return Answered(results, "header.payload.signature", 0)


def _file(folder: Path, count: int) -> Path:
    return _written(folder, "a.jsonl", "".join(f'{{"id":"{n}"}}\n' for n in range(count)))


def _opened(file: Path, url: str = URL, *, anew: bool = False) -> tuple[Journal, Iterator[Item]]:
    items = read_items(file, SOURCE)
    journal = Journal.opened(file, url, items, anew=anew)
    return journal, items if journal.resumed else read_items(file, SOURCE)


def test_a_push_goes_on_where_it_stopped_and_keeps_what_was_answered(tmp_path: Path) -> None:
    file = _file(tmp_path, 6)
    journal, items = _opened(file)
    first = next(batches(items, 2))
    journal.note(first, _answer(first, 1))
    # A run that was killed after it had written beside, and before it said so: what is beyond is written again.
    for suffix in (REJECTED, RECEIPTS):
        with Path(f"{file}{suffix}").open("ab") as beside:
            beside.write(b"half a li")

    journal, items = _opened(file)
    assert (journal.resumed, journal.accepted, journal.rejected_items) == (2, 1, 1)
    for batch in batches(items, 2):
        journal.note(batch, _answer(batch))
    assert (journal.items, journal.accepted, journal.rejected_items, journal.reasons) == (6, 5, 1, {"invalid": 1})
    assert journal.receipts.read_text() == "header.payload.signature\n" * 3
    rejected = orjson.loads(journal.rejected.read_bytes())
    assert (rejected["place"], rejected["item"], rejected["problem"]["title"]) == (2, {"id": "1"}, "Invalid event")
    assert [item.value for item in read_items(journal.rejected, SOURCE)] == [{"id": "1"}]
    # Rejected items may hold people's data: nobody else may read them.
    assert all(stat.S_IMODE(os.stat(f"{file}{suffix}").st_mode) == 0o600 for suffix in (REJECTED, RECEIPTS, STATE))

    # Done: the next run has nothing to send. What is added at the end is sent alone.
    assert list(_opened(file)[1]) == []
    with file.open("a") as more:
        more.write('{"id":"6"}\n')
    assert [item.place for item in _opened(file)[1]] == [7]
    assert len(list(_opened(file, anew=True)[1])) == 7


def test_a_changed_file_or_another_address_begins_anew(tmp_path: Path) -> None:
    file = _file(tmp_path, 3)
    journal, items = _opened(file)
    first = next(batches(items, 2))
    journal.note(first, _answer(first))
    assert _opened(file)[0].resumed == 2
    # To another address: from the beginning, and the receipts of the first stay.
    other, _ = _opened(file, f"{URL}/other")
    assert (other.resumed, other.receipts.read_text()) == (0, "header.payload.signature\n")
    file.write_text(file.read_text().replace('"0"', '"zero"'))
    assert (_opened(file)[0].resumed, len(list(_opened(file)[1]))) == (0, 3)
