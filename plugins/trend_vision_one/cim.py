"""The datasets of Trend Vision One in Splunk's Common Information Model."""

from __future__ import annotations

from siemtap.core.rows import Cim

# fmt: off
ALERT = Cim(
    models=("Alerts",),
    tags=("alert",),
    custom=("mitre_technique_id", "status", "vendor_product"),
    fields={
        "app": {"is": "Trend Vision One"},
        "description": {"from": "rule.description"},
        "dest": {"from": "host.name"},
        "id": {"from": "trend_vision_one.id"},
        "mitre_technique_id": {"from": "threat.technique.id"},
        "severity": {"from": "trend_vision_one.severity", "map": {"critical": "critical", "high": "high", "medium": "medium", "low": "low"}, "else": "unknown"},
        "signature": {"from": "rule.name", "else": "unknown"},
        "signature_id": {"from": "rule.id"},
        "status": {"from": "trend_vision_one.status"},
        "subject": {"from": "message"},
        "type": {"is": "alert"},
        "user": {"from": "user.name"},
        "vendor_product": {"is": "Trend Vision One"},
    },
)

DETECTION = Cim(
    models=("Alerts",),
    tags=("alert",),
    custom=("mitre_technique_id", "process", "process_exec", "process_hash", "src_ip", "vendor_product"),
    fields={
        "app": {"from": "network.application"},
        "description": {"from": "rule.description"},
        "dest": {"first": ["host.name", "destination.address"]},
        "id": {"from": "trend_vision_one.id"},
        "mitre_technique_id": {"from": "threat.technique.id"},
        "process": {"from": "process.command_line"},
        "process_exec": {"from": "process.executable"},
        "process_hash": {"from": "process.hash.sha256"},
        "severity": {"from": "trend_vision_one.risk_level", "map": {"critical": "critical", "high": "high", "medium": "medium", "low": "low", "info": "informational"}, "else": "unknown"},
        "signature": {"from": "rule.name", "else": "unknown"},
        "signature_id": {"from": "rule.id"},
        "src": {"from": "source.address"},
        "src_ip": {"from": "source.ip"},
        "subject": {"from": "message"},
        "type": {"is": "event"},
        "user": {"from": "user.name"},
        "vendor_product": {"is": "Trend Vision One"},
    },
)
# fmt: on
