"""The catalogue: the one-thing items (一件事) of 2024, their codes, and the pilot units of each."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Item:
    """One one-thing item. ``pilots`` are the county codes that try it first."""

    code: str
    name: str
    pilots: frozenset[str] = frozenset()


CATALOGUE: Final[tuple[Item, ...]] = (
    Item("enterprise-change", "企业信息变更"),
    Item("transport-opening", "开办运输企业"),
    Item("restaurant-opening", "开办餐饮店"),
    Item("joint-installation", "水电气网联合报装"),
    Item("credit-repair", "信用修复"),
    Item("listing-compliance", "企业上市合法合规信息核查"),
    Item("bankruptcy-check", "企业破产信息核查"),
    Item("enterprise-closing", "企业注销登记"),
    Item("newborn", "新生儿出生"),
    Item("school-enrolment", "教育入学"),
    Item("social-security-card", "社会保障卡居民服务"),
    Item("disabled-service", "残疾人服务", pilots=frozenset({"130635"})),
    Item("retirement", "退休"),
)

BY_CODE: Final = {item.code: item for item in CATALOGUE}


class UnknownItem(ValueError):
    """The code is not one of the catalogue's; the message says what is allowed."""


def find(code: str) -> Item:
    """The item with this code.

    Raises:
        UnknownItem: the catalogue has no such item.
    """
    item = BY_CODE.get(code)
    if item is None:
        raise UnknownItem(f"the catalogue has no such item; allowed: {', '.join(BY_CODE)}")
    return item
