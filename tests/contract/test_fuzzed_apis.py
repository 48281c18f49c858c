"""What the apis document is what they answer: requests made of their OpenAPI, right and wrong, on the real processes."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from requests.auth import AuthBase
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from deploy.local.service import SERVICES
from tests.conftest import Credentials, Services
from tests.intake_support import SENDER

SEED: Final = 20240930
EXAMPLES: Final = {schemathesis.GenerationMode.POSITIVE: 12, schemathesis.GenerationMode.NEGATIVE: 8}
"""Requests an operation: those that its document allows, and those that it does not."""

MEANT: Final = 503
"""The one 5xx that is an answer: documented where it can be given, with Retry-After."""

ENDLESS: Final = ("/v1/stream",)
"""Answers that never end are read by tests of their own."""

CHECKS: Final = [status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]


class Signed(AuthBase):
    """Signs what is sent, as a sender or a company does, over the very bytes; a token where there is nobody to sign."""

    def __init__(self, credentials: Credentials) -> None:
        self._secrets = {SENDER: credentials.senders[SENDER], **credentials.companies}
        self._token = credentials.operator_token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        parts = (request.path_url or "").partition("?")[0].split("/")
        secret = self._secrets.get(parts[3]) if len(parts) > 3 else None
        if secret is None:
            request.headers["Authorization"] = f"Bearer {self._token}"
            return request
        body = request.body or b""
        assert isinstance(body, str | bytes)
        content = body.encode() if isinstance(body, str) else body
        stamp, key = str(int(time.time())), base64.b64decode(secret.removeprefix("whsec_"))
        signature = hmac.digest(key, f"m-1.{stamp}.".encode() + content, hashlib.sha256)
        request.headers["webhook-id"] = "m-1"
        request.headers["webhook-timestamp"] = stamp
        request.headers["webhook-signature"] = "v1," + base64.b64encode(signature).decode()
        return request


@schemathesis.serializer("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
def as_bytes(_: Any, value: Any) -> bytes:
    """A sheet that is none: what the generator gives, as it is."""
    return value if isinstance(value, bytes) else str(value).encode()


def _known(path: str) -> dict[str, Any]:
    """Path parameters that reach what is behind the first check."""
    return {"sender_id": SENDER, "company": "water-1", "company_id": "water-1"} if "{" in path else {}


def _fuzz(url: str, signed: Signed) -> list[str]:
    """What was answered against the document, an operation a line at most."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    wrong: list[str] = []
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if operation.path not in ENDLESS:
            wrong += _fuzz_operation(operation, url, signed)
    return wrong


def _fuzz_operation(operation: Any, url: str, signed: Signed) -> list[str]:
    known = {name: value for name, value in _known(operation.path).items() if f"{{{name}}}" in operation.path}
    for mode, examples in EXAMPLES.items():
        with requests.Session() as session:
            session.trust_env = False
            try:
                _examples(
                    operation.as_strategy(mode, path_parameters=known or None),
                    examples,
                    lambda case: _call(case, url, session, signed),
                )
            except Unsatisfiable:
                continue  # nothing of this route can be asked wrongly
            except (Exception, BaseExceptionGroup) as error:  # every operation is tried, and one answer names them all
                return [f"{operation.method.upper()} {operation.path} ({mode.value}): {_told(error)}"]
    return []


def _told(error: BaseException) -> str:
    inner = getattr(error, "exceptions", None)
    return " | ".join(_told(one) for one in inner) if inner else f"{type(error).__name__}: {error}"[:1500]


def _examples(strategy: Any, examples: int, call: Callable[[Any], None]) -> None:
    @seed(SEED)
    @settings(
        max_examples=examples, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        print_blob=False, report_multiple_bugs=False,
    )  # fmt: skip
    @given(strategy)
    def run(case: Any) -> None:
        call(case)

    run()


def _call(case: Any, url: str, session: requests.Session, signed: Signed) -> None:
    answer = case.call(base_url=url, session=session, auth=signed, timeout=20, allow_redirects=False)
    assert answer.status_code < 500 or answer.status_code == MEANT, f"{answer.status_code} {answer.text[:300]}"
    if answer.status_code == MEANT:
        assert answer.headers.get("retry-after") or case.operation.path == "/readyz"
    case.validate_response(answer, checks=CHECKS)


async def test_no_undocumented_answer_and_no_failure_of_ours(service: Services, credentials: Credentials) -> None:
    apis = await asyncio.gather(*(service(name, "api") for name in SERVICES))
    signed = Signed(credentials)
    wrong = [line for api in apis for line in await asyncio.to_thread(_fuzz, api.url, signed)]
    said = [line[:600] for api in apis for line in api.log.splitlines() if '"error"' in line]
    assert not wrong, "\n".join(wrong + said)
