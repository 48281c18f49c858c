"""How Kafka lets us in: in the clear, or over TLS, as a user with a password (SASL/SCRAM).

An :class:`Address` is the ``host:port`` list that every client takes, and knows beside how to be let in there, as a PostgreSQL DSN
does; a plain string is an address in the clear. Its text never holds the password. It is no string on purpose: what a string's
methods gave back would have lost the access, and would be refused only by a broker.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import IllegalSaslStateError, KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.helpers import create_ssl_context
from faststream.kafka import KafkaBroker
from faststream.security import BaseSecurity, SASLScram256, SASLScram512
from pydantic import BaseModel, BeforeValidator, InstanceOf, ValidationInfo, field_validator, model_validator
from pydantic_settings import NoDecode

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256"]

_SCRAM: Final = {"SCRAM-SHA-512": SASLScram512, "SCRAM-SHA-256": SASLScram256}


@dataclass(frozen=True, slots=True)
class Access:
    """``cafile`` holds the certificates that the brokers' are signed with; without it those that the system trusts."""

    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)
    cafile: Path | None = None

    @property
    def sasl(self) -> bool:
        return self.protocol.startswith("SASL_")

    def ssl_context(self) -> ssl.SSLContext | None:
        """With the brokers' names checked; ``None`` without TLS."""
        if not self.protocol.endswith("SSL"):
            return None
        context: ssl.SSLContext = create_ssl_context(cafile=None if self.cafile is None else str(self.cafile))
        return context


@dataclass(frozen=True, slots=True)
class Address:
    """``host:port``, several separated by commas, with the ``access`` that is used there. As text it is the servers alone."""

    servers: str
    access: Access = Access()

    def __str__(self) -> str:
        return self.servers


Bootstrap = Address | str
"""Where Kafka is; a plain string is an address in the clear."""


def access_to(bootstrap: Bootstrap) -> Access:
    """In the clear where a plain string was given."""
    return bootstrap.access if isinstance(bootstrap, Address) else Access()


def client_options(bootstrap: Bootstrap) -> dict[str, Any]:
    """What every client of aiokafka is given to get in."""
    access = access_to(bootstrap)
    options: dict[str, Any] = {"bootstrap_servers": str(bootstrap)}
    if access.protocol != "PLAINTEXT":
        options |= {"security_protocol": access.protocol, "ssl_context": access.ssl_context()}
    if access.sasl:
        options |= {
            "sasl_mechanism": access.mechanism,
            "sasl_plain_username": access.username,
            "sasl_plain_password": access.password,
        }
    return options


def new_broker(bootstrap: Bootstrap, **options: Any) -> KafkaBroker:
    """FastStream's broker at ``bootstrap``; ``options`` are its own."""
    access = access_to(bootstrap)
    security: BaseSecurity | None = None
    if access.sasl:
        kind = _SCRAM[access.mechanism]
        security = kind(access.username, access.password, access.ssl_context(), access.protocol == "SASL_SSL")
    elif access.protocol == "SSL":
        security = BaseSecurity(access.ssl_context(), use_ssl=True)
    return KafkaBroker(str(bootstrap), security=security, **options)


def who(bootstrap: Bootstrap) -> str:
    """As whom we come, in a sentence."""
    return access_to(bootstrap).username or "us, who are nobody there,"


async def refusal(bootstrap: Bootstrap, timeout_seconds: float = 4.0) -> str | None:
    """Why a broker that answers does not let us in, as a sentence that says what to mend; ``None`` where it is not that.

    The clients themselves say only that no broker could be reached.
    """
    access = access_to(bootstrap)
    options = client_options(bootstrap)
    del options["bootstrap_servers"]
    for host, port, _ in collect_hosts(str(bootstrap)):
        try:
            connection = await create_conn(host, port, request_timeout_ms=int(timeout_seconds * 1000), **options)
        except SaslAuthenticationFailed:
            return (
                f"Kafka at {bootstrap} does not let {access.username!r} in ({access.mechanism}): see ONETHING_KAFKA_SASL_USERNAME,"
                " the password in ONETHING_KAFKA_SASL_PASSWORD_FILE, and whether the user was made there"
            )
        except (UnsupportedSaslMechanismError, IllegalSaslStateError):
            return f"Kafka at {bootstrap} does not take {access.mechanism}: see ONETHING_KAFKA_SASL_MECHANISM and the port"
        except ssl.SSLError as error:
            return f"Kafka at {bootstrap} cannot be trusted ({error.reason}): see ONETHING_KAFKA_SSL_CAFILE and the address"
        except (KafkaError, OSError, TimeoutError):
            continue
        connection.close()
        return None
    return None


def _address(given: object) -> object:
    return Address(given.strip()) if isinstance(given, str) else given


class KafkaSettings(BaseModel):
    """What a service's settings say about Kafka; ``kafka``, given as ``host:port``, knows the access once they are read.

    ``kafka_sasl_password_file`` holds the password alone, in its first line.
    """

    kafka: Annotated[InstanceOf[Address], NoDecode, BeforeValidator(_address)] = Address("127.0.0.1:9092")
    kafka_sasl_mechanism: Mechanism = "SCRAM-SHA-512"
    kafka_sasl_username: str = ""
    kafka_sasl_password_file: Path | None = None
    kafka_ssl_cafile: Path | None = None
    kafka_security_protocol: Protocol = "PLAINTEXT"

    @field_validator("kafka_sasl_password_file")
    @classmethod
    def _holds_a_password(cls, file: Path | None) -> Path | None:
        if file is not None and not _password(file):
            raise ValueError(f"{file} is empty: its first line is the password")
        return file

    @field_validator("kafka_ssl_cafile")
    @classmethod
    def _holds_certificates(cls, file: Path | None) -> Path | None:
        if file is not None:
            try:
                create_ssl_context(cafile=str(file))
            except (OSError, ssl.SSLError) as error:
                raise ValueError(f"{file} holds no certificates that we can read ({error})") from None
        return file

    @field_validator("kafka_security_protocol")
    @classmethod
    def _has_what_it_needs(cls, protocol: Protocol, info: ValidationInfo) -> Protocol:
        given: Mapping[str, Any] = info.data
        for name in ("kafka_sasl_username", "kafka_sasl_password_file"):
            # What is wrong with a field that was given has been said already.
            if protocol.startswith("SASL_") and name in given and not given[name]:
                raise ValueError(f"{protocol} needs ONETHING_{name.upper()} too")
        return protocol

    @model_validator(mode="after")
    def _knows_how_to_get_in(self) -> Self:
        file = self.kafka_sasl_password_file
        self.kafka = Address(
            self.kafka.servers,
            Access(
                self.kafka_security_protocol, self.kafka_sasl_mechanism, self.kafka_sasl_username, _password(file) if file else "",
                self.kafka_ssl_cafile,
            ),
        )  # fmt: skip
        return self


def _password(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from None
    return lines[0] if lines else ""
