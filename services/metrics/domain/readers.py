"""Who reads besides the two fixed tokens: the readers' file, and finding who a token stands for.

``{"<name>": {"token_sha256": ["<64 hex digits>"], "scope": "reader" | "county" | "operator", "county": "130607"}}``, several
digests while a token is exchanged. ``./onething readers`` writes it; the tokens themselves are in no file.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator

from services.metrics.domain.access import Asker, Scope
from services.metrics.domain.sessions import PRINT, digest
from shared.events.envelope import IDENTIFIER

FIXED: Final = ("reader", "operator")
"""Names of the two tokens that the settings give."""


class ReadersFileError(Exception):
    """The readers' file cannot be used; the message says what to mend, and holds no digest."""


class _Reader(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token_sha256: list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(min_length=1)
    scope: Scope
    county: str | None = None

    @model_validator(mode="after")
    def _is_somebody(self) -> "_Reader":
        Asker("somebody", self.scope, self.county)
        return self


class _Readers(RootModel[dict[Annotated[str, Field(pattern=IDENTIFIER)], _Reader]]):
    model_config = ConfigDict(hide_input_in_errors=True)


class Directory:
    """Who each token stands for, by the token's digest, and by the digest's print that sessions name."""

    def __init__(self, known: Mapping[str, Asker]) -> None:
        self._by_digest = dict(known)
        self._by_print = {key[:PRINT]: asker for key, asker in known.items()}

    def of_digest(self, shown: str) -> Asker | None:
        """The holder of the token with this digest."""
        # Looked up by a digest, which nobody can steer: how long it takes tells nothing of how near a wrong token came.
        return self._by_digest.get(shown)

    def of_print(self, credential: str) -> Asker | None:
        """The holder of the token that a session was given for, as it is now."""
        return self._by_print.get(credential)

    def beside(self, more: Mapping[str, Asker]) -> "Directory":
        """With ``more``, which go before."""
        return Directory({**self._by_digest, **more})


def fixed(reader_token: str, operator_token: str) -> dict[str, Asker]:
    """The two tokens of the settings, by digest. An empty one opens nothing."""
    named: Iterable[tuple[str, Asker]] = (
        (reader_token, Asker("reader", "reader")),
        (operator_token, Asker("operator", "operator")),
    )
    return {digest(token): asker for token, asker in named if token}


def parse(content: bytes) -> Directory:
    """The readers of a file's content.

    Raises:
        ReadersFileError: it has another form, or gives one token to two readers.
    """
    expected = 'expected {"<name>": {"token_sha256": ["<64 hex digits>"], "scope": "reader|county|operator", "county": "130607"}}'
    try:
        readers = _Readers.model_validate_json(content).root
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        places = "; ".join(f"{_place(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in found)
        raise ReadersFileError(f"{places} ({expected})") from None
    known: dict[str, Asker] = {}
    for name, entry in readers.items():
        if name in FIXED:
            raise ReadersFileError(f"{name}: the settings' own token has this name; choose another")
        for one in entry.token_sha256:
            if one in known:
                raise ReadersFileError(f"{name}/token_sha256: {known[one].name} has the same token; give each its own")
            known[one] = Asker(name, entry.scope, entry.county)
    return Directory(known)


def _place(location: tuple[int | str, ...]) -> str:
    return "/".join(str(part) for part in location if part != "[key]") or "the whole"
