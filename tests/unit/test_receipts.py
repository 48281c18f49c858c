"""Receipts: what is signed, by which key, proven by a public library and by openssl; and the command that says what it proves."""

import base64
import hashlib
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from typer.testing import CliRunner

from deploy.local.receipt import app
from shared.receipts import TYPE, ReceiptKeyError, Receipts, new_key, thumbprint

AT = datetime(2024, 9, 30, 1, 0, 0, 5, tzinfo=UTC)
BODY = b'[{"id": "e-1"}]'
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    file = tmp_path / "receipt.pem"
    file.write_bytes(new_key())
    return file


def _sign(receipts: Receipts, *events: str, **more: Any) -> str:
    return receipts.sign(
        service="intake", sender="hebei", at=AT, request_id="m-1", digest=DIGEST, events=events or ("e-1", "e-2"), **more
    )


def test_a_public_library_proves_it_with_the_key_set(pem: Path) -> None:
    receipts = Receipts.of_file(pem)
    receipt = _sign(receipts)
    header = jwt.get_unverified_header(receipt)
    keys = jwt.PyJWKSet.from_dict(receipts.jwks())
    payload = jwt.decode(receipt, keys[header["kid"]], algorithms=["EdDSA"], options={"verify_iat": False})
    assert header == {"alg": "EdDSA", "typ": TYPE, "kid": header["kid"]}
    assert payload == {
        "iss": "urn:onething:intake", "sub": "hebei", "iat": 1727658000, "time": "2024-09-30T01:00:00.000005Z",
        "webhook_id": "m-1", "body_sha256": DIGEST, "events": ["e-1", "e-2"],
    }  # fmt: skip
    sandbox = jwt.decode(_sign(receipts, sandbox=True), keys[header["kid"]], algorithms=["EdDSA"], options={"verify_iat": False})
    assert sandbox["sandbox"] is True


def test_openssl_proves_it_with_the_public_key_alone(pem: Path, tmp_path: Path) -> None:
    signed, _, signature = _sign(Receipts.of_file(pem)).rpartition(".")
    (tmp_path / "signed").write_text(signed)
    (tmp_path / "signature").write_bytes(base64.urlsafe_b64decode(signature + "=="))
    subprocess.run(["openssl", "pkey", "-in", pem, "-pubout", "-out", tmp_path / "public.pem"], check=True)
    verify: list[str | Path] = [
        "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "public.pem", "-rawin",
        "-in", tmp_path / "signed", "-sigfile", tmp_path / "signature",
    ]  # fmt: skip
    assert subprocess.run(verify, capture_output=True).returncode == 0
    (tmp_path / "signed").write_text(signed + "A")
    assert subprocess.run(verify, capture_output=True).returncode == 1


def test_a_key_that_openssl_made_is_taken(tmp_path: Path) -> None:
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "k.pem"], check=True)
    assert len(Receipts.of_file(tmp_path / "k.pem").jwks()["keys"]) == 1


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    x = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    assert thumbprint(Ed25519PublicKey.from_public_bytes(x)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_after_a_rotation_the_first_key_signs_and_old_receipts_stay_provable(pem: Path, tmp_path: Path) -> None:
    old = Receipts.of_file(pem)
    receipt = _sign(old)
    former = load_pem_private_key(pem.read_bytes(), None)
    assert isinstance(former, Ed25519PrivateKey)
    public = former.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for kept in (pem.read_bytes(), public):
        (tmp_path / "both.pem").write_bytes(new_key() + kept)
        both = Receipts.of_file(tmp_path / "both.pem")
        keys = both.jwks()["keys"]
        assert [len(keys), jwt.get_unverified_header(_sign(both))["kid"]] == [2, keys[0]["kid"]]
        assert keys[1] == old.jwks()["keys"][0]
        assert "d" not in keys[0].keys() | keys[1].keys()
        jwt.decode(
            receipt, jwt.PyJWKSet.from_dict(both.jwks())[keys[1]["kid"]], algorithms=["EdDSA"], options={"verify_iat": False}
        )


def test_a_key_file_that_cannot_be_used_is_told_what_to_do_without_its_content(tmp_path: Path) -> None:
    def of(content: bytes) -> None:
        (tmp_path / "k.pem").write_bytes(content)
        Receipts.of_file(tmp_path / "k.pem")

    rsa = subprocess.run(["openssl", "genpkey", "-algorithm", "rsa", "-quiet"], capture_output=True, check=True).stdout
    secret = new_key()
    broken = secret.replace(b"MC4", b"AAA")
    for content in (b"", b"nothing", rsa, broken):
        with pytest.raises(ReceiptKeyError, match="openssl genpkey -algorithm ed25519") as caught:
            of(content)
        assert secret.splitlines()[1].decode() not in str(caught.value)
    with pytest.raises(ReceiptKeyError, match="set ONETHING_RECEIPT_KEY_FILE"):
        Receipts.of_file(None)
    with pytest.raises(ReceiptKeyError, match=r"none\.pem: No such file"):
        Receipts.of_file(tmp_path / "none.pem")


def test_the_command_says_what_is_proven_and_what_is_not(pem: Path, tmp_path: Path) -> None:
    receipts = Receipts.of_file(pem)
    files = {
        "keys": json.dumps(receipts.jwks()),
        "jws": _sign(receipts),
        "answer": json.dumps({"accepted": 2, "receipt": _sign(receipts)}),
        "many": _sign(receipts, *(f"e-{n}" for n in range(1000))), "sandbox": _sign(receipts, sandbox=True),
        "others": json.dumps(Receipts(Ed25519PrivateKey.generate()).jwks()), "none": json.dumps({"accepted": 0}), "text": "x",
        "token": jwt.encode({"iss": "x", "sub": "y", "iat": 1}, load_pem_private_key(pem.read_bytes(), None), "EdDSA"),  # type: ignore[arg-type]
    }  # fmt: skip
    head, payload, signature = files["jws"].split(".")
    forged = json.loads(base64.urlsafe_b64decode(payload + "==")) | {"events": ["e-1", "e-2", "e-3"]}
    files["forged"] = f"{head}.{base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b'=').decode()}.{signature}"
    paths = {name: tmp_path / name for name in files}
    for name, content in files.items():
        paths[name].write_text(content)
    (tmp_path / "body").write_bytes(BODY)
    (tmp_path / "other").write_bytes(BODY + b"\n")

    def run(name: str, *arguments: str, keys: str = "keys") -> tuple[int, str]:
        found = CliRunner().invoke(app, ["verify", str(paths[name]), "--keys", str(paths[keys]), *arguments])
        return found.exit_code, found.output

    body, other = str(tmp_path / "body"), str(tmp_path / "other")
    for name in ("jws", "answer"):
        code, said = run(name, "--body", body, "--event", "e-2")
        assert code == 0
        for part in ("回执有效", "hebei", "2024-09-30T01:00:00.000005Z", f"{DIGEST} ✓", "已存储的事件:2 个:e-1、e-2"):
            assert part in said
    assert "1000 个:e-0、e-1、e-2、e-3、e-4 等 1000 个" in run("many")[1]
    assert "没有存储,不计数" in run("sandbox")[1]
    for code, said, expected in (
        (*run("jws", "--body", other), "不是这份正文的"),
        (*run("jws", "--event", "e-9"), "不含事件 e-9"),
        (*run("jws", keys="others"), "密钥集里没有签这份回执的密钥"),
        (*run("forged"), "签名不成立"),
        (*run("none"), "没有 receipt"),
        (*run("text"), "这不是回执"),
        (*run("token"), "不是回执"),
        (*run("jws", keys="text"), "不是密钥集"),
        (*run("jws", "--body", str(tmp_path / "nowhere")), "读不出"),
    ):
        assert (code, expected in said, "Traceback" in said) == (1, True, False), said
