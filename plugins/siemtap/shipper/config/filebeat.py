"""Filebeat's names of settings, and what siemtap has instead."""

from __future__ import annotations

import re
from typing import Any, Collection, Dict, List, Tuple, Union

# The longest name first wins: "ssl.key" before "ssl". Of texts in brackets, the first one whose
# settings the section has.
POINTERS: Dict[str, Union[str, Tuple[str, ...]]] = {
    "filebeat.inputs": "write `inputs:`",
    "filebeat.config.inputs": "put files into the folder inputs.d beside siemtap.yml",
    "filebeat.modules": "write `inputs:`, each with the `type` of a plugin",
    "filebeat": "write `inputs:` at the top of the file",
    "output.kafka.ssl.enabled": "write `tls: true`",
    "output.kafka.key": "the key of an event is its unit: input, dataset and scope",
    "output.kafka.partition": "an event's partition follows from its key",
    "output.kafka.topics": "write `topic`, with %{[event.dataset]} or another field",
    "output.kafka.headers": "the headers are dataset, event.id and schema.version",
    "output.kafka.version": "siemtap asks the brokers for their version",
    "output.kafka.bulk_max_size": "a transaction holds what waits for it",
    "required_acks": "siemtap always waits for all replicas (-1), as transactions demand",
    "sasl.mechanism": "write `sasl_mechanism`",
    "ssl.certificate_authorities": ("write `ca_file`",),
    "ssl.ca_trusted_fingerprint": ("write `ca_fingerprint`", "write `fingerprint`"),
    "ssl.verification_mode": "write `verify: false` for none; siemtap always verifies in full",
    "ssl.certificate": ("write `certificate`",),
    "ssl.key": ("write `key`",),
    "ssl.enabled": "write https:// or http:// in the address",
    "ssl": ("write `ca_file`, `certificate`, `key` and `verify`", "write `ca_file` and `verify`"),
    "protocol": "write https:// or http:// in `hosts`",
    "path.logs": "write `logging.file`",
    "path.config": "name the file with -c",
    "path.home": "only `path.data` is needed",
    "logging.files": "write `logging.file`",
    "logging.to_files": "write `logging.file`",
    "logging.to_stderr": "leave out `logging.file`",
    "logging.to_syslog": "leave out `logging.file`; systemd takes standard error",
    "logging.json": "write `logging.format: json`",
    "output.console": "write `output.stdout`",
    "output.logstash": "let Logstash read from Elasticsearch or from `output.file`",
    "setup.ilm": "write `setup.lifecycle` and `setup.policy`",
    "setup.dsl": "write `setup.lifecycle` and `setup.retention`",
    "setup.template": "`siemtap setup` installs the templates without settings",
    "setup.dashboards": "`siemtap setup` imports them if `setup.kibana.host` is set",
    "setup.kibana.protocol": "write https:// in `setup.kibana.host`",
    "setup.kibana.path": "append the path to `setup.kibana.host`",
    "queue.mem": "remove it: no events wait in memory, because an input waits for its output",
    "queue.disk": "write `queue.max_bytes`, of the queue of several outputs; one needs none",
    "cloud.id": "write `output.elasticsearch.cloud_id`",
    "cloud.auth": (
        "write `output.elasticsearch.username` and `output.elasticsearch.password`, or"
        " `output.elasticsearch.api_key`"
    ),
    "monitoring": "write `health.enabled: true`, or read /metrics of the status page",
    "name": "the machine's name is in `agent.name`",
    "tags": "write `tags` in each input; those of the type kafka pass events as they are",
    "fields": "write `fields` in each input; those of the type kafka pass events as they are",
    "workers": ("write `worker`",),
    "max_retries": "siemtap tries again until the output answers",
    "backoff": "siemtap waits longer from try to try by itself",
    "proxy_url": (
        "write `proxy`",
        "there is no proxy setting here: let this machine reach the host directly, or name a"
        " reverse proxy as the host",
    ),
    "pipeline": "`siemtap setup` installs the pipeline that the templates name",
    "initial_interval": ("write `lookback`",),
    "period": ("write `interval`",),
    "request": "write `url`, `interval` and the other settings of this plugin",
    "auth": "write this plugin's own settings for the login",
    "fields_under_root": "`fields` are always under `fields`",
    "listen_address": ("write `listen: 0.0.0.0:8443`",),
    "listen_port": ("write `listen: 0.0.0.0:8443`",),
    "secret.header": "senders present `secret` in the path or in X-Siemtap-Secret",
    "preserve_original_event": "`event.original` is always there",
}
SETTING = re.compile(r"`([a-z_]+)(?::[^`]*)?`")
TYPES = ("httpjson", "cel", "http_endpoint", "tcp", "udp", "syslog", "log", "filestream")


def pointer(section: str, key: str, value: Any, known: Collection[str]) -> str:
    """Return what to write instead of Filebeat's setting `key` in `section`; "" if it is no such
    name. `section`: the dotted path of the section; "" at the top. `known`: its settings."""
    names: List[str] = [key]
    if isinstance(value, dict) and value:
        names = [f"{key}.{inner}" for inner in value]
    texts = [_text_of(section, name, known) for name in names]
    return "; ".join(dict.fromkeys(filter(None, texts)))


def _text_of(section: str, name: str, known: Collection[str]) -> str:
    for candidate in (f"{section}.{name}" if section else name, name):
        parts = candidate.split(".")
        for length in range(len(parts), 0, -1):
            texts = POINTERS.get(".".join(parts[:length]), ())
            if isinstance(texts, str):
                return texts
            for text in texts:
                if all(each in known for each in SETTING.findall(text)):
                    return text
    return ""
