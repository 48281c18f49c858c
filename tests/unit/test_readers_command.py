"""``./onething readers``: the file that it writes is one that the service takes, and holds no token."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.readers import app
from services.metrics.domain.access import Asker
from services.metrics.domain.sessions import digest
from services.metrics.settings import read_readers

RUN = CliRunner()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "readers.json"


def run(file: Path, *arguments: str) -> str:
    done = RUN.invoke(app, [*arguments, "--file", str(file)])
    assert done.exit_code == 0, done.output
    return done.output


def refused(file: Path, *arguments: str) -> str:
    before = file.read_bytes() if file.exists() else None
    done = RUN.invoke(app, [*arguments, "--file", str(file)])
    assert done.exit_code == 1, done.output
    assert (file.read_bytes() if file.exists() else None) == before, "the file stands as it was"
    return done.output


def shown(output: str) -> str:
    return output.strip().splitlines()[-1]


def test_a_reader_is_added_exchanged_listed_and_removed(file: Path) -> None:
    first = shown(run(file, "add", "mancheng", "--scope", "county", "--county", "130621"))
    assert read_readers(file).of_digest(digest(first)) == Asker("mancheng", "county", "130607"), "a retired code is read as today's"
    assert file.stat().st_mode & 0o777 == 0o600
    second = shown(run(file, "rotate", "mancheng"))
    for token in (first, second):
        assert token not in file.read_text()
        assert len(token) >= 43
        assert read_readers(file).of_digest(digest(token)) is not None
    assert "1 个旧令牌" in run(file, "rotate", "mancheng", "--drop-old")
    assert read_readers(file).of_digest(digest(first)) is None
    assert read_readers(file).of_digest(digest(second)) is not None
    listed = run(file, "list")
    assert "满城区 130607" in listed
    assert digest(second)[:8] in listed
    assert second not in listed
    run(file, "remove", "mancheng")
    assert json.loads(file.read_text()) == {}
    assert read_readers(file).of_digest(digest(second)) is None


def test_what_cannot_be_is_refused_with_what_to_do(file: Path) -> None:
    assert "--county" in refused(file, "add", "a", "--scope", "county")
    assert "--county" in refused(file, "add", "a", "--county", "130607")
    assert "reader、county、operator" in refused(file, "add", "a", "--scope", "director")
    assert "130607 满城区" in refused(file, "add", "a", "--scope", "county", "--county", "130629")
    assert "choose another" in refused(file, "add", "operator")
    refused(file, "list")
    run(file, "add", "a")
    assert "rotate a" in refused(file, "add", "a")
    assert "没有旧令牌" in refused(file, "rotate", "a", "--drop-old")
    assert "已登记的有:a" in refused(file, "remove", "b")
    file.write_text('{"a": {}}')
    assert "token_sha256" in refused(file, "list")
