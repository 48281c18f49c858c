"""A provincial dialect: a case is ``projid``, a re-reported case is a higher ``dataver``; node results and done results.

The keys and the two lists of codes are those of a real integration. Its further column names are not published: ours
stand here, and a sender's own names are added as data (``column`` and ``table`` in its table of codes).
"""

from typing import Final

from services.intake.domain.dialects.codes import NOTHING
from services.intake.domain.dialects.reading import KINDS, STEPS, Cell, Dialect, Row, Said, Table, Told, only, step_of
from shared import counties
from shared.events.case import Operation, Step

REASON_NEEDED: Final = frozenset("12345")
"""Done results that state a reason: refused, voided, deleted, transferred, returned. The reason itself is not read."""

_KEYS: Final = frozenset({"projid", "dataver", "sn", "update_time"})


def _accept(row: Row) -> Told:
    told = _id(row, "accept")
    attributes = _about(row) | only(
        item=row.code("task_code", "item"),
        county=_county(row),
        channel=row.code("apply_type", "channel", needed=False),
        promised_on=row.day("promise_date"),
    )
    applied = row.time("apply_time")
    said = [Said(Step.APPLIED.value, attributes | only(step=Cell(Step.APPLIED.value, "apply_time"), occurred_at=applied))]
    accepted = row.time("accept_time", needed=False)
    if accepted is not None:
        said.append(
            Said(Step.ACCEPTED.value, attributes | only(step=Cell(Step.ACCEPTED.value, accepted.column), occurred_at=accepted))
        )
    return Told(told, tuple(said))


def _node(row: Row) -> Told:
    return Told(_id(row, "node"), _step(row, row.code("node_result", "node"), "node_time"))


def _done(row: Row) -> Told:
    told = _id(row, "done")
    result = row.text("done_result")
    if result is not None and result.value in REASON_NEEDED and not row.present("done_reason"):
        row.wrong("done_reason", "must say why for this result")
    return Told(told, _step(row, row.code("done_result", "done"), "done_time"))


def _step(row: Row, meaning: Cell | None, time: str) -> tuple[Said, ...]:
    about, occurred_at = _about(row), row.time(time)
    if meaning is None or meaning.value == NOTHING:
        return ()
    if meaning.value == Operation.DELETE:
        return (Said("delete", about | only(operation=meaning)),)
    step = step_of(meaning)
    return (Said(step["step"].value, about | step | only(occurred_at=occurred_at)),)


def _id(row: Row, table: str) -> Cell:
    case, version, number = row.text("projid"), row.text("dataver"), row.text("sn", needed=False)
    if case is None or version is None:
        return Cell("", "projid")
    return Cell(".".join([case.value, table, version.value, *([number.value] if number else [])]), case.column)


def _about(row: Row) -> dict[str, Cell]:
    version = row.text("dataver")
    if version is not None and not (version.value.isascii() and version.value.isdecimal() and len(version.value) < 10):
        row.wrong(version.column, "is a whole number from 1 on")
        version = None
    number = None if version is None else Cell(int(version.value), version.column)
    return only(case_no=row.text("projid"), recorded_at=row.time("update_time"), data_version=number)


def _county(row: Row) -> Cell | None:
    area = row.text("area_code")
    known = row.look_up("area_code", "county")
    if area is None or known is not None:
        return known
    try:
        return Cell(counties.normalise(area.value).code, area.column)
    except counties.UnknownCounty as error:
        row.wrong(area.column, str(error), "unknown-county")
        return None


_PEOPLE: Final = frozenset({
    "apply_name", "apply_card_type", "apply_card_number", "contact_man", "contact_man_card_number", "tel_phone", "address",
    "legal_man", "handler_name", "handler_opinion", "project_name",
})  # fmt: skip

DIALECT: Final = Dialect(
    name="projid",
    title="Provincial dialect by projid and dataver",
    tables={
        "accept": Table(
            _KEYS | {"task_code", "area_code", "apply_type", "apply_time", "accept_time", "promise_date"}, _PEOPLE, _accept
        ),
        "node": Table(_KEYS | {"node_result", "node_time"}, _PEOPLE, _node),
        # The reason is free text: whether it is there is looked at, what it says is not.
        "done": Table(_KEYS | {"done_result", "done_time"}, _PEOPLE | {"done_reason"}, _done),
    },
    kinds={**KINDS, "node": STEPS, "done": STEPS},
)
