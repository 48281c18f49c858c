"""What the sample season must come to: the disabled-person service up to the end of September 2024.

Published are the total of 615, the five leaders' counts (163, 94, 75, 72, 50), twelve units under ten and four at
zero. Which unit but 满城区 has which count, and how many were completed, is filled in to fit.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final


@dataclass(frozen=True, slots=True)
class Figures:
    """Distinct live cases: ``handled``, and those of them ``completed`` by the same day."""

    handled: int = 0
    completed: int = 0


ITEM: Final = "disabled-service"
FIRST_DAY: Final = date(2024, 3, 25)
AS_OF: Final = date(2024, 9, 30)
"""Business days in Asia/Shanghai, both inclusive."""

GOLDEN: Final[dict[str, Figures]] = {
    "130607": Figures(163, 149),  # 满城区
    "130626": Figures(94, 83),  # 定兴县
    "130609": Figures(75, 70),  # 徐水区
    "130634": Figures(72, 61),  # 曲阳县
    "130636": Figures(50, 44),  # 顺平县
    "130608": Figures(35, 30),  # 清苑区
    "130635": Figures(28, 21),  # 蠡县
    "130681": Figures(22, 17),  # 涿州市
    "130684": Figures(18, 15),  # 高碑店市
    "130637": Figures(14, 9),  # 博野县
    "130627": Figures(9, 6),  # 唐县
    "130623": Figures(8, 5),  # 涞水县
    "130624": Figures(7, 4),  # 阜平县
    "130628": Figures(6, 4),  # 高阳县
    "130633": Figures(5, 2),  # 易县
    "130683": Figures(4, 3),  # 安国市
    "130602": Figures(3, 1),  # 竞秀区
    "130606": Figures(2, 0),  # 莲池区
    "130671": Figures(0, 0),  # 高新区
    "130630": Figures(0, 0),  # 涞源县
    "130631": Figures(0, 0),  # 望都县
    "130672": Figures(0, 0),  # 白沟新城
}

TOTAL: Final = 615
LEADER: Final = "130607"
LEADER_SHARE: Final = "26.5%"
UNDER_TEN: Final = 12
AT_ZERO: Final = 4
NOBODY_IN_THE_HALL: Final = ("130630", "130672")
"""涞源县 and 白沟新城: no utility company in the service hall."""
