"""Kafka in the configuration file."""

import pytest
import tls
from click.testing import CliRunner

from siemtap.core.errors import ConfigError
from siemtap.render import registry
from siemtap.shipper.cli.main import main
from siemtap.shipper.config.load import parse

SOURCE = "inputs: [{type: kafka, group_id: g%s}]\n"
VENDOR = "inputs: [{type: apptrana, client_id: a, client_secret: b}]\n"


def test_an_input_reads_events_of_every_dataset():
    config = parse(SOURCE % ", processors: [{drop_fields: {fields: [user_agent.original]}}]")
    (source,) = config.inputs
    assert source.settings.topics == ("^siemtap\\.events\\..*",)
    assert {dataset.name for dataset in config.datasets} == set(registry.datasets())
    assert "kafka" not in registry.installed(), "neither an add-on nor a package is made of it"


@pytest.mark.parametrize(
    "text, message",
    [
        (SOURCE % ", ca_file: x", "ca_file"),
        (SOURCE % ", tls: true, ca_file: /dev", "/dev is a directory; write a PEM file"),
        (SOURCE % ", sasl_mechanism: PLAIN", "sasl_mechanism needs `username` and `password`"),
        (SOURCE % ", username: x", "username needs `password`"),
        (SOURCE % ", tags: [x]", "those of the type kafka pass events as they are"),
        (SOURCE % ", hosts: ['https://a:1']", "kafka.example.com:9092"),
        (SOURCE % ", hostz: ['a:1']", 'did you mean "hosts"'),
        ("inputs: [{type: kafka}]\n", "group_id"),
        (VENDOR + "output.kafka: {required_acks: 1}", "siemtap always waits for all replicas"),
        (VENDOR + "output.kafka: {sasl.mechanism: PLAIN}", "write `sasl_mechanism`"),
        (VENDOR + "output.kafka: {ssl.enabled: true}", "write `tls: true`"),
        (VENDOR + "output.kafka: {max_message_bytes: 1}", "max_message_bytes"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(ConfigError) as mistake:
        parse(text)
    assert message in str(mistake.value)


@pytest.mark.parametrize(
    "topics, output, loops",
    [
        ("", "{}", True),
        ("", "{topic: archive}", False),
        (", topics: [archive]", "{topic: archive}", True),
        (", topics: ['^arch']", "{topic: 'archive.%{+yyyy.MM}'}", True),
        (", topics: [siemtap.events.acme]", "{}", False),
        ("", "{hosts: ['other.example.com:9092']}", False),
    ],
)
def test_an_input_does_not_read_what_its_output_writes(topics, output, loops):
    text = SOURCE % topics + f"output.kafka: {output}\n"
    if not loops:
        parse(text)
        return
    with pytest.raises(ConfigError, match="each event would be written again without end"):
        parse(text)


def test_files_need_tls(tmp_path):
    certificate = tls.make(tmp_path) / "cert.pem"
    with pytest.raises(ConfigError, match="certificate needs `tls: true`"):
        parse(VENDOR + f"output.kafka: {{certificate: {certificate}, key: {tmp_path}/key.pem}}")


def test_the_sample_can_be_read():
    done = CliRunner().invoke(main, ["export", "sample", "kafka"])
    assert done.exit_code == 0 and "namespace" not in done.output
    parse(done.output.replace("${KAFKA_GROUP_ID}", "g"))
