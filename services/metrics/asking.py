"""Who may ask, put together from the settings: the fixed tokens, the readers' file, and the issuer of OpenID Connect."""

import secrets
from collections.abc import Callable
from pathlib import Path

from services.metrics.domain import readers
from services.metrics.domain.access import Asker
from services.metrics.domain.readers import Directory, ReadersFileError
from services.metrics.http.identity import Identity
from services.metrics.http.oidc import Client, Issuer
from services.metrics.settings import Settings, read_readers
from shared.push import Peers
from shared.reloading import Reloaded

LEAST_KEY_BYTES = 32


def identity_of(settings: Settings) -> Identity:
    """What finds who asks.

    Raises:
        ReadersFileError: the readers' file cannot be used.
        ValueError: a file of a key or a secret cannot be read, or a key is too short.
    """
    tokens = settings.reader_token.get_secret_value(), settings.operator_token.get_secret_value()
    return Identity(
        _directory(settings, readers.fixed(*tokens)),
        tokens,
        _session_key(settings),
        Peers(settings.trusted_proxies),
        _issuer(settings),
        reads_per_second=settings.reads_per_second,
        failures_per_minute=settings.failed_logins_per_minute,
    )


def _directory(settings: Settings, fixed: dict[str, Asker]) -> Callable[[], Directory]:
    if settings.readers_file is None:
        alone = Directory(fixed)
        return lambda: alone
    return Reloaded(settings.readers_file, lambda file: read_readers(file).beside(fixed), ReadersFileError)


def _session_key(settings: Settings) -> bytes:
    """The common key, or one that all processes with the same operator's token come to. Without either, this process' own."""
    if settings.session_key_file is not None:
        key = _read(settings.session_key_file, "ONETHING_SESSION_KEY_FILE")
        if len(key) < LEAST_KEY_BYTES:
            raise ValueError(f"ONETHING_SESSION_KEY_FILE: fewer than {LEAST_KEY_BYTES} bytes; make one with openssl rand -hex 32")
        return key
    token = settings.operator_token.get_secret_value() or settings.reader_token.get_secret_value()
    return token.encode() or secrets.token_bytes(LEAST_KEY_BYTES)


def _issuer(settings: Settings) -> Issuer | None:
    if not settings.oidc_issuer:
        return None
    secret = settings.oidc_client_secret.get_secret_value()
    if settings.oidc_client_secret_file is not None:
        secret = _read(settings.oidc_client_secret_file, "ONETHING_OIDC_CLIENT_SECRET_FILE").decode()
    client = Client(
        settings.oidc_issuer,
        settings.oidc_client_id,
        secret,
        f"{settings.page_url.rstrip('/')}/oidc/callback",
        settings.oidc_requested,
        settings.oidc_audience,
        settings.oidc_scope_claim,
        settings.oidc_county_claim,
        settings.oidc_scopes,
        settings.oidc_default_scope,
    )
    return Issuer(client)


def _read(file: Path, variable: str) -> bytes:
    try:
        return file.read_bytes().strip()
    except OSError as error:
        raise ValueError(f"{variable}: {file}: {error.strerror}") from None
