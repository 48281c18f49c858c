"""Invented applicants: nobody's data, but of the forms that real data has, so that dropping it is put to the test."""

from hashlib import sha256
from random import Random
from typing import Final

SURNAMES: Final = "赵钱孙李周吴郑王冯陈"
WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_CHARACTERS: Final = "10X98765432"
"""Of a resident identity number (GB 11643): the sum of its digits times the weights, modulo 11, picks the last one."""


def applicant(case_no: str) -> dict[str, str]:
    """The applicant of this case, the same each time.

    The division code 990000 was never given out, nor were mobile numbers with 154: no living person has these.
    """
    rng = Random(sha256(case_no.encode()).digest())
    born = f"{rng.randint(1945, 2010)}{rng.randint(1, 12):02}{rng.randint(1, 28):02}"
    digits = f"990000{born}{rng.randint(0, 999):03}"
    total = sum(int(digit) * weight for digit, weight in zip(digits, WEIGHTS, strict=True))
    return {
        "name": f"{rng.choice(SURNAMES)}样例",
        "id_number": digits + CHECK_CHARACTERS[total % 11],
        "phone": f"1540000{rng.randint(0, 9999):04}",
        "address": f"样例街道样例路{rng.randint(1, 300)}号",
        "disability_certificate": digits + CHECK_CHARACTERS[total % 11] + str(rng.randint(1, 7)) + str(rng.randint(1, 4)),
    }
