"""The service's commands as an operator runs them: exit status, and words that say what to do."""

import asyncio
import os
import sys
from pathlib import Path

import asyncpg
import pytest

from services.utilities.settings import read_companies
from tests.conftest import TestDatabase
from tests.utilities_support import REGISTRY


async def _run(*arguments: str, **variables: str) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONETHING_")} | variables
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.utilities.main", *arguments,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_import_registry_takes_a_file_once_and_names_wrong_lines(database: TestDatabase, tmp_path: Path) -> None:
    file = tmp_path / "registry.csv"
    file.write_text(REGISTRY, encoding="utf-8")
    dsn = database.dsn("utilities")
    for added, unchanged in ((6, 0), (0, 6)):
        status, output = await _run("import-registry", str(file), ONETHING_POSTGRES_DSN=dsn)
        assert status == 0, output
        assert f'"added": {added}' in output
        assert f'"unchanged": {unchanged}' in output
    file.write_text(REGISTRY + "a,x,steam,130607,2023-01-01,\n", encoding="utf-8")
    status, output = await _run("import-registry", str(file), ONETHING_POSTGRES_DSN=dsn)
    assert status == 1
    assert "第8行“服务”列:请从下拉框选" in output
    status, output = await _run("import-registry", str(tmp_path / "none.csv"), ONETHING_POSTGRES_DSN=dsn)
    assert (status, "none.csv" in output, "Traceback" in output) == (1, True, False)


async def test_migrate_makes_schema_and_role_and_is_harmless_again(database: TestDatabase) -> None:
    connection = await asyncpg.connect(database.admin_dsn)
    await connection.execute("drop schema utilities cascade")
    try:
        dsn = database.dsn("utilities")
        for _ in range(2):
            status, output = await _run("migrate", ONETHING_POSTGRES_DSN=dsn, ONETHING_POSTGRES_ADMIN_DSN=database.admin_dsn)
            assert status == 0, output
        names = {row[0] for row in await connection.fetch("select tablename from pg_tables where schemaname = 'utilities'")}
    finally:
        await connection.close()
    assert names >= {"registry", "presence", "installations", "due_dates", "joint", "windows", "offsets", "migrations"}
    status, output = await _run("migrate", ONETHING_POSTGRES_DSN=dsn)
    assert (status, "set ONETHING_POSTGRES_ADMIN_DSN" in output) == (1, True)


@pytest.mark.parametrize("arguments", [(), ("import-registry",), ("fly",)])
async def test_a_wrong_command_is_told_the_right_ones(arguments: tuple[str, ...]) -> None:
    status, output = await _run(*arguments)
    assert (status, "usage: python -m services.utilities.main" in output) == (2, True)


async def test_missing_settings_are_named_without_a_traceback() -> None:
    status, output = await _run("worker")
    assert (status, "ONETHING_POSTGRES_DSN" in output, "Traceback" in output) == (2, True, False)


def test_a_companies_file_of_another_form_is_refused_without_showing_secrets(tmp_path: Path) -> None:
    file = tmp_path / "companies.json"
    for content in ('{"gas-1": {"secret": "whsec_c2VjcmV0"}}', '{"gas-1": {"secrets": ["whsec_c2VjcmV0"]}}', "{"):
        file.write_text(content)
        with pytest.raises(ValueError) as caught:
            read_companies(file)
        assert "c2VjcmV0" not in str(caught.value)
