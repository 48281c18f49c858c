"""The judgement of one row of a dialect: each event that it tells is judged as if it had been pushed itself."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from services.intake.domain.dialects import Dialect
from services.intake.domain.dialects.reading import Row, Said, Table, Told
from services.intake.domain.judging import Sender, judge
from shared.events import case
from shared.verdicts import MALFORMED, Accepted, FieldError, Refusal, Rejected, Verdict, event_id_of

MEDIA_TYPE: Final = "application/vnd.onething.exchange+json"

UNKNOWN_TABLE: Final = "unknown-table"


def rows_of(content: object) -> list[dict[str, Any]] | None:
    """The items of a body ``{"table": …, "rows": […]}``: one ``{"table", "row"}`` a row. ``None``: it is no such body."""
    if not isinstance(content, Mapping) or not isinstance(content.get("table"), str) or not isinstance(content.get("rows"), list):
        return None
    return [{"table": content["table"], "row": row} for row in content["rows"]]


def is_row(item: object) -> bool:
    """Whether ``item`` is a row as :func:`rows_of` gives it, and as a parked row is kept."""
    return isinstance(item, Mapping) and item.keys() == {"table", "row"}


def judge_item(item: object, sender: Sender | None, now: datetime) -> Verdict:
    """What becomes of an item of either form: an event, or a row where the sender has a dialect. Never raises."""
    if sender is not None and sender.dialect is not None and is_row(item):
        return judge_row(item, sender, now)
    return judge(item, sender, now)


def judge_row(item: object, sender: Sender, now: datetime) -> Verdict:
    """What becomes of one row. Never raises.

    It is accepted when all its events are; its id is that of its last event. Pointers of a rejected row lead into the row,
    e.g. ``/org_code``, in the sender's own spelling. A row that says nothing we count is accepted, and nothing is published.
    """
    try:
        dialect, table, row = _opened(item, sender)
    except Refusal as refusal:
        return Rejected(None, refusal.reason, refusal.errors, kept={})
    # Whatever column is not read may be a person's.
    kept = {"table": _text(item, "table"), "row": dialect.kept(table, row)}
    reading = Row(row, dialect.codes)
    told = table.read(reading)
    try:
        reading.check()
    except Refusal as refusal:
        return Rejected(_id_of(told), refusal.reason, refusal.errors, kept)
    verdicts = [judge(_event(told, said, sender), sender, now) for said in told.events]
    for said, verdict in zip(told.events, verdicts, strict=True):
        if isinstance(verdict, Rejected):
            errors = tuple(_in_row(error, told, said) for error in verdict.errors)
            return Rejected(verdict.event_id, verdict.reason, errors, kept)
    accepted = [verdict for verdict in verdicts if isinstance(verdict, Accepted)]
    ignored = dialect.ignored(table, row)
    if not accepted:
        return Accepted(_id_of(told) or "", "", b"", ignored)
    last = accepted[-1]
    return Accepted(last.event_id, last.key, last.value, ignored, tuple(one.value for one in accepted[:-1]))


def _opened(item: object, sender: Sender) -> tuple[Dialect, Table, Mapping[str, Any]]:
    if sender.dialect is None:
        message = "no dialect is set for this sender: send CloudEvents, or have one set"
        raise Refusal("no-dialect", FieldError(pointer="", message=message))
    table = sender.dialect.table(_text(item, "table"))
    if table is None:
        taken = ", ".join(sender.dialect.tables)
        raise Refusal(UNKNOWN_TABLE, FieldError(pointer="", message=f"rows of these tables are taken: {taken}"))
    row = item.get("row") if isinstance(item, Mapping) else None
    if not isinstance(row, Mapping):
        raise Refusal(MALFORMED, FieldError(pointer="", message="a row is a JSON object"))
    return sender.dialect, table, row


def _text(item: object, name: str) -> str:
    value = item.get(name) if isinstance(item, Mapping) else None
    return value if isinstance(value, str) else ""


def _id_of(told: Told) -> str | None:
    """The row's id if it may be repeated in an answer."""
    return event_id_of({"id": told.id.value}) if told.id.value else None


def _event(told: Told, said: Said, sender: Sender) -> dict[str, Any]:
    data = {name: cell.value for name, cell in said.data.items()}
    return {
        "specversion": "1.0",
        "id": f"{told.id.value}.{said.suffix}",
        "source": sender.source,
        "type": case.TYPE,
        "subject": data.get("case_no"),
        "data": data,
    }


def _in_row(error: FieldError, told: Told, said: Said) -> FieldError:
    """The error at the column that the wrong field was read from."""
    field = error.pointer.removeprefix("/data").strip("/").partition("/")[0]
    cell = told.id if field == "id" else said.data.get("case_no" if field == "subject" else field)
    return FieldError(pointer=f"/{cell.column}" if cell else "", message=error.message)
