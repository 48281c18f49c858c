"""``acls``: makes a cluster's permissions what ``deploy/kafka/acls.toml`` says, and its users, for a deployment with SASL/SCRAM."""

import asyncio
import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from aiokafka.errors import KafkaError
from pydantic import BaseModel, ConfigDict, RootModel, ValidationError
from rich.console import Console

from deploy.local.kafka_admin import Grant, Operation, Pattern, Resource, admin_of, grant, grants, revoke, set_passwords
from deploy.local.parts import ROOT, StackError
from shared.kafka.access import Access, Address, Bootstrap, Protocol, refusal
from shared.kafka.topics import Topics

FILE: Final = ROOT / "deploy/kafka/acls.toml"

ProtocolOption = Annotated[str | None, typer.Option(help="SASL_SSL with a user, unless said otherwise; or SASL_PLAINTEXT")]
UserOption = Annotated[str, typer.Option(help="who asks: a super user of the cluster")]
PasswordOption = Annotated[Path | None, typer.Option(help="that user's password, in the first line of this file")]
CafileOption = Annotated[Path | None, typer.Option(help="certificates that the brokers' are signed with")]

console = Console(soft_wrap=True, highlight=False)
problems = Console(stderr=True, soft_wrap=True, highlight=False)


class User(BaseModel):
    """What one user may; the head of the file says what the words mean."""

    model_config = ConfigDict(extra="forbid")

    about: str
    read: list[str] = []
    write: list[str] = []
    groups: list[str] = []


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    users: dict[str, User]


class _Passwords(RootModel[dict[str, str]]):
    model_config = ConfigDict(hide_input_in_errors=True)


def read_users(file: Path = FILE) -> Mapping[str, User]:
    """The users of the file.

    Raises:
        StackError: it cannot be read, has another form, or names a topic that there is not.
    """
    try:
        users = _File.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))).users
    except OSError as error:
        raise StackError(f"{file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise StackError(f"{file}: {error}") from None
    known = _topics("")
    for name, user in users.items():
        if unknown := {*user.read, *user.write} - known.keys():
            raise StackError(f"{file}: user {name} names {', '.join(sorted(unknown))}; the topics are {', '.join(known)}")
    return users


def _topics(prefix: str) -> dict[str, str]:
    """The topics' full names by their short ones."""
    names = [spec.name for spec in Topics(prefix).specs()]
    return {name.split(".")[1]: name for name in names}


def _groups(user: User, prefix: str) -> list[str]:
    return [Topics(prefix).group(group) for group in user.groups]


def wanted(users: Mapping[str, User], prefix: str) -> set[Grant]:
    """What the file grants, on topics and groups that begin with ``prefix``."""
    topics = _topics(prefix)
    found = set()
    for name, user in users.items():
        for operation, words in ((Operation.READ, user.read), (Operation.WRITE, user.write)):
            found |= {Grant(name, Resource.TOPIC, Pattern.LITERAL, topics[word], operation) for word in words}
        found |= {Grant(name, Resource.GROUP, Pattern.PREFIXED, group, Operation.READ) for group in _groups(user, prefix)}
    return found


@dataclass(frozen=True, slots=True)
class Difference:
    """``missing`` and ``beyond`` the file, and what stands in ways that the file does not speak of."""

    missing: list[Grant] = field(default_factory=list)
    beyond: list[Grant] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.beyond)


def difference(users: Mapping[str, User], prefixes: Collection[str], standing: set[Grant]) -> Difference:
    """How ``standing`` differs from the file, on topics and groups of each of ``prefixes``.

    Beyond is whatever the file's users, or anybody on our topics and groups, may do that the file does not grant.
    """
    granted = {grant for prefix in prefixes for grant in wanted(users, prefix)}
    beyond = {
        each for each in standing - granted if each.user in users or any(_is_ours(each, users, prefix) for prefix in prefixes)
    }
    return Difference(sorted(granted - standing), sorted(beyond))


def _is_ours(each: Grant, users: Mapping[str, User], prefix: str) -> bool:
    """Whether it lets somebody at a topic or group of ours: by its name, or by a pattern that takes it in."""
    if each.resource is Resource.TOPIC:
        names = list(_topics(prefix).values())
    else:
        names = [group for user in users.values() for group in _groups(user, prefix)]
    if each.name == "*":
        return True
    if each.pattern is Pattern.PREFIXED:
        return any(name.startswith(each.name) or each.name.startswith(name) for name in names)
    return each.name in names if each.resource is Resource.TOPIC else any(each.name.startswith(name) for name in names)


async def bring_about(
    bootstrap: Bootstrap,
    users: Mapping[str, User],
    prefixes: Collection[str],
    *,
    apply: bool,
    passwords: Mapping[str, str] | None = None,
) -> Difference:
    """Compares, and with ``apply`` makes users and permissions so; returns what differed before.

    Raises:
        KafkaError: Kafka does not answer, does not let us in, or refuses.
        TimeoutError: Kafka took the changes, and the broker that was asked does not know them after 20 s.
    """
    async with admin_of(bootstrap) as admin:
        standing, foreign = await grants(admin)
        found = difference(users, prefixes, standing)
        if apply:
            # Passwords first: who has no permission yet can do nothing with one.
            if passwords:
                await set_passwords(admin, passwords)
            await grant(admin, found.missing)
            await revoke(admin, found.beyond)
            # The controller answers before the brokers know.
            async with asyncio.timeout(20):
                while True:
                    if not difference(users, prefixes, (await grants(admin))[0]):
                        break
                    await asyncio.sleep(0.02)
    return Difference(found.missing, found.beyond, [str(each) for each in foreign])


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command(epilog="Example: python -m deploy.local acls --kafka kafka:9093 --user admin --password-file admin.txt --apply")
    def acls(
        kafka: Annotated[str, typer.Option(help="host:port of a broker")],
        prefix: Annotated[
            list[str] | None,
            typer.Option(help="first part of the topics' names, default onething; again for each other system of these users"),
        ] = None,
        file: Annotated[Path, typer.Option(help="what to bring about")] = FILE,
        apply: Annotated[
            bool, typer.Option("--apply", help="change the cluster; without it differences are shown, and leave with 1")
        ] = False,
        passwords: Annotated[
            Path | None, typer.Option(help='JSON {"<user>": "<password>"}, mode 0600: these users are made, or get that password')
        ] = None,
        protocol: ProtocolOption = None,
        user: UserOption = "",
        password_file: PasswordOption = None,
        cafile: CafileOption = None,
    ) -> None:
        """Compare Kafka's permissions with deploy/kafka/acls.toml, or make them so; doing it again changes nothing."""
        try:
            raise typer.Exit(
                _run(kafka, prefix or [Topics().prefix], file, apply, passwords, access_of(protocol, user, password_file, cafile))
            )
        except StackError as error:
            problems.print(f"[red]✗[/red] {error}")
            raise typer.Exit(1) from None


def access_of(protocol: str | None, user: str, password_file: Path | None, cafile: Path | None) -> Access:
    """How the options have us get in.

    Raises:
        StackError: they do not go together, or a file cannot be used.
    """
    if user and password_file is None:
        raise StackError("--user needs --password-file")
    chosen: Any = protocol or ("SASL_SSL" if user else "SSL" if cafile else "PLAINTEXT")
    if chosen not in Protocol.__args__:  # type: ignore[attr-defined]
        raise StackError(f"--protocol is {chosen}: choose of {', '.join(Protocol.__args__)}")  # type: ignore[attr-defined]
    return Access(chosen, username=user, password=_first_line(password_file) if password_file else "", cafile=cafile)


def _first_line(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        raise StackError(f"{file} holds no password: its first line is one") from None


def _run(kafka: str, prefixes: Collection[str], file: Path, apply: bool, passwords: Path | None, access: Access) -> int:
    users = read_users(file)
    chosen = _read_passwords(passwords, users) if passwords else {}
    address = Address(kafka, access)
    try:
        found = asyncio.run(bring_about(address, users, prefixes, apply=apply, passwords=chosen))
    except (KafkaError, OSError) as error:
        why = asyncio.run(refusal(address)) or f"Kafka at {kafka}: {type(error).__name__} {error}"
        raise StackError(why) from None
    for each in found.missing:
        console.print(f"[green]+[/green] {each}")
    for each in found.beyond:
        console.print(f"[red]-[/red] {each}")
    for text in found.foreign:
        console.print(f"[yellow]![/yellow] left alone: {text}")
    if apply:
        made = f", {len(chosen)} users have their passwords" if chosen else ""
        console.print(
            f"{len(found.missing)} granted, {len(found.beyond)} revoked{made}" if found or chosen else "nothing to change"
        )
        return 0
    console.print("nothing differs" if not found else "this differs from the file: --apply makes it so")
    return 1 if found else 0


def _read_passwords(file: Path, users: Mapping[str, User]) -> Mapping[str, str]:
    try:
        found = _Passwords.model_validate_json(file.read_bytes()).root
    except OSError as error:
        raise StackError(f"{file} cannot be read: {error.strerror}") from None
    except (ValidationError, json.JSONDecodeError):
        raise StackError(f'{file} is not {{"<user>": "<password>"}}') from None
    if unknown := found.keys() - users.keys():
        raise StackError(f"{file} names {', '.join(sorted(unknown))}, which the file of permissions does not")
    if short := [name for name, password in found.items() if len(password) < 16]:
        raise StackError(
            f"{file}: {', '.join(sorted(short))}: a password has 16 characters or more; make one with openssl rand -hex 24"
        )
    return found
