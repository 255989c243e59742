"""The numbers of /stats as metrics for Prometheus."""

from __future__ import annotations

from typing import Any, Iterator, List, Mapping, Tuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

LATE = "the seconds by which late events are older than what was read; see `overlap`"
# Metrics as (name, key in /stats, help).
OUTPUT_METRICS = (
    ("siemtap_accepted", "accepted", "Events the output accepted"),
    ("siemtap_rejected", "rejected", "Events rejected and stored"),
    (
        "siemtap_failure_store",
        "failure_store",
        "Events that Elasticsearch put into its failure store",
    ),
    ("siemtap_unfit", "unfit", "Events with a value that failed type validation; it is in `extra`"),
    ("siemtap_retried", "retried", "Failed attempts"),
    ("siemtap_echoes", "echoes", "Duplicates dropped: events read again and not sent again"),
    ("siemtap_late", "late", "Events that the vendor returned only after their time was read"),
)
UNIT_METRICS = (
    ("siemtap_unit_up", "state", "1: the last poll succeeded"),
    (
        "siemtap_unit_cursor_age_seconds",
        "cursor_age_s",
        "Age of the checkpoint: seconds since the time up to which the unit is read",
    ),
    ("siemtap_unit_events", "events", "Events delivered since the process started"),
    ("siemtap_unit_latest_seconds", "late_max_s", f"Maximum of {LATE}"),
    ("siemtap_unit_late_p99_seconds", "late_p99_s", f"99th percentile of {LATE}"),
    ("siemtap_unit_late_p50_seconds", "late_p50_s", f"Median of {LATE}"),
)
SOURCE_METRICS = (
    (
        "siemtap_lost_offsets",
        "lost_offsets",
        "Offsets that Kafka deleted before the input kafka read them",
    ),
)
QUEUE_METRICS = (
    ("siemtap_queue_events", "waiting_events", "Events that wait for one of several outputs"),
    ("siemtap_queue_bytes", "waiting_bytes", "Bytes on disk of these events"),
    ("siemtap_queue_age_seconds", "oldest_s", "How long the oldest of these events has waited"),
)
RECEIVER_METRICS = (
    ("siemtap_received", "kept", "Payloads received and stored in the spool"),
    ("siemtap_received_refused", "refused", "Payloads from networks that are not allowed"),
    ("siemtap_received_dropped", "dropped_by_kernel", "Datagrams that the kernel dropped"),
    ("siemtap_spool_bytes", "waiting_bytes", "Bytes of the spool that are not delivered yet"),
    (
        "siemtap_spool_damaged_bytes",
        "spool_damaged",
        "Bytes of the spool that could not be read",
    ),
)


class _Collector:
    """The numbers of /stats as Prometheus metrics."""

    def __init__(self, stats: Mapping[str, Any], datasets: List[Tuple[str, int]]) -> None:
        self.stats = stats
        self.datasets = datasets

    def collect(self) -> Iterator[Any]:
        yield from self._collect_output(self.stats["output"])
        yield from self._collect_units()
        yield from self._collect_receivers()
        yield from self._collect_sources()
        yield from self._collect_queues()
        yield from self._collect_processes()

    def _collect_output(self, output: Mapping[str, Any]) -> Iterator[Any]:
        for name, key, help in OUTPUT_METRICS:
            yield CounterMetricFamily(name, help, value=output.get(key, 0))
        yield GaugeMetricFamily(
            "siemtap_healthy", "1: no unit is degraded", value=int(self.stats["healthy"])
        )
        yield GaugeMetricFamily(
            "siemtap_rejected_waiting",
            "Rejected events that are stored",
            value=output["waiting_rejected"],
        )
        datasets = CounterMetricFamily("siemtap_events", "Events delivered", labels=["dataset"])
        for dataset, number in self.datasets:
            datasets.add_metric([dataset], number)
        yield datasets

    def _collect_units(self) -> Iterator[Any]:
        for name, key, help in UNIT_METRICS:
            family = GaugeMetricFamily(name, help, labels=["input", "unit"])
            for running in self.stats["inputs"]:
                for unit in running["units"]:
                    value = int(unit[key] == "ok") if key == "state" else unit[key]
                    if value is not None:
                        family.add_metric([running["id"], unit["unit"]], value)
            yield family

    def _collect_receivers(self) -> Iterator[Any]:
        rows = [row for row in self.stats["inputs"] if "received" in row]
        if not rows:
            return
        for name, key, help in RECEIVER_METRICS:
            family = GaugeMetricFamily(name, help, labels=["input"])
            for row in rows:
                family.add_metric([row["id"]], row["received"].get(key, 0))
            yield family

    def _collect_sources(self) -> Iterator[Any]:
        rows = [row for row in self.stats["inputs"] if "source" in row]
        for name, key, help in SOURCE_METRICS if rows else ():
            family = CounterMetricFamily(name, help, labels=["input"])
            for row in rows:
                family.add_metric([row["id"]], row["source"][key])
            yield family

    def _collect_queues(self) -> Iterator[Any]:
        for name, key, help in QUEUE_METRICS:
            family = GaugeMetricFamily(name, help, labels=["output"])
            for output in self.stats["outputs"]:
                family.add_metric([output["name"]], output[key])
            yield family

    def _collect_processes(self) -> Iterator[Any]:
        rows = self.stats.get("processes", ())
        if not rows:
            return
        up = GaugeMetricFamily("siemtap_process_up", "1: the process runs", labels=["process"])
        restarts = CounterMetricFamily(
            "siemtap_process_restarts",
            "How often the process was started again",
            labels=["process"],
        )
        for row in rows:
            up.add_metric([row["name"]], int(row["state"] == "ok"))
            restarts.add_metric([row["name"]], row["restarts"])
        yield up
        yield restarts


def render_metrics(stats: Mapping[str, Any], datasets: List[Tuple[str, int]]) -> bytes:
    """Return the numbers of /stats, and the number of events by dataset, in Prometheus' format."""
    registry = CollectorRegistry()
    registry.register(_Collector(stats, datasets))
    return generate_latest(registry)
