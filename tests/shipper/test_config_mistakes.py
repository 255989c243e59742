"""Reading siemtap.yml: all mistakes at once, values as they were written, Filebeat's names, and
what would fail later."""

import pytest
import tls

from siemtap.core.errors import ConfigError
from siemtap.shipper.config.document import Mistakes
from siemtap.shipper.config.load import load, parse

INPUT = "inputs:\n  - type: apptrana\n    client_id: a\n    client_secret: s3cret\n"


def mistakes(text, **how):
    with pytest.raises(ConfigError) as caught:
        parse(text, **how)
    assert "s3cret" not in str(caught.value)
    return getattr(caught.value, "mistakes", [str(caught.value)])


def test_all_mistakes_are_reported_with_their_lines():
    reported = mistakes(
        "wrokers: 3\nhttp:\n  port: 99999\n  hots: x\nlogging.level: loud\n"
        + INPUT
        + "    lookback: 60\n    lag: [1]\n    overlap: 90d\n    tags: ${NOT_SET}\n"
        "    drop: {sevrity: high}\n  - type: apptrena\n  - type: apptrana\n    id: b\n"
        "output.elasticsearch:\n  hosts: [es.example.com]\n  username: me\n  ca_file: /nowhere\n"
    )
    assert [mistake.split(" is ")[0].split(": ")[0] for mistake in reported] == [
        f"siemtap.yml line {line}"
        for line in (1, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16, 16, 19, 20, 21)
    ], "\n".join(reported)


TEXTS = {
    "00099": "00099",
    "0x1F": "0x1F",
    "0o17": "0o17",
    "1.10": "1.10",
    "1e5": "1e5",
    "1_000": "1_000",
    "no": "no",
    "True": "True",
    "2026-03-04": "2026-03-04",
    "12:30": "12:30",
    ".5": ".5",
    "+1": "+1",
}


@pytest.mark.parametrize("text", TEXTS)
def test_text_settings_keep_what_was_written(text):
    config = parse(
        f"inputs:\n  - type: apptrana\n    client_id: {text}\n    client_secret: {text}\n"
        f"    tags: [{text}]\n    websites: {text}\n    fields: {{n: 7}}\n"
    )
    settings = config.inputs[0].settings
    assert (settings.client_id, settings.client_secret) == (text, text)
    assert config.inputs[0].common.tags == (text,) and settings.websites == (text,)
    assert config.inputs[0].common.fields == {"n": 7}


def test_an_id_of_digits_is_a_text():
    assert parse(INPUT + "    id: 007\n").inputs[0].id == "007"


SENTENCES = [
    (INPUT + "    lookback: 60\n", 'lookback is "60"; use a number and a unit, such as 30s'),
    (INPUT + "    lookback: [1h]\n", "lookback is a list; use a number and a unit"),
    (INPUT + "    client_id: {a: b}\n", "found duplicate key client_id: it is in line 3 too"),
    (INPUT + "    url: [x]\n", "url is a list; it must look like https://host.example.com"),
    (INPUT + "    user_agent: {a: b}\n", "user_agent is a section; it must be one text"),
    (INPUT + "    concurrency: x\n", 'concurrency is "x"; it must be a whole number from 1 to'),
    (INPUT + "    enabled: [yes]\n", "enabled is a list; it must be true or false"),
    (INPUT + "    tags: {a: b}\n", "tags is a section; it must be a list of texts"),
    (INPUT + "    fields: x\n", 'fields is "x"; it must be a section: settings of its own'),
    (INPUT + "http: 5\n", 'http is "5"; it must be a section'),
    ("inputs: x\n", 'inputs is "x"; it must be a list with at least one entry, such as `- type: …`'),
    ("inputs:\n\t- type: apptrana\n", "line 2: found character '\\t' that cannot start any token; indent with blanks, not with tabs"),
    (INPUT + "    user_agent: %x\n", "line 5: found character '%' that cannot start any token; put the value in quotes"),
    (INPUT + "    user_agent: @x\n", "put the value in quotes"),
    (INPUT + "    user_agent: a: b\n", "put a value with `: ` in quotes, or check the indentation"),
    (INPUT + "    user_agent: !x y\n", "line 5: the tag !x has no meaning here; remove it"),
    (INPUT + "    url: https://tas.example.com:99999\n", "inputs[0].url"),
    (INPUT + "    proxy_user: me\n", "proxy_user needs `proxy_password`"),
    (INPUT + "    proxy_password: s3cret\n", "proxy_password needs `proxy_user`"),
    (INPUT + "    ca_file: /nowhere.pem\n", "ca_file: /nowhere.pem cannot be read: No such file"),
    (INPUT + "    ca_file: /dev\n", "line 5: inputs[0].ca_file: /dev is a directory; write a PEM file"),
    (INPUT + "output.elasticsearch.ca_file: /dev\n", "ca_file: /dev is a directory; write a PEM file"),
    (INPUT + "output.kafka: {tls: true, ca_file: /dev}\n", "ca_file: /dev is a directory; write a PEM file"),
    (INPUT + "    ca_file: /dev/null\n", "ca_file: /dev/null is no PEM file"),
    (INPUT + "http.host: 300.1.1.1\n", 'http.host is "300.1.1.1"; write an address or a name'),
    (INPUT + "http.host: 0.0.0.0\n", 'line 5: http.host is "0.0.0.0", and the page has no login; write 127.0.0.1, or set `remote: true`'),
    (INPUT + "http: {host: siemtap.example.com, remote: false}\n", "the page has no login"),
    (INPUT + "output.elasticsearch.hosts: es.example.com:9200\n", 'line 5: output.elasticsearch.hosts: "es.example.com:9200" has no http:// or https://'),
    (INPUT + "output.elasticsearch.hosts: 'https://es.example.com:x'\n", "is none; write https://es.example.com:9200"),
    (INPUT + "output.elasticsearch.hosts: 'https://me:s3cret@es.example.com'\n", "use `username` and `password`"),
    (INPUT + "output.elasticsearch.username: me\n", "output.elasticsearch.username needs `password`"),
    (INPUT + "output.elasticsearch.key: x\n", "output.elasticsearch.key"),
    (INPUT + "setup.kibana.username: me\n", "setup.kibana.username needs `password`"),
    ("inputs: [{type: centurylink_ips, syslog: 'udp://0.0.0.0:99999'}]\n", "is not an address to listen on"),
]  # fmt: skip


@pytest.mark.parametrize("text,sentence", SENTENCES, ids=[row[1][:50] for row in SENTENCES])
def test_sentences(text, sentence):
    assert any(sentence in mistake for mistake in mistakes(text)), mistakes(text)


SECTIONS = {
    "inputs": "inputs:\n  - type: centurylink_ips\n    listen: 127.0.0.1:8443\n    secret: 0123456789abcdef\n    ",
    "elasticsearch": f"{INPUT}output.elasticsearch:\n    ",
    "splunk_hec": f"{INPUT}output.splunk_hec:\n    hosts: ['https://127.0.0.1:8088']\n    token: s3cret\n    ",
    "kafka": f"{INPUT}output.kafka:\n    tls: true\n    ",
}  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS)
def test_certificates_and_keys_in_the_wrong_files(tmp_path, section):
    tls.make(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "key.pem").read_bytes() + (tmp_path / "cert.pem").read_bytes())

    def problems(certificate, key=""):
        lines = [f"certificate: {tmp_path}/{certificate}.pem"]
        lines += [f"key: {tmp_path}/{key}.pem"] if key else []
        text = SECTIONS[section] + "\n    ".join(lines) + "\n"
        try:
            parse(text)
        except ConfigError as error:
            return [each.split(f"{tmp_path}/")[-1] for each in error.mistakes]
        return []

    assert problems("cert", "key") == problems("both") == problems("both", "both") == []
    assert problems("cert") == ["cert.pem holds no private key; write its path as `key`"]
    assert problems("cert", "cert") == ["cert.pem holds no private key"]
    assert problems("key") == problems("key", "key") == ["key.pem holds no certificate"]
    assert problems("key", "cert") == [
        "key.pem holds no certificate",
        "cert.pem holds no private key",
    ]


FILEBEAT = [
    ("filebeat.inputs:\n  - type: cel\n", "filebeat is Filebeat's name; in siemtap: write `inputs:`"),
    (INPUT + "output.elasticsearch: {ssl.verification_mode: none}\n", "write `verify: false`"),
    (INPUT + "output.elasticsearch: {ssl: {certificate_authorities: [x]}}\n", "write `ca_file`"),
    (INPUT + "output.elasticsearch: {protocol: https}\n", "write https:// or http:// in `hosts`"),
    (INPUT + "output.elasticsearch.ssl.key: x\n", "write `key`"),
    (INPUT + "output.logstash: {hosts: [x]}\n", "let Logstash read"),
    (INPUT + "setup.ilm.enabled: false\n", "write `setup.lifecycle`"),
    (INPUT + "logging.to_files: true\n", "write `logging.file`"),
    (INPUT + "    proxy_url: http://x\n", "write `proxy`"),
    (INPUT + "    ssl: {verification_mode: none}\n", "write `verify: false`"),
    (INPUT + "output.elasticsearch.proxy_url: x\n", "siemtap: there is no proxy setting here"),
    (INPUT + "outputs: {a: {type: kafka, proxy_url: x}}\n", "there is no proxy setting here"),
    (INPUT + "output.splunk_hec.proxy_url: x\n", "in siemtap: write `proxy`"),
    (INPUT + "    ssl.ca_trusted_fingerprint: x\n", "in siemtap: write `fingerprint`"),
    (INPUT + "cloud.id: x\ncloud.auth: a:b\n", "write `output.elasticsearch.cloud_id`; write"),
    (INPUT + "cloud.auth: a:b\n", "password`, or `output.elasticsearch.api_key`"),
    (INPUT + "queue.mem.events: 4096\n", "remove it: no events wait in memory"),
    (INPUT + "queue.disk.max_size: 10GB\n", "write `queue.max_bytes`"),
    (INPUT + "queue.max_byte: 1\n", 'max_byte is not known; did you mean "max_bytes"'),
    (INPUT + "    workers: 2\n", "workers is not known"),
    ("inputs:\n  - type: httpjson\n", '"httpjson", an input of Filebeat; allowed are apptrana'),
]  # fmt: skip


@pytest.mark.parametrize("text,pointer", FILEBEAT, ids=[row[1][:40] for row in FILEBEAT])
def test_names_of_filebeat_point_to_ours(text, pointer):
    assert any(pointer in mistake for mistake in mistakes(text)), mistakes(text)


def test_merged_sections():
    config = parse(
        "inputs:\n  - &a {type: apptrana, client_id: a, client_secret: b}\n"
        "  - {<<: *a, id: second, client_id: c}\n"
    )
    assert [entry.settings.client_id for entry in config.inputs] == ["a", "c"]
    assert config.inputs[1].settings.client_secret == "b"


# -E


def test_override_wins_over_the_file():
    config = parse(
        INPUT + "http.port: 1\n",
        overrides=[
            "http.port=2",
            "inputs.0.lookback=5m",
            "logging.level=debug",
            "output.file.path=/tmp/x",
            "inputs.0.tags=[a, 007]",
        ],
    )
    assert (config.http.port, config.logging.level, config.output.type) == (2, "debug", "file")
    assert config.inputs[0].settings.lookback == 300_000
    assert config.inputs[0].common.tags == ("a", "007")


@pytest.mark.parametrize(
    "override,sentence",
    [
        ("x", "-E x: write name=value"),
        ("http.prt=1", "-E http.prt: http.prt is not known; did you mean"),
        ("http.port=x", '-E http.port: http.port is "x"; it must be a whole number'),
        ("inputs.9.id=x", "-E inputs.9.id: there is no section inputs.9"),
        ("http.port.x=1", "-E http.port.x: "),
        ("http.port=[", "-E http.port line 1: "),
    ],
)
def test_wrong_override(override, sentence):
    assert any(
        sentence in mistake for mistake in mistakes(INPUT + "http.port: 1\n", overrides=[override])
    )


# inputs.d


def test_files_of_inputs_d_add_inputs(tmp_path):
    (tmp_path / "siemtap.yml").write_text(INPUT)
    (tmp_path / "inputs.d").mkdir()
    for name, text in {
        "b.yml": "- {type: apptrana, id: b, client_id: x, client_secret: y}\n",
        "a.yml": "inputs:\n  - {type: apptrana, id: a, client_id: x, client_secret: y}\n",
        "empty.yml": "# nothing\n",
        "off.yml.disabled": "][",
    }.items():
        (tmp_path / "inputs.d" / name).write_text(text)
    path = str(tmp_path / "siemtap.yml")
    assert [entry.id for entry in load(path, {}).inputs] == ["apptrana", "a", "b"]
    (tmp_path / "siemtap.yml").write_text("workers: 3\n")
    assert [entry.id for entry in load(path, {}).inputs] == ["a", "b"]
    (tmp_path / "inputs.d/b.yml").write_text("\n- {type: apptrana, id: b, client_idd: x}\n")
    (tmp_path / "inputs.d/a.yml").write_text("x: y\n")
    with pytest.raises(Mistakes) as caught:
        load(path, {})
    text = str(caught.value)
    assert "b.yml line 2: inputs[0].client_idd is not known" in text
    assert "a.yml: expected a list of inputs" in text


# rights


def test_warning_for_secrets_in_a_file_that_all_may_read(tmp_path):
    path = tmp_path / "siemtap.yml"
    path.write_text(INPUT)
    path.chmod(0o644)
    (warning,) = load(str(path), {}).warnings
    assert "line 4: inputs[0].client_secret" in warning and f"chmod 600 {path}" in warning
    path.chmod(0o600)
    assert load(str(path), {}).warnings == ()
    path.chmod(0o644)
    path.write_text(INPUT.replace("s3cret", "${SECRET}"))
    assert load(str(path), {"SECRET": "x"}).warnings == ()
