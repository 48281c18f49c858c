"""The division code within a unified social credit code (GB 32100-2015)."""

from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_LENGTH: Final = 18


def division(code: str) -> str | None:
    """Characters 3 to 8: the division where the body is registered; ``None`` when the code is no such credit code.

    The check character is checked, so that another number of 18 characters is not taken for one.

    >>> division("11130607MB00000008")
    '130607'
    """
    code = code.upper()
    if len(code) != _LENGTH or any(character not in _ALPHABET for character in code) or not code[2:8].isdigit():
        return None
    total = sum(_ALPHABET.index(character) * pow(3, place, 31) for place, character in enumerate(code[:-1]))
    return code[2:8] if _ALPHABET[-total % 31] == code[-1] else None
