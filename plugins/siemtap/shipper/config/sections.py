"""The sections of siemtap.yml, and the whole file."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ...core.manifest import (
    choice,
    duration,
    fill_in,
    integer,
    port,
    secret,
    switch,
    text,
    text_list,
    url,
)
from ...core.model import Plugin
from ...core.rows import Dataset
from ...core.settings import (
    NAMESPACE,
    NAMESPACE_ALLOWED,
    CommonSettings,
    Connection,
    Receiving,
)
from ...outputs.types import OUTPUTS
from ...render import health, registry
from ..delivery.settings import Queue
from ..fleet.settings import Cluster

DEFAULT_OUTPUT = "default"  # the name of the output of the section `output`


@dataclass(frozen=True)
class General:
    """The settings at the top of the file."""

    workers: int = integer(
        "Workers",
        8,
        least=1,
        most=256,
        help=(
            "How many inputs, websites and APIs are read at the same time. Not the `worker` of an"
            " output, which is its number of parallel requests."
        ),
    )
    processes: str = text(
        "Processes",
        "1",
        pattern=r"^(auto|[1-9]|[1-5][0-9]|6[0-4])$",
        allowed="a number from 1 to 64, or auto",
        help=(
            "How many processes read, map and deliver, each on a core of its own; auto is one for"
            " each core. With more than 1, webhook and syslog have one more process."
        ),
    )
    shutdown_timeout: int = duration(
        "Shutdown timeout",
        "30s",
        help=(
            "How long to wait at shutdown for events that are being delivered. What is not"
            " delivered by then is collected again at the next start."
        ),
    )
    validate: bool = switch(
        "Validate",
        True,
        help=(
            "Check every event against the schema before delivery. A value that does not fit its"
            " field is moved to `extra`; an event that fails otherwise is stored as rejected. What"
            " an input of the type kafka reads is checked in any case."
        ),
    )

    @property
    def process_count(self) -> int:
        """Return the number of processes; for `auto`, of the cores that this process may use."""
        if self.processes != "auto":
            return int(self.processes)
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1


@dataclass(frozen=True)
class Folders:
    """The section `path`."""

    data: str = text(
        "Data folder",
        "./data",
        help="The folder for checkpoints, the embedded store and rejected events.",
    )


@dataclass(frozen=True)
class Page:
    """The section `http`."""

    enabled: bool = switch(
        "Status page", True, help="Serve the status page, /stats, /metrics and /health."
    )
    host: str = text(
        "Host",
        "127.0.0.1",
        help=(
            "The address to listen on. The page has no login: it shows attackers and sites to"
            " anyone who can reach it, so an address other than loopback needs `remote`."
        ),
    )
    remote: bool = switch(
        "Remote",
        False,
        help=(
            "Let other machines reach the page, without a login. Limit who can: by a firewall, or"
            " by a proxy with a login in front of the page on loopback."
        ),
    )
    port: int = port("Port", 5066, help="The port to listen on; 0 picks a free port.")
    names: Tuple[str, ...] = text_list(
        "Names",
        (),
        help=(
            "Host names by which the page is opened, such as siemtap.example.com, besides its"
            " address, localhost and the name of the machine. Other names are answered with 421."
        ),
    )


@dataclass(frozen=True)
class Logging:
    """The section `logging`."""

    level: str = choice(
        "Level",
        "info",
        "debug",
        "warning",
        "error",
        help="The least severe level that is logged.",
    )
    format: str = choice(
        "Format", "text", "json", help="text for people, json (ECS) for log collectors."
    )
    file: str = text(
        "File",
        "",
        help=(
            "Log to this file, rotated at 10 MiB, with five old files kept. By default siemtap logs"
            " to standard error."
        ),
    )


@dataclass(frozen=True)
class Metrics:
    """The section `logging.metrics`."""

    enabled: bool = switch(
        "Metrics", True, help="Log what was done in the last period, at the level info."
    )
    period: int = duration(
        "Period", "30s", least="1s", most="1d", help="How often these metrics are logged."
    )


@dataclass(frozen=True)
class Setup:
    """The section `setup`: what `siemtap setup` installs in a cluster."""

    lifecycle: str = choice(
        "Lifecycle",
        "data_stream",
        "policy",
        "none",
        help=(
            "What deletes old events. data_stream: the data stream lifecycle (Elasticsearch 8.14"
            " and newer; in OpenSearch an ISM policy named siemtap). policy: the ILM policy named"
            " in `policy`. none: nothing. Elasticsearch 8.0 to 8.13: data_stream has no effect; use"
            " policy."
        ),
    )
    policy: str = text(
        "Policy", "", help="The name of an existing ILM policy, for `lifecycle: policy`."
    )
    retention: int = duration(
        "Retention",
        "0s",
        help=(
            "How long events are kept, for `lifecycle: data_stream`, in whole days, such as 90d; 0s"
            " keeps them forever."
        ),
    )


@dataclass(frozen=True)
class Kibana:
    """The section `setup.kibana`: where `siemtap setup` imports dashboards."""

    host: str = url(
        "Host",
        "",
        help=(
            "The URL of Kibana, such as https://kibana.example.com:5601. `siemtap setup` imports"
            " the dashboards there. Without it no dashboards are imported."
        ),
    )
    space: str = text(
        "Space",
        "",
        pattern=r"^[a-z0-9_-]{0,100}$",
        allowed="lower case letters, digits, _ and -",
        help="The id of the Kibana space to import into; the default space if empty.",
    )
    api_key: str = secret(
        "API key",
        "",
        help=(
            "The API key, as Kibana shows it (base64) or as id:key. By default the credentials of"
            " the output are used."
        ),
    )
    username: str = text("User name", "", help="Log in with `password` instead of an API key.")
    password: str = secret("Password", "", help="The password of `username`.")
    ca_file: str = text(
        "CA file",
        "",
        help="A PEM file of trusted certificate authorities; that of the output by default.",
    )
    verify: bool = switch(
        "Verify certificates", True, help="false accepts any certificate; for tests only."
    )


@dataclass(frozen=True)
class Health:
    """The section `health`."""

    enabled: bool = switch(
        "Enabled",
        False,
        help=(
            "Deliver siemtap's own state as events of the dataset siemtap.health: one for each unit"
            " and for the output, and one for each change of health."
        ),
    )
    interval: int = duration(
        "Interval", "60s", least="10s", most="1d", help="How often the state is delivered."
    )
    namespace: str = text(
        "Namespace",
        "default",
        pattern=NAMESPACE,
        allowed=NAMESPACE_ALLOWED,
        help="The namespace of the data stream logs-siemtap.health-<namespace>.",
    )
    output: str = text(
        "Output",
        "",
        help=("The name of the output of these events; by default the only output, or `default`."),
    )


TOP: Dict[str, Any] = {
    "": General,
    "path": Folders,
    "http": Page,
    "logging": Logging,
    "logging.metrics": Metrics,
    "health": Health,
    "queue": Queue,
    "cluster.kafka": Cluster,
    "setup": Setup,
    "setup.kibana": Kibana,
}


@dataclass(frozen=True)
class OutputConfig:
    """One output. `type`: a key of OUTPUTS."""

    name: str
    type: str
    settings: Any

    @property
    def section(self) -> str:
        """Return its section in the file."""
        if self.name == DEFAULT_OUTPUT:
            return f"output.{self.type}"
        return f"outputs.{self.name}"

    @property
    def location(self) -> str:
        """Return where its events are, to complete "the events are …"."""
        place: str = OUTPUTS[self.type].load().location(self.settings)
        return place


@dataclass(frozen=True)
class Input:
    """One configured instance of a plugin. `outputs`: the names of those that get its events."""

    plugin: Plugin
    settings: Any
    common: CommonSettings
    connection: Connection = fill_in(Connection, {})
    receiving: Optional[Receiving] = None  # of a plugin that receives
    outputs: Tuple[str, ...] = (DEFAULT_OUTPUT,)
    processors: Tuple[Any, ...] = ()  # those of the input, then those of the file
    idle: str = ""  # that it can collect nothing, and what to set

    @property
    def id(self) -> str:
        return self.common.id or self.plugin.name

    @property
    def datasets(self) -> Tuple[Dataset, ...]:
        """Return the datasets of its events: of an input that reads events, all there are."""
        if self.plugin.reads_events:
            return tuple(registry.datasets().values())
        return self.plugin.datasets


@dataclass(frozen=True)
class Config:
    """The whole file."""

    file: str
    general: General
    path: Folders
    http: Page
    logging: Logging
    metrics: Metrics
    health: Health
    queue: Queue
    cluster: Cluster
    setup: Setup
    kibana: Kibana
    outputs: Tuple[OutputConfig, ...]
    inputs: Tuple[Input, ...]
    overrides: Tuple[str, ...] = ()  # `key=value` of -E
    # (file, text) of the file and of those of inputs.d, as they were read
    texts: Tuple[Tuple[str, str], ...] = ()
    warnings: Tuple[str, ...] = ()  # what works, and should be different

    @property
    def data(self) -> Path:
        return Path(self.path.data)

    @property
    def output(self) -> OutputConfig:
        """Return the only output: of a file with one, or of a part (`by_output`)."""
        (output,) = self.outputs
        return output

    @property
    def has_store(self) -> bool:
        """Return whether one of the outputs is the embedded store."""
        return any(output.type == "sqlite" for output in self.outputs)

    @property
    def datasets(self) -> List[Dataset]:
        """Return the datasets of all enabled inputs, and siemtap's own if it is enabled."""
        by_name = {
            dataset.name: dataset
            for each in self.inputs
            if each.common.enabled
            for dataset in each.datasets
        }
        if self.health.enabled:
            by_name[health.DATASET.name] = health.DATASET
        return list(by_name.values())

    def by_output(self) -> List[Config]:
        """Return for each output the part of the configuration that concerns it alone."""
        parts = []
        for output in self.outputs:
            inputs = tuple(each for each in self.inputs if output.name in each.outputs)
            enabled = self.health.enabled and self.health.output == output.name
            parts.append(
                replace(
                    self,
                    outputs=(output,),
                    inputs=inputs,
                    health=replace(self.health, enabled=enabled),
                )
            )
        return parts
