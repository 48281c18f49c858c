"""Where the public keys of the receipts stand."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from shared.receipts import Receipts


def key_set(receipts: Receipts) -> APIRouter:
    """The route ``/.well-known/jwks.json``."""
    router = APIRouter(tags=["push"])
    content = receipts.jwks()

    @router.get("/.well-known/jwks.json", response_model=dict[str, Any])
    async def jwks() -> JSONResponse:
        """The public keys that prove receipts, as a JWK set; the first one signs."""
        return JSONResponse(content, headers={"Cache-Control": "public, max-age=3600"})

    return router
