"""The senders file, and what is said of a wrong one."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.local.parts import base_environment
from services.intake.settings import SendersFileError, read_senders

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes of a test secret").decode()
GOOD: dict[str, Any] = {"hebei": {"source": "urn:onething:province:hebei", "secrets": [SECRET, SECRET]}}


def _file(folder: Path, content: Any) -> Path:
    file = folder / "senders.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def _started(*arguments: str, **variables: str | Path) -> tuple[int, str]:
    """The exit status of the real process, and what it says. In our own it would set up logging for all tests after this one."""
    environment = base_environment() | {name: str(value) for name, value in variables.items()}
    command = [sys.executable, "-m", "services.intake.main", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    return run.returncode, run.stderr


def test_a_good_file_gives_each_sender_its_source_and_keys(tmp_path: Path) -> None:
    senders = read_senders(_file(tmp_path, GOOD))
    assert senders.keys() == {"hebei"}
    assert (senders["hebei"].id, senders["hebei"].source, len(senders["hebei"].party.keys)) == (
        "hebei",
        "urn:onething:province:hebei",
        2,
    )
    assert SECRET[6:] not in repr(senders)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "the whole: Invalid JSON"),
        ("[]", "the whole: Input should be an object"),
        ("{}", "at least 1 item"),
        ({"a b": GOOD["hebei"]}, "a b: String should match pattern"),
        ({"hebei": {"secrets": [SECRET]}}, "hebei/source: Field required"),
        ({"hebei": {"source": "urn:x"}}, "hebei/secrets: Field required"),
        ({"hebei": {"source": "urn:x", "secrets": []}}, "hebei/secrets: List should have at least 1 item"),
        ({"hebei": {"source": "", "secrets": [SECRET]}}, "hebei/source: String should match pattern"),
        ({"hebei": {"source": "urn:x", "secrets": [SECRET, SECRET[6:]]}}, "hebei/secrets/1: a secret is whsec_ followed by"),
        ({"hebei": {"source": "urn:x", "secrets": [SECRET], "key": 1}}, "hebei/key: Extra inputs are not permitted"),
        ({"hebei": {"source": "urn:x", "secrets": [SECRET], "items": []}}, "hebei/items: List should have at least 1 item"),
        ({"hebei": {"source": "urn:x", "secrets": [SECRET], "items": ["tea"]}}, "hebei/items/0: the catalogue has no such item"),
        ({"hebei": {"source": "urn:x", "secrets": [SECRET], "addresses": ["10.0.0.1/8"]}}, "hebei/addresses/0"),
        ({"hebei": {"source": "urn:x", "secrets": [SECRET], "client_certificate": "x"}}, "hebei/client_certificate: a fingerprint"),
        ({"hebei": {"source": "urn:x", "secrets": [SECRET], "events_per_second": 0}}, "hebei/events_per_second"),
        ({"hebei": {"source": "urn:x", "secrets": [SECRET], "dialect": "a b"}}, "hebei/dialect"),
        ({"hebei": {"source": "urn:x", "secrets": [SECRET], "scheme": "md5"}}, "hebei/scheme"),
        ({"hebei": {"source": "urn:x", "secrets": [SECRET], "scheme": "gjzwfwpt"}}, "does not cover the body: bind the sender by"),
        ({"hebei": {"source": "urn:x", "secrets": ["env:NOT_SET"]}}, "hebei/secrets/0: the environment has no variable NOT_SET"),
    ],
)
def test_a_wrong_file_is_told_where_and_what_without_its_secrets(tmp_path: Path, content: Any, said: str) -> None:
    file = _file(tmp_path, content)
    with pytest.raises(SendersFileError) as caught:
        read_senders(file)
    message = str(caught.value)
    assert str(file) in message
    assert said in message
    assert '{"<sender>": {"source"' in message
    assert SECRET[6:] not in message


def test_what_a_sender_may_and_from_where_is_read(tmp_path: Path) -> None:
    entry = {
        "source": "urn:x", "secrets": ["a-secret-of-the-channel", "env:SECOND"], "scheme": "gjzwfwpt",
        "addresses": ["10.0.0.0/8", "::1"],
        "client_certificate": ":".join(["AB"] * 32), "items": ["credit-repair"], "dialect": "exchange", "sandbox": True,
        "events_per_second": 2.5,
    }  # fmt: skip
    sender = read_senders(_file(tmp_path, {"s": entry}), {"SECOND": "another-secret-of-it"})["s"]
    assert (sender.items, sender.sandbox) == (frozenset({"credit-repair"}), True)
    assert sender.dialect is not None
    assert sender.dialect.name == "exchange"
    party = sender.party
    assert (party.scheme, len(party.keys), party.events_per_second) == ("gjzwfwpt", 2, 2.5)
    assert (party.client_certificate, [str(net) for net in party.addresses]) == ("ab" * 32, ["10.0.0.0/8", "::1/128"])


def test_the_api_says_how_to_make_the_receipts_key(tmp_path: Path) -> None:
    status, said = _started("api", ONETHING_SENDERS_FILE=_file(tmp_path, GOOD))
    assert status == 2
    assert "set ONETHING_RECEIPT_KEY_FILE" in said
    assert "openssl genpkey -algorithm ed25519" in said


def test_a_missing_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(SendersFileError, match=r"none\.json: No such file or directory; let ONETHING_SENDERS_FILE name"):
        read_senders(tmp_path / "none.json")


@pytest.mark.parametrize("process", ["api", "worker"])
def test_a_process_with_a_wrong_file_ends_with_the_sentence(tmp_path: Path, process: str) -> None:
    status, said = _started(process, ONETHING_SENDERS_FILE=_file(tmp_path, "{}"))
    assert (status, said.count("senders: ")) == (2, 1)


@pytest.mark.parametrize("process", ["api", "migrate"])
def test_a_process_without_the_file_names_the_setting(process: str) -> None:
    status, said = _started(process)
    assert (status, "settings: ONETHING_SENDERS_FILE: Field required" in said) == (2, True)


@pytest.mark.parametrize(
    "arguments", [[], ["worker", "--most-unusable"], ["worker", "--most-unusable", "2"], ["api", "--most-unusable", "1"]]
)
def test_the_share_that_may_be_unusable_is_the_workers_and_from_0_to_1(arguments: list[str]) -> None:
    status, said = _started(*arguments)
    assert status == 2
    assert "from 0 to 1" in said or "worker [--most-unusable SHARE]" in said


def test_a_digest_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    senders = tmp_path / "senders.json"
    senders.write_text('{"a": {"source": "urn:a", "secrets": ["whsec_bm9ib2R5IGhhcyB0aGlzIGtleS4uLi4uLi4="]}}')
    status, said = _started("worker", ONETHING_SENDERS_FILE=senders, ONETHING_DIGEST_KEY_FILE=tmp_path / "none")
    assert (status, "openssl rand -hex 32" in said) == (2, True)
