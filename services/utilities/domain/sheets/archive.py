"""What may be opened as a sheet: judged by the ZIP's directory and each part's bytes, before any of it is parsed.

Limits are far above what an honest sheet of :data:`layout.MOST_ROWS` rows needs (about 6 MiB unpacked).
"""

import re
import zipfile
import zlib
from io import BytesIO
from typing import Final

from services.utilities.domain.sheets.layout import MOST_ROWS

MOST_BYTES: Final = 5 * 1024 * 1024
MOST_UNPACKED: Final = 40 * 1024 * 1024
MOST_UNPACKED_REST: Final = 4 * 1024 * 1024
"""Of styles, the workbook and all else that holds no cells: openpyxl builds an object of each of their elements."""
MOST_ENTRIES: Final = 500
MOST_RATIO: Final = 200
"""Unpacked to packed, of all parts together. Sheets reach 10 to 40; DEFLATE's bombs a thousand."""

RATIO_MATTERS_FROM: Final = 8 * 1024 * 1024

_DTD: Final = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError, KeyError)


class SheetRefused(Exception):
    """The file cannot be taken as a whole. ``reason`` is for programs; the message, in Chinese, says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def guard(content: bytes) -> None:
    """Passes when ``content`` is a plain XLSX that is safe to parse.

    Raises:
        SheetRefused: it is something else, holds macros or a document type, or would unpack to too much.
    """
    if len(content) > MOST_BYTES:
        raise SheetRefused("too-large", f"文件超过{MOST_BYTES // 2**20}兆:请分成几份,每份不超过{MOST_ROWS}行。")
    _refuse_foreign(content)
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            entries = archive.infolist()
            _refuse_bomb(entries, len(content))
            _refuse_other_kinds(archive, {entry.filename for entry in entries})
            for entry in entries:
                _refuse_document_type(archive.read(entry), entry.filename.lower().endswith((".xml", ".rels", ".vml")))
    except _BROKEN:
        raise SheetRefused("broken", "文件已损坏,打不开:请用表格软件打开后重新保存为 .xlsx,再报送。") from None


def _refuse_foreign(content: bytes) -> None:
    if not content:
        raise SheetRefused("empty", "文件是空的。")
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise SheetRefused("not-xlsx", "这是旧版 .xls 或加了密码的文件:请另存为“Excel 工作簿(.xlsx)”,不设密码。")
    if content.startswith(b"%PDF"):
        raise SheetRefused("not-xlsx", "这是 PDF 文件:请报送填好的 .xlsx 模板。")
    if not content.startswith(b"PK"):
        raise SheetRefused("not-xlsx", "这不是 .xlsx 文件(CSV、文本、图片都不行):请下载模板,填好后直接报送。")


def _refuse_bomb(entries: list[zipfile.ZipInfo], packed: int) -> None:
    """By the directory's sizes: zipfile never gives more of a part than the directory says."""
    unpacked = sum(entry.file_size for entry in entries)
    cells = sum(entry.file_size for entry in entries if "worksheets/" in entry.filename or "sharedStrings" in entry.filename)
    bomb = unpacked > RATIO_MATTERS_FROM and unpacked > MOST_RATIO * packed
    if len(entries) > MOST_ENTRIES or unpacked > MOST_UNPACKED or unpacked - cells > MOST_UNPACKED_REST or bomb:
        raise SheetRefused(
            "too-large", f"文件展开后过大:每份不超过{MOST_ROWS}行,不带图片;请把内容复制到新下载的模板里,再报送。"
        )  # fmt: skip


def _refuse_other_kinds(archive: zipfile.ZipFile, names: set[str]) -> None:
    lower = {name.lower() for name in names}
    if "mimetype" in lower:
        raise SheetRefused("not-xlsx", "这是 OpenDocument 表格(.ods):请另存为 .xlsx。")
    if "[Content_Types].xml" not in names:
        raise SheetRefused("not-xlsx", "这是压缩包,不是 .xlsx 文件:请报送填好的模板本身。")
    types = archive.read("[Content_Types].xml")
    if any("vbaproject" in name for name in lower) or b"macroEnabled" in types:
        raise SheetRefused("macros", "文件带有宏:请另存为不带宏的“Excel 工作簿(.xlsx)”。")
    if any(name.endswith("workbook.bin") for name in lower):
        raise SheetRefused("not-xlsx", "这是二进制工作簿(.xlsb):请另存为 .xlsx。")
    if "xl/workbook.xml" not in lower:
        raise SheetRefused("not-xlsx", "这不是表格文件:请报送填好的 .xlsx 模板。")
    if b"purl.oclc.org/ooxml" in archive.read("xl/workbook.xml")[:4096]:
        raise SheetRefused("not-xlsx", "这是“Strict Open XML”格式:请另存为普通的“Excel 工作簿(.xlsx)”。")


def _refuse_document_type(part: bytes, xml: bool) -> None:
    """A document type can define entities that expand without end; OOXML forbids it (ECMA-376 part 2).

    XML in UTF-16 would hide one from this search, so it must be bytes without NUL.
    """
    if (xml and b"\x00" in part) or _DTD.search(part):
        raise SheetRefused("unsafe", "文件含有不允许的内容(文档类型定义):请用表格软件重新保存为 .xlsx。")
