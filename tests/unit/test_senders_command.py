"""``./onething senders``: keys are exchanged without a gap, nothing shows a secret, and each mistake of a signature is named."""

import base64
import gzip
import hashlib
import hmac
import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner

from deploy.local.capture import CaptureError, read_capture
from deploy.local.senders import app
from services.intake.settings import read_senders
from shared.signing import Key, verify

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes of a test secret").decode()
OLD = "whsec_" + base64.b64encode(b"the former secret of our sender!").decode()
CHANNEL = "the-channels-own-secret"
AT = datetime(2024, 9, 30, 1, 0, tzinfo=UTC)
BODY = '{"id": "e-1", "名": "值"}'.encode()
STAMP = str(int(AT.timestamp()))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "senders.json"
    made.write_text(
        json.dumps(
            {
                "hebei": {"source": "urn:onething:province:hebei", "secrets": [SECRET, OLD]},
                "channel": {"source": "urn:x", "secrets": [CHANNEL], "scheme": "gjzwfwpt", "addresses": ["10.0.0.0/8"]},
            }
        )
    )
    return made


def _run(*arguments: str | Path, given: str | None = None) -> tuple[int, str]:
    found = CliRunner().invoke(app, [str(argument) for argument in arguments], input=given)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


def _digest(text: bytes, secret: str = SECRET) -> str:
    return base64.b64encode(hmac.digest(base64.b64decode(secret[6:]), text, "sha256")).decode()


def _signed(body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    return {
        "Content-Type": "application/cloudevents+json",
        "webhook-id": "m-1",
        "webhook-timestamp": STAMP,
        "webhook-signature": Webhook(secret).sign("m-1", AT, body.decode("latin-1"))
        if body.isascii()
        else "v1," + _digest(b".".join((b"m-1", STAMP.encode(), body)), secret),
    }


def _raw(headers: dict[str, str], body: bytes = BODY, sender: str = "hebei", line_end: str = "\r\n") -> bytes:
    lines = [f"POST /v1/senders/{sender}/events HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return line_end.join(lines).encode() + body


def _checked(file: Path, content: bytes, *arguments: str | Path) -> tuple[int, str]:
    captured = file.with_name("request.txt")
    captured.write_bytes(content)
    code, said = _run("check", captured, "--file", file, "--at", AT.isoformat(), *arguments)
    for secret in (SECRET, OLD, CHANNEL):
        assert secret.removeprefix("whsec_") not in said
    return code, said


# Adding and exchanging


def test_a_sender_is_added_its_key_shown_once_and_taken_by_the_service(tmp_path: Path) -> None:
    file = tmp_path / "new.json"
    code, said = _run(
        "add",
        "credit",
        "--source",
        "urn:onething:province:hebei",
        "--item",
        "credit-repair",
        "--events-per-second",
        "50",
        "--file",
        file,
    )
    assert (code, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600)
    secret = next(line for line in said.splitlines() if line.startswith("whsec_"))
    sender = read_senders(file)["credit"]
    assert (sender.items, sender.party.events_per_second, sender.sandbox) == (frozenset({"credit-repair"}), 50, False)
    stamp = int(AT.timestamp())
    signature = {"webhook-id": "m", "webhook-timestamp": STAMP, "webhook-signature": Key(secret).sign("m", stamp, b"x")}
    verify(sender.party, signature, b"x", AT)
    assert secret not in _run("list", "--file", file)[1]
    code, said = _run("add", "credit", "--source", "urn:x", "--file", file)
    assert (code, "rotate credit" in said) == (1, True)


def test_the_new_key_stands_beside_the_old_until_the_old_is_dropped(file: Path) -> None:
    assert _run("rotate", "hebei", "--file", file)[0] == 0
    first, *others = json.loads(file.read_text())["hebei"]["secrets"]
    assert (others, first.startswith("whsec_")) == ([SECRET, OLD], True)
    assert _run("rotate", "hebei", "--drop-old", "--file", file)[0] == 0
    assert json.loads(file.read_text())["hebei"]["secrets"] == [first]
    code, said = _run("rotate", "hebei", "--drop-old", "--file", file)
    assert (code, "只有一把密钥" in said) == (1, True)
    assert _run("rotate", "channel", "--secret", "-", "--file", file, given="another-channel-secret\n")[0] == 0
    assert json.loads(file.read_text())["channel"]["secrets"] == ["another-channel-secret", CHANNEL]
    assert _run("rotate", "hebei", "--secret", "env:HEBEI_KEY", "--file", file)[0] == 0
    assert len(read_senders(file, {"HEBEI_KEY": OLD})["hebei"].party.keys) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "a b", "--source", "urn:x"], "String should match pattern"),
        (["add", "a", "--source", "urn:x", "--item", "tea"], "allowed: enterprise-change"),
        (["add", "a", "--source", "urn:x", "--scheme", "md5"], "a/scheme"),
        (["add", "a", "--source", "urn:x", "--address", "here"], "a/addresses/0"),
        (["add", "a", "--source", "urn:x", "--client-certificate", "ab"], "openssl x509"),
        (["add", "a", "--source", "urn:x", "--scheme", "gjzwfwpt"], "--secret -"),
        (["add", "a", "--source", "urn:x", "--scheme", "gjzwfwpt", "--secret", "env:A"], "does not cover the body"),
        (["add", "a", "--source", "urn:x", "--secret", SECRET], "不能写在命令行里"),
        (["add", "a", "--source", "urn:x", "--events-per-second", "0"], "a/events_per_second"),
        (["rotate", "nobody"], "已登记的有:channel、hebei"),
        (["rotate", "channel"], "--secret -"),
        (["rotate", "hebei", "--secret", "-"], "已经登记过"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(file: Path, arguments: list[str], said: str) -> None:
    before = file.read_bytes()
    code, output = _run(*arguments, "--file", file, given=f"{SECRET}\n")
    assert (code, said in output) == (1, True), output
    assert file.read_bytes() == before
    assert [entry.name for entry in file.parent.iterdir()] == ["senders.json"]


def test_the_list_shows_who_may_what_and_no_secret(file: Path) -> None:
    code, said = _run("list", "--file", file)
    assert code == 0
    for part in ("hebei", "channel", "gjzwfwpt", "10.0.0.0/8", hashlib.sha256(OLD.encode()).hexdigest()[:8]):
        assert part in said
    for secret in (SECRET[6:], OLD[6:], CHANNEL):
        assert secret not in said


# Checking a captured request


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
def test_a_good_request_is_said_to_be_good_and_by_which_key(file: Path, line_end: str) -> None:
    code, said = _checked(file, _raw(_signed(), line_end=line_end))
    assert (code, "签名正确(v1,HMAC-SHA256),使用的是当前密钥" in said, "会通过" in said) == (0, True, True), said
    code, said = _checked(file, _raw(_signed(secret=OLD)))
    assert (code, "旧密钥(第 2 把)" in said) == (0, True)
    sm3 = _signed() | {"webhook-signature": Key(SECRET).sign("m-1", int(STAMP), BODY, "v1sm3")}
    assert "签名正确(v1sm3,HMAC-SM3)" in _checked(file, _raw(sm3))[1]


def _replaced(name: str, value: str) -> Callable[[], bytes]:
    return lambda: _raw(_signed() | {name: value})


def _without(name: str) -> Callable[[], bytes]:
    return lambda: _raw({key: value for key, value in _signed().items() if key != name})


def _as_signature(text: bytes, secret_bytes: bytes | None = None) -> Callable[[], bytes]:
    key = base64.b64decode(SECRET[6:]) if secret_bytes is None else secret_bytes
    value = "v1," + base64.b64encode(hmac.digest(key, text, "sha256")).decode()
    return _replaced("webhook-signature", value)


GOOD_TEXT = b".".join((b"m-1", STAMP.encode(), BODY))
SAME_JSON = json.dumps(json.loads(BODY), separators=(",", ":"), ensure_ascii=False).encode()
V1 = _signed()["webhook-signature"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_without("webhook-id"), "缺少请求头 webhook-id"),
        (_without("webhook-signature"), "缺少请求头 webhook-signature"),
        (lambda: _raw({**{k: v for k, v in _signed().items() if k != "webhook-id"}, "svix-id": "m-1"}), "有 svix-id,请改名"),
        (_replaced("webhook-timestamp", f"{STAMP}000"), "看起来是毫秒,应为秒"),
        (_replaced("webhook-timestamp", "now"), "应为整数"),
        (lambda: _raw(_signed(), BODY + b"\n"), "正文比签名时多了结尾的换行"),
        (lambda: _raw(_signed(BODY + b"\n")), "正文比签名时少了结尾的换行"),
        (lambda: _raw(_signed(), b"\xef\xbb\xbf" + BODY), "BOM"),
        (lambda: _raw(_signed(SAME_JSON)), "重新序列化"),
        (lambda: _raw(_signed() | {"Content-Encoding": "gzip"}, gzip.compress(BODY)), "签名的是压缩前的正文"),
        (lambda: _raw(_signed(), BODY.replace(b"e-1", b"e-2")), "正文在签名后被改动,或签名用了别的密钥"),
        (lambda: _raw(_signed(secret="whsec_" + base64.b64encode(b"nobody's key at all, 32 bytes!!!").decode())), "别的密钥"),
        (_as_signature(BODY), "只签了正文"),
        (_as_signature(STAMP.encode() + b"." + BODY), "缺 webhook-id"),
        (_as_signature(b".".join((STAMP.encode(), b"m-1", BODY))), "次序反了"),
        (_as_signature(GOOD_TEXT[: -len(BODY)]), "没有带上正文"),
        (_as_signature(GOOD_TEXT, SECRET.encode()), "应去掉 whsec_ 前缀"),
        (_as_signature(GOOD_TEXT, SECRET[6:].encode()), "还要做 base64 解码"),
        (_replaced("webhook-signature", "v1," + base64.b64decode(V1[3:]).hex()), "十六进制"),
        (_replaced("webhook-signature", "v1," + V1[3:-1] + "!"), "不是合法的 base64"),
        (_replaced("webhook-signature", V1.rstrip("=")), "缺了结尾的 ="),
        (_replaced("webhook-signature", "v1," + base64.b64encode(b"short").decode()), "解码后为 5 字节"),
        (_replaced("webhook-signature", "sha256=" + base64.b64decode(V1[3:]).hex()), "像是 sha256=…"),
        (_replaced("webhook-signature", V1.replace("v1,", "v2,")), "只认 v1"),
        (_replaced("webhook-signature", V1.replace("v1,", "v1sm3,")), "却标成了 v1sm3"),
        (lambda: _raw(_signed() | {"Content-Length": "999"}, BODY + b" "), "Content-Length 为 999"),
        (lambda: _raw(_signed(), sender="nobody"), "没有 nobody"),
        (lambda: b"not a request at all", "没有请求头"),
    ],
)
def test_each_mistake_is_named_in_words(file: Path, content: Callable[[], bytes], said: str) -> None:
    code, output = _checked(file, content())
    assert (code, said in output) == (1, True), output


@pytest.mark.parametrize(("seconds", "said"), [(-312, "晚 312 秒"), (4000, "早 4000 秒")])
def test_a_stale_timestamp_is_told_by_how_much_and_the_signature_judged_all_the_same(file: Path, seconds: int, said: str) -> None:
    captured = file.with_name("request.txt")
    captured.write_bytes(_raw(_signed()))
    code, output = _run("check", captured, "--file", file, "--at", (AT + timedelta(seconds=seconds)).isoformat())
    assert (code, said in output, "签名正确" in output, "不会通过" in output) == (1, True, True, True), output


def test_what_curl_printed_and_the_body_in_a_file_are_read(file: Path, tmp_path: Path) -> None:
    sent = "".join(f"> {name}: {value}\n" for name, value in _signed().items())
    curl = (
        "*   Trying 127.0.0.1:8101...\n* Connected to 127.0.0.1\n> POST /v1/senders/hebei/events HTTP/1.1\n> Host: x\n"
        f"{sent}> \n< HTTP/1.1 401 Unauthorized\n< date: Mon, 30 Sep 2024 01:00:05 GMT\n< webhook-id: not this\n< \n"
    )
    captured, body = tmp_path / "curl.txt", tmp_path / "body.json"
    captured.write_text(curl)
    body.write_bytes(BODY)
    code, output = _run("check", captured, "--body", body, "--file", file)
    assert (code, "相差 5 秒" in output, "签名正确" in output) == (0, True, True), output
    code, output = _run("check", captured, "--file", file)
    assert (code, "用 --body 指明" in output) == (1, True)


def test_chunks_are_put_together(file: Path) -> None:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:])) + b"0\r\n\r\n"
    code, output = _checked(file, _raw(_signed() | {"Transfer-Encoding": "chunked"}, framed))
    assert (code, "还原" in output) == (0, True), output


def _channel(**changes: str) -> dict[str, str]:
    rtime = str(int(AT.timestamp() * 1000))
    sign = base64.b64encode(hmac.digest(CHANNEL.encode(), f"s1r-1{rtime}".encode(), "sha256")).decode()
    return {"gjzwfwpt_rid": "r-1", "gjzwfwpt_sid": "s1", "gjzwfwpt_rtime": rtime, "gjzwfwpt_sign": sign} | changes


def _channel_sign(text: str, algorithm: str = "sha256") -> str:
    return base64.b64encode(hmac.digest(CHANNEL.encode(), text.encode(), algorithm)).decode()


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "underscores_in_headers"),
        (_channel(gjzwfwpt_rtime=STAMP), "看起来是秒,应为毫秒"),
        (_channel(gjzwfwpt_sign=_channel_sign(f"r-1s1{STAMP}000")), "次序应为 sid + rid + rtime"),
        (_channel(gjzwfwpt_sign=base64.b64decode(_channel()["gjzwfwpt_sign"]).hex()), "十六进制"),
        (_channel(gjzwfwpt_rid="r-2"), "都不符"),
        (_channel(gjzwfwpt_sign="!"), "不是合法的 base64"),
    ],
)
def test_the_channels_mistakes_are_named_too(file: Path, headers: dict[str, str], said: str) -> None:
    code, output = _checked(file, _raw({"Host": "x", **headers}, sender="channel"))
    assert (code, said in output) == (1, True), output
    code, output = _checked(file, _raw(_channel(), sender="channel"))
    assert (code, "签名正确" in output, "绑定了来源地址" in output) == (0, True, True), output


def test_a_company_is_checked_by_its_own_file(tmp_path: Path) -> None:
    companies = tmp_path / "companies.json"
    companies.write_text(json.dumps({"water-1": {"secrets": [SECRET]}}))
    raw = _raw(_signed()).replace(b"/v1/senders/hebei/", b"/v1/companies/water-1/")
    assert _checked(companies, raw)[0] == 0


def test_any_bytes_are_a_request_or_told_to_be_none() -> None:
    for seed in range(500):
        content = hashlib.shake_128(str(seed).encode()).digest(seed) + os.linesep.encode() * (seed % 3)
        try:
            read_capture(content)
        except CaptureError as error:
            assert "请求头" in str(error)  # noqa: PT017
