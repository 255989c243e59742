"""What `siemtap run` would refuse is told when the file is read; an input that can collect nothing
is warned of."""

import os
import sys
from pathlib import Path

import pytest
from shipper.test_config_mistakes import INPUT, mistakes

from siemtap.core.errors import ConfigError
from siemtap.shipper.config.load import load, parse
from siemtap.shipper.process import Shipper

ABS = "inputs:\n  - type: pingintelligence\n"
KEYS = "    access_key: a\n    secret_key: s3cret\n"
ABS_API = ABS + KEYS + "    url: https://abs.example.com\n"
CLUSTER = "output.%s:\n  hosts: [https://es.example.com]\n"


@pytest.mark.parametrize(
    "text, mistake",
    [
        (ABS_API + "    lag: 5m\n", "siemtap.yml line 6: inputs[0].lag is 5m, and ABS reports"),
        (
            ABS + "    url: https://abs.example.com\n",
            "line 3: inputs[0].url needs `access_key` and `secret_key`",
        ),
        (ABS_API + "    attack_log: /x\n", "line 5: inputs[0].url and `attack_log` deliver"),
        (ABS_API + "    reports: [threshold]\n", "line 6: inputs[0].reports names threshold"),
        (
            "inputs:\n  - type: centurylink_ips\n    account: a\n    servers: [b]\n",
            "line 4: inputs[0].servers needs `username` and `password`",
        ),
        (
            "inputs:\n  - type: centurylink_ips\n    syslog_timezone: Mars\n",
            'line 2: inputs[0]: "Mars" is not a time zone',
        ),
        (INPUT + "setup.retention: 36h\n", "line 5: setup.retention: write whole days"),
        (INPUT + "setup.lifecycle: policy\n", "line 5: setup.lifecycle is policy, and needs"),
        (
            INPUT + CLUSTER % "elasticsearch" + "  api_key: a:b\n  bearer_token: s3cret\n",
            "line 5: output.elasticsearch: api_key and bearer_token are set; use one of them",
        ),
        (
            INPUT + CLUSTER % "opensearch" + "  api_key: a:b\n",
            "line 5: output.opensearch: OpenSearch knows neither",
        ),
        (INPUT + "output.elasticsearch.cloud_id: x\n", "cloud_id cannot be read: copy the whole"),
    ],
)
def test_what_run_refuses_is_a_mistake_of_the_file(text, mistake):
    (reported,) = mistakes(text)
    assert mistake in reported


def test_refusals_are_reported_with_the_other_mistakes():
    reported = mistakes(
        "wrokers: 3\n" + ABS_API + "    lag: 5m\n" + "  - type: pingintelligence\n    id: b\n"
        "    url: https://abs.example.com\nsetup.retention: 36h\n"
    )
    assert [mistake.split(": ")[0] for mistake in reported] == [
        f"siemtap.yml line {line}" for line in (1, 7, 10, 11)
    ]


def test_a_disabled_input_is_not_connected():
    assert parse(ABS_API + "    lag: 5m\n    enabled: false\n").inputs


@pytest.mark.parametrize(
    "text",
    [
        INPUT + "output.kafka.hosts: [a:9092]\n",
        INPUT + "cluster.kafka: {group: g, hosts: [a:9092]}\n",
        "inputs:\n  - type: kafka\n    group_id: g\n",
    ],
)
def test_kafka_without_its_package(text, monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    (reported,) = mistakes(text)
    assert "siemtap.yml line " in reported and "install siemtap with the extra" in reported


@pytest.mark.parametrize(
    "text, choices",
    [
        ("centurylink_ips\n", "`servers` or `listen` or `syslog`, or `enabled: false`"),
        ("pingintelligence\n", "`url` or `attack_log` or `syslog`, or `enabled: false`"),
        ("trend_vision_one\n    api_key: s3cret\n    datasets: []\n", "`datasets`"),
    ],
)
def test_an_input_that_can_collect_nothing_is_warned_of(text, choices):
    entry = f"inputs:\n  - id: a\n    type: {text}"
    (warning,) = parse(entry).warnings
    assert warning.startswith("a collects nothing: set ") and choices in warning
    assert not parse(entry + "    enabled: false\n").warnings
    if "syslog" in choices:
        assert not parse(entry + "    syslog: [udp://127.0.0.1:5514]\n").warnings


def test_health_names_an_input_that_can_collect_nothing(tmp_path):
    shipper = Shipper(parse(f"path.data: {tmp_path}\ninputs: [{{type: centurylink_ips}}]\n"))
    healthy, reason = shipper.health()
    shipper.close()
    assert not healthy and reason.startswith("centurylink_ips collects nothing: set `servers`")


@pytest.mark.parametrize(
    "text, mistake",
    [
        (
            "    datasets: [attacks, activity]\n",
            'inputs[0].datasets[0] is "attacks"; did you mean "attack"? Allowed are attack, activity',
        ),
        ("    tags: [a, {b: c}]\n", "inputs[0].tags[1] is a section; it must be one text"),
        ("processors:\n  add_tags: {tags: [a]}\n", "such as `- drop_event: …`"),
        ("    processors: {add_tags: {tags: [a]}}\n", "such as `- drop_event: …`"),
    ],
)
def test_a_wrong_entry_of_a_list_is_named(text, mistake):
    (reported,) = mistakes(INPUT + text)
    assert mistake in reported


@pytest.mark.parametrize(
    "reference",
    ["NAME:-s3cret", "NAME:?s3cret", "NAME:+s3cret", "NAME-s3cret", "NAME?s3cret", "env:NAME"],
)
def test_references_of_other_programs_are_refused(reference):
    (reported,) = mistakes(
        f"inputs:\n  - type: apptrana\n    client_id: a\n    client_secret: ${{{reference}}}\n",
        environment={"NAME": "s3cret"},
    )
    assert "siemtap.yml line 4: inputs[0].client_secret refers to" in reported
    assert "${NAME}" in reported and "${NAME:default}" in reported


@pytest.mark.parametrize(
    "error, advice",
    [
        (PermissionError(13, "Permission denied"), "Run siemtap as a user who may read it"),
        (FileNotFoundError(2, "No such file or directory"), "Create it"),
        (IsADirectoryError(21, "Is a directory"), "Name another file with -c"),
    ],
)
def test_advice_for_a_file_that_cannot_be_read(error, advice, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(ConfigError, match=rf"siemtap.yml: {error.strerror}\. {advice}"):
        load(str(tmp_path / "siemtap.yml"))


def test_a_folder_of_inputs_that_cannot_be_read_is_a_mistake(tmp_path, monkeypatch):
    def fail(folder):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "siemtap.yml").write_text(INPUT)
    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(ConfigError, match="inputs.d: Permission denied. Let the user"):
        load(str(tmp_path / "siemtap.yml"))
