"""``./onething notice``: write a month's notice as a file, freeze it, and check a frozen one. It speaks to people of a bureau."""

import getpass
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import httpx
import orjson
import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from deploy.local.caller import given
from deploy.local.parts import ROOT
from deploy.local.state import State
from services.metrics.domain.notice import digest, verified
from services.metrics.domain.notice.freezing import value_in_words

PATIENCE_SECONDS: Final = 60.0
SHOWN: Final = 20
"""How many restated figures the command itself lists; the document has all of them."""

console = Console()
problems = Console(stderr=True)


class _WriteIsMeant(TyperGroup):
    """``notice 2024-09`` means ``notice write 2024-09``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["write", *args]
        return super().parse_args(ctx, args)


class LowOp(StrEnum):
    """Whether the limit itself stands low."""

    LT = "lt"
    LE = "le"


class Ties(StrEnum):
    """The rank after a tie."""

    SKIP = "skip"
    DENSE = "dense"


app = typer.Typer(cls=_WriteIsMeant, no_args_is_help=True)

Month = Annotated[str, typer.Argument(metavar="YYYY-MM", help="月份,如 2024-09")]
Item = Annotated[str, typer.Option("--item", help="一件事事项代码")]
Low = Annotated[int | None, typer.Option("--low", min=0, help="办件量少的界限,默认10")]
LowOps = Annotated[LowOp | None, typer.Option("--low-op", help="lt:少于界限(默认);le:少于或等于界限")]
Top = Annotated[int | None, typer.Option("--top", min=1, max=22, help="列名的领先单位到第几位,默认5")]
TieRule = Annotated[Ties | None, typer.Option("--ties", help="并列后的位次:skip 顺延1、1、3(默认);dense 不跳1、1、2")]
DISABLED: Final = "disabled-service"


@app.callback(
    help="月度通报:生成文件、冻结、校验。",
    epilog="Example: ./onething notice 2024-09 --out 通报.docx",
)
def notice() -> None:
    """The group; its help stands above."""


@app.command(
    help="生成某月通报(write 可省略)。不带 --out 时显示正文和表格。", epilog="Example: ./onething notice 2024-09 --out 通报.docx"
)
def write(
    month: Month,
    item: Item = DISABLED,
    out: Annotated[Path | None, typer.Option("--out", help="输出文件,按后缀定格式:.docx .xlsx .md .json")] = None,
    low: Low = None,
    low_op: LowOps = None,
    top: Top = None,
    ties: TieRule = None,
    live: Annotated[bool, typer.Option("--live", help="已冻结的月份也用现在的数据")] = False,
) -> None:
    """Writes the notice in the form that the file's suffix names, whole or not at all."""
    form = out.suffix.lower().removeprefix(".") if out else "md"
    if form not in ("docx", "xlsx", "md", "json"):
        raise _left(f"不认识的后缀“{out.suffix if out else ''}”,请用 .docx .xlsx .md 或 .json。")
    asked = {**_chosen(low, low_op, top, ties), "item": item, "format": form, **({"live": "true"} if live else {})}
    content = _ask("GET", month, asked).content
    if out is None:
        console.print(content.decode(), markup=False, highlight=False, soft_wrap=True)
        return
    _write(given(out), content)
    console.print(f"已生成 {out}({len(content)} 字节)。", markup=False, highlight=False, soft_wrap=True)


@app.command(
    help="冻结某月通报:保存当时的数据和文字,并给出校验码。月份结束后才能冻结。", epilog="Example: ./onething notice freeze 2024-09"
)
def freeze(
    month: Month,
    item: Item = DISABLED,
    low: Low = None,
    low_op: LowOps = None,
    top: Top = None,
    ties: TieRule = None,
    by: Annotated[str | None, typer.Option("--by", help="经办人,记入审计,默认为当前登录名")] = None,
) -> None:
    """Freezes the notice with the operator's token; the same again changes nothing."""
    answer = _ask("POST", month, {**_chosen(low, low_op, top, ties), "item": item, "by": by or getpass.getuser()})
    frozen = answer.json()["frozen"]
    again = "" if answer.status_code == httpx.codes.CREATED else "此前已冻结,内容没有变化。"
    console.print(
        f"{month} 通报已冻结({frozen['on']},{frozen['by']})。{again}\n校验码(SHA-256):{frozen['sha256']}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


@app.command(help="校验冻结通报的 JSON 文件:内容与校验码是否一致。", epilog="Example: ./onething notice verify 通报.json")
def verify(file: Annotated[Path, typer.Argument(metavar="FILE.json", help="由 ./onething notice 生成的 .json 文件")]) -> None:
    """Recomputes the hash of a frozen notice from the file alone; leaves with 1 when it is another."""
    try:
        answer = orjson.loads(given(file).read_bytes())
    except OSError as error:
        raise _left(f"读不了 {file}({error.strerror}),请检查文件名。") from None
    except orjson.JSONDecodeError:
        raise _left(f"{file} 不是 JSON 文件,请用 ./onething notice 月份 --out 文件.json 生成。") from None
    try:
        holds = verified(answer)
    except (ValueError, AttributeError):
        raise _left(f"{file} 不是已冻结的通报:没有校验码。请先运行 ./onething notice freeze 月份,再生成 .json。") from None
    stated = answer["frozen"]["sha256"]
    if not holds:
        raise _left(f"不一致:{file} 的内容在冻结后被改动过。文件中的校验码 {stated},按内容算得 {digest(answer)}。")
    console.print(f"一致:{file} 的内容与校验码相符({stated})。", markup=False, highlight=False, soft_wrap=True)


def _chosen(low: int | None, low_op: LowOp | None, top: int | None, ties: Ties | None) -> dict[str, str]:
    given = {"low": low, "low_op": low_op, "top": top, "ties": ties}
    return {name: str(value) for name, value in given.items() if value is not None}


def _ask(method: str, month: str, asked: dict[str, str]) -> httpx.Response:
    """Asks the metrics api of the running stack as the operator; leaves in Chinese when it refuses or is away."""
    file = State(Path(os.environ.get("ONETHING_STATE_DIR") or ROOT / ".local").resolve()).endpoints
    try:
        endpoints = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        raise _left(f"系统没有在 {file.parent} 运行,请先用 ./onething up 启动,或设置 ONETHING_STATE_DIR。") from None
    headers = {"Authorization": f"Bearer {endpoints['operator_token']}"}
    try:
        with httpx.Client(base_url=endpoints["metrics"], headers=headers, trust_env=False, timeout=PATIENCE_SECONDS) as client:
            answer = client.request(method, f"/v1/notices/{quote(month, safe='')}", params=asked)
    except httpx.TransportError as error:
        raise _left(f"{endpoints['metrics']} 没有应答({type(error).__name__}),请看 metrics api 的日志。") from None
    if answer.is_success:
        return answer
    raise _left(_refusal(answer, month))


def _refusal(answer: httpx.Response, month: str) -> str:
    """What the api's refusal means, and what to do."""
    said: dict[str, Any] = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    if answer.status_code == httpx.codes.CONFLICT:
        chosen, frozen = said["parameters"], said["frozen"]
        lines = [
            f"{month} 的通报已于 {frozen['on']} 冻结,参数为 low={chosen['low']} low_op={chosen['low_op']} top={chosen['top']}"
            f" ties={chosen['ties']},与本次要求不同。"
        ]
        if restated := said.get("restatement"):
            rows = (*restated["total"], *restated["changes"])
            lines = [f"{month} 的通报已于 {frozen['on']} 冻结,不再改动;此后有 {len(rows)} 项数据更正,查询或重新生成时列在更正表中:"]
            for row in rows[:SHOWN]:
                then, now = (value_in_words(row["measure"], row[name]) for name in ("frozen", "now"))
                lines.append(f"  {row['name']} {row['measure_name']}:{then} → {now}")
            lines += [f"  ……另有 {len(rows) - SHOWN} 项"] if len(rows) > SHOWN else []
        else:
            lines.append("请去掉这些参数;要用现在的数据,请加 --live。")
        return "\n".join(lines)
    wrong = {error["pointer"].rpartition("/")[2]: error["message"] for error in said.get("errors", [])}
    if "month" in wrong:
        late = "has not ended" in wrong["month"]
        return f"{month} 还没有结束,月末以后才能冻结。" if late else f"“{month}”不是已经开始的月份,请写成 2024-09 这样。"
    if "item" in wrong:
        return f"没有这个事项代码。可用:{wrong['item'].partition('allowed: ')[2]}"
    details = [f"{name}:{message}" for name, message in wrong.items()]
    return ";".join(details) or said.get("detail") or f"服务应答 {answer.status_code},请看 metrics api 的日志。"


def _write(out: Path, content: bytes) -> None:
    fresh = out.with_name(f".{out.name}.new")
    try:
        fresh.write_bytes(content)
        fresh.replace(out)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise _left(f"写不了 {out}({error.strerror}),请换一个位置。") from None


def _left(why: str) -> typer.Exit:
    problems.print(f"[red]✗[/red] {escape(why)}", highlight=False, soft_wrap=True)
    return typer.Exit(1)
