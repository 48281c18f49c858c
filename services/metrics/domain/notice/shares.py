"""Shares as they are printed, and as people say them."""

from fractions import Fraction
from typing import Final

_TEN: Final = "零一二三四五六七八九十"
_PARTS: Final = (
    (Fraction(1, 5), "五分之一"), (Fraction(1, 4), "四分之一"), (Fraction(1, 3), "三分之一"), (Fraction(1, 2), "一半"),
    (Fraction(2, 3), "三分之二"), (Fraction(3, 4), "四分之三"),
)  # fmt: skip


def percent(share: float | None) -> str:
    """A fraction with one decimal; a dash where there is none."""
    return "—" if share is None else f"{share:.1%}"


def in_words(part: int, whole: int) -> str:
    """A share as people say it (超过四分之一, 约三成); empty where no saying comes close, or it is less than a tenth or so.

    It compares exactly: 超过 is never said of less, 接近 and 近 never of more.
    """
    if not whole:
        return ""
    share = Fraction(part, whole)
    if share == 1:
        return "全部"
    for fraction, name in _PARTS:
        beyond = share - fraction
        if beyond == 0:
            return name
        if 0 < beyond <= Fraction(25, 1000):
            return f"超过{name}"
        if Fraction(-15, 1000) <= beyond < 0:
            return f"接近{name}"
    tenths = round(share * 10)
    beyond = share - Fraction(tenths, 10)
    if not 1 <= tenths <= 9:
        return ""
    if abs(beyond) <= Fraction(1, 100):
        return f"约{_TEN[tenths]}成"
    if 0 < beyond <= Fraction(4, 100):
        return f"超过{_TEN[tenths]}成"
    return f"近{_TEN[tenths]}成" if Fraction(-2, 100) <= beyond < 0 else ""
