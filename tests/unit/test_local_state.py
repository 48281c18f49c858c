"""The state folder: one holder, private secrets, and a sentence for each way it can be broken."""

import json
import os
import stat
from pathlib import Path

import pytest

from deploy.local.parts import StackError
from deploy.local.state import Secrets, State, held, registry_companies
from shared.signing import Key


def test_the_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path / "s"), pytest.raises(StackError, match=f"pid {os.getpid()}"), held(tmp_path / "s"):
        pass
    with held(tmp_path / "s"):
        pass


def test_endpoints_of_a_killed_start_do_not_survive(tmp_path: Path) -> None:
    with held(tmp_path / "s") as state:
        pass
    state.endpoints.write_text("{}")
    with held(tmp_path / "s"):
        assert not state.endpoints.exists()


def test_another_layout_is_refused(tmp_path: Path) -> None:
    with held(tmp_path / "s") as state:
        pass
    (state.folder / "layout").write_text("0")
    with pytest.raises(StackError, match="layout 0"), held(tmp_path / "s"):
        pass


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a file")
    with pytest.raises(StackError, match="not a state folder"), held(tmp_path / "s"):
        pass


def test_secrets_are_made_once_kept_and_private(tmp_path: Path) -> None:
    state = State(tmp_path)
    first = Secrets.of(state, ["water-1"])
    second = Secrets.of(state, ["water-1", "gas-1"])
    assert second.model_copy(update={"companies": first.companies}) == first
    assert second.companies["water-1"] == first.companies["water-1"]
    assert len({*second.companies.values(), second.sender}) == 3
    Key(second.sender)
    assert json.loads(state.companies.read_text())["gas-1"] == {"secrets": [second.companies["gas-1"]]}
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_secrets_that_are_gone_are_not_made_anew_under_a_database_that_knows_the_old(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres/complete").write_text("15")
    with pytest.raises(StackError, match="remove the state folder"):
        Secrets.of(State(tmp_path), [])


def test_broken_secrets_are_told(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"sender": ')
    with pytest.raises(StackError, match="is broken"):
        Secrets.of(State(tmp_path), [])


def test_companies_of_a_registry_come_once_each(tmp_path: Path) -> None:
    registry = tmp_path / "registry.csv"
    registry.write_text("\ufeffcompany,name\nb,x\na,y\nb,z\n", encoding="utf-8")
    assert registry_companies(registry) == ["a", "b"]
    registry.write_text("name\nx\n")
    with pytest.raises(StackError, match="column named company"):
        registry_companies(registry)
