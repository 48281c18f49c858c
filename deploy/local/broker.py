"""Apache Kafka on one machine: its jars, its storage, its command."""

import base64
import hashlib
import logging
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.parts import LOOPBACK, ROOT, Part, StackError, base_environment, port_answers

KAFKA_VERSION: Final = "4.4.0"
POM: Final = ROOT / "deploy/local/pom.xml"
JARS: Final = ROOT / f".tools/kafka-{KAFKA_VERSION}"
STAMP: Final = ".pom.sha256"

LOG4J: Final = """\
Configuration:
  status: warn
  Appenders:
    Console:
      name: out
      PatternLayout:
        pattern: "%d{ISO8601} %p %c{1} %m%n"
  Loggers:
    Root:
      level: warn
      AppenderRef:
        ref: out
    Logger:
      name: kafka.server.KafkaRaftServer
      level: info
"""

# aiokafka reports each refused connection as an error; while the broker starts they are what we wait for.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def ensure_jars() -> bool:
    """Fetches the broker's jars with the Maven client unless those of this very pom are there. Gives whether it fetched.

    Raises:
        StackError: Maven is missing, or could not fetch.
    """
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()
    stamp = JARS / STAMP
    if stamp.exists() and stamp.read_text() == digest:
        return False
    maven = shutil.which("mvn")
    if maven is None:
        raise StackError(
            "Kafka's jars are not here and mvn is missing to fetch them: install Maven (package maven), then start again."
        )
    fetched = JARS.with_name(f"{JARS.name}.{uuid.uuid4().hex[:8]}")
    try:
        run = subprocess.run(
            [
                maven, "-q", "-B", "-f", str(POM),
                "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fetched}",
            ],
            capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip
        if run.returncode:
            end = "\n".join(f"  {line}" for line in (run.stdout + run.stderr).splitlines()[-8:])
            raise StackError(
                f"Maven could not fetch Kafka's jars; check its settings and the network, then start again. It said:\n{end}"
            )
        (fetched / STAMP).write_text(digest)
        # Put in place whole, so that an interrupted fetch leaves nothing that looks complete.
        shutil.rmtree(JARS, ignore_errors=True)
        fetched.rename(JARS)
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
    return True


@dataclass(frozen=True, slots=True)
class Broker:
    """One node that is broker and controller at once, with everything it keeps in ``folder``.

    With ``sasl_port`` it listens there too, for users with passwords (SASL/SCRAM), who may do what is granted to them and no more
    (``deploy/kafka/acls.toml``). Who comes in the clear, over the loopback, may do everything.
    """

    folder: Path
    port: int
    controller_port: int
    sasl_port: int | None = None

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def sasl_address(self) -> str:
        return f"{LOOPBACK}:{self.sasl_port}"

    def prepare(self) -> None:
        """Writes the configuration, and formats the storage once; a half-made storage is made again, for it holds nothing yet.

        Raises:
            StackError: the storage was made by another version, or formatting failed.
        """
        complete = self.folder / "complete"
        if complete.exists() and (made_by := complete.read_text().strip()) != KAFKA_VERSION:
            raise StackError(
                f"{self.folder} was made by Kafka {made_by}, and this is {KAFKA_VERSION}: remove the state folder to begin anew."
            )
        if not complete.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "log4j2.yaml").write_text(LOG4J)
        (self.folder / "server.properties").write_text(self._properties())
        if not complete.exists():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            # With an equals sign, for an id may begin with a dash.
            arguments = ("format", "--standalone", f"--cluster-id={cluster}", "--config", str(self.folder / "server.properties"))
            command = self._java("-XX:TieredStopAtLevel=1", main="kafka.tools.StorageTool", arguments=arguments)
            run = subprocess.run(command, capture_output=True, text=True, env=base_environment())
            if "UnsupportedClassVersionError" in run.stderr:
                raise StackError("java is too old for Kafka: install a runtime of 17 or newer and put it first in PATH.")
            if run.returncode:
                raise StackError(f"Kafka's storage could not be formatted:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
            complete.write_text(KAFKA_VERSION)

    def part(self, log: Path) -> Part:
        """The broker as a part; ready when a client gets metadata that names it."""
        command = self._java("-Xms256m", "-Xmx512m", main="kafka.Kafka", arguments=(str(self.folder / "server.properties"),))
        return Part(
            name="kafka",
            command=tuple(command),
            log=log,
            probe=self.answers,
            environment=base_environment(),
            stop_seconds=30.0,
        )

    async def answers(self) -> bool:
        if not await port_answers(self.port):
            return False
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address, request_timeout_ms=3000)
        try:
            await admin.start()
            return bool((await admin.describe_cluster())["brokers"])
        except (KafkaError, OSError):
            return False
        finally:
            await admin.close()

    def _java(self, *options: str, main: str, arguments: tuple[str, ...]) -> list[str]:
        return [
            "java",
            "-XX:+UseSerialGC",  # one small heap: it starts quicker than G1 (2.7 s against 3.0 s)
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.net.preferIPv4Stack=true",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.yaml'}",
            *options,
            "-cp",
            f"{JARS}/*",
            main,
            *arguments,
        ]

    def _properties(self) -> str:
        listeners = f"PLAINTEXT://{self.address},CONTROLLER://{LOOPBACK}:{self.controller_port}"
        secured: dict[str, object] = {}
        protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
        if self.sasl_port is not None:
            listeners += f",SASL://{LOOPBACK}:{self.sasl_port}"
            protocols += ",SASL:SASL_PLAINTEXT"
            secured = {
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "allow.everyone.if.no.acl.found": "false",
                "super.users": "User:ANONYMOUS",
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.sasl.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
            }
        return "".join(
            f"{name}={value}\n"
            for name, value in {
                "process.roles": "broker,controller",
                "node.id": 1,
                "controller.listener.names": "CONTROLLER",
                "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{self.controller_port}",
                "listeners": listeners,
                "advertised.listeners": listeners,
                "listener.security.protocol.map": protocols,
                "log.dirs": self.folder / "data",
                "auto.create.topics.enable": "false",
                "offsets.topic.replication.factor": 1,
                "offsets.topic.num.partitions": 8,
                "transaction.state.log.replication.factor": 1,
                "transaction.state.log.min.isr": 1,
                "transaction.state.log.num.partitions": 4,
                "share.coordinator.state.topic.replication.factor": 1,
                "share.coordinator.state.topic.min.isr": 1,
                "group.initial.rebalance.delay.ms": 0,
                "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
                **secured,
            }.items()
        )
