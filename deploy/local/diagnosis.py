"""What is wrong with a request's signature, in words: the usual mistakes are tried one by one.

The words are Chinese, for those who sign are the province's and the companies' engineers. No secret and no expected signature is
ever part of them: whoever reads them could sign.
"""

import base64
import binascii
import gzip
import hashlib
import hmac
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from deploy.local.capture import Capture
from shared.signing import TOLERANCE_SECONDS, Scheme

VERSIONS: Final = {"v1": "HMAC-SHA256", "v1sm3": "HMAC-SM3"}
ALIASES: Final = ("svix-", "x-webhook-", "webhook_", "x-")
CHANNEL_HEADERS: Final = ("gjzwfwpt_rid", "gjzwfwpt_sid", "gjzwfwpt_rtime", "gjzwfwpt_sign")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``good`` says that this part is right; ``None`` is a remark."""

    text: str
    good: bool | None = False


def diagnose(capture: Capture, secrets: Sequence[str], scheme: Scheme, at: datetime) -> list[Finding]:
    """What is right and wrong with the signature at ``at``; ``secrets`` are the party's, the newest first."""
    return _channel(capture, secrets, at) if scheme == "gjzwfwpt" else _standard(capture, secrets, at)


def _standard(capture: Capture, secrets: Sequence[str], at: datetime) -> list[Finding]:
    headers = capture.headers
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    found = [_missing(headers, name) for name in names if not headers.get(name)]
    if all(name in headers for name in CHANNEL_HEADERS):
        found.append(Finding("请求带的是国家数据通道的签名头(gjzwfwpt_*),而该发送方登记的是 Standard Webhooks"))
    if headers.get("webhook-timestamp"):
        found += _stamp("webhook-timestamp", headers["webhook-timestamp"], 1, at)
    entries = headers.get("webhook-signature", "").split()
    found += [problem for entry in entries if (problem := _entry(entry))]
    if found and any(not headers.get(name) for name in names):
        return found
    known = [(version, value) for version, _, value in (entry.partition(",") for entry in entries) if version in VERSIONS]
    given = [(version, raw) for version, value in known if (raw := _decoded(value)) is not None]
    fits, why = _fitting(capture, secrets, given)
    if fits:
        found.append(Finding(fits, good=True))
    elif why:
        found.append(Finding(why))
    elif given:
        found.append(Finding(
            "签名与任何有效密钥都不符:正文在签名后被改动,或签名用了别的密钥。"
            f"检查的正文为 {len(capture.body)} 字节,SHA-256 {hashlib.sha256(capture.body).hexdigest()},"
            "请与发送端签名时的正文逐字节核对"
        ))  # fmt: skip
    return found


def _missing(headers: dict[str, str], name: str) -> Finding:
    alias = next((a + name.partition("-")[2] for a in ALIASES if headers.get(a + name.partition("-")[2])), None)
    return Finding(f"缺少请求头 {name}" + (f":请求里有 {alias},请改名为 {name}" if alias else ""))


def _stamp(name: str, value: str, per_second: int, at: datetime) -> Iterator[Finding]:
    digits = 10 if per_second == 1 else 13
    unit = "秒" if per_second == 1 else "毫秒"
    if not (value.isascii() and value.isdigit()):
        yield Finding(f"{name} 应为整数({unit},自 1970 年起),实际不是数字")
    elif len(value) != digits:
        other = "毫秒" if per_second == 1 else "秒"
        guess = f":看起来是{other},应为{unit}" if len(value) == (13 if per_second == 1 else 10) else f":应为 {digits} 位"
        yield Finding(f"{name} 有 {len(value)} 位{guess}")
    else:
        away = at.timestamp() - int(value) / per_second
        if abs(away) > TOLERANCE_SECONDS:
            which = "早" if away > 0 else "晚"
            yield Finding(
                f"{name} 比收到时间{which} {abs(away):.0f} 秒,只允许相差 {TOLERANCE_SECONDS} 秒以内:每次发送(重发也是)都要重新取"
                f"时间并重新签名,并校准发送端时钟(收到时间按 {at.astimezone():%Y-%m-%d %H:%M:%S %z} 计,可用 --at 指定)"
            )
        else:
            yield Finding(f"{name} 在允许范围内(相差 {abs(away):.0f} 秒)", good=True)


def _entry(entry: str) -> Finding | None:
    version, comma, value = entry.partition(",")
    if not comma:
        hint = ":像是 sha256=… 的写法" if entry.lower().startswith("sha256=") else ""
        return Finding(f"webhook-signature 的一项没有版本{hint};应写成 v1,<base64> 或 v1sm3,<base64>,多项之间用空格分开")
    if version not in VERSIONS:
        return Finding(f"webhook-signature 的版本 {version[:16]!r} 不被接受:只认 v1(HMAC-SHA256)和 v1sm3(HMAC-SM3)", good=None)
    if re.fullmatch(r"[0-9a-fA-F]{64}", value):
        return Finding(f"{version} 的签名是十六进制:应对 32 字节摘要做 base64")
    raw = _decoded(value)
    if raw is None:
        safe = "-" in value or "_" in value
        return Finding(
            f"{version} 的签名不是合法的 base64" + (":用了 base64url,应换成标准字母表(+ 和 /)" if safe else "(可能缺了结尾的 =)")
        )
    if len(raw) != 32:
        return Finding(f"{version} 的签名解码后为 {len(raw)} 字节,{VERSIONS[version]} 应为 32 字节")
    return None


def _decoded(value: str) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _fitting(capture: Capture, secrets: Sequence[str], given: Sequence[tuple[str, bytes]]) -> tuple[str | None, str | None]:
    """What fits, in words: as it should be, or with which mistake."""
    message_id, stamp = capture.headers["webhook-id"], capture.headers["webhook-timestamp"]
    for key_mistake, index, key in _keys(secrets):
        for body_mistake, body in _bodies(capture):
            for text_mistake, text in _texts(message_id, stamp, body):
                for computed, digest in (("v1", _hmac("v1", key, text)), ("v1sm3", _hmac("v1sm3", key, text))):
                    for claimed, raw in given:
                        if not hmac.compare_digest(digest, raw):
                            continue
                        wrong_name = (
                            "" if computed == claimed else f"算法是 {VERSIONS[computed]},却标成了 {claimed},应标 {computed}"
                        )
                        mistakes = [text for text in (key_mistake, body_mistake, text_mistake, wrong_name) if text]
                        if mistakes:
                            return None, "密钥对得上,但" + ";".join(mistakes)
                        which = "当前密钥" if index == 0 else f"旧密钥(第 {index + 1} 把):轮换结束前请改用新密钥"
                        return f"签名正确({claimed},{VERSIONS[claimed]}),使用的是{which}", None
    return None, None


def _hmac(version: str, key: bytes, text: bytes) -> bytes:
    if version == "v1":
        return hmac.digest(key, text, "sha256")
    context = HMAC(key, hashes.SM3())
    context.update(text)
    return context.finalize()


def _keys(secrets: Sequence[str]) -> Iterator[tuple[str, int, bytes]]:
    """Right keys first, all of them; then how else a secret is taken for a key."""
    for index, secret in enumerate(secrets):
        yield "", index, base64.b64decode(secret.removeprefix("whsec_"))
    for index, secret in enumerate(secrets):
        yield "密钥没有解码:应去掉 whsec_ 前缀,再做 base64 解码得到密钥字节", index, secret.encode()
        yield "密钥没有解码:去掉 whsec_ 前缀后还要做 base64 解码", index, secret.removeprefix("whsec_").encode()


def _bodies(capture: Capture) -> Iterator[tuple[str, bytes]]:
    body = capture.body
    yield "", body
    yield "正文比签名时多了结尾的换行(例如 echo 或编辑器加上的;curl 请用 --data-binary)", body.rstrip(b"\r\n")
    yield "正文比签名时少了结尾的换行(例如 curl 的 -d 会去掉换行,请用 --data-binary)", body + b"\n"
    yield "正文比签名时少了结尾的换行(CRLF)", body + b"\r\n"
    yield "正文的换行在签名后由 CRLF 变成了 LF", body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield "正文的换行在签名后由 LF 变成了 CRLF", body.replace(b"\r\n", b"\n")
    yield "正文比签名时多了 UTF-8 的 BOM", body.removeprefix(b"\xef\xbb\xbf")
    if body.startswith(b"\x1f\x8b"):
        try:
            plain = gzip.decompress(body)
        except (OSError, EOFError, zlib.error):
            plain = None
        if plain is not None:
            yield "签名的是压缩前的正文:应对实际发送的(gzip 压缩后的)字节签名", plain
    yield from _rewritten(body)
    yield "签名时没有带上正文", b""


def _rewritten(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The same JSON as other libraries write it: a body is often read and written anew between signing and sending."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    mistake = "正文在签名后被重新序列化(空格、键序或转义变了):请对最终发送的字节签名,中间不要再解析"
    for ascii_only in (False, True):
        for sort in (False, True):
            for separators in ((",", ":"), (", ", ": ")):
                yield mistake, json.dumps(value, ensure_ascii=ascii_only, sort_keys=sort, separators=separators).encode()
        yield mistake, json.dumps(value, ensure_ascii=ascii_only, indent=2).encode()


def _texts(message_id: str, stamp: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    identity, time = message_id.encode(), stamp.encode()
    yield "", b".".join((identity, time, body))
    yield "只签了正文:应签 webhook-id.webhook-timestamp.正文,用句点相连", body
    yield "只签了时间和正文,缺 webhook-id:应签 webhook-id.webhook-timestamp.正文", time + b"." + body
    yield "缺 webhook-timestamp:应签 webhook-id.webhook-timestamp.正文", identity + b"." + body
    yield "时间和 id 的次序反了:应签 webhook-id.webhook-timestamp.正文", b".".join((time, identity, body))
    yield "各部分之间没有句点:应签 webhook-id.webhook-timestamp.正文", identity + time + body


def _channel(capture: Capture, secrets: Sequence[str], at: datetime) -> list[Finding]:
    headers = capture.headers
    missing = [name for name in CHANNEL_HEADERS if not headers.get(name)]
    found = [Finding(f"缺少请求头 {name}") for name in missing]
    if missing:
        if len(missing) == len(CHANNEL_HEADERS):
            found.append(Finding("带下划线的请求头会被 nginx 默认丢弃:在代理上设 underscores_in_headers on;", good=None))
        return found
    rid, sid, stamp = headers["gjzwfwpt_rid"], headers["gjzwfwpt_sid"], headers["gjzwfwpt_rtime"]
    found += _stamp("gjzwfwpt_rtime", stamp, 1000, at)
    sign = headers["gjzwfwpt_sign"]
    raw = bytes.fromhex(sign) if re.fullmatch(r"[0-9a-fA-F]{64}", sign) else _decoded(sign)
    if raw is None:
        return [*found, Finding("gjzwfwpt_sign 不是合法的 base64")]
    texts = (
        ("", sid + rid + stamp),
        ("次序应为 sid + rid + rtime,实际按 rid + sid + rtime 签", rid + sid + stamp),
        ("缺 rid:应签 sid + rid + rtime", sid + stamp),
        ("各部分之间不应有分隔符", f"{sid}.{rid}.{stamp}"),
    )
    for index, secret in enumerate(secrets):
        for mistake, text in texts:
            for version in VERSIONS:
                if not hmac.compare_digest(_hmac(version, secret.encode(), text.encode()), raw):
                    continue
                mistakes = [mistake] if mistake else []
                if version != "v1":
                    mistakes.append("算法应为 HMAC-SHA256,实际是 HMAC-SM3")
                if len(sign) == 64:
                    mistakes.append("签名是十六进制,应为 base64")
                if mistakes:
                    return [*found, Finding("密钥对得上,但" + ";".join(mistakes))]
                which = "当前密钥" if index == 0 else f"旧密钥(第 {index + 1} 把)"
                return [*found, Finding(f"签名正确(gjzwfwpt,HMAC-SHA256),使用的是{which}", good=True)]
    return [*found, Finding("gjzwfwpt_sign 与任何有效密钥都不符:密钥不对,或 sid、rid、rtime 在签名后变了")]
