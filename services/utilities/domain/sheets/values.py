"""From what stands in a cell to the value that it means, however it was written; or what is wrong, in Chinese.

Times are read in China's time. No message repeats what stands in the cell: it may be somebody's data.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from openpyxl.utils.datetime import from_excel

from services.utilities.domain.sheets.layout import ALSO_READ, COUNTIES, Column
from services.utilities.domain.sheets.reading import INVISIBLE, Bad, Value
from shared import counties
from shared.clock import SHANGHAI, rfc3339
from shared.events.envelope import IDENTIFIER

LONGEST_NOTE: Final = 200
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2099
MOST_EXACT: Final = 10**15
"""A spreadsheet keeps fifteen digits of a number: of a longer one the end is lost before we see it."""


class Wrong(ValueError):
    """The cell cannot be used; the message says what to write instead."""


def read_value(column: Column, value: Value, epoch: datetime) -> Any:
    """The wire value of a filled cell.

    Raises:
        Wrong: it has none.
    """
    if isinstance(value, Bad):
        raise Wrong(value.value)
    if column.kind == "choice":
        return _choice(column, value)
    return _READERS[column.kind](value, epoch)


def _choice(column: Column, value: Value) -> Any:
    assert column.choices is not None, "a choice has choices"
    word = re.sub(r"\s", "", _usual(_text(value)))
    word = ALSO_READ.get(column.field, {}).get(word, word)
    if word in column.choices:
        return column.choices[word]
    if column.field == "county":
        return _county(word)
    if isinstance(code := word, str) and column.field != "operation":
        for meaning in column.choices.values():
            if code == meaning:
                return meaning
    raise Wrong(f"请从下拉框选:{'、'.join(column.choices)}")


def _county(word: str) -> str:
    bare = word.removeprefix("河北省").removeprefix("河北").removeprefix("保定市")
    bare = ALSO_READ["county"].get(bare, bare)
    if bare in COUNTIES:
        return COUNTIES[bare]
    if word.isdecimal():
        try:
            return counties.normalise(word).code
        except counties.UnknownCounty:
            pass
    if word[:6] in counties.GOVERNED_ELSEWHERE or bare in counties.GOVERNED_ELSEWHERE.values():
        raise Wrong("该县(市)不归本市管,请报给其所属的市")
    raise Wrong("不是本市的县(市、区):请从下拉框选,或填6位区划代码")


def _identifier(value: Value, _: datetime) -> str:
    if isinstance(value, float | int) and not isinstance(value, bool) and abs(value) >= MOST_EXACT:
        raise Wrong("超过15位的数字会丢失末尾:请把该列设为“文本”格式后重新填写")
    word = re.sub(r"\s", "", _usual(_text(value)))
    if not re.fullmatch(IDENTIFIER, word):
        raise Wrong("只能用字母、数字、点、横线、下划线,不超过64位")
    return word


def _note(value: Value, _: datetime) -> str:
    text = re.sub(r"\s+", " ", INVISIBLE.sub("", _text(value))).strip()
    if len(text) > LONGEST_NOTE:
        raise Wrong(f"不超过{LONGEST_NOTE}字")
    return text


def _instant(value: Value, epoch: datetime) -> str:
    return rfc3339(_moment(value, epoch).replace(tzinfo=SHANGHAI))


def _day(value: Value, epoch: datetime) -> str:
    return _moment(value, epoch).date().isoformat()


_MONTH: Final = re.compile(r"(\d{4})(?:(?:年|[-/.])(\d{1,2})月?|(\d{2}))")


def _month(value: Value, epoch: datetime) -> str:
    """``2024-09``, ``2024年9月``, ``202409``, or any day of the month."""
    found = _MONTH.fullmatch(re.sub(r"\s", "", _usual(_text(value)))) if not isinstance(value, date) else None
    if found is None:
        return _moment(value, epoch).strftime("%Y-%m")
    year, month = int(found[1]), int(found[2] or found[3])
    if not (FIRST_YEAR <= year <= LAST_YEAR and 1 <= month <= 12):
        raise Wrong("没有这个月份:请写成 2024-09 的样子")
    return f"{year}-{month:02}"


def _count(value: Value, _: datetime) -> int:
    word = re.sub(r"[\s,,]|件$", "", _usual(_text(value)))
    if not (word.isascii() and word.isdecimal() and len(word) <= 7):
        raise Wrong("请填不小于0的整数")
    return int(word)


_READERS: Final[Mapping[str, Callable[[Value, datetime], Any]]] = {
    "identifier": _identifier, "company": _identifier, "mark": _identifier, "text": _note, "instant": _instant, "day": _day,
    "month": _month, "count": _count,
}  # fmt: skip


def _text(value: Value) -> str:
    """What a person sees in the cell: a whole number has no ``.0``."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _usual(text: str) -> str:
    """Full-width digits, letters and signs as usual ones; nothing around, nothing invisible."""
    return INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).strip()


_WRITTEN: Final = re.compile(
    r"(?P<year>\d{4})(?P<a>年|[-/.])(?P<month>\d{1,2})(?:月|[-/.])(?P<day>\d{1,2})日?"
    r"(?:[T\s]*(?P<half>上午|下午|晚上|中午)?(?P<hour>\d{1,2})(?:[::时点](?P<minute>\d{1,2})?分?)(?:[::]?(?P<second>\d{1,2})秒?)?(?:\.0+)?)?"
)
_PACKED: Final = re.compile(r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})")
_HOW: Final = "请写成 2024-09-30 或 2024-09-30 14:30 的样子"


def _moment(value: Value, epoch: datetime) -> datetime:
    """A time of the wall clock, from a date cell, a serial number, or text; a day without time is its first second."""
    if isinstance(value, bool | time | timedelta):
        raise Wrong(f"没有日期:{_HOW}")
    if isinstance(value, datetime):
        return _within(value)
    if isinstance(value, date):
        return _within(datetime.combine(value, time()))
    if isinstance(value, int | float):
        return _of_number(value, epoch)
    text = _usual(value)
    if re.fullmatch(r"\d{5}(\.\d+)?", text):
        return _of_number(float(text), epoch)
    found = _WRITTEN.fullmatch(text) or _PACKED.fullmatch(text)
    if found is None:
        raise Wrong(f"不是日期:{_HOW}")
    parts = {name: int(part) for name, part in found.groupdict().items() if part and part.isdecimal()}
    if found.groupdict().get("half") in ("下午", "晚上") and parts.get("hour", 12) < 12:
        parts["hour"] += 12
    try:
        moment = datetime(**parts)  # type: ignore[arg-type]  # noqa: DTZ001
    except ValueError:
        raise Wrong(f"日历上没有这一天或这一刻:{_HOW}") from None
    return _within(moment)


def _of_number(value: float, epoch: datetime) -> datetime:
    """A serial date by the workbook's epoch (1900 or 1904); eight digits are a day written together."""
    packed = _PACKED.fullmatch(_text(value))
    try:
        if packed:
            read: object = datetime(int(packed["year"]), int(packed["month"]), int(packed["day"]))  # noqa: DTZ001
        else:
            read = from_excel(value, epoch)
    except (ValueError, OverflowError):
        raise Wrong(f"不是日期:{_HOW}") from None
    if not isinstance(read, datetime):
        raise Wrong(f"没有日期:{_HOW}")
    return _within(read)


def _within(moment: datetime) -> datetime:
    """To the second: serial dates carry an error of some microseconds."""
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise Wrong(f"年份不对:{_HOW}")
    rounded = moment + timedelta(milliseconds=500)
    return rounded.replace(microsecond=0)
