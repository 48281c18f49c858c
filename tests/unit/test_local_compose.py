"""What can be known of the containers without an engine: names, health, environment, secrets, versions, packages."""

import importlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from pydantic_settings import BaseSettings
from typer.main import get_command

from deploy.local.__main__ import app
from deploy.local.broker import KAFKA_VERSION, POM
from deploy.local.parts import ROOT, base_environment
from deploy.local.service import SERVICES, STORED

COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
PROCESSES = [(service, process) for service in SERVICES for process in ("api", "worker")]
MIGRATIONS = [(service, "migrate") for service in STORED]
ADMIN_DSN = "ONETHING_POSTGRES_ADMIN_DSN"
NEEDED = {
    ("intake", "api"): ("receipt_key_file", "digest_key_file", "postgres_dsn", "operator_token", "metrics_url"),
    ("intake", "worker"): ("digest_key_file", "postgres_dsn"),
    ("utilities", "api"): ("companies_file", "receipt_key_file", "digest_key_file", "page_url"),
    ("utilities", "worker"): ("digest_key_file",),
    ("metrics", "api"): ("reader_token", "operator_token", "page_url", "readers_file", "postgres_reader_dsn"),
    ("metrics", "worker"): ("digest_key_file",),
}
"""What the settings do without, and a system that is in use does not: promises would be missing in silence."""


@cache
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded


def container(service: str, process: str) -> dict[str, Any]:
    name = f"migrate-{service}" if process == "migrate" else f"{service}-{process}"
    found: dict[str, Any] = compose()["services"][name]
    return found


def settings(service: str) -> type[BaseSettings]:
    found: type[BaseSettings] = importlib.import_module(f"services.{service}.settings").Settings
    return found


def texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def test_all_parts_are_there() -> None:
    expected = {"kafka", "postgres", "topics", *(f"{s}-{p}" for s, p in PROCESSES), *(f"migrate-{s}" for s in STORED)}
    found = compose()["services"]
    assert {name for name in found if "profiles" not in found[name]} == expected
    assert {name: found[name]["profiles"] for name in found.keys() - expected} == {
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }


def test_monitoring_reads_what_is_there_and_asks_every_process() -> None:
    for name in ("prometheus", "grafana"):
        mounted = [volume.split(":") for volume in compose()["services"][name]["volumes"] if volume.startswith(".")]
        assert mounted
        assert all((ROOT / source).exists() and mode == "ro" for source, _, mode in mounted)
    targets = yaml.safe_load((ROOT / "deploy/prometheus/compose-targets.yml").read_text("utf-8"))
    asked = {group["labels"]["job"]: group["targets"] for group in targets}
    assert asked == {f"onething-{s}-{p}": [f"{s}-{p}:8000"] for s, p in PROCESSES}


@pytest.mark.parametrize(("service", "process"), PROCESSES + MIGRATIONS)
def test_a_process_is_given_what_its_settings_know_and_all_that_they_require(service: str, process: str) -> None:
    fields = settings(service).model_fields
    # The image sets these two for every process.
    given = set(container(service, process)["environment"]) | {"ONETHING_HOST", "ONETHING_PORT"}
    known = {f"ONETHING_{name.upper()}" for name in fields}
    required = {f"ONETHING_{name.upper()}" for name, field in fields.items() if field.is_required()}
    assert given <= known
    assert required | {f"ONETHING_{name.upper()}" for name in NEEDED.get((service, process), ())} <= given
    assert (ADMIN_DSN in given) == (process == "migrate")


@pytest.mark.parametrize(("service", "process"), PROCESSES)
def test_a_process_is_watched_by_its_readiness_and_comes_back(service: str, process: str) -> None:
    found = container(service, process)
    assert found["command"] == [f"services.{service}.main", process]
    assert "/readyz" in found["healthcheck"]["test"][-1]
    assert found["restart"] == "unless-stopped"
    assert found["depends_on"]["topics"]["condition"] == "service_completed_successfully"
    if service in STORED:
        assert found["depends_on"][f"migrate-{service}"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("name", ["kafka", "postgres"])
def test_what_keeps_data_has_a_volume_and_a_health_check(name: str) -> None:
    found = compose()["services"][name]
    assert found["healthcheck"]["test"][0] == "CMD"
    assert [volume.partition(":")[0] for volume in found["volumes"]] == [name]
    assert name in compose()["volumes"]


def test_processes_can_write_nothing_and_gain_nothing() -> None:
    for name, found in compose()["services"].items():
        if found["image"] == "onething:local":
            assert found["read_only"] is True, name
            assert found["cap_drop"] == ["ALL"], name
            assert "user" not in found, name
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]


NO_SECRETS = {"ONETHING_BIND", "ONETHING_OTLP_ENDPOINT", "ONETHING_TRACE_RATIO"}
"""Variables that may be left out: where it listens, and where traces go."""


def test_secrets_come_from_outside_and_are_asked_for_by_name() -> None:
    for text in texts(compose()):
        for name, rest in re.findall(r"\$\{(\w+)([^}]*)\}", text):
            assert name in NO_SECRETS or rest.startswith(":?"), text
        if re.search(r"password|token|secret|whsec_", text, re.IGNORECASE) and "scram" not in text:
            assert "${" in text or text.startswith("/run/secrets/") or text in compose()["secrets"], text
    assert all(set(secret) == {"file"} for secret in compose()["secrets"].values())


def test_single_sign_on_is_given_by_a_file_that_may_be_missing_and_is_never_committed() -> None:
    assert container("metrics", "api")["env_file"] == [{"path": "oidc.env", "required": False}]
    assert "oidc.env" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    example = re.search(r"`oidc\.env`.*?```sh\n(.+?)```", (ROOT / "docs/access.md").read_text("utf-8"), re.DOTALL)
    assert example
    variables = dict(line.split("=", 1) for line in example[1].splitlines())
    known = {f"ONETHING_{name.upper()}" for name in settings("metrics").model_fields}
    assert {name for name in variables if name.startswith("ONETHING_OIDC_")} == set(variables) <= known
    # What compose gives a process is a line's text as it stands.
    read = subprocess.run(
        [sys.executable, "-c", "from services.metrics.settings import Settings; print(Settings().oidc_scopes['county-clerk'])"],
        env=base_environment() | variables | {"ONETHING_POSTGRES_DSN": "postgresql://x", "ONETHING_PAGE_URL": "https://x"},
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert read.stdout.strip() == "county"


def test_nothing_is_published_beyond_the_loopback_unasked() -> None:
    published = [port for found in compose()["services"].values() for port in found.get("ports", [])]
    assert len(published) == 5
    assert all(port.startswith("${ONETHING_BIND:-127.0.0.1}:") for port in published)


def test_topics_are_made_by_a_command_that_exists() -> None:
    module, command, *options = compose()["services"]["topics"]["command"]
    assert module == "deploy.local"
    known = get_command(app).commands[command]  # type: ignore[attr-defined]
    assert set(options[::2]) <= {option for parameter in known.params for option in parameter.opts}


def test_the_same_kafka_runs_locally_and_in_containers() -> None:
    named = ElementTree.parse(POM).find("./{*}properties/{*}kafka.version")
    assert named is not None
    assert named.text == KAFKA_VERSION
    assert compose()["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_the_image_copies_what_is_there_and_no_more_is_sent_to_it() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE)
    assert all((ROOT / source).exists() for source in copied)
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(sent) == sorted(copied)


def test_the_images_packages_are_the_locked_ones_without_the_tools() -> None:
    image, whole = locked(ROOT / "deploy/requirements.lock"), locked(ROOT / "requirements.lock")
    assert {name: whole.get(name) for name in image} == image
    names = {name.partition("==")[0] for name in image}
    assert {"fastapi", "faststream", "aiokafka", "asyncpg", "pydantic-settings", "uvicorn", "typer"} <= names
    assert not names & {"pytest", "mypy", "ruff", "hypothesis", "import-linter"}


def locked(file: Path) -> dict[str, set[str]]:
    """The hashes of each pinned package."""
    found: dict[str, set[str]] = {}
    name = ""
    for line in file.read_text().splitlines():
        if pin := re.match(r"([a-z0-9._-]+==[^ ;\\]+)", line):
            name = pin[1]
            found[name] = set()
        elif name:
            found[name] |= set(re.findall(r"--hash=(\S+)", line))
    return found


def compose_client() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0


@pytest.mark.skipif(not compose_client(), reason="docker compose is not on this machine")
def test_the_client_reads_the_file() -> None:
    variables = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp"} | dict.fromkeys(variables, "127.0.0.1")
    run = subprocess.run(
        ["docker", "compose", "--file", COMPOSE, "config", "--quiet"], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
