"""The notice as Markdown: title, paragraphs, the tables, the rules, and what was restated."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.metrics.domain.notice.freezing import value_in_words
from services.metrics.domain.notice.shares import percent
from services.metrics.domain.notice.words import NUMERALS, freeze_notes


def markdown(answer: Mapping[str, Any]) -> str:
    """``answer`` is the notice with ``frozen`` and ``restatement`` beside it, where there are any."""
    parts = [_text(answer), _counts(answer), _halls(answer), _restated(answer), _notes(answer)]
    return "\n".join(line for part in parts for line in part)


def _text(answer: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"# {answer['title']}", "")
    for numeral, section in zip(NUMERALS, answer["sections"], strict=False):
        yield from (f"**{numeral}、{section['heading']}。**{section['text']}", "")


def _counts(answer: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## 各县(市、区)办件情况", "", "| 位次 | 县(市、区) | 试点 | 办件量 | 占比 | 办结 | 当月办理 | 上月办理 |")
    yield "|---:|---|:---:|---:|---:|---:|---:|---:|"
    for row in answer["rows"]:
        pilot = "是" if row["pilot"] else ""
        yield (
            f"| {row['rank']} | {row['name']} | {pilot} | {row['count']} | {percent(row['share'])} | {row['completed']}"
            f" | {row['added']} | {row['added_before']} |"
        )
    totals = answer["totals"]
    yield f"| | 全市 | | {answer['total']} | | {totals['completed']} | {totals['added']} | {totals['added_before']} |"
    yield ""


def _halls(answer: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## 企业进驻政务服务大厅", "", "| 县(市、区) | 应进驻 | 已进驻 | 进驻率 | |", "|---|---:|---:|---:|---|")
    for row in answer["co_location"]["counties"]:
        remark = "无企业进驻" if row["none_at_all"] else ""
        yield f"| {row['name']} | {row['applicable']} | {row['co_located']} | {percent(row['rate'])} | {remark} |"
    total = answer["co_location"]["total"]
    yield f"| 全市 | {total['applicable']} | {total['co_located']} | {percent(total['rate'])} | |"
    yield ""


def _restated(answer: Mapping[str, Any]) -> Iterator[str]:
    restated = answer.get("restatement")
    if not restated:
        return
    yield from ("## 冻结后的更正", "", "| 单位 | 指标 | 冻结时 | 现在 |", "|---|---|---:|---:|")
    for row in (*restated["total"], *restated["changes"]):
        then, now = (value_in_words(row["measure"], row[name]) for name in ("frozen", "now"))
        yield f"| {row['name']} | {row['measure_name']} | {then} | {now} |"
    yield ""


def _notes(answer: Mapping[str, Any]) -> Iterator[str]:
    yield "说明:"
    yield ""
    for number, note in enumerate((*answer["notes"], *freeze_notes(answer)), start=1):
        yield f"{number}. {note}"
    yield ""
