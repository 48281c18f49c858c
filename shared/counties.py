"""The roster: Baoding's 22 county-level units, and how the codes that arrive are read.

Codes of districts, counties and cities are GB/T 2260; those of the two zones are statistical codes.
The retired codes come from the redrawing of the city's districts; they still arrive from older systems.
"""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class County:
    """One county-level unit. ``code`` has six digits; ``name`` is what people read."""

    code: str
    name: str
    kind: Literal["district", "county", "city", "zone"]
    retired_codes: tuple[str, ...] = ()


ROSTER: Final[tuple[County, ...]] = (
    County("130602", "竞秀区", "district"),
    County("130606", "莲池区", "district", ("130603", "130604")),
    County("130607", "满城区", "district", ("130621",)),
    County("130608", "清苑区", "district", ("130622",)),
    County("130609", "徐水区", "district", ("130625",)),
    County("130623", "涞水县", "county"),
    County("130624", "阜平县", "county"),
    County("130626", "定兴县", "county"),
    County("130627", "唐县", "county"),
    County("130628", "高阳县", "county"),
    County("130630", "涞源县", "county"),
    County("130631", "望都县", "county"),
    County("130633", "易县", "county"),
    County("130634", "曲阳县", "county"),
    County("130635", "蠡县", "county"),
    County("130636", "顺平县", "county"),
    County("130637", "博野县", "county"),
    County("130681", "涿州市", "city"),
    County("130683", "安国市", "city"),
    County("130684", "高碑店市", "city"),
    County("130671", "高新区", "zone"),
    County("130672", "白沟新城", "zone"),
)
"""In the order in which notices list the units; ties in a ranking follow it."""

GOVERNED_ELSEWHERE: Final = {"130629": "容城县", "130632": "安新县", "130638": "雄县", "130682": "定州市"}
"""Units under the city's code prefix that others govern: their events are refused with that reason."""

BY_CODE: Final = {county.code: county for county in ROSTER}
ORDER: Final = {county.code: place for place, county in enumerate(ROSTER)}

_READ_AS: Final = {
    **BY_CODE,
    **{retired: county for county in ROSTER for retired in county.retired_codes},
}


class UnknownCounty(ValueError):
    """The code is not one of the roster's; the message says what is allowed."""


def normalise(code: str) -> County:
    """Reads a code of 6, 9 or 12 digits, retired ones too, as a unit of the roster.

    Raises:
        UnknownCounty: the code has another form, is governed elsewhere, or is no unit of this city.

    >>> normalise("130621002003").name
    '满城区'
    """
    if not (code.isascii() and code.isdigit() and len(code) in (6, 9, 12)):
        raise UnknownCounty("a county is a division code of 6, 9 or 12 digits (GB/T 2260)")
    prefix = code[:6]
    county = _READ_AS.get(prefix)
    if county is not None:
        return county
    if prefix in GOVERNED_ELSEWHERE:
        raise UnknownCounty(f"{GOVERNED_ELSEWHERE[prefix]} ({prefix}) is governed elsewhere: report it to its own city")
    raise UnknownCounty(f"{prefix} is not in the roster; allowed: {', '.join(BY_CODE)}")
