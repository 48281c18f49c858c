"""An address that knows how to be let in keeps that, wherever it goes."""

import copy
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.kafka import Access, Address, KafkaSettings
from shared.kafka.access import access_to, client_options

SECURED = Address("a:9093,b:9093", Access("SASL_PLAINTEXT", username="province", password="not-to-be-seen"))


class Settings(KafkaSettings, BaseSettings):
    """As a service's are."""

    model_config = SettingsConfigDict(env_prefix="ONETHING_", extra="ignore")


def test_no_copy_of_an_address_loses_the_access_and_nothing_of_it_is_mistaken_for_the_whole() -> None:
    for again in (copy.copy(SECURED), copy.deepcopy(SECURED), pickle.loads(pickle.dumps(SECURED)), replace(SECURED)):
        assert again == SECURED
        assert client_options(again)["sasl_plain_password"] == "not-to-be-seen"
    assert f"{SECURED}" == "a:9093,b:9093"
    assert "not-to-be-seen" not in repr(SECURED)
    assert not isinstance(SECURED, str), "a string's methods would give back an address in the clear"
    assert not hasattr(SECURED, "strip")
    assert access_to("a:9092") == Access()
    assert client_options("a:9092") == {"bootstrap_servers": "a:9092"}


def test_settings_give_an_address_with_its_access(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Settings().kafka == Address("127.0.0.1:9092")
    (tmp_path / "password").write_text("secret\n")
    for name, value in {
        "KAFKA": " kafka:9093 ", "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_USERNAME": "intake",
        "KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password"),
    }.items():  # fmt: skip
        monkeypatch.setenv(f"ONETHING_{name}", value)
    settings = Settings()
    assert settings.kafka == Address("kafka:9093", Access("SASL_PLAINTEXT", username="intake", password="secret"))
    assert settings.model_copy().kafka == settings.kafka
