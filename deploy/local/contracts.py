"""``./onething contracts``: the contracts as the code has them, written to ``docs/contracts`` or compared with it."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from deploy.local import metrics_page
from deploy.local.compat import broken_promises
from deploy.local.parts import ROOT
from deploy.local.service import SERVICES, STORED, Needs, Service, environment

FOLDER: Final = ROOT / "docs" / "contracts"
RENEW: Final = "./onething contracts"

console = Console()
problems = Console(stderr=True)


def contracts() -> dict[str, str]:
    """Every contract by its path: OpenAPI and AsyncAPI of each service, JSON Schema of each topic's message."""
    from shared.events.messages import schemas

    made: dict[str, Any] = {f"events/{name}.schema.json": schema for name, schema in schemas().items()}
    with tempfile.TemporaryDirectory() as folder:
        for service in SERVICES:
            made[f"openapi/{service}.json"], made[f"asyncapi/{service}.json"] = _of_service(service, Path(folder))
    return {
        name: json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n" for name, content in sorted(made.items())
    }


def differences(folder: Path = FOLDER) -> list[str]:
    """Names of the contracts that do not stand in ``folder`` as the code has them, and of files there that are no contract."""
    made = contracts()
    stored = {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for part in ("openapi", "asyncapi", "events")
        for path in (folder / part).glob("*.json")
    }
    return sorted(name for name in made.keys() | stored.keys() if made.get(name) != stored.get(name))


def broken(folder: Path = FOLDER) -> list[str]:
    """What the present schemas no longer keep of those released, e.g. ``released/1/case-events.schema.json /data/item: …``."""
    found: list[str] = []
    for released in sorted((folder / "released").glob("*/*.schema.json")):
        present = folder / "events" / released.name
        name = released.relative_to(folder).as_posix()
        if not present.exists():
            found.append(f"{name}: the topic's message is gone")
            continue
        found += [f"{name} {what}" for what in broken_promises(_json(released), _json(present))]
    return found


def _json(file: Path) -> Any:
    return json.loads(file.read_bytes())


def api_of(service: Service, folder: Path) -> Any:
    """A service's api, which is put together and never started; ``folder`` gets the files that it reads."""
    import importlib

    main = importlib.import_module(f"services.{service}.main")
    settings = importlib.import_module(f"services.{service}.settings")
    with _variables(environment(service, 80, _needs(folder))):
        return main.build_api(settings.Settings())


def _of_service(service: Service, folder: Path) -> tuple[Any, Any]:
    """OpenAPI and AsyncAPI of a service's api."""
    import asyncio

    import httpx

    app = api_of(service, folder)

    async def asyncapi() -> Any:
        # Asked as a reader asks it: the route is part of the contract. It needs nothing that a lifespan brings.
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://contracts") as client:
            return (await client.get("/asyncapi.json")).raise_for_status().json()

    return app.openapi(), asyncio.run(asyncapi())


def _needs(folder: Path) -> Needs:
    from deploy.local.state import webhook_secret
    from shared.receipts import new_key

    senders, companies, key = folder / "senders.json", folder / "companies.json", folder / "receipt.pem"
    senders.write_text(json.dumps({"sender": {"source": "urn:onething:sender", "secrets": [webhook_secret()]}}))
    companies.write_text(json.dumps({"company": {"secrets": [webhook_secret()]}}))
    key.write_bytes(new_key())
    return Needs(
        kafka="kafka:9092",
        topic_prefix="onething",
        dsns=dict.fromkeys(STORED, "postgresql://nobody@postgres/onething"),
        senders_file=senders,
        companies_file=companies,
        reader_token="reader",  # noqa: S106  # of an api that is never started
        operator_token="operator",  # noqa: S106
        receipt_key_file=key,
        metrics_url="http://metrics:8103",
    )


@contextmanager
def _variables(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def write(folder: Path, release: str | None = None) -> list[str]:
    """Writes what differs, and with ``release`` the messages' schemas frozen as that version; gives the names."""
    changed = differences(folder)
    made = contracts() if changed or release else {}
    frozen = {f"released/{release}/{Path(name).name}": text for name, text in made.items() if name.startswith("events/")}
    for name, text in {**{name: made[name] for name in changed if name in made}, **(frozen if release else {})}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    for name in changed:
        if name not in made:
            (folder / name).unlink()
    return changed + (sorted(frozen) if release else [])


def _shown(name: str) -> str:
    return (FOLDER / name).resolve().relative_to(ROOT).as_posix()


def register(app: typer.Typer) -> None:
    """Adds the command to ``app``."""

    @app.command(epilog="Example: ./onething contracts --check")
    def contracts(
        check: Annotated[bool, typer.Option("--check", help="Write nothing; leave with 1 when something differs.")] = False,
        release: Annotated[str | None, typer.Option(help="Freeze the messages' schemas as this version, e.g. 2.")] = None,
    ) -> None:
        """Renew docs/contracts (OpenAPI, AsyncAPI, JSON Schema) and docs/metrics.md from the code; say what breaks a release."""
        if check:
            changed = differences()
            if metrics_page.differs():
                changed.append("../metrics.md")
            for name in changed:
                problems.print(f"[red]✗[/red] {_shown(name)} is not what the code says: run {RENEW}", highlight=False)
        else:
            changed = []
            for name in write(FOLDER, release):
                console.print(_shown(name), highlight=False)
            if metrics_page.differs():
                metrics_page.FILE.write_text(metrics_page.page(), "utf-8")
                console.print(_shown("../metrics.md"), highlight=False)
        promises = broken()
        for what in promises:
            problems.print(f"[red]✗[/red] incompatible: {what}", highlight=False, soft_wrap=True)
        if changed or promises:
            raise typer.Exit(1)
        console.print("contracts stand", highlight=False)
