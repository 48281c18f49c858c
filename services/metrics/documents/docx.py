"""The notice as a text document that a bureau can number, seal and send (GB/T 9704-2012), tables and chart as attachments."""

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from unicodedata import east_asian_width

from docx.document import Document as TextDocument
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from docx.shared import Mm

from services.metrics.documents import layout
from services.metrics.documents.chart import chart_and_workbook
from services.metrics.documents.layout import BODY, HEI, SONG, Column
from services.metrics.domain.notice import months
from services.metrics.domain.notice.freezing import value_in_words
from services.metrics.domain.notice.shares import percent
from services.metrics.domain.notice.words import NUMERALS, freeze_notes

TITLE: Final = 22.0
WIDTH: Final = 442.0
"""Of the text on a page, in points."""

RED: Final = "E60012"
GREY: Final = "B0B0B0"
BLANK: Final = "\u3000"
"""A blank of one Chinese character's width."""

CHART_TYPE: Final = "application/vnd.openxmlformats-officedocument.drawingml.chart+xml"
WORKBOOK_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CHART_SIZE: Final = (Mm(150), Mm(118))

Answer = Mapping[str, Any]


def render(answer: Answer) -> bytes:
    """The document of a notice as the api answers it, with ``frozen`` and ``restatement``."""
    document = layout.new_document()
    made = datetime.fromisoformat(answer["as_of"])
    properties = document.core_properties
    properties.title, properties.author, properties.last_modified_by = answer["title"], answer["issuer"], answer["issuer"]
    properties.subject, properties.comments, properties.language = "通报", "", "zh-CN"
    properties.created = properties.modified = made

    attachments = list(_attachments(answer))
    _head(document, answer)
    for numeral, section in zip(NUMERALS, answer["sections"], strict=False):
        layout.paragraph(document, f"{numeral}、{section['heading']}", font=HEI, indent=2, keep_with_next=True)
        layout.paragraph(document, section["text"], indent=2)
    _signature(document, answer, [title for title, _ in attachments])
    for number, (title, write) in enumerate(attachments, start=1):
        _begin_attachment(document, f"附件{number}", title)
        write(document, answer)
    return _same_bytes(document)


def _head(document: TextDocument, answer: Answer) -> None:
    """The place of the document's number above a red line, the title, and to whom it goes."""
    year = answer["frozen"]["on"][:4] if answer["frozen"] else BLANK * 2
    number = layout.paragraph(document, align="centre")
    layout.run(number, BLANK * 4, underlined=True)
    layout.run(number, f"〔{year}〕")
    layout.run(number, BLANK * 2, underlined=True)
    layout.run(number, "号")
    layout.rule(number, RED)
    layout.paragraph(document)
    for line in _title_lines(answer["title"]):
        layout.paragraph(document, line, font=SONG, size=TITLE, align="centre", line=36)
    layout.paragraph(document)
    layout.paragraph(document, "各县(市、区)行政审批局:")


def _signature(document: TextDocument, answer: Answer, attachments: list[str]) -> None:
    """The list of attachments, the sender's name above the date, and the place of the seal over both."""
    layout.paragraph(document)
    for number, title in enumerate(attachments, start=1):
        lead = "附件:" if number == 1 else BLANK * 3
        layout.paragraph(document, f"{lead}{number}.{title}", indent=2, align="left", keep_with_next=True)
    day = months.day(answer["frozen"]["on"]) if answer["frozen"] else f"{BLANK * 2}年{BLANK}月{BLANK}日"
    issuer = answer["issuer"]
    for _ in range(2):
        layout.paragraph(document, keep_with_next=True)
    # The date four characters from the right, the name centred over it, so that one seal covers both.
    edge, middle = 4 * BODY, 4 * BODY + _width(day) / 2
    layout.paragraph(document, "(盖章处)", size=12, align="right", right=middle - 12 * 2.5, keep_with_next=True, colour=GREY)
    layout.paragraph(document, issuer, align="right", right=max(middle - _width(issuer) / 2, 0), keep_with_next=True)
    layout.paragraph(document, day, align="right", right=edge)


def _title_lines(title: str) -> tuple[str, str]:
    """The title in two lines, broken behind the item's name, or before it where that is too long."""
    behind, before = title.index("”") + 1, title.index("“")
    cut = behind if _width(title[:behind]) * TITLE / BODY <= WIDTH else before
    return title[:cut], title[cut:]


def _width(text: str) -> float:
    """Of text in the body's size, in points: digits take half of what a Chinese character or quotation mark takes."""
    return sum(BODY if east_asian_width(sign) in "FWA" else BODY / 2 for sign in text)


Write = Callable[[TextDocument, Answer], None]


def _attachments(answer: Answer) -> Iterator[tuple[str, Write]]:
    yield "各县(市、区)办件情况表", _counts
    yield "各县(市、区)办件量图", _chart
    if answer["co_location"]["total"]["applicable"]:
        yield "企业进驻政务服务大厅情况表", _halls
    if answer["restatement"]:
        yield "冻结后的更正", _restatement


def _begin_attachment(document: TextDocument, label: str, title: str) -> None:
    first = layout.paragraph(document, label, font=HEI, align="left", keep_with_next=True)
    first.paragraph_format.page_break_before = True
    layout.paragraph(document, title, font=SONG, size=18, align="centre", line=32, keep_with_next=True)


def _counts(document: TextDocument, answer: Answer) -> None:
    columns = [
        Column("位次", 13, "centre"), Column("县(市、区)", 27, "left"), Column("试点", 13, "centre"), Column("办件量", 15),
        Column("占比", 18), Column("当月\n办理", 14), Column("上月\n办理", 14), Column("申报", 14), Column("受理", 14),
        Column("办结", 14),
    ]  # fmt: skip
    names = ("added", "added_before", "applied", "accepted", "completed")
    rows = [
        (str(r["rank"]), r["name"], "是" if r["pilot"] else "", str(r["count"]), percent(r["share"]), *(str(r[n]) for n in names))
        for r in answer["rows"]
    ]
    totals = answer["totals"]
    rows.append(("", "全市", "", str(answer["total"]), "100.0%" if answer["total"] else "—", *(str(totals[n]) for n in names)))
    layout.table(document, columns, rows)


def _chart(document: TextDocument, answer: Answer) -> None:
    drawn, workbook = chart_and_workbook(answer)
    package = document.part.package
    data = Part(PackURI("/word/embeddings/Microsoft_Excel_Sheet1.xlsx"), WORKBOOK_TYPE, workbook, package)
    chart = Part(PackURI("/word/charts/chart1.xml"), CHART_TYPE, drawn, package)
    assert chart.relate_to(data, RELATIONSHIP_TYPE.PACKAGE) == "rId1", "the chart's XML names it so"
    relation = document.part.relate_to(chart, RELATIONSHIP_TYPE.CHART)
    into = document.add_paragraph()
    into.paragraph_format.alignment = layout.ALIGN["centre"]
    width, height = CHART_SIZE
    into.add_run()._r.append(
        parse_xml(
            f"""<w:drawing xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"
                xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing"
                xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"
                xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"
                xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">
              <wp:inline distT="0" distB="0" distL="0" distR="0">
                <wp:extent cx="{width}" cy="{height}"/>
                <wp:docPr id="1" name="办件量图" descr="各县(市、区)办件量条形图"/>
                <wp:cNvGraphicFramePr/>
                <a:graphic><a:graphicData uri="http://schemas.openxmlformats.org/drawingml/2006/chart">
                  <c:chart r:id="{relation}"/>
                </a:graphicData></a:graphic>
              </wp:inline>
            </w:drawing>"""
        )
    )
    layout.paragraph(document, "说明:", font=HEI, size=12, line=18, keep_with_next=True)
    for number, note in enumerate((*answer["notes"], *freeze_notes(answer)), start=1):
        layout.paragraph(document, f"{number}.{note}", size=12, line=18, align="left")


def _halls(document: TextDocument, answer: Answer) -> None:
    columns = [
        Column("县(市、区)", 36, "left"), Column("应进驻(家次)", 30), Column("已进驻(家次)", 30), Column("进驻率", 24),
        Column("备注", 36, "centre"),
    ]  # fmt: skip
    told = answer["co_location"]
    rows = [
        (r["name"], str(r["applicable"]), str(r["co_located"]), percent(r["rate"]), "无企业进驻" if r["none_at_all"] else "")
        for r in told["counties"]
    ]
    total = told["total"]
    rows.append(("全市", str(total["applicable"]), str(total["co_located"]), percent(total["rate"]), ""))
    layout.table(document, columns, rows)


def _restatement(document: TextDocument, answer: Answer) -> None:
    columns = [Column("单位", 28, "left"), Column("指标", 72, "left"), Column("冻结时", 28), Column("现在", 28)]
    restated = answer["restatement"]
    rows = [
        (r["name"], r["measure_name"], *(str(value_in_words(r["measure"], r[when])) for when in ("frozen", "now")))
        for r in (*restated["total"], *restated["changes"])
    ]
    layout.table(document, columns, rows)


def _same_bytes(document: TextDocument) -> bytes:
    """The document as a file; its parts bear no time, so that the same content gives the same bytes."""
    saved = io.BytesIO()
    document.save(saved)
    packed = io.BytesIO()
    with zipfile.ZipFile(saved) as parts, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name in parts.namelist():
            undated = zipfile.ZipInfo(name)
            undated.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(undated, parts.read(name))
    return packed.getvalue()
