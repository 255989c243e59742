"""The configuration of a worker of a fleet: its only output is Kafka, on the fleet's brokers."""

from __future__ import annotations

import dataclasses
from typing import Dict, Optional, Sequence, Tuple

from ...core.model import Plugin
from ...kafka.settings import KafkaConnection
from ..config.document import Document
from ..config.outputs import filled, named_outputs
from ..config.sections import DEFAULT_OUTPUT, General, OutputConfig

KAFKA = "kafka"


def outputs_of(
    document: Document,
    cluster: KafkaConnection,
    general: General,
    outputs: Tuple[OutputConfig, ...],
) -> Tuple[OutputConfig, ...]:
    """Return the output of a worker: that of the file, or one with default settings, with the
    connection of `cluster.kafka`. Report another output, a second connection, and processes."""
    if general.processes != "1":
        document.report(
            ("processes",),
            " does not go with cluster.kafka: run a worker for each core, each with a path.data of"
            " its own",
        )
    if not document.tree.get("output") and not named_outputs(document.tree):
        settings = filled(document, ("output", KAFKA), KAFKA, {})
        outputs = (OutputConfig(DEFAULT_OUTPUT, KAFKA, settings),)
    others = [output for output in outputs if output.type != KAFKA] or list(outputs[1:])
    if others:
        document.report(
            tuple(others[0].section.split(".")),
            ": the workers of a fleet deliver to Kafka alone; move this output to the configuration"
            " of a writer, which is `siemtap run` with an input of `type: kafka`",
        )
        return outputs
    return (_connected(document, cluster, outputs[0]),)


def check_inputs(document: Document, plugins: Sequence[Optional[Plugin]]) -> None:
    """Report inputs that no worker can have. plugins: those of the entries of `inputs`."""
    for number, plugin in enumerate(plugins):
        if plugin and plugin.reads_events:
            document.report(
                ("inputs", number, "type"),
                " belongs in the configuration of a writer, without cluster.kafka",
            )


def _connected(document: Document, cluster: KafkaConnection, output: OutputConfig) -> OutputConfig:
    connection: Dict[str, object] = {}
    for field in dataclasses.fields(KafkaConnection):
        ours, given = getattr(cluster, field.name), getattr(output.settings, field.name)
        if given not in (field.default, ours):
            document.report(
                (*output.section.split("."), field.name),
                f": leave it out; cluster.kafka.{field.name} is that of the events, too, because"
                " events and checkpoints are in one transaction",
            )
        connection[field.name] = ours
    return dataclasses.replace(output, settings=dataclasses.replace(output.settings, **connection))
