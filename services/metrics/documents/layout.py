"""Pieces of a text document as GB/T 9704-2012 sets official documents: page, fonts, paragraphs, tables, page numbers.

Sizes: 2号 22 pt, 3号 16 pt, 4号 14 pt, 小四 12 pt, 五号 10.5 pt.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from docx import Document
from docx.document import Document as TextDocument
from docx.enum.table import WD_ROW_HEIGHT_RULE, WD_TABLE_ALIGNMENT
from docx.enum.text import WD_ALIGN_PARAGRAPH, WD_LINE_SPACING
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Mm, Pt, RGBColor
from docx.table import Table
from docx.text.paragraph import Paragraph
from docx.text.run import Run

from services.metrics.domain.notice.words import typeset

SONG: Final = "方正小标宋简体"
FANGSONG: Final = "仿宋_GB2312"
HEI: Final = "黑体"
SONGTI: Final = "宋体"

BODY: Final = 16.0
LINE: Final = 28.0
"""Line spacing of the text, in points: 22 lines on the 225 mm of a page."""

ALIGN: Final = {"left": WD_ALIGN_PARAGRAPH.LEFT, "centre": WD_ALIGN_PARAGRAPH.CENTER, "right": WD_ALIGN_PARAGRAPH.RIGHT,
                "both": WD_ALIGN_PARAGRAPH.JUSTIFY}  # fmt: skip


class Column(NamedTuple):
    """A column of a table: its header, its width in millimetres, how its cells are aligned."""

    header: str
    width: float
    align: str = "right"


def new_document() -> TextDocument:
    """An empty A4 document: margins 37, 35, 28 and 26 mm (a text area of 156 by 225), page numbers at the outer edge."""
    document = Document()
    _default_font(document)
    section = document.sections[0]
    section.page_width, section.page_height = Mm(210), Mm(297)
    section.top_margin, section.bottom_margin = Mm(37), Mm(35)
    section.left_margin, section.right_margin = Mm(28), Mm(26)
    section.header_distance, section.footer_distance = Mm(15), Mm(25)
    document.settings.odd_and_even_pages_header_footer = True
    _page_number(section.footer.paragraphs[0], "right")
    _page_number(section.even_page_footer.paragraphs[0], "left")
    return document


def _default_font(document: TextDocument) -> None:
    normal = document.styles["Normal"]
    properties = normal.element.get_or_add_rPr()
    fonts = properties.get_or_add_rFonts()
    _name_font(fonts, FANGSONG)
    normal.font.size = Pt(BODY)
    tighter = OxmlElement("w:spacing")  # 28 characters of 16 pt on a line of 156 mm, without a grid that tables would follow too
    tighter.set(qn("w:val"), "-5")
    properties.insert_element_before(tighter, "w:w", "w:kern", "w:position", "w:sz", "w:szCs")
    defaults = document.styles.element.find(f"{qn('w:docDefaults')}/{qn('w:rPrDefault')}/{qn('w:rPr')}")
    if defaults is not None:
        # A theme's fonts would win over those that are named.
        for child in defaults.findall(qn("w:rFonts")) + defaults.findall(qn("w:lang")):
            defaults.remove(child)
        language = OxmlElement("w:lang")
        for name, value in (("val", "en-US"), ("eastAsia", "zh-CN")):
            language.set(qn(f"w:{name}"), value)
        defaults.append(language)


def _name_font(fonts: object, name: str) -> None:
    for script in ("ascii", "hAnsi", "eastAsia", "cs"):
        fonts.set(qn(f"w:{script}"), name)  # type: ignore[attr-defined]


def run(
    paragraph: Paragraph, text: str, *, font: str = FANGSONG, size: float = BODY, colour: str = "", underlined: bool = False
) -> Run:
    """Adds typeset text in one font for every script, so that digits and quotation marks match the Chinese around them."""
    made = paragraph.add_run(typeset(text))
    made.font.size = Pt(size)
    if colour:
        made.font.color.rgb = RGBColor.from_string(colour)
    if underlined:
        made.font.underline = True
    fonts = made._r.get_or_add_rPr().get_or_add_rFonts()
    _name_font(fonts, font)
    fonts.set(qn("w:hint"), "eastAsia")
    return made


def paragraph(
    document: TextDocument,
    text: str = "",
    *,
    font: str = FANGSONG,
    size: float = BODY,
    align: str = "both",
    line: float = LINE,
    indent: int = 0,
    right: float = 0,
    keep_with_next: bool = False,
    colour: str = "",
) -> Paragraph:
    """A paragraph with lines of exactly ``line`` points, the first one indented by ``indent`` characters."""
    made = document.add_paragraph()
    style(made, align=align, line=line, keep_with_next=keep_with_next)
    if right:
        made.paragraph_format.right_indent = Pt(right)
    if indent:
        made.paragraph_format.first_line_indent = Pt(indent * size)
        made._p.get_or_add_pPr().get_or_add_ind().set(qn("w:firstLineChars"), str(indent * 100))
    if text:
        run(made, text, font=font, size=size, colour=colour)
    return made


def style(made: Paragraph, *, align: str, line: float, keep_with_next: bool = False) -> None:
    """Alignment and exact line spacing, without room before and after."""
    form = made.paragraph_format
    form.alignment = ALIGN[align]
    form.space_before = form.space_after = Pt(0)
    form.line_spacing_rule = WD_LINE_SPACING.EXACTLY
    form.line_spacing = Pt(line)
    form.keep_with_next = keep_with_next or None


def rule(made: Paragraph, colour: str) -> None:
    """A line of that colour under the paragraph, over the whole width."""
    borders = OxmlElement("w:pBdr")
    bottom = OxmlElement("w:bottom")
    for name, value in (("val", "single"), ("sz", "12"), ("space", "6"), ("color", colour)):
        bottom.set(qn(f"w:{name}"), value)
    borders.append(bottom)
    properties = made._p.get_or_add_pPr()
    properties.insert_element_before(
        borders, "w:shd", "w:tabs", "w:suppressAutoHyphens", "w:spacing", "w:ind", "w:jc", "w:rPr", "w:sectPr"
    )


def table(
    document: TextDocument, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, size: float = 10.5, height: float = 7.2
) -> Table:
    """A ruled table whose header comes again on each page and whose rows stay whole; ``height`` of a row in millimetres."""
    made: Table = document.add_table(rows=len(rows) + 1, cols=len(columns), style="Table Grid")
    made.alignment = WD_TABLE_ALIGNMENT.CENTER
    made.autofit = False
    for place, column in enumerate(columns):
        made.columns[place].width = Mm(column.width)
    contents = ([column.header for column in columns], *rows)
    for number, (row, values) in enumerate(zip(made.rows, contents, strict=True)):
        row.height = Mm(height)
        row.height_rule = WD_ROW_HEIGHT_RULE.AT_LEAST
        properties = row._tr.get_or_add_trPr()
        properties.append(OxmlElement("w:cantSplit"))
        if number == 0:
            properties.append(OxmlElement("w:tblHeader"))
        for cell, column, value in zip(row.cells, columns, values, strict=True):
            cell.width = Mm(column.width)
            _centre_vertically(cell._tc)
            into = cell.paragraphs[0]
            style(into, align="centre" if number == 0 else column.align, line=size * 1.3)
            run(into, value, font=HEI if number == 0 else FANGSONG, size=size)
    return made


def _centre_vertically(cell: object) -> None:
    properties = cell.get_or_add_tcPr()  # type: ignore[attr-defined]
    centred = OxmlElement("w:vAlign")
    centred.set(qn("w:val"), "center")
    properties.append(centred)


def _page_number(into: Paragraph, align: str) -> None:
    """— 1 —, 4号 half-width 宋体, one character from the outer edge."""
    style(into, align=align, line=LINE)
    edge = Pt(14)
    if align == "right":
        into.paragraph_format.right_indent = edge
    else:
        into.paragraph_format.left_indent = edge
    run(into, "— ", font=SONGTI, size=14)
    for kind, text in (("begin", ""), ("", "PAGE"), ("separate", ""), ("value", "1"), ("end", "")):
        piece = run(into, text if kind == "value" else "", font=SONGTI, size=14)
        if kind == "value":
            continue
        if kind:
            mark = OxmlElement("w:fldChar")
            mark.set(qn("w:fldCharType"), kind)
        else:
            mark = OxmlElement("w:instrText")
            mark.text = text
        piece._r.append(mark)
    run(into, " —", font=SONGTI, size=14)
