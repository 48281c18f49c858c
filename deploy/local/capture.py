"""A captured request: raw HTTP, or what ``curl -v`` printed, with the body behind the blank line or in a file of its own."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

_REQUEST_LINE: Final = re.compile(r"([A-Z]+) (\S+)(?: HTTP/[\d.]+)?$")
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*)$")
_PUSH: Final = re.compile(r"/v1/(senders|companies)/([^/?]+)/events")


class CaptureError(ValueError):
    """The file holds no request; the message says what was expected, in Chinese."""


@dataclass(frozen=True, slots=True)
class Capture:
    """One request. Names of ``headers`` are in lower case; ``answered`` is the time that the answer's ``Date`` told."""

    path: str
    headers: dict[str, str]
    body: bytes
    answered: datetime | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def party(self) -> tuple[str, str] | None:
        """``("senders", id)`` or ``("companies", id)``, as the path has it."""
        found = _PUSH.search(self.path)
        return (found[1], found[2]) if found else None


def read_capture(content: bytes, body: bytes | None = None) -> Capture:
    """The request in ``content``; ``body``, where it is given, stands for what follows the blank line.

    Raises:
        CaptureError: no header was found.
    """
    head, separator, rest = _divided(content)
    lines = head.decode("utf-8", errors="replace").splitlines()
    curl = any(line.startswith(("> ", "* ", "< ")) for line in lines)
    path, headers, answered = "", dict[str, str](), None
    for line in lines:
        if curl and not line.startswith(">"):
            if found := re.match(r"<\s*date:\s*(.+)$", line, re.IGNORECASE):
                answered = _date(found[1])
            continue
        text = line.removeprefix(">").strip() if curl else line.strip()
        if found := _REQUEST_LINE.match(text):
            path = found[2]
        elif found := _HEADER.match(text):
            headers[found[1].lower()] = found[2].strip()
    if not headers:
        raise CaptureError("文件里没有请求头:应依次为请求行、请求头、空行、正文,或 curl -v 的输出(正文用 --body 另给)")
    notes: list[str] = []
    if body is None:
        body = b"" if curl else rest
        if curl or not separator:
            notes.append("没有找到正文(空行之后的内容):按空正文检查;正文在另一个文件时请用 --body 指明")
    if headers.get("transfer-encoding", "").lower() == "chunked" and (whole := _unchunked(body)) is not None:
        body = whole
        notes.append("正文按分块传输(chunked)还原后再检查")
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) != len(body):
        notes.append(f"Content-Length 为 {announced},而文件里的正文为 {len(body)} 字节:抓取时正文可能被截断或改动")
    return Capture(path, headers, body, answered, notes)


def _divided(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Head, blank line, and what follows; of ``curl -v`` all is head, for blank lines stand in it."""
    if re.match(rb"[*><] ", content):
        return content, b"", b""
    found = re.search(rb"\r?\n\r?\n", content)
    return (content[: found.start()], found[0], content[found.end() :]) if found else (content, b"", b"")


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text.strip())
    except ValueError:
        return None


def _unchunked(body: bytes) -> bytes | None:
    """The body without its chunks' framing; ``None`` where it has none, for a capture often shows it put together."""
    parts: list[bytes] = []
    rest = body
    while found := re.match(rb"([0-9A-Fa-f]{1,8})(?:;[^\r\n]*)?\r\n", rest):
        size = int(found[1], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(rest[found.end() : found.end() + size])
        rest = rest[found.end() + size + 2 :]
    return None
