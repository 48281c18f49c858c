"""The pages of the sheet and their columns: what people read, and what it stands for on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from shared import counties
from shared.events.case import Service
from shared.events.utility import Business, InstallationStep, Level

MEDIA_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

MOST_ROWS: Final = 10_000
"""Filled rows of one sheet, all pages together."""

GUIDE_PAGE: Final = "填写说明"
CHOICES_PAGE: Final = "选项"
ERRORS_PAGE: Final = "错误清单"
ERRORS_COLUMN: Final = "问题"
OWN_PAGES: Final = frozenset({GUIDE_PAGE, CHOICES_PAGE, ERRORS_PAGE})
"""Pages of ours that hold nothing to report."""

NEW: Final = "新增"
CORRECT: Final = "更正"
RETRACT: Final = "撤回"
DELETE: Final = "整件删除"
REPORTED: Final = "已报"
"""A row of a continued sheet that stands already: it is not sent again, and may not be changed under this word."""

PageKind = Literal["installation", "presence", "window"]
ValueKind = Literal["choice", "identifier", "text", "instant", "day", "month", "count", "company", "mark"]

COUNTIES: Final[Mapping[str, str]] = {county.name: county.code for county in counties.ROSTER}

SERVICES: Final[Mapping[str, str]] = {
    "供水": Service.WATER, "排水": Service.DRAINAGE, "供电": Service.POWER, "燃气": Service.GAS, "供热": Service.HEAT,
    "通信": Service.TELECOM, "有线电视": Service.CABLE_TV,
}  # fmt: skip

STEPS: Final[Mapping[str, str]] = {
    "受理": InstallationStep.ACCEPTED, "踏勘": InstallationStep.SURVEYED, "方案答复": InstallationStep.PLAN_REPLIED,
    "外线审批": InstallationStep.PERMITTED, "施工": InstallationStep.WORKS_STARTED, "完工": InstallationStep.WORKS_DONE,
    "验收": InstallationStep.INSPECTED, "接通": InstallationStep.CONNECTED, "取消": InstallationStep.CANCELLED,
    "暂停": InstallationStep.PAUSED, "恢复": InstallationStep.RESUMED,
}  # fmt: skip

LEVELS: Final[Mapping[str, str]] = {
    "独立窗口": Level.OWN_WINDOW, "综合窗口": Level.COMPREHENSIVE_WINDOW, "委托代办": Level.AGENCY, "未进驻": Level.NONE,
}  # fmt: skip

HANDLES: Final[Mapping[str, tuple[str, ...]]] = {
    "报装和公用服务": (Business.JOINT_INSTALLATION, Business.PUBLIC_SERVICE),
    "只办报装": (Business.JOINT_INSTALLATION,),
    "只办公用服务": (Business.PUBLIC_SERVICE,),
    "都不办": (),
}

CUSTOMER_KINDS: Final[Mapping[str, str]] = {
    "居民": "resident", "低压": "low_voltage", "高压单电源": "high_voltage", "高压双电源": "high_voltage_two_feeds",
    "其他": "other",
}  # fmt: skip

ALSO_READ: Final[Mapping[str, Mapping[str, str]]] = {
    "county": {"高新技术产业开发区": "高新区", "白沟": "白沟新城"},
    "service": {
        "水": "供水", "自来水": "供水", "电": "供电", "电力": "供电", "气": "燃气", "供气": "燃气", "天然气": "燃气",
        "热": "供热", "热力": "供热", "供暖": "供热", "暖": "供热", "网络": "通信", "电信": "通信", "广电": "有线电视",
    },
    "step": {
        "开工": "施工", "施工开始": "施工", "竣工": "完工", "竣工验收": "验收", "送水": "接通", "送电": "接通", "通气": "接通",
    },
    "level": {"单独窗口": "独立窗口", "综窗": "综合窗口", "代办": "委托代办", "无": "未进驻"},
    "operation": {"修改": CORRECT, "撤销": RETRACT, "删除": DELETE},
}  # fmt: skip
"""Words that people write instead of ours, by field."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``field`` is the event's, or ``operation``, ``note``, ``mark``, which are the sheet's own."""

    field: str
    title: str
    kind: ValueKind
    help: str
    required: bool = False
    width: int = 14
    choices: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class PageLayout:
    """One page to fill."""

    kind: PageKind
    title: str
    columns: tuple[Column, ...]
    operations: tuple[str, ...]
    purpose: str

    def column(self, field: str) -> Column:
        return next(column for column in self.columns if column.field == field)


def _operation(operations: tuple[str, ...], words: str) -> Column:
    return Column("operation", "操作", "choice", words, width=10, choices={name: name for name in (*operations, REPORTED)})


_COUNTY: Final = Column(
    "county", "县(市、区)", "choice", "从下拉框选;也可填6位区划代码。只能填本企业登记服务的县。", True, 14, COUNTIES
)
_SERVICE: Final = Column("service", "服务", "choice", "从下拉框选。只能填登记表中本企业在该县的服务。", True, 10, SERVICES)
_COMPANY: Final = Column("company", "企业编号", "company", "可不填;填了必须是本企业的编号,免得交错了表。", width=16)
_MARK: Final = Column("mark", "行标识", "mark", "续填表自带,用来认出“已报”的行有没有改动。请勿填写或修改。", width=16)

_INSTALLATION_OPERATIONS: Final = (NEW, CORRECT, RETRACT, DELETE)
_PRESENCE_OPERATIONS: Final = (NEW, CORRECT)
_WINDOW_OPERATIONS: Final = (NEW, CORRECT, RETRACT)

PAGES: Final[tuple[PageLayout, ...]] = (
    PageLayout(
        "installation", "报装进度",
        (
            _operation(
                _INSTALLATION_OPERATIONS,
                "空白即“新增”。更正:重报这一环节,以后报的为准;撤回:这一环节没有发生;整件删除:整件报装是误录。",
            ),
            Column(
                "installation_no", "报装编号", "identifier",
                "本企业自己的编号,字母、数字、点、横线、下划线,不超过64位。同一件各环节用同一编号。", True, 20,
            ),
            Column("case_no", "联合报装办件号", "identifier", "属于联合报装的,填一件事办件号;企业自己受理的留空。", width=22),
            _COUNTY,
            _SERVICE,
            Column("step", "环节", "choice", "从下拉框选。暂停、恢复可以有多次,各占一行。整件删除时留空。", True, 12, STEPS),
            Column(
                "occurred_at", "发生时间", "instant",
                "环节发生的日期,可带时间,如 2024-09-30 或 2024-09-30 14:30。撤回时可留空(暂停、恢复除外)。", True, 20,
            ),
            Column("customer_kind", "用户类别", "choice", "办理时限按它计算;不清楚可留空。", width=14, choices=CUSTOMER_KINDS),
            Column("reason", "说明", "text", "如暂停、取消的原因,不超过200字。不要写姓名、电话、身份证号、地址。", width=30),
            Column("case_source", "办件来源", "text", "一般留空。两个省级系统的办件号可能相同时,由审批局告知填什么。", width=14),
            _COMPANY,
            _MARK,
        ),
        _INSTALLATION_OPERATIONS,
        "每行一件报装的一个环节。",
    ),
    PageLayout(
        "presence", "大厅进驻",
        (
            _operation(_PRESENCE_OPERATIONS, "空白即“新增”。填错了用“更正”:同一县、服务、生效日期的,以后报的为准。"),
            _COUNTY,
            _SERVICE,
            Column("level", "进驻形式", "choice", "从下拉框选。撤出大厅填“未进驻”。", True, 12, LEVELS),
            Column(
                "handles", "办理业务", "choice", "在窗口实际办理什么;两类都办才算进驻到位。未进驻的留空。",
                width=18, choices=HANDLES,
            ),
            Column("effective_on", "生效日期", "day", "从哪天起是这样,如 2024-09-01;不能晚于今天。", True, 14),
            Column("evidence", "说明", "text", "如窗口号、依据的文件,不超过200字。不要写个人信息。", width=30),
            _COMPANY,
            _MARK,
        ),
        _PRESENCE_OPERATIONS,
        "每行一次变化:本企业的一项服务从某天起在某县大厅怎样进驻。",
    ),
    PageLayout(
        "window", "窗口办件",
        (
            _operation(
                _WINDOW_OPERATIONS, "空白即“新增”。填错了用“更正”:同一县、服务、月份的,以后报的为准;撤回:该月当作没有报过。"
            ),
            _COUNTY,
            _SERVICE,
            Column("month", "月份", "month", "如 2024-09。每月报一次,没有办件填0。", True, 12),
            Column(
                "public_service_handled", "公用服务办件数", "count",
                "该窗口当月办理的公用服务(缴费、报修、过户等)件数,0也要报。", True, 16,
            ),
            Column("note", "说明", "text", "可不填。", width=30),
            _COMPANY,
            _MARK,
        ),
        _WINDOW_OPERATIONS,
        "每行一个窗口一个月的公用服务办件数。",
    ),
)  # fmt: skip

BY_KIND: Final[Mapping[PageKind, PageLayout]] = {page.kind: page for page in PAGES}


def word_of(choices: Mapping[str, object], value: object) -> str:
    """The word that people read for a wire value; the value itself where there is none."""
    return next((word for word, meaning in choices.items() if meaning == value), str(value))
