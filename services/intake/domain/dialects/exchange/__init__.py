"""The national exchange tables of cases: ``up_pro_accept``, ``up_pro_process``, ``up_pro_result``, v3 and v4.

Their columns are those found in integrations (docs/dialects.md says which are read). ``cd_operation`` is I, U or D;
``cd_time`` orders the versions of a row and becomes ``recorded_at``.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.intake.domain.dialects.codes import NOTHING
from services.intake.domain.dialects.exchange.offices import division
from services.intake.domain.dialects.reading import KINDS, STEPS, Cell, Dialect, Row, Said, Table, Told, only, step_of
from shared import counties
from shared.clock import SHANGHAI
from shared.events.case import Operation, Step

RANK: Final = {"I": "1I", "U": "2U", "D": "3D"}
"""Two versions of a row within one second (``cd_time`` knows no less) are told apart by their ids: a deletion is the last."""

_CD: Final = frozenset({"row_guid", "project_no", "cd_operation", "cd_time"})
_SYSTEM: Final = frozenset({"id", "cd_batch", "cd_source", "data_source", "tenant_id", "version", "remark"})
_ROUTINE: Final = frozenset(f"{what}_{who}" for what in ("create", "update") for who in ("org_id", "user_id", "time"))


def _accept(row: Row) -> Told:
    """Applied and accepted, with what the case is about. Deleting it deletes the case: it is the case's own row.

    The two steps are retracted too, so that a row of another table that is deleted later revives nothing.
    """
    told, deleted = _version(row, "accept")
    about = _about(row)
    if deleted:
        retracted = [
            Said(step, about | only(step=Cell(step, told.column), operation=Cell(Operation.RETRACT.value, told.column)))
            for step in (Step.ACCEPTED.value, Step.APPLIED.value)
        ]
        # By its id the last of the three: bytes of "delete" are greater than those of both steps.
        return Told(told, (*retracted, Said("delete", about | only(operation=Cell(Operation.DELETE.value, told.column)))))
    attributes = about | only(
        item=_item(row),
        county=_county(row),
        channel=row.code("apply_type", "channel"),
        promised_on=row.day("promise_date"),
    )
    return Told(
        told,
        tuple(
            Said(step, attributes | only(step=Cell(step, told.column), occurred_at=row.time(column)))
            for step, column in ((Step.APPLIED.value, "apply_date"), (Step.ACCEPTED.value, "accept_date"))
        ),
    )


def _process(row: Row) -> Told:
    told, deleted = _version(row, "process")
    meaning = row.code("event_name", "event")
    # A supplement is requested when that stage begins, and stays open until it ends; every other action is done at its end.
    begins = meaning is not None and meaning.value == Step.SUPPLEMENT_REQUESTED
    return Told(told, _step(row, told, deleted, meaning, "event_start_time" if begins else "event_end_time"))


def _result(row: Row) -> Told:
    told, deleted = _version(row, "result")
    return Told(told, _step(row, told, deleted, row.code("result_type", "result"), "result_date"))


def _step(row: Row, told: Cell, deleted: bool, meaning: Cell | None, time: str) -> tuple[Said, ...]:
    about = _about(row)
    occurred_at = None if deleted else row.time(time)
    if meaning is None or meaning.value == NOTHING:
        return ()
    if meaning.value == "delete":
        # Taken back, such a row leaves nothing to say: a later event of the case revives it.
        return () if deleted else (Said("delete", about | only(operation=Cell(Operation.DELETE.value, meaning.column))),)
    step = step_of(meaning)
    if deleted:
        retracted = only(step=step["step"], operation=Cell(Operation.RETRACT.value, told.column))
        return (Said(step["step"].value, about | retracted),)
    return (Said(step["step"].value, about | step | only(occurred_at=occurred_at)),)


def _version(row: Row, table: str) -> tuple[Cell, bool]:
    """The row's id, which a repeated row bears again, and whether it deletes."""
    guid, time, operation = row.text("row_guid"), row.time("cd_time"), row.text("cd_operation")
    rank = RANK.get(operation.value.upper()) if operation else None
    if operation and rank is None:
        row.wrong(operation.column, "is one of I, U, D")
    if guid is None or time is None or rank is None:
        return Cell("", "row_guid"), False
    at = datetime.fromisoformat(time.value).astimezone(SHANGHAI)
    stamp = at.strftime("%Y%m%d%H%M%S%f" if at.microsecond else "%Y%m%d%H%M%S")
    return Cell(f"{guid.value}.{table}.{stamp}.{rank}", guid.column), rank == RANK["D"]


def _about(row: Row) -> dict[str, Cell]:
    return only(case_no=row.text("project_no"), recorded_at=row.time("cd_time"))


def _item(row: Row) -> Cell | None:
    """By the task's own code, else by the code of the national catalogue, where the table has either."""
    found = row.look_up("task_code", "item") or row.look_up("catalog_code", "item")
    task = row.text("task_code")
    if found is None and task is not None:
        row.unknown(task.column, "item")
    return found


def _county(row: Row) -> Cell | None:
    """By the table of offices, else by the division code within a unified social credit code."""
    office = row.text("org_code")
    if office is None:
        return None
    known = row.look_up("org_code", "county")
    if known is not None:
        return known
    code = division(office.value)
    if code is None:
        row.unknown(office.column, "county")
        return None
    try:
        return Cell(counties.normalise(code).code, office.column)
    except counties.UnknownCounty as error:
        row.wrong(office.column, f"{error}; or add this office to the table of codes", "unknown-county")
        return None


def _table(read: Sequence[str], dropped: Sequence[str]) -> tuple[frozenset[str], frozenset[str]]:
    return _CD | frozenset(read), _SYSTEM | _ROUTINE | frozenset(dropped)


DIALECT: Final = Dialect(
    name="exchange",
    title="National exchange tables",
    tables={
        "up_pro_accept": Table(
            *_table(
                ["task_code", "catalog_code", "org_code", "apply_type", "apply_date", "accept_date", "promise_date"],
                [
                    "applyer_name", "applyer_type", "applyer_page_type", "applyer_page_code", "contact_name", "contact_type",
                    "contact_code", "contact_mobile", "legal", "address", "zip_code", "handle_user_name", "project_name",
                    "project_type", "org_name", "task_name", "task_version", "task_handle_item", "local_catalog_code",
                    "local_task_code", "accept_doc_no",
                ],
            ),
            _accept,
        ),
        "up_pro_process": Table(
            *_table(
                ["event_name", "event_start_time", "event_end_time"],
                ["process_name", "handle_user_name", "handle_explain"],
            ),
            _process,
        ),
        "up_pro_result": Table(
            *_table(
                ["result_type", "result_date"],
                [
                    "satisfaction", "is_delivery_results", "result_cetr_no", "result_cetr_name", "result_explain",
                    "handle_user_name",
                ],
            ),
            _result,
        ),
    },
    kinds={**KINDS, "event": STEPS, "result": STEPS},
    versions=re.compile(r"(v[34][a-z0-9]*)?"),
)  # fmt: skip
