"""Commits whose outcome is not known, on a producer that answers by a script: no broker can be made
to lose the answer of one commit and keep that of the next."""

import pytest
import tls

from siemtap.core.errors import AuthError, Retry
from siemtap.kafka.settings import KafkaConnection
from siemtap.kafka.transactions import Limits, Message, Transactions
from siemtap.kafka.writer import EVENT_ID, Writer


class KafkaError:
    """An error as librdkafka's client gives it."""

    def __init__(self, name, retriable=False, aborts=False):
        self.name, self.str = lambda: name, lambda: name
        self.retriable, self.txn_requires_abort = lambda: retriable, lambda: aborts
        self.fatal = lambda: False


NO_ANSWER = KafkaError("_TIMED_OUT", retriable=True)
ABORTED = KafkaError("INVALID_TXN_STATE", aborts=True)


class Cluster:
    """The module of the client, its only producer, and what is committed. `answers`: to the next
    commits, None for success; `reported`: beside a call."""

    KafkaException = type("KafkaException", (Exception,), {})

    def __init__(self):
        self.open, self.committed, self.answers, self.reported = [], [], [], None

    def Producer(self, properties):
        self.report = properties["error_cb"]
        return self

    def produce(self, topic, value, key, partition, on_delivery, headers):
        self.open.append(value)

    def begin_transaction(self):
        self.open = []

    abort_transaction = init_transactions = lambda self, timeout: None
    flush = poll = lambda self, timeout: 0

    def purge(self, **options):
        pass

    def commit_transaction(self, timeout):
        error = self.answers.pop(0)
        if self.reported:
            self.report(self.reported)
        if error:
            raise self.KafkaException(error)
        self.committed += self.open


@pytest.fixture
def cluster(monkeypatch):
    cluster = Cluster()
    monkeypatch.setattr("siemtap.kafka.transactions.library", lambda: cluster)
    return cluster


@pytest.fixture
def write(cluster):
    """Return a function that writes the message of an event, and is answered by `answers`."""
    limits = Limits(timeout=-1)  # a commit without an answer is over at once
    settings = KafkaConnection(hosts=("kafka.example.com:9092",))
    transactions = Transactions(settings, "id", limits)
    transactions._flush = lambda deadline: None
    writer = Writer(transactions)

    def write(id, *answers):
        cluster.answers = list(answers)
        return writer.write([Message("t", b"key", id, ((EVENT_ID, id),))])

    yield write
    writer.close()


def test_a_commit_that_was_aborted_after_all_is_written_again(cluster, write):
    with pytest.raises(Retry):
        write(b"a", NO_ANSWER)
    with pytest.raises(Retry):
        write(b"a", ABORTED)  # what became of the first
    with pytest.raises(Retry):
        write(b"b", NO_ANSWER)
    write(b"b", None)
    write(b"a", None)
    assert cluster.committed == [b"b", b"a"]


def test_a_commit_is_in_doubt_also_if_a_login_is_refused_meanwhile(cluster, write):
    cluster.reported = KafkaError("_AUTHENTICATION")
    with pytest.raises(AuthError):
        write(b"a", NO_ANSWER)
    cluster.reported = None
    write(b"a", None)
    assert cluster.committed == [b"a"]


def test_single_batches_end_only_once_no_commit_is_in_doubt(cluster, write):
    cluster_write = cluster.produce
    refusals = [KafkaError("MSG_SIZE_TOO_LARGE")]

    def produce(*parts, on_delivery, **more):
        if refusals:
            on_delivery(refusals.pop(), None)
        cluster_write(*parts, on_delivery=on_delivery, **more)

    cluster.produce = produce
    with pytest.raises(Retry):
        write(b"a", NO_ANSWER)
    write(b"a", None)
    assert cluster.committed == [b"a"]


def test_renewed_certificates_make_another_producer(cluster, tmp_path):
    """librdkafka reads the files when a client is made; a commit in doubt is resolved first."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(tls.Certificate("Old", authority=True).pem)
    settings = KafkaConnection(hosts=("kafka.example.com:9092",), tls=True, ca_file=str(ca))
    transactions = Transactions(settings, "id", Limits(timeout=1_000))
    opened = []
    make = cluster.Producer
    cluster.Producer = lambda properties: opened.append(1) or make(properties)
    for _ in range(2):
        transactions.open()
    assert len(opened) == 1
    ca.write_bytes(b"half")
    transactions.open()
    assert len(opened) == 1
    ca.write_bytes(tls.Certificate("New", authority=True).pem)
    transactions.in_doubt = True
    transactions.open()
    assert len(opened) == 1
    transactions.in_doubt = False
    transactions.open()
    assert len(opened) == 2
