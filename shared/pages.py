"""What every page of ours for people keeps to: headers, and whether a form was sent by a page of ours."""

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

HEADERS: Final = {
    "Cache-Control": "no-store",
    # Not no-referrer: browsers would then send forms with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Of every page, beside its own Content-Security-Policy."""


def is_own_form(request: Request) -> bool:
    """Whether the browser says that a page of ours sent the form; one that says nothing is believed."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
