"""The datasets of CenturyLink IPS in Splunk's Common Information Model."""

from __future__ import annotations

from siemtap.core.rows import Cim, CimClass

# fmt: off
DIRECTION = {"from": "network.direction", "map": {"ingress": "inbound", "egress": "outbound", "inbound": "inbound", "outbound": "outbound"}}
DURATION = {"from": "event.duration", "per": 1_000_000_000}  # nanoseconds in ECS, seconds in the CIM
DENIED = {"from": "event.type", "map": {"denied": "blocked"}, "else": "allowed"}
REMOVED = {"first": ["centurylink_ips.result", "centurylink_ips.action"], "lower": True, "map": {"quarantine": "deferred", "quarantined": "deferred"}, "else": "blocked"}

ATTACK = CimClass(
    models=("Intrusion_Detection",),
    tags=("ids", "attack"),
    values=("intrusion_prevention", "reconnaissance"),
    fields={
        "action": DENIED,
        "category": {"from": "centurylink_ips.kind"},
        "cve": {"from": "vulnerability.id"},
        "dest": {"first": ["destination.address", "host.name"]},
        "duration": DURATION,
        "ids_type": {"is": "host"},
        "tcp_flag": {"from": "centurylink_ips.flags"},
        "transport": {"from": "network.transport"},
    },
)

TRAFFIC = CimClass(
    models=("Network_Traffic",),
    tags=("network", "communicate"),
    values=("firewall",),
    fields={
        "action": DENIED,
        "dest": {"first": ["destination.address", "host.name"]},
        "duration": DURATION,
        "rule": {"from": "rule.name"},
        "rule_id": {"from": "rule.id"},
        "transport": {"from": "network.transport", "map": {"tcp": "tcp", "udp": "udp", "icmp": "icmp", "ipv6-icmp": "icmp"}},
    },
)

CHANGE = CimClass(
    models=("Change",),
    tags=("change",),
    values=("integrity",),
    fields={
        "action": {"from": "event.type", "map": {"creation": "created", "deletion": "deleted"}, "else": "modified"},
        "change_type": {"present": {"file.path": "filesystem", "registry.path": "registry"}, "else": "endpoint"},
        "dest": {"from": "host.name"},
        "object": {"first": ["file.name", "file.path", "registry.path", "centurylink_ips.entity"], "else": "unknown"},
        "object_category": {"is": "entity"},  # the data model leaves out: file, directory, registry
        "object_path": {"first": ["file.path", "registry.path"]},
        "status": {"is": "success"},
        "user": {"from": "user.name", "else": "unknown"},
    },
)

MALWARE = CimClass(
    models=("Malware",),
    tags=("malware", "attack"),
    values=("anti_malware",),
    fields={
        "action": {"from": "event.type", "map": {"allowed": "allowed", "info": "allowed"}, "else": REMOVED},
        "category": {"first": ["centurylink_ips.virus_type", "centurylink_ips.kind"]},
        "dest": {"from": "host.name"},
        "file_hash": {"first": ["file.hash.sha256", "file.hash.sha1", "file.hash.md5"]},
        "file_name": {"from": "file.name"},
        "file_path": {"from": "file.path"},
    },
)

WEB = CimClass(
    models=("Web",),
    tags=("web",),
    values=("web_reputation",),
    fields={
        "action": DENIED,
        "category": {"from": "centurylink_ips.kind"},
        "dest": {"first": ["url.domain", "destination.address"], "else": "unknown"},
        "src": {"first": ["source.address", "host.name"]},
        "uri_path": {"from": "url.path"},
        "uri_query": {"from": "url.query"},
        "url": {"first": ["url.full", "url.original"]},
        "url_domain": {"from": "url.domain"},
        "url_length": {"first": ["url.full", "url.original"], "length": True},
    },
)

SIGN_IN = CimClass(
    models=("Authentication",),
    tags=("authentication",),
    values=("authentication",),
    fields={
        "action": {"from": "event.outcome", "map": {"success": "success", "failure": "failure"}, "else": "error"},
        "app": {"from": "observer.product"},
        "dest": {"first": ["host.name", "log.syslog.hostname"], "else": "unknown"},
        "src": {"first": ["source.address", "client.ip"], "else": "unknown"},
        "src_ip": {"first": ["source.ip", "client.ip"]},
        "user": {"from": "user.name", "else": "unknown"},
    },
)

ALERT = CimClass(
    models=("Alerts",),
    tags=("alert",),
    values=("log_inspection", "application_control", "device_control"),
    fields={
        "action": DENIED,
        "app": {"from": "observer.product"},
        "description": {"from": "message"},
        "dest": {"from": "host.name"},
        "id": {"from": "event.id"},
        "subject": {"from": "message"},
        "type": {"is": "alert"},
    },
)

EVENT = Cim(
    by="centurylink_ips.kind",
    classes={"attack": ATTACK, "traffic": TRAFFIC, "change": CHANGE, "malware": MALWARE, "web": WEB, "sign_in": SIGN_IN, "alert": ALERT},
    custom=("cve", "process_name", "process_path", "vendor_tags"),
    fields={
        "bytes": {"from": "network.bytes"},
        "dest_ip": {"from": "destination.ip"},
        "dest_mac": {"from": "destination.mac"},
        "dest_port": {"from": "destination.port"},
        "direction": DIRECTION,
        "dvc": {"first": ["host.name", "log.syslog.hostname"], "else": "unknown"},
        "process_name": {"from": "process.name"},
        "process_path": {"from": "process.executable"},
        "severity": {"from": "event.severity", "map": {"21": "low", "47": "medium", "73": "high", "99": "critical"}, "else": "unknown"},
        "severity_id": {"from": "centurylink_ips.severity"},
        "signature": {"from": "rule.name", "else": "unknown"},
        "signature_id": {"from": "rule.id"},
        "src": {"from": "source.address"},
        "src_ip": {"from": "source.ip"},
        "src_mac": {"from": "source.mac"},
        "src_port": {"from": "source.port"},
        "user": {"from": "user.name"},
        "vendor_account": {"from": "organization.id"},
        "vendor_product": {"join": ["observer.vendor", "observer.product"]},
        "vendor_tags": {"from": "centurylink_ips.tags"},
    },
    usual={
        "event.type": [["info"], ["allowed"]],
        "centurylink_ips.channel": ["webhook"],
        "centurylink_ips.kind": ["intrusion_prevention"],
        "centurylink_ips.time_source": ["startTime", "driverTime"],
        "observer.vendor": ["CenturyLink"],
    },
    implied={
        "centurylink_ips.direction": "network.direction",
        "centurylink_ips.data_sha256": "centurylink_ips.data",
        "event.end": "event.duration",
        "event.outcome": {"event.type": ["denied"]},
    },
    same={"event.reason": "rule.name", "url.original": "url.full"},
)

DESTINATION = Cim(
    custom=("dvc", "subject", "vendor_product"),
    fields={
        "dvc": {"from": "host.name"},
        "subject": {"from": "message"},
        "vendor_product": {"is": "CenturyLink Client Security IPS"},
    },
)
# fmt: on
