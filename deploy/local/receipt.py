"""``./onething receipt verify``: what a receipt proves, without any network."""

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Final

import jwt
import typer
from rich.console import Console
from rich.markup import escape

from deploy.local.parts import ROOT, StackError
from deploy.local.stack import shown
from deploy.local.state import State
from shared.receipts import TYPE, Receipts

app = typer.Typer(no_args_is_help=True, help="What a receipt proves.")
console = Console()
problems = Console(stderr=True)

NAMED: Final = 5
"""How many of a receipt's event ids are printed; the rest is counted."""


class ReceiptError(ValueError):
    """The receipt proves nothing; the message says why, in Chinese."""


@app.callback()
def receipt() -> None:
    """What a receipt proves."""


@app.command(epilog="Example: ./onething receipt verify answer.json --keys jwks.json --body batch.json")
def verify(
    file: Annotated[
        Path, typer.Argument(help="The receipt, the answer that holds it, or receipts a line each; - reads the standard input.")
    ],
    keys: Annotated[
        Path | None, typer.Option(help="The key set, from /.well-known/jwks.json; default: the local stack's key.")
    ] = None,
    body: Annotated[Path | None, typer.Option(help="The body as it was sent (gzip and all): is it the one of the receipt?")] = None,
    event: Annotated[list[str] | None, typer.Option(help="An event's id that the receipt should hold; several times.")] = None,
) -> None:
    """Verify a receipt offline, and say what it proves; leave with 1 when it proves nothing."""
    try:
        text = typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text(encoding="utf-8")
        key_set, sent = _keys(keys), body.read_bytes() if body else None
        lines = text.split() if text.strip() and not text.lstrip().startswith("{") else [text]
        payloads = [proven(receipt_in(line), key_set) for line in lines]
        if len(payloads) > 1:
            _refuse_others(payloads, sent, event or [])
        else:
            refuse_other(payloads[0], sent, event or [])
    except OSError as error:
        raise _left(f"{error.filename} 读不出:{error.strerror}") from None
    except UnicodeDecodeError:
        raise _left(f"{file} 不是文本:应为回执,或含有 receipt 的整个应答") from None
    except (ReceiptError, StackError) as error:
        raise _left(str(error)) from None
    if len(payloads) > 1:
        events = sum(len(payload["events"]) for payload in payloads)
        console.print(f"✓ {len(payloads)} 份回执都成立,共 {events} 个事件", highlight=False)
    else:
        _tell(payloads[0], checked_body=body is not None)


def receipt_in(text: str) -> str:
    """The compact JWS in ``text``: alone, or as the answer's ``receipt``.

    Raises:
        ReceiptError: there is none.
    """
    text = text.strip()
    if text.startswith("{"):
        try:
            text = str(json.loads(text)["receipt"])
        except (ValueError, KeyError):
            raise ReceiptError("这份应答里没有 receipt:只有 202 的应答带回执") from None
    if text.count(".") != 2:
        raise ReceiptError("这不是回执:应为三段以句点相连的文本(JWS),或含有 receipt 的整个应答")
    return text


def proven(receipt: str, keys: jwt.PyJWKSet) -> dict[str, Any]:
    """The payload, once a key of the set proves it.

    Raises:
        ReceiptError: no key does.
    """
    try:
        header = jwt.get_unverified_header(receipt)
        if header.get("typ") != TYPE:
            raise ReceiptError(f"这份签名不是回执(typ 应为 {TYPE})")
        key = keys[str(header.get("kid"))]
    except KeyError:
        raise ReceiptError(
            f"密钥集里没有签这份回执的密钥 {header.get('kid')}:请取签发时的 /.well-known/jwks.json(轮换后旧公钥也在其中)"
        ) from None
    except jwt.PyJWTError as error:
        raise ReceiptError(f"回执读不出:{error}") from None
    try:
        payload: dict[str, Any] = jwt.decode(
            receipt, key, algorithms=["EdDSA"], options={"verify_aud": False, "verify_iat": False, "require": ["iss", "sub", "iat"]}
        )
    except jwt.InvalidSignatureError:
        raise ReceiptError("签名不成立:回执的内容被改动过,或不是这把密钥签的") from None
    except jwt.PyJWTError as error:
        raise ReceiptError(f"回执读不出:{error}") from None
    return payload


def refuse_other(payload: dict[str, Any], body: bytes | None, events: list[str]) -> None:
    """Raises a :class:`ReceiptError` where the receipt is of another body, or lacks one of ``events``."""
    if body is not None and hashlib.sha256(body).hexdigest() != payload["body_sha256"]:
        raise ReceiptError(
            f"回执本身有效,但不是这份正文的:回执记的 SHA-256 为 {payload['body_sha256']},"
            f"这份正文({len(body)} 字节)为 {hashlib.sha256(body).hexdigest()};要用实际发送的字节(含 gzip 压缩)"
        )
    if missing := [event for event in events if event not in payload["events"]]:
        raise ReceiptError(f"回执本身有效,但不含事件 {'、'.join(missing)}:它们没有被这次请求存下")


def _refuse_others(payloads: list[dict[str, Any]], body: bytes | None, events: list[str]) -> None:
    """As :func:`refuse_other`, of the receipts of a whole push, a line each: one of them must be the body's, each event in one."""
    if body is not None and hashlib.sha256(body).hexdigest() not in {payload["body_sha256"] for payload in payloads}:
        raise ReceiptError("回执都有效,但没有一份是这份正文的;要用实际发送的字节(含 gzip 压缩)")
    held = {event for payload in payloads for event in payload["events"]}
    if missing := [event for event in events if event not in held]:
        raise ReceiptError(f"回执都有效,但都不含事件 {'、'.join(missing)}")


def _keys(file: Path | None) -> jwt.PyJWKSet:
    if file is None:
        state = State(Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve())
        if not state.receipt_key.exists():
            raise StackError(f"没有 {state.receipt_key}:用 --keys 指明密钥集(服务的 /.well-known/jwks.json)")
        return jwt.PyJWKSet.from_dict(Receipts.of_file(state.receipt_key).jwks())
    try:
        return jwt.PyJWKSet.from_json(file.read_text(encoding="utf-8"))
    except (ValueError, AttributeError, KeyError, jwt.PyJWTError):
        raise ReceiptError(f"{file} 不是密钥集(JWK Set):请保存服务的 /.well-known/jwks.json") from None


def _tell(payload: dict[str, Any], *, checked_body: bool) -> None:
    events = payload["events"]
    named = "、".join(events[:NAMED]) + (f" 等 {len(events)} 个" if len(events) > NAMED else "")
    if payload.get("sandbox"):
        console.print("[yellow]沙箱回执[/yellow]:以下事件只经过校验,没有存储,不计数。", highlight=False)
    lines = [
        ("签发", payload["iss"]),
        ("发送方", payload["sub"]),
        ("时间", payload["time"]),
        ("请求", payload["webhook_id"]),
        ("正文 SHA-256", payload["body_sha256"] + (" ✓ 与所给正文一致" if checked_body else "")),
        ("校验通过的事件" if payload.get("sandbox") else "已存储的事件", f"{len(events)} 个:{named}"),
    ]
    console.print("[green]✓[/green] 回执有效(Ed25519 签名成立)", highlight=False)
    for name, value in lines:
        console.print(f"  {name}:{escape(value)}", highlight=False, soft_wrap=True)


def _left(why: str) -> typer.Exit:
    problems.print(shown(StackError(why)), highlight=False, soft_wrap=True)
    return typer.Exit(1)
