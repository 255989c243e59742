"""A temporary Kafka broker on loopback, which ends with the process that started it.

with Broker(**{"message.max.bytes": "100000"}) as broker:
    Producer({"bootstrap.servers": broker.address})
    broker.kill(); broker.start()       # a crash, and a restart on the same data and port"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import filelock
from search_node import CACHE, free_port, java

HERE = Path(__file__).parent / "kafka"
# only the fast compiler, because runs are short
FLAGS = ("-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
TOOLS = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
}
LOG = """rootLogger.level = warn
rootLogger.appenderRefs = c
rootLogger.appenderRef.c.ref = C
appender.c.type = Console
appender.c.name = C
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = %d %p %m (%c)%n
"""
# the end of the shell's input is the end of whoever started it, even by SIGKILL
UNTIL_PARENT_ENDS = 'exec 3<&0; "$@" </dev/null & echo $! >"$PID_FILE"; read -r _ <&3; kill -9 $!'
# a broker that knows users: `admin` may do everything, others what ACLs allow
SECURE = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:admin;User:ANONYMOUS",
}


def jars() -> Path:
    """Return the folder of jars. It is filled once for each state of the list."""
    stamp = hashlib.sha256((HERE / "pom.xml").read_bytes()).hexdigest()[:12]
    lib = CACHE / f"kafka-{stamp}"
    lib.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(lib / "lock"):
        if not (lib / "ready").exists():
            command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]
            subprocess.run(
                [*command, "-f", HERE / "pom.xml", f"-DoutputDirectory={lib}"],
                check=True,
                timeout=900,
                stdout=subprocess.DEVNULL,
            )
            (lib / "ready").touch()
    return lib


class Broker:
    """One node, broker and controller. settings: of server.properties, added or replaced.

    users: user -> password; then there is a second listener with SASL/PLAIN, at `secure_address`,
    and an authorizer.
    """

    def __init__(self, users: dict[str, str] | None = None, **settings: str) -> None:
        self.lib = jars()
        self.port, self.controller, self.secure = free_port(), free_port(), free_port()
        self.home = Path(tempfile.mkdtemp(prefix="siemtap-kafka-"))
        self.address = f"127.0.0.1:{self.port}"
        self.secure_address = f"127.0.0.1:{self.secure}"
        self.shell: subprocess.Popen | None = None
        self._configure(users or {}, settings)
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def _configure(self, users: dict[str, str], settings: dict[str, str]) -> None:
        listeners = f"PLAINTEXT://{self.address}"
        protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT"
        more: dict[str, str] = {}
        if users:
            listeners += f",SASL_PLAINTEXT://{self.secure_address}"
            known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
            prefix = "listener.name.sasl_plaintext"
            more = {
                **SECURE,
                f"{prefix}.sasl.enabled.mechanisms": "PLAIN",
                f"{prefix}.plain.sasl.jaas.config": (
                    f"org.apache.kafka.common.security.plain.PlainLoginModule required {known};"
                ),
            }
        controller = f"CONTROLLER://127.0.0.1:{self.controller}"
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self.controller}",
            "listeners": f"{listeners},{controller}",
            "advertised.listeners": f"{listeners},{controller}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": protocols,
            "log.dirs": str(self.home / "log"),
            # one node: every internal topic must accept one replica
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            # small and quick
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.num.partitions": "4",
            "num.partitions": "2",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            # a broker that restarts after a crash waits for the end of its own session
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "500",
            **more,
            **settings,
        }
        text = "".join(f"{name}={value}\n" for name, value in properties.items())
        (self.home / "server.properties").write_text(text)
        (self.home / "log4j2.properties").write_text(LOG)

    def _java(self, *command: str | Path) -> list[str]:
        log = f"-Dlog4j2.configurationFile={self.home / 'log4j2.properties'}"
        home = java(17)
        return list(map(str, [home / "bin/java", *FLAGS, log, "-cp", f"{self.lib}/*", *command]))

    def start(self) -> None:
        if not (self.home / "log/meta.properties").exists():
            id = subprocess.run(
                self._java("kafka.tools.StorageTool", "random-uuid"),
                check=True,
                capture_output=True,
                text=True,
                timeout=120,
            ).stdout.split()[-1]
            subprocess.run(
                self._java(
                    "kafka.tools.StorageTool",
                    *("format", "--standalone", "-t", id),
                    *("-c", self.home / "server.properties"),
                ),
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=120,
            )
        log, pid_file = self.home / "broker.log", self.home / "pid"
        pid_file.unlink(missing_ok=True)
        with open(log, "ab") as out:
            self.shell = subprocess.Popen(
                ["bash", "-c", UNTIL_PARENT_ENDS, "bash"]
                + self._java("kafka.Kafka", self.home / "server.properties"),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env={**os.environ, "PID_FILE": str(pid_file)},
            )
        end = time.monotonic() + 120
        while time.monotonic() < end:
            pid = pid_file.read_text().strip() if pid_file.exists() else ""
            if pid and not Path(f"/proc/{pid}").exists():
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                self.pid = int(pid)
                return
            except (OSError, ValueError):
                time.sleep(0.05)
        raise RuntimeError("the broker did not start:\n" + log.read_text(errors="replace")[-3000:])

    def kill(self) -> None:
        """Crash: SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)  # at once: the shell takes a moment
        self._end()

    def _end(self) -> None:
        if self.shell is not None:
            self.shell.stdin.close()
            self.shell.wait()
            self.shell = None
            end = time.monotonic() + 30
            while Path(f"/proc/{self.pid}").exists() and time.monotonic() < end:
                time.sleep(0.02)

    def tool(self, command: str, timeout: float = 120) -> str:
        """Run a command of Kafka's own tools, such as `kafka-topics.sh --list`, and return what it
        printed. One without --bootstrap-server asks this broker."""
        name, *words = command.split()
        if "--bootstrap-server" not in words:
            words += ["--bootstrap-server", self.address]
        done = subprocess.run(
            self._java(TOOLS[name], *words),
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run_java(self, source: str, *words: str | Path) -> str:
        """Run a program of the folder `kafka` with Kafka's jars; return what it printed."""
        done = subprocess.run(
            self._java(HERE / source, *words),
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close(self) -> None:
        if hasattr(self, "pid"):
            self._end()
        elif self.shell is not None:
            self.shell.stdin.close()
            self.shell.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *exc) -> None:
        self.close()


def create(broker: Broker, *topics: str, partitions: int = 2, **config: str) -> None:
    """Create topics, and wait until they exist."""
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": broker.address})
    made = admin.create_topics([NewTopic(name, partitions, 1, config=config) for name in topics])
    for future in made.values():
        future.result(60)


def read(broker: Broker, topic: str, isolation: str = "read_committed") -> list:
    """Return every message of a topic, by partition and offset."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": broker.address,
            "group.id": uuid.uuid4().hex,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        messages, ends, end = [], 0, time.monotonic() + 60
        while ends < len(partitions):
            assert time.monotonic() < end, "the topic has no end"
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error():
                assert message.error().name() == "_PARTITION_EOF", message.error()
                ends += 1
            else:
                messages.append(message)
        return sorted(messages, key=lambda message: (message.partition(), message.offset()))
    finally:
        consumer.close()


def wait_for_open_transaction(broker: Broker, topic: str, seconds: float = 60) -> None:
    """Wait until a topic holds messages of a transaction that is not committed yet."""
    from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
    from confluent_kafka.admin import AdminClient, OffsetSpec

    admin = AdminClient({"bootstrap.servers": broker.address})

    def ends(isolation: IsolationLevel) -> dict[int, int]:
        partitions = admin.list_topics(topic, timeout=30).topics[topic].partitions
        latest = {TopicPartition(topic, number): OffsetSpec.latest() for number in partitions}
        answers = admin.list_offsets(latest, isolation_level=isolation, request_timeout=30)
        return {place.partition: answer.result().offset for place, answer in answers.items()}

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            written = ends(IsolationLevel.READ_UNCOMMITTED)  # first: what is committed only grows
            stable = ends(IsolationLevel.READ_COMMITTED)
        except KafkaException:  # the broker has just started
            continue
        if any(stable.get(number, last) < last for number, last in written.items()):
            return
    raise AssertionError(f"no transaction was open in {topic} within {seconds:g} s")
