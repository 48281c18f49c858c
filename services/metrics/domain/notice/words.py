"""The words of the notice (docs/notice.md has the rules), with the half-width punctuation of CONTRACT §5.

Documents for people are typeset: :func:`typeset` gives the full-width punctuation of official texts.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from services.metrics.domain.notice import months
from services.metrics.domain.notice.shares import in_words
from shared import counties

UNITS: Final = "个县(市、区)"
NUMERALS: Final = "一二三四五六七八九十"

SERVICES: Final[Mapping[str, str]] = {
    "water": "供水", "drainage": "排水", "power": "供电", "gas": "燃气", "heat": "供热", "telecom": "通信", "cable_tv": "有线电视",
}  # fmt: skip

_FULL_WIDTH: Final = {ord(sign): ord(sign) + 0xFEE0 for sign in ",;:()"}

Content = Mapping[str, Any]
"""The notice's document, as far as it is made (``content.py``)."""

Row = Mapping[str, Any]


def typeset(text: str) -> str:
    """The text with full-width commas, semicolons, colons and parentheses."""
    return text.translate(_FULL_WIDTH)


def title(month: str, item_name: str) -> str:
    """The document's title."""
    return f"关于{month[:4]}年{months.name(month)}“{item_name}”一件事办理情况的通报"


def sections(content: Content) -> list[dict[str, str]]:
    """The paragraphs, each with a heading; one that would have no figures is left out."""
    made: tuple[tuple[str, Callable[[Content], str]], ...] = (
        ("办理情况", _handling),
        ("当月变化", _change),
        ("试点情况", _pilots),
        ("企业进驻情况", _halls),
        ("窗口运行情况", _idle),
        ("联合报装情况", _installations),
    )
    return [{"heading": heading, "text": text} for heading, write in made if (text := write(content))]


def notes(content: Content) -> list[str]:
    """The rules that the figures follow, printed under the tables."""
    chosen = content["parameters"]
    limit = "少于" if chosen["low_op"] == "lt" else "少于或等于"
    after_a_tie = "其后位次顺延(1、1、3)" if chosen["ties"] == "skip" else "其后位次不跳(1、1、2)"
    return [
        f"数据截至{months.day(content['as_of'])},按业务日期(北京时间)统计;同一办件只计一次,已删除的不计。",
        f"办件量{limit}{chosen['low']}件的列为办件量少的单位;列名的领先单位为位次前{chosen['top']}位,末位并列的一并列出。",
        f"办件量相同的位次相同,{after_a_tie},并列单位按区划顺序排列。",
        "“已进驻”指在综合窗口或独立窗口同时办理联合报装和公用服务;“应进驻”按登记表中截至日有效的企业和服务计。",
    ]


def freeze_notes(answer: Content) -> list[str]:
    """What is said of the freeze: when, by whom, the hash; or that the figures may still change."""
    frozen = answer.get("frozen")
    if not frozen:
        return ["本件数据未冻结,补报和更正会使数据变化。"]
    said = f"本件数据于{months.day(frozen['on'])}冻结,校验码(SHA-256):{frozen['sha256']}。"
    if answer.get("restatement"):
        return [said, "冻结后数据有更正,逐项列在“冻结后的更正”中;正文和各表仍为冻结时的数据。"]
    return [said]


def _handling(content: Content) -> str:
    head = f"{months.until(content['month'], content['as_of'])},全市共办理“{content['item_name']}”一件事{content['total']}件"
    return head + _leaders(content) + ";" + _low(content) + _shares(content) + _stages(content)


def _leaders(content: Content) -> str:
    total, rows = content["total"], content["rows"]
    if not total:
        return ",各县(市、区)均未办理"
    first = [row for row in rows if row["rank"] == 1]
    each = "各" if len(first) > 1 else ""
    count = first[0]["count"]
    text = f",办理量最高的是{_names(first)}({each}{count}件,{each}占全市的{count / total:.1%})"
    following = [row for row in rows if 1 < row["rank"] <= content["parameters"]["top"] and row["count"]]
    if following:
        text += ",其次是" + "、".join(f"{row['name']}({row['count']}件)" for row in following)
    return text


def _low(content: Content) -> str:
    than, op = content["low"]["than"], content["low"]["op"]
    limit = f"不足{than}件" if op == "lt" else f"{than}件以下"
    low, zero = _rows(content, content["low"]["counties"]), _rows(content, content["zero"]["counties"])
    at_zero = f"{_names(zero)}{len(zero)}{UNITS}办件为零"
    if not low:
        return f"{at_zero}。" if zero else f"没有办件量{limit}的县(市、区)。"
    text = f"办件量{limit}的有{len(low)}{UNITS}:{_names(low)}"
    return f"{text},其中{at_zero}。" if zero else f"{text}。"


def _shares(content: Content) -> str:
    """What the leader has of the whole, and what all leading units have, where there are others."""
    total, top = content["total"], content["parameters"]["top"]
    leading = [row for row in content["rows"] if row["rank"] <= top and row["count"]]
    together = sum(row["count"] for row in leading)
    said = []
    if len(first := _first(leading)) == 1 < len(leading) and (alone := in_words(first[0]["count"], total)):
        said.append(f"{_names(first)}的办理量占比{alone}")
    if len(leading) > 1 and together < total:
        text = f"领先的{len(leading)}个单位合计办理{together}件,占全市的{together / total:.1%}"
        words = in_words(together, total)
        said.append(f"{text},{words}" if words else text)
    return f"{';'.join(said)}。" if said else ""


def _stages(content: Content) -> str:
    totals = content["totals"]
    if not totals["applied"] and not totals["completed"]:
        return ""
    text = f"全市申报{totals['applied']}件,受理{totals['accepted']}件,办结{totals['completed']}件"
    if 0 < totals["completed"] <= totals["accepted"]:
        text += f",办结率{totals['completed'] / totals['accepted']:.1%}"
    return f"{text}。"


def _change(content: Content) -> str:
    added, before = content["totals"]["added"], content["totals"]["added_before"]
    if not content["total"]:
        return ""
    month, last = months.name(content["month"]), months.name_before(content["month"])
    text = f"{month}当月办理{added}件"
    if content["total"] == added:
        text += ",此前没有办理"
    elif added == before:
        text += f",与{last}持平"
    else:
        more = "增加" if added > before else "减少"
        rate = f"({'增长' if added > before else '下降'}{abs(added - before) / before:.1%})" if before else ""
        text += f",比{last}({before}件){more}{abs(added - before)}件{rate}"
    rows = content["rows"]
    best = max(row["added"] for row in rows)
    if best:
        text += f",当月办理最多的是{_names(row for row in rows if row['added'] == best)}({best}件)"
    text += "。"
    if fresh := [row for row in rows if row["count"] and row["count"] == row["added"] and content["total"] != added]:
        text += f"{_names(fresh)}{len(fresh)}{UNITS}首次有办件。"
    still = [row for row in rows if not row["added"]]
    if still and added:
        text += f"当月没有新办理的有{len(still)}{UNITS}:{_names(still)}。"
    return text + _risen(rows)


def _risen(rows: Iterable[Row]) -> str:
    up = [row for row in rows if row["rank_before"] and row["rank_before"] > row["rank"] and row["added"]]
    if not up:
        return ""
    most = max(row["rank_before"] - row["rank"] for row in up)
    named = "、".join(
        f"{row['name']}(由第{row['rank_before']}位升至第{row['rank']}位)" for row in up if row["rank_before"] - row["rank"] == most
    )
    return f"位次上升最多的是{named}。"


def _pilots(content: Content) -> str:
    rows = content["rows"]
    pilots, others = [row for row in rows if row["pilot"]], [row for row in rows if not row["pilot"]]
    if not pilots or not others or not content["total"]:
        return ""
    standing = "、".join(f"{row['name']}{row['count']}件(第{row['rank']}位)" for row in pilots)
    text = f"试点单位{len(pilots)}个:{standing}"
    mine, theirs = (sum(row["count"] for row in group) for group in (pilots, others))
    # By cross-multiplication, so that no rounding decides; what is printed alike is not called more or less.
    ours, rest = f"{mine / len(pilots):.1f}", f"{theirs / len(others):.1f}"
    if ours == rest:
        compared = "与其他单位的平均数基本持平"
    else:
        compared = f"{'高于' if mine * len(others) > theirs * len(pilots) else '低于'}其他单位的平均{rest}件"
    text += f",平均每个试点单位{ours}件,{compared}"
    best = max(row["count"] for row in pilots)
    ahead = [row for row in others if row["count"] > best]
    if ahead:
        text += f";有{len(ahead)}个非试点单位的办理量高于全部试点单位,办理量最高的{_names(_first(rows))}不是试点"
    elif all(row["pilot"] for row in _first(rows)):
        text += f";办理量最高的{_names(_first(rows))}是试点"
    return f"{text}。"


def _halls(content: Content) -> str:
    total, rows = content["co_location"]["total"], content["co_location"]["counties"]
    if not total["applicable"]:
        return ""
    text = f"水电气暖网等企业应进驻{total['applicable']}家次,实际进驻{total['co_located']}家次,进驻率{total['rate']:.1%}"
    if said := in_words(total["co_located"], total["applicable"]):
        text += f"({said})"
    if full := [row for row in rows if row["applicable"] and row["co_located"] == row["applicable"]]:
        text += f";应进尽进的有{len(full)}{UNITS}:{_names(full)}"
    if absent := [row for row in rows if row["none_at_all"]]:
        text += f";{_names(absent)}{len(absent)}{UNITS}没有一家企业进驻"
    return f"{text}。"


def _idle(content: Content) -> str:
    rows = content["idle_windows"]
    if not rows:
        return ""
    proven = [row for row in rows if row["reported"]]
    month = months.name(content["month"])
    if proven:
        by_county = "、".join(f"{name}{number}个" for name, number in _per_county(proven, lambda _: 1))
        text = f"{month}“进厅不办事”的窗口有{len(proven)}个:{by_county}"
    else:
        text = f"{month}没有查实“进厅不办事”的窗口"
    if silent := len(rows) - len(proven):
        # Not to be blamed for what nobody told: whether they handled anything is not known.
        text += f";另有{silent}个窗口没有报装环节,也没有报送公用服务办理数,尚不能判定"
    return f"{text}。"


def _installations(content: Content) -> str:
    rows = content["installations"]
    if not rows:
        return ""
    opened, connected, running, overdue = (
        sum(row[name] for row in rows) for name in ("opened", "connected", "in_progress", "overdue")
    )
    head = f"{months.until(content['month'], content['as_of'])},全市联合报装受理{opened}件,接通{connected}件,在办{running}件"
    if not overdue:
        return f"{head},没有超期。"
    late = "、".join(f"{name}{number}件" for name, number in _per_county(rows, lambda row: row["overdue"]))
    return f"{head},其中超期{overdue}件:{late}。"


def _per_county(rows: Iterable[Row], number: Callable[[Row], int]) -> list[tuple[str, int]]:
    """By the roster's order, units with a number above zero."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["county"]] = sums.get(row["county"], 0) + number(row)
    return [(county.name, sums[county.code]) for county in counties.ROSTER if sums.get(county.code)]


def _rows(content: Content, codes: Iterable[str]) -> list[Row]:
    by_code = {row["county"]: row for row in content["rows"]}
    return [by_code[code] for code in codes]


def _first(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["rank"] == 1]


def _names(rows: Iterable[Row]) -> str:
    return "、".join(row["name"] for row in rows)
