"""``./onething senders``: who may push, their keys, and what is wrong with a request's signature."""

import hashlib
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.local import senders_audit
from deploy.local.capture import Capture, CaptureError, read_capture
from deploy.local.diagnosis import diagnose
from deploy.local.parts import ROOT, StackError
from deploy.local.stack import shown
from deploy.local.state import State, read_json, webhook_secret, write_private
from services.intake.settings import SendersFileError, read_senders
from services.utilities.settings import read_companies
from shared.signing import Scheme
from shared.signing.keys import FROM_ENVIRONMENT, PREFIX, resolved

app = typer.Typer(no_args_is_help=True, help="Who may push: add senders, exchange their keys, check a signature.")
console = Console()
problems = Console(stderr=True)

SCHEMES: Final[Mapping[str, Scheme]] = {"standard-webhooks": "standard-webhooks", "gjzwfwpt": "gjzwfwpt"}

FileOption = Annotated[Path | None, typer.Option("--file", help="The senders' file; default: the local stack's.")]
IdArgument = Annotated[str, typer.Argument(help="The sender's id, as in its address, e.g. hebei-onething.")]
SecretOption = Annotated[
    str | None,
    typer.Option(help="Where the secret comes from, if it is not made here: - (standard input) or env:NAME.", metavar="-|env:NAME"),
]


@app.command(epilog="Example: ./onething senders add hebei-credit --source urn:onething:province:hebei --item credit-repair")
def add(
    sender: IdArgument,
    source: Annotated[str, typer.Option(help="The source that its events bear, e.g. urn:onething:province:hebei.")],
    item: Annotated[list[str] | None, typer.Option(help="A code of an item that it may send; several times; default: all.")] = None,
    scheme: Annotated[str, typer.Option(help="standard-webhooks or gjzwfwpt (the national data channel).")] = "standard-webhooks",
    address: Annotated[list[str] | None, typer.Option(help="An address or CIDR range that it pushes from; several times.")] = None,
    client_certificate: Annotated[str | None, typer.Option(help="SHA-256 fingerprint of its TLS client certificate.")] = None,
    dialect: Annotated[str | None, typer.Option(help="The dialect of rows that it may send too.")] = None,
    codes: Annotated[str | None, typer.Option(help="Its own table of codes (CSV), a path from the senders' file on.")] = None,
    events_per_second: Annotated[float | None, typer.Option(help="How many events it may push in a second.")] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Its events are checked and answered, never stored.")] = False,
    secret: SecretOption = None,
    file: FileOption = None,
) -> None:
    """Add a sender, and show its new secret once."""
    where, senders = _opened(file, new=True)
    if sender in senders:
        raise _left(f"{where} 里已有发送方 {sender}:换密钥用 ./onething senders rotate {sender}")
    if scheme == "gjzwfwpt" and secret is None:
        raise _left("国家数据通道的密钥由通道发放:请用 --secret - 从标准输入给出,或用 --secret env:变量名")
    chosen = _secret(secret)
    optional = {
        "items": item or None, "scheme": None if scheme == "standard-webhooks" else scheme, "addresses": address or None,
        "client_certificate": client_certificate, "dialect": dialect, "events_per_second": events_per_second,
        "codes": codes,
        "sandbox": sandbox or None,
    }  # fmt: skip
    entry = {"source": source, "secrets": [chosen]} | {name: value for name, value in optional.items() if value is not None}
    _save(where, senders | {sender: entry}, sender, "add")
    console.print(f"已登记发送方 {sender}({where}),运行中的服务会在 1 秒内读到。", highlight=False, soft_wrap=True)
    _show_new(sender, chosen, made=secret is None)


@app.command(epilog="Example: ./onething senders rotate hebei-onething; later: ./onething senders rotate hebei-onething --drop-old")
def rotate(
    sender: IdArgument,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Keep the newest key alone; makes no new one.")] = False,
    secret: SecretOption = None,
    file: FileOption = None,
) -> None:
    """Give a sender a new key beside the old ones, which stay valid until --drop-old."""
    where, senders = _opened(file)
    entry = _entry(where, senders, sender)
    keys: list[str] = entry["secrets"]
    if drop_old:
        if secret is not None:
            raise _left("--drop-old 只去掉旧密钥,不接受 --secret")
        if len(keys) == 1:
            raise _left(f"{sender} 只有一把密钥,没有旧密钥可去掉;先用 ./onething senders rotate {sender} 换新")
        _save(where, senders | {sender: entry | {"secrets": keys[:1]}}, sender, "drop-old")
        console.print(f"{sender} 的 {len(keys) - 1} 把旧密钥已去掉,只剩最新的一把。", highlight=False)
        return
    if entry.get("scheme") == "gjzwfwpt" and secret is None:
        raise _left("国家数据通道的密钥由通道发放:请用 --secret - 从标准输入给出,或用 --secret env:变量名")
    chosen = _secret(secret)
    if chosen in keys:
        raise _left("这把密钥已经登记过")
    _save(where, senders | {sender: entry | {"secrets": [chosen, *keys]}}, sender, "rotate")
    console.print(
        f"{sender} 现有 {len(keys) + 1} 把有效密钥,新旧都接受。"
        f"发送方改用新密钥后,执行 ./onething senders rotate {sender} --drop-old",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    _show_new(sender, chosen, made=secret is None)


@app.command("list", epilog="Example: ./onething senders list")
def list_(file: FileOption = None) -> None:
    """List the senders; secrets are never shown, only a short print of each."""
    where, senders = _opened(file)
    table = Table("发送方", "来源", "签名方式", "密钥指纹(新→旧)", "事项", "绑定", "每秒事件", "方言", "沙箱", title=str(where))
    for name, entry in sorted(senders.items()):
        bound = [*entry.get("addresses", []), *(["客户端证书"] if entry.get("client_certificate") else [])]
        table.add_row(
            name, entry["source"], entry.get("scheme", "standard-webhooks"), " ".join(_print(key) for key in entry["secrets"]),
            " ".join(entry.get("items") or ["全部"]), " ".join(bound) or "-", str(entry.get("events_per_second", "不限")),
            entry.get("dialect", "-"), "是" if entry.get("sandbox") else "-",
        )  # fmt: skip
    out = console if console.is_terminal else Console(width=240)
    out.print(table)


@app.command(epilog="Example: ./onething senders check request.txt --at 2024-09-30T09:00:00+08:00")
def check(
    request: Annotated[Path, typer.Argument(help="The captured request: raw HTTP, or what `curl -v` printed.")],
    body: Annotated[Path | None, typer.Option(help="The body's bytes, where they are in a file of their own.")] = None,
    sender: Annotated[str | None, typer.Option(help="The sender's id, where the request's address does not say it.")] = None,
    at: Annotated[
        str | None, typer.Option(help="When it was received (RFC 3339 with offset); default: the answer's Date, or now.")
    ] = None,
    file: FileOption = None,
) -> None:
    """Say what is wrong with a captured request's signature; leave with 1 when it would not be taken."""
    try:
        capture = read_capture(request.read_bytes(), body.read_bytes() if body else None)
        received = datetime.fromisoformat(at) if at else capture.answered or datetime.now(UTC)
        if received.tzinfo is None:
            raise CaptureError("--at 要带时区,例如 2024-09-30T09:00:00+08:00")
    except OSError as error:
        raise _left(f"{error.filename} 读不出:{error.strerror}") from None
    except (CaptureError, ValueError) as error:
        raise _left(str(error)) from None
    kind, name = capture.party or ("senders", "")
    name = sender or name
    if not name:
        raise _left("请求行里没有 /v1/senders/<id>/events:请用 --sender 指明发送方")
    where, parties = _companies(file) if kind == "companies" else _opened(file)
    for note in capture.notes:
        console.print(f"[yellow]·[/yellow] {escape(note)}", highlight=False, soft_wrap=True)
    if not _checked(capture, name, _entry(where, parties, name), received):
        raise typer.Exit(1)


def _checked(capture: Capture, name: str, entry: dict[str, Any], received: datetime) -> bool:
    try:
        secrets = [resolved(secret, os.environ) for secret in entry["secrets"]]
    except ValueError as error:
        raise _left(f"{name}: {error}") from None
    found = diagnose(capture, secrets, SCHEMES[entry.get("scheme", "standard-webhooks")], received)
    for finding in found:
        mark = {True: "[green]✓[/green]", False: "[red]✗[/red]", None: "[yellow]·[/yellow]"}[finding.good]
        console.print(f"{mark} {escape(finding.text)}", highlight=False, soft_wrap=True)
    if entry.get("addresses") or entry.get("client_certificate"):
        console.print("[yellow]·[/yellow] 该发送方还绑定了来源地址或客户端证书,这里看不到,以服务端日志为准", highlight=False)
    right = all(finding.good is not False for finding in found) and any("签名正确" in finding.text for finding in found)
    console.print(f"结论:{name} 的这次请求{'会' if right else '不会'}通过签名校验。", highlight=False)
    return right


def _state() -> State:
    return State(Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve())


def _opened(file: Path | None, *, new: bool = False) -> tuple[Path, dict[str, Any]]:
    where = file or _state().senders
    try:
        senders = read_json(where)
        if senders:
            read_senders(where, _AnyVariable())
    except (StackError, SendersFileError) as error:
        raise _left(str(error)) from None
    if senders is None:
        if not new or file is None:
            raise _left(f"没有 {where}:先用 ./onething up 启动一次,或用 --file 指明登记发送方的文件")
        senders = {}
    return where, senders


def _companies(file: Path | None) -> tuple[Path, dict[str, Any]]:
    where = file or _state().companies
    try:
        read_companies(where, _AnyVariable())
        return where, read_json(where) or {}
    except OSError as error:
        raise _left(f"{where} 读不出:{error.strerror};用 --file 指明登记公司的文件") from None
    except (StackError, ValueError) as error:
        raise _left(f"{where}: {error}") from None


def _entry(where: Path, senders: dict[str, Any], sender: str) -> dict[str, Any]:
    entry = senders.get(sender)
    if not isinstance(entry, dict):
        raise _left(f"{where} 里没有 {sender};已登记的有:{'、'.join(sorted(senders)) or '(无)'}")
    return entry


def _secret(given: str | None) -> str:
    """The secret as the file will hold it: made now, read from the standard input, or the name of a variable."""
    if given is None:
        return webhook_secret()
    if given.startswith(FROM_ENVIRONMENT):
        return given
    if given != "-":
        raise _left("密钥不能写在命令行里(会留在历史记录中):用 --secret - 从标准输入给出,或用 --secret env:变量名")
    return sys.stdin.readline().strip()


def _save(where: Path, senders: dict[str, Any], sender: str, action: str) -> None:
    """Writes the file when the services would take it, and who did so; keeps the running stack's endpoints true."""
    fresh = where.with_name(f".{where.name}.check")
    try:
        write_private(fresh, senders)
        read_senders(fresh, _AnyVariable())
        entry = senders[sender]
        shown_fields = {name: value for name, value in entry.items() if name != "secrets"} if action == "add" else {}
        senders_audit.append(where, action, sender, {"keys": [_print(key) for key in entry["secrets"]], **shown_fields})
        fresh.replace(where)
    except SendersFileError as error:
        raise _left(str(error).replace(str(fresh), str(where))) from None
    except OSError as error:
        raise _left(f"{where} 写不进去:{error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)
    state = _state()
    endpoints = read_json(state.endpoints) if where == state.senders else None
    if endpoints is not None:
        endpoints["senders"][sender] = {"secret": entry["secrets"][0], "source": entry["source"]}
        write_private(state.endpoints, endpoints)


class _AnyVariable(dict[str, str]):
    """An environment in which each variable is set: it is the services' that counts, not this command's."""

    def get(self, key: str, default: Any = None) -> Any:
        return "whsec_" + "A" * 40


def _print(secret: str) -> str:
    """Enough to tell two keys apart, and no way back to either: a key of ours is random, a channel's may be guessed."""
    if secret.startswith(FROM_ENVIRONMENT):
        return secret
    return hashlib.sha256(secret.encode()).hexdigest()[:8] if secret.startswith(PREFIX) else "(通道密钥)"


def _show_new(sender: str, secret: str, *, made: bool) -> None:
    if made:
        console.print(f"{sender} 的密钥(只显示这一次,请通过安全渠道交给发送方):", highlight=False)
        console.print(secret, highlight=False, soft_wrap=True)


def _left(why: str) -> typer.Exit:
    problems.print(shown(StackError(why)), highlight=False, soft_wrap=True)
    return typer.Exit(1)
