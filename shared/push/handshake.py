"""The handshake of the CloudEvents webhook specification (§4, abuse protection): whether we take deliveries from an origin."""

import re
from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response

from shared.problems import MEDIA_TYPE, ProblemError

_ORIGIN: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


HANDSHAKE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Pushes from that origin are taken, if they are signed.", "content": {}},
    400: {"description": "The origin is no domain name.", "content": {MEDIA_TYPE: {}}},
}
"""Its answers, for OpenAPI."""


def handshake(request: Request) -> Response:
    """Allows any origin, at any rate, whatever path is asked: who may push is decided by its signature, and an answer that
    depended on the sender would tell who is one. A ``WebHook-Request-Callback`` is never called.

    Raises:
        ProblemError: 400; the origin is no domain name.
    """
    headers = {"Allow": "POST, OPTIONS"}
    origin = request.headers.get("webhook-request-origin")
    if origin is not None:
        if not _ORIGIN.fullmatch(origin):
            raise ProblemError(400, "origin", "WebHook-Request-Origin is a domain name, e.g. push.example.com")
        headers["WebHook-Allowed-Origin"] = origin
        if "webhook-request-rate" in request.headers:
            headers["WebHook-Allowed-Rate"] = "*"
    return Response(status_code=200, headers=headers)
