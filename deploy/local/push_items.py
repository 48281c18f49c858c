"""What a file that is pushed holds: events or rows of tables, read one by one, and put together to batches."""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from shared.events import case
from shared.events.envelope import BATCH_MEDIA_TYPE

ROWS_MEDIA_TYPE: Final = "application/vnd.onething.exchange+json"

MOST_ITEMS: Final = 500
MOST_BYTES: Final = 4 * 1024 * 1024
"""Of a batch's items; the receiver takes 5 MiB with what stands around them."""

INTEGERS: Final = frozenset({"data_version"})


class FileError(Exception):
    """The file cannot be pushed; the message names the place and what to do."""


class Item(NamedTuple):
    """One event (``table`` is ``None``) or one row. ``place`` is its line, or its number within the whole, from 1."""

    place: int
    value: Any
    table: str | None = None

    def encoded(self) -> bytes:
        return orjson.dumps(self.value)


@dataclass(slots=True)
class Batch:
    """Consecutive items that go together: events, or rows of one table."""

    table: str | None
    items: list[Item] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    @property
    def media_type(self) -> str:
        return BATCH_MEDIA_TYPE if self.table is None else ROWS_MEDIA_TYPE

    def body(self) -> bytes:
        rows = b"[" + b",".join(self.parts) + b"]"
        return rows if self.table is None else b'{"table":' + orjson.dumps(self.table) + b',"rows":' + rows + b"}"


def read_items(file: Path, source: str) -> Iterator[Item]:
    """The items of a file: JSON lines, one JSON array, one event, an exchange-table body, or CSV of case events.

    ``source`` is what events of a CSV bear. A line of a ``*.rejected.jsonl`` of ours is read as the item that it names.

    Raises:
        FileError: it cannot be read, or a line is none of these.
    """
    try:
        if file.suffix.lower() == ".csv":
            yield from _of_csv(file, source)
            return
        with file.open("rb") as lines:
            first = lines.readline().strip()
        if _is_whole(first):
            yield from _of_value(_json(file.read_bytes(), "文件"))
            return
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _of_line(number, _json(line.strip(), f"第 {number} 行"))
    except OSError as error:
        raise FileError(f"{file} 读不了({error.strerror})") from None


def _is_whole(first_line: bytes) -> bool:
    """Whether the file is one JSON value: its first line is none by itself, or holds a list or a table's rows."""
    try:
        value = orjson.loads(first_line)
    except orjson.JSONDecodeError:
        return True
    return isinstance(value, list) or (isinstance(value, dict) and "rows" in value)


def _json(text: bytes, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise FileError(f"{where}不是 UTF-8 的 JSON(行 {error.lineno} 列 {error.colno}):请改正后重新推送") from None


def _of_value(value: Any) -> Iterator[Item]:
    if isinstance(value, Mapping) and isinstance(value.get("rows"), list):
        for place, row in enumerate(value["rows"], 1):
            yield Item(place, row, str(value.get("table", "")))
        return
    for place, event in enumerate(value if isinstance(value, list) else [value], 1):
        yield Item(place, event)


def _of_line(number: int, value: Any) -> Item:
    if isinstance(value, Mapping) and "problem" in value and "item" in value:
        return Item(number, value["item"], value.get("table"))
    if isinstance(value, Mapping) and value.keys() == {"table", "row"}:
        return Item(number, value["row"], str(value["table"]))
    return Item(number, value)


def _of_csv(file: Path, source: str) -> Iterator[Item]:
    """Case events, a line each; the columns are ``id`` and the fields of ``data``. A missing id is made of the line's content."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        if "case_no" not in (reader.fieldnames or ()):
            raise FileError(f"{file} 第一行应是列名,至少有 case_no(如 id,case_no,item,county,step,occurred_at,recorded_at)")
        try:
            for row in reader:
                said = {name: value.strip() for name, value in row.items() if name and isinstance(value, str) and value.strip()}
                digest = hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
                event_id = said.pop("id", f"csv-{digest}")
                yield Item(reader.line_num, _event(event_id, source, said))
        except (csv.Error, UnicodeDecodeError) as error:
            raise FileError(f"{file} 第 {reader.line_num + 1} 行读不了({error}):请另存为 UTF-8 的 CSV") from None


def _event(event_id: str, source: str, said: Mapping[str, str]) -> dict[str, Any]:
    data: dict[str, Any] = dict(said)
    for name in INTEGERS & data.keys():
        data[name] = int(data[name]) if data[name].isdecimal() else data[name]
    if "services" in data:
        data["services"] = data["services"].split()
    return {
        "specversion": "1.0", "id": event_id, "source": source, "type": case.TYPE, "subject": said.get("case_no"), "data": data,
    }  # fmt: skip


def batches(items: Iterable[Item], most: int = MOST_ITEMS) -> Iterator[Batch]:
    """Batches in order, each of at most ``most`` items of one kind and of 4 MiB."""
    batch: Batch | None = None
    for item in items:
        part = item.encoded()
        full = batch is not None and (len(batch.items) == most or batch.size + len(part) > MOST_BYTES or batch.table != item.table)
        if batch is None or full:
            if batch is not None:
                yield batch
            batch = Batch(item.table)
        batch.items.append(item)
        batch.parts.append(part)
        batch.size += len(part) + 1
    if batch is not None:
        yield batch
