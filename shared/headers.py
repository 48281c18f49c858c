"""Headers that every answer of ours has, so that a browser reads it as what it is and nobody else's page makes use of it."""

from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COMMON: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # An answer that is no page of ours needs nothing and runs nothing.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    # Figures, receipts and refusals are of this moment and for who asked.
    "Cache-Control": "no-store",
}
"""Where an answer does not say otherwise: pages have a policy of their own (``shared/pages.py``)."""

HSTS: Final = "max-age=31536000"
"""A year: what is reached by HTTPS is reached no other way."""


class _Headers:
    def __init__(self, app: ASGIApp, headers: dict[str, str]) -> None:
        self._app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                message["headers"] = given + [header for header in self._headers if header[0] not in names]
            await send(message)

        await self._app(scope, receive, adding)


def install(app: FastAPI, *, https: bool = False) -> None:
    """Gives every answer of ``app`` these headers; ``https``: it is reached by HTTPS, and browsers are told to keep to it.

    Outside of all else, so that the answer to a fault of our own has them too.
    """
    build = app.build_middleware_stack
    headers = COMMON | ({"Strict-Transport-Security": HSTS} if https else {})
    app.build_middleware_stack = lambda: _Headers(build(), headers)  # type: ignore[method-assign]
