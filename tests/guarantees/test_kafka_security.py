"""A broker with users and permissions as ``deploy/kafka/acls.toml`` has them: who may do what, and what who may not is told."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import OffsetAndMetadata
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from deploy.local import acls
from deploy.local.__main__ import app as commands
from deploy.local.broker import Broker
from deploy.local.kafka_admin import Grant, Operation, Pattern, Resource, admin_of, grant, grants, revoke
from deploy.local.parts import LOOPBACK, free_ports, start, stop, until_ready
from deploy.local.service import STORED, Needs
from deploy.local.topics import create_topics
from services.intake.main import build_api, build_worker
from services.intake.settings import Settings
from shared.kafka import Access, Address, Topics, new_broker, start_patiently
from shared.kafka.access import client_options, refusal
from tests.conftest import Credentials, Services, TestDatabase
from tests.intake_support import SENDER, event, push
from tests.utilities_support import events_of, records_of, running, until

TOPICS = Topics("sec")
SHORT = {spec.name.split(".")[1]: spec.name for spec in TOPICS.specs()}
USERS = acls.read_users()


@dataclass(frozen=True, slots=True)
class TlsBroker(Broker):
    """Listens over TLS too, as one in production does; ``certificate`` is its own, of 127.0.0.1, with its key."""

    tls_port: int = 0
    certificate: Path = Path()

    def _properties(self) -> str:
        more = {"listeners": f",TLS://{LOOPBACK}:{self.tls_port}", "listener.security.protocol.map": ",TLS:SASL_SSL"}
        more["advertised.listeners"] = more["listeners"]
        lines = [line + more.get(line.partition("=")[0], "") for line in Broker._properties(self).splitlines()]
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        lines += [
            f"listener.name.tls.scram-sha-512.sasl.jaas.config={login}",
            "listener.name.tls.ssl.keystore.type=PEM",
            f"listener.name.tls.ssl.keystore.location={self.certificate}",
        ]
        return "\n".join(lines) + "\n"


def _make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate signed by itself: with its key, as the broker takes it, and alone, as clients trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kafka")])
    begin = datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begin, begin + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    both, alone = folder / "broker.pem", folder / "ca.pem"
    both.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate)
    alone.write_bytes(certificate)
    return both, alone


class Secured:
    """A broker whose users are those of the file."""

    def __init__(self, broker: TlsBroker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.passwords = {user: secrets.token_urlsafe(18) for user in USERS}
        for user, password in self.passwords.items():
            (folder / f"{user}.txt").write_text(f"{password}\n")
        (folder / "passwords.json").write_bytes(orjson.dumps(self.passwords))

    def address(self, user: str, password: str | None = None) -> Address:
        access = Access("SASL_PLAINTEXT", username=user, password=password or self.passwords[user])
        return Address(self.broker.sasl_address, access)

    def variables(self, user: str) -> dict[str, str]:
        """The environment of a process that comes as ``user``."""
        return {
            "ONETHING_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "ONETHING_KAFKA_SASL_USERNAME": user,
            "ONETHING_KAFKA_SASL_PASSWORD_FILE": str(self.folder / f"{user}.txt"),
        }

    def settings(self, user: str, password_of: str, credentials: Credentials, prefix: str = TOPICS.prefix) -> Settings:
        return Settings(
            kafka=self.broker.sasl_address, topic_prefix=prefix, senders_file=credentials.senders_file,
            receipt_key_file=credentials.receipt_key_file, digest_key_file=credentials.digest_key_file,
            kafka_security_protocol="SASL_PLAINTEXT", kafka_sasl_username=user,
            kafka_sasl_password_file=self.folder / f"{password_of}.txt",
        )  # fmt: skip


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Started once for all tests here; users and permissions made by the command, as an operator makes them."""
    folder = tmp_path_factory.mktemp("secured")
    ports = free_ports()
    certificate, _ = _make_certificate(folder)
    broker = TlsBroker(folder / "kafka", next(ports), next(ports), next(ports), next(ports), certificate)
    broker.prepare()
    part = broker.part(folder / "kafka.log")
    process = start(part)
    try:
        asyncio.run(until_ready(part, process, 90))
        asyncio.run(create_topics(broker.address, TOPICS.specs()))
        made = Secured(broker, folder)
        command = ["acls", "--kafka", broker.address, "--prefix", TOPICS.prefix]
        before = CliRunner().invoke(commands, command)
        assert (before.exit_code, "+ province: WRITE topic sec.province-push.v1" in before.stdout) == (1, True), before.output
        first = CliRunner().invoke(commands, [*command, "--apply", "--passwords", str(folder / "passwords.json")])
        assert (first.exit_code, f"{len(USERS)} users have their passwords" in first.stdout) == (0, True), first.output
        again = CliRunner().invoke(commands, [*command, "--apply"])
        assert (again.exit_code, "nothing to change" in again.stdout) == (0, True), again.output
        assert not any(password in (folder / "kafka.log").read_text() for password in made.passwords.values())
        yield made
    finally:
        stop(process, part.stop_signal, 10)


@asynccontextmanager
async def _producer(address: Address) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(**client_options(address), acks="all", enable_idempotence=True)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


async def _may_write(address: Address, topic: str) -> bool:
    try:
        # A producer each: an idempotent one that was refused is of no more use. Who may write nowhere may not begin one.
        async with _producer(address) as producer:
            await producer.send_and_wait(topic, b"written", b"key", partition=0)
    except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
        return False
    return True


async def _may_read(address: Address, topic: str) -> bool:
    consumer = AIOKafkaConsumer(**client_options(address), auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        await consumer._client._wait_on_metadata(topic)
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(30):
            while not await consumer.getmany(timeout_ms=500):
                pass
    except TopicAuthorizationFailedError:
        return False
    finally:
        await consumer.stop()
    return True


async def _keys(address: Address, topic: str) -> set[bytes | None]:
    """Of the records of a topic of one partition."""
    async with AIOKafkaConsumer(**client_options(address), auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        found = await consumer.getmany(timeout_ms=1000)
    return {record.key for records in found.values() for record in records}


async def _may_join(address: Address, group: str) -> bool:
    consumer = AIOKafkaConsumer(**client_options(address), group_id=group, enable_auto_commit=False)
    await consumer.start()
    place = TopicPartition(TOPICS.county_metrics, 0)
    consumer.assign([place])
    try:
        await consumer.commit({place: OffsetAndMetadata(0, "")})
    except GroupAuthorizationFailedError:
        return False
    except TopicAuthorizationFailedError:
        return True  # of the group it may, of that topic not
    finally:
        await consumer.stop()
    return True


@pytest.mark.parametrize("user", USERS)
async def test_each_user_may_do_what_the_file_says_and_nothing_else(secured: Secured, user: str) -> None:
    address, may = secured.address(user), USERS[user]
    plain = Address(secured.broker.address, Access())
    for topic in SHORT.values():
        assert await _may_write(plain, topic)
    written = {short for short, topic in SHORT.items() if await _may_write(address, topic)}
    read = {short for short, topic in SHORT.items() if await _may_read(address, topic)}
    assert (written, read) == (set(may.write), set(may.read))
    groups = {group for other in USERS.values() for group in other.groups}
    assert {group for group in groups if await _may_join(address, f"{TOPICS.group(group)}-x")} == set(may.groups)
    assert not any([await _may_join(address, group) for group in groups])
    assert not await _may_join(address, "another")
    with pytest.raises(TransactionalIdAuthorizationFailed):
        await _in_transaction(address)
    async with admin_of(address) as admin:
        assert await _refused_to_create(admin)
        visible = set(await admin.list_topics()) & set(SHORT.values())
        assert visible == {SHORT[short] for short in (*may.read, *may.write)}


async def _in_transaction(address: Address) -> None:
    producer = AIOKafkaProducer(**client_options(address), transactional_id="x")
    try:
        await producer.start()
    finally:
        await producer.stop()


async def _refused_to_create(admin: AIOKafkaAdminClient) -> bool:
    answer = await admin.create_topics([NewTopic(f"{TOPICS.prefix}.new.v1", 1, 1)])
    return [error["error_code"] for error in answer.to_object()["topic_errors"]] == [TopicAuthorizationFailedError.errno]


async def test_a_wrong_password_and_an_unknown_user_get_nothing(secured: Secured) -> None:
    for address in (secured.address("province", "not the password"), secured.address("nobody", "not the password")):
        with pytest.raises(KafkaConnectionError):
            async with _producer(address):
                pass


async def test_over_tls_the_broker_is_known_by_its_certificate(secured: Secured) -> None:
    place, password = f"{LOOPBACK}:{secured.broker.tls_port}", secured.passwords["province"]
    trusting = Address(place, Access("SASL_SSL", username="province", password=password, cafile=secured.folder / "ca.pem"))
    assert await _may_write(trusting, TOPICS.province_push)
    assert not await _may_write(trusting, TOPICS.case_events)
    told = {
        "cannot be trusted": Access("SASL_SSL", username="province", password=password),
        "does not let 'province' in": Access("SASL_SSL", username="province", password="x", cafile=secured.folder / "ca.pem"),
        "SCRAM-SHA-256": Access("SASL_SSL", "SCRAM-SHA-256", "province", password, secured.folder / "ca.pem"),
    }
    for words, access in told.items():
        assert words in str(await refusal(Address(place, access)))
    assert await refusal(trusting) is None
    # By another name than the certificate's the broker is nobody, whoever signed it.
    elsewhere = Address(f"localhost:{secured.broker.tls_port}", trusting.access)
    assert "cannot be trusted" in str(await refusal(elsewhere))


async def test_what_the_file_does_not_grant_is_found_and_revoked(secured: Secured) -> None:
    more = [
        Grant("province", Resource.TOPIC, Pattern.LITERAL, TOPICS.case_events, Operation.READ),
        Grant("stranger", Resource.TOPIC, Pattern.PREFIXED, TOPICS.prefix, Operation.READ),
        Grant("stranger", Resource.GROUP, Pattern.LITERAL, TOPICS.group("metrics"), Operation.READ),
    ]
    elsewhere = Grant("stranger", Resource.TOPIC, Pattern.LITERAL, "another.topic", Operation.READ)
    async with admin_of(secured.broker.address) as admin:
        await grant(admin, [*more, elsewhere])
    found = await acls.bring_about(secured.broker.address, USERS, [TOPICS.prefix], apply=False)
    assert (found.missing, found.beyond) == ([], sorted(more))
    await acls.bring_about(secured.broker.address, USERS, [TOPICS.prefix], apply=True)
    async with admin_of(secured.broker.address) as admin:
        standing, _ = await grants(admin)
    assert standing == acls.wanted(USERS, TOPICS.prefix) | {elsewhere}


async def test_two_systems_of_the_same_users_stand_side_by_side_until_one_is_given_up(secured: Secured) -> None:
    async def brought_about(*prefixes: str) -> set[Grant]:
        await acls.bring_about(secured.broker.address, USERS, prefixes, apply=True)
        async with admin_of(secured.broker.address) as admin:
            return {each for each in (await grants(admin))[0] if each.user in USERS}

    one, other = acls.wanted(USERS, TOPICS.prefix), acls.wanted(USERS, "beside")
    assert not one & other
    assert await brought_about(TOPICS.prefix, "beside") == one | other
    assert await brought_about(TOPICS.prefix) == one


async def test_who_is_refused_is_told_what_to_mend(
    secured: Secured, credentials: Credentials, capfd: pytest.CaptureFixture[str]
) -> None:
    async def wrong(client: httpx.AsyncClient) -> str:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        return str(answer.json()["wrong"]["kafka"])

    secret = credentials.senders[SENDER]
    async with running(build_api(secured.settings("intake", "page", credentials))) as client:
        assert "does not let 'intake' in (SCRAM-SHA-512): see ONETHING_KAFKA_SASL_USERNAME" in await wrong(client)
        assert (await push(client, secret, event())).status_code == 503
    async with running(build_api(secured.settings("page", "page", credentials))) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert (await push(client, secret, event())).status_code == 503
        assert f"does not let page write to {TOPICS.case_events}" in await wrong(client)
    logged = capfd.readouterr().out
    assert logged.count("kafka_refuses_us") >= 2
    assert not any(password in logged for password in secured.passwords.values())
    async with running(build_worker(secured.settings("province", "province", credentials))) as client:

        async def told() -> bool:
            return "does not let province read as a member of group sec-intake: grant it" in capfd.readouterr().out

        await until(told)
        assert (await client.get("/readyz")).json()["wrong"] == {"province-push": "not consuming yet"}


async def test_who_may_not_read_is_told_why_and_reads_once_he_may(
    secured: Secured, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.kafka.starting.START_AGAIN_SECONDS", 0.1)
    topic, group = TOPICS.province_push, TOPICS.group("metrics-late")
    came = asyncio.Event()

    async def take(_: bytes) -> None:
        came.set()

    async def told(words: str) -> None:
        said = ""

        async def so() -> bool:
            nonlocal said
            said += capfd.readouterr().out
            return words in said

        await until(so)

    @asynccontextmanager
    async def starting(address: Address) -> AsyncIterator[asyncio.Task[None]]:
        broker = new_broker(address, apply_types=False, logger=None)
        broker.subscriber(topic, group_id=group, auto_offset_reset="earliest")(take)
        task = asyncio.create_task(start_patiently(broker, address))
        yield task
        task.cancel()
        await asyncio.wait([task])
        await broker.stop()

    async with starting(secured.address("metrics", "not the password")):
        await told("does not let 'metrics' in (SCRAM-SHA-512): see ONETHING_KAFKA_SASL_USERNAME")
    async with starting(Address(f"{LOOPBACK}:{next(free_ports())}", secured.address("metrics").access)):
        await told("kafka_unreachable")
    async with starting(secured.address("metrics")) as task:
        await told(f"does not let metrics read {topic}: grant it (docs/kafka-security.md)")
        assert not task.done()
        may = Grant("metrics", Resource.TOPIC, Pattern.LITERAL, topic, Operation.READ)
        async with admin_of(secured.broker.address) as admin:
            await grant(admin, [may])
            assert await _may_write(Address(secured.broker.address), topic)
            await asyncio.wait_for(came.wait(), 30)
            await revoke(admin, [may])
        assert task.done()


async def test_every_process_works_as_its_own_user_alone(
    secured: Secured, credentials: Credentials, database: TestDatabase, tmp_path: Path
) -> None:
    own = Topics("own")  # what the other tests write is no event
    needs = Needs(
        kafka=secured.broker.sasl_address, topic_prefix=own.prefix, dsns={name: database.dsn(name) for name in STORED},
        senders_file=credentials.senders_file, companies_file=credentials.companies_file,
        reader_token=credentials.reader_token, operator_token=credentials.operator_token,
        receipt_key_file=credentials.receipt_key_file, digest_key_file=credentials.digest_key_file,
    )  # fmt: skip
    services = Services(needs, tmp_path)
    await create_topics(secured.broker.address, own.specs())
    granted = acls.wanted(USERS, own.prefix) - acls.wanted(USERS, TOPICS.prefix)
    async with admin_of(secured.broker.address) as admin:
        await grant(admin, granted)
    try:
        worker = await services("intake", "worker", ONETHING_MOST_UNUSABLE="1", **secured.variables("intake"))
        metrics = await services("metrics", "worker", **secured.variables("metrics"))
        utilities = await services("utilities", "worker", **secured.variables("utilities"))
        pushed = orjson.dumps(event("over-kafka", "BD-9"))
        async with _producer(secured.address("province")) as producer:
            await producer.send_and_wait(own.province_push, pushed, b"BD-9")
        async with running(build_api(secured.settings("intake", "intake", credentials, own.prefix))) as api:
            assert (await api.get("/readyz")).status_code == 200
            assert (await push(api, credentials.senders[SENDER], event("over-http", "BD-10"))).status_code == 202

        async def published() -> bool:
            records = await records_of(secured.broker.address, own.case_events)
            return {found["id"] for found in events_of(records)} == {"over-kafka", "over-http"}

        async def counted() -> bool:
            return b"130607|disabled-service|handled" in await _keys(secured.address("page"), own.county_metrics)

        await until(published)
        await until(counted)
        for process in (worker, metrics, utilities):
            async with httpx.AsyncClient(trust_env=False) as client:
                assert (await client.get(f"{process.url}/readyz")).status_code == 200, process.log[-2000:]
            assert "uthorization" not in process.log
    finally:
        for process in services.started:
            process.terminate()
        async with admin_of(secured.broker.address) as admin:
            await revoke(admin, granted)
