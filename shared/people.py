"""People's numbers, told from codes by their form: identity numbers (GB 11643) and phones. Pure.

Two strengths. :data:`PERSONAL` finds whatever may be such a number: what a value kept for show may not look like.
:func:`is_somebodys` says that an identifier is one by all that can be checked: a case number of region, day and serial has 18
digits too, and must pass.
"""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

PERSONAL: Final = re.compile(
    r"(?<!\d)\d{17}[\dXx](?!\d)"  # resident identity number, 18 characters (GB 11643)
    r"|(?<!\d)\d{15}(?!\d)"  # its older form of 15 digits
    r"|(?<!\d)1[3-9]\d-?\d{4}-?\d{4}(?!\d)"  # mobile phone
    r"|(?<!\d)0\d{2,3}-\d{7,8}(?!\d)"  # telephone
)
"""What may be somebody's number."""

_DIVISION: Final = r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])\d{4}"
"""A division of a province (GB/T 2260), its first two digits by the list."""

_IDENTITY: Final = re.compile(rf"(?<!\d)(?=({_DIVISION}(\d{{8}})\d{{3}})([\dXx])(?!\d))")
"""18 characters: the division, the day of birth, a serial, the check digit."""

_OLD_IDENTITY: Final = re.compile(rf"(?<!\d){_DIVISION}\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{{3}}(?!\d)")
"""The older form: a year of two digits, and no check digit."""

_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK: Final = "10X98765432"
"""GB 11643-1999 (ISO 7064, MOD 11-2): the weights of the first 17 digits, and the check digit of each remainder."""

_PHONE: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:(?:86)?(?!13(?:0[1-9]|1[01]))1[3-9]\d-?\d{4}-?\d{4}"
    r"|0[1-9]\d{1,2}-(?!20\d\d(?:0[1-9]|1[0-2]))[2-8]\d{6,7})(?![0-9A-Za-z])"
)
"""A phone between other characters than letters and digits; but for what begins as a division of Hebei's cities (1301 to 1311), as
our case numbers do, and for an office's number before a day."""

_ELEVEN: Final = re.compile(r"[0-9-]{11}")
"""Nothing shorter is anybody's number: most identifiers are done with at once. A range, for ``\\d`` costs four times as much."""

_EARLIEST: Final = date(1900, 1, 1)
_CASES_DAY: Final = timedelta(days=366)
"""A day so short before the event was recorded is the case's own, not a birthday: one number of region, day and serial in eleven
has a fitting last digit by chance."""


def is_somebodys(identifier: str, said_on: date | None = None) -> bool:
    """Whether ``identifier`` holds an identity number or a phone's.

    An identity number has its form, a day of birth that there was, and the check digit that fits; one that ends with X is one
    though another digit be mistyped. ``said_on`` is the day on which the event was recorded, where it is known.
    """
    if not is_worth_a_look(identifier):
        return False
    return _PHONE.search(identifier) is not None or any(
        _born(found[2], said_on) and found[3].upper() in ("X", _check_digit(found[1])) for found in _IDENTITY.finditer(identifier)
    )


def is_worth_a_look(identifier: str) -> bool:
    """Whether ``identifier`` is long enough in digits to be anybody's number; where not, :func:`is_somebodys` is false."""
    return _ELEVEN.search(identifier) is not None


def may_be_somebodys(identifier: str, said_on: date | None = None) -> bool:
    """As :func:`is_somebodys`, or an identity number of the older form of 15 digits, which has nothing to check it by."""
    return is_somebodys(identifier, said_on) or _OLD_IDENTITY.search(identifier) is not None


def said_on(item: Mapping[str, Any]) -> date | None:
    """The day on which an event says that it was recorded, where that can be read of an item not judged yet."""
    data = item.get("data")
    named = data.get("recorded_at") if isinstance(data, Mapping) else None
    given = named if named is not None else item.get("time")
    try:
        return date.fromisoformat(given[:10]) if isinstance(given, str) else None
    except ValueError:
        return None


def _born(text: str, recorded: date | None) -> bool:
    try:
        born = date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return born >= _EARLIEST and (recorded is None or not -_CASES_DAY <= born - recorded <= timedelta(days=1))


def _check_digit(digits: str) -> str:
    return _CHECK[sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, digits, strict=True)) % 11]
