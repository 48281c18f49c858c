"""A case's history as people of the bureau read it: a table of its events, and in one line what they add up to."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from rich.markup import escape
from rich.table import Table

from services.metrics.domain.cases import view
from services.metrics.domain.explain import History, Logged, Outcome, contributed, instant, missing
from shared import counties, items
from shared.clock import SHANGHAI

STEPS: Final = {
    "applied": "申报", "accepted": "受理", "supplement_requested": "补正", "not_accepted": "不予受理",
    "returned": "退件", "withdrawn": "撤件", "completed": "办结", "voided": "作废",
}  # fmt: skip
MEASURES: Final = {
    "handled": "办件", "applied": "申报", "accepted": "受理", "completed": "办结", "completed_on_time": "按时办结",
    "not_accepted": "不予受理", "returned": "退件", "withdrawn": "撤件", "online": "网办",
}  # fmt: skip
OPERATIONS: Final = {"upsert": "写入", "retract": "撤销环节", "delete": "删除"}
ATTRIBUTES: Final = {"county": "县(市、区)", "item": "事项", "channel": "渠道", "promised_on": "承诺日期", "services": "报装服务"}
CHANNELS: Final = {"window": "窗口", "web": "网上", "mobile": "移动端", "mail": "邮寄", "other": "其他"}
OUTCOMES: Final = {"granted": "准予", "denied": "不予"}
WHYS: Final = {"later": "登记更晚", "id": "同时登记,其事件号更大", "digest": "同号同时登记,其内容摘要更大"}

HEADINGS: Final = ("位移", "到达", "事件号", "登记时间", "版本", "操作", "环节", "发生时间", "县(市、区)", "事项", "其他", "结果")


class Unread(NamedTuple):
    """A record with the case's number that is no event: metrics parks such a one."""

    offset: int
    why: str


class Found(NamedTuple):
    """What the log holds of one case. ``arrived`` is when each record came into the log, by its offset."""

    events: list[Logged]
    unread: list[Unread]
    arrived: dict[int, datetime]


def table(found: Found, history: History) -> Table:
    """A row for each record, in the log's order; times in Beijing's."""
    made = Table(title="办件事件历史(时间均为北京时间)", title_justify="left", show_lines=False)
    for heading in HEADINGS:
        made.add_column(heading, justify="right" if heading in ("位移", "版本") else "left", overflow="fold")
    rows = {outcome.logged.offset: _row(outcome) for outcome in history.outcomes}
    rows |= {
        unread.offset: ["", "", "", "", "", "", "", "", "", f"[red]无法读取,已另存待查:{escape(unread.why)}[/red]"]
        for unread in found.unread
    }
    for offset, row in sorted(rows.items()):
        made.add_row(str(offset), _time(found.arrived[offset]), *row)
    return made


def _row(outcome: Outcome) -> list[str]:
    event = outcome.logged.event
    more = [
        OUTCOMES.get(event.outcome or "", ""),
        CHANNELS.get(event.channel or "", ""),
        f"承诺{event.promised_on}" if event.promised_on else "",
        "报装" + "、".join(event.services) if event.services else "",
    ]
    return [
        escape(event.id),
        _time(instant(event.recorded_at)),
        str(outcome.logged.version),
        OPERATIONS[event.operation],
        STEPS.get(event.step or "", ""),
        "" if event.occurred_at is None else _time(instant(event.occurred_at)),
        counties.BY_CODE[event.county].name if event.county else "",
        items.BY_CODE[event.item].name if event.item else "",
        escape(",".join(text for text in more if text)),
        verdict(outcome),
    ]


def verdict(outcome: Outcome) -> str:
    """What became of one event, as rich markup."""
    if outcome.repeats is not None:
        return f"[dim]重复:与位移{outcome.repeats}相同[/dim]"
    if outcome.outranked_by is not None:
        return f"[dim]作废:已有更高版本{outcome.outranked_by}[/dim]"
    parts = []
    if outcome.won:
        parts.append(f"[green]生效:{'、'.join(map(_register, outcome.won))}[/green]")
    parts += [f"[yellow]{_register(lost.register)}未生效:位移{lost.offset}{WHYS[lost.why]}[/yellow]" for lost in outcome.lost]
    return ";".join(parts)


def _register(name: str) -> str:
    if name == "delete":
        return "删除标记"
    return STEPS[name.removeprefix("step:")] if name.startswith("step:") else ATTRIBUTES[name]


def summary(history: History) -> str:
    """Where the case stands after all its events."""
    if not history.outcomes:
        return "没有可读的事件,该办件不计数。"
    shown = view(history.state)
    head = f"共{len(history.outcomes)}条事件,现为版本{history.state.version}:"
    if shown.deleted:
        return head + "已删除,不计数。"
    if lacking := missing(shown.county, shown.item):
        return head + f"尚无{_names(lacking)},暂不计数。"
    days = contributed(shown.contribution)
    if not days:
        return head + "没有有效环节,不计数。"
    assert shown.county is not None, "a placed case has its county"
    assert shown.item is not None, "and its item"
    counted = "、".join(f"{MEASURES[measure]} {day}" for measure, day in days.items())
    return head + f"计入{counties.BY_CODE[shown.county].name}“{items.BY_CODE[shown.item].name}”:{counted}。"


def _names(registers: Sequence[str]) -> str:
    return "、".join(map(_register, registers))


def _time(at: datetime) -> str:
    local = at.astimezone(SHANGHAI)
    return local.strftime("%Y-%m-%d %H:%M:%S") + (f".{local.microsecond:06d}".rstrip("0") if local.microsecond else "")
