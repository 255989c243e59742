"""The datasets of PingIntelligence in Splunk's Common Information Model."""

from __future__ import annotations

from siemtap.core.rows import Cim

# fmt: off
ATTACK = Cim(
    models=("Intrusion_Detection", "Alerts"),
    tags=("ids", "attack", "alert"),
    custom=("attack_code", "attack_deviation", "identifier_type"),
    fields={
        "action": {"from": "event.type", "map": {"denied": "blocked"}, "else": "allowed"},
        "app": {"from": "service.name"},
        "attack_code": {"from": "pingintelligence.attack_code"},
        "attack_deviation": {"from": "pingintelligence.attack_deviation"},
        "category": {"from": "rule.category", "else": "unknown"},
        "description": {"from": "rule.description"},
        "dest": {"from": "service.name"},
        "dvc": {"from": "observer.name", "else": "unknown"},
        "id": {"from": "event.id"},
        "identifier_type": {"from": "pingintelligence.identifier.type", "present": {"source.ip": "ip"}},
        "ids_type": {"is": "application"},
        "severity": {"from": "event.severity", "map": {"21": "low", "47": "medium", "73": "high", "99": "critical"}, "else": "unknown"},
        "severity_id": {"from": "event.severity"},
        "signature": {"from": "rule.name", "else": "unknown"},
        "signature_id": {"from": "rule.id"},
        "src": {"from": "source.address"},
        "src_ip": {"from": "source.ip"},
        "subject": {"from": "message"},
        "type": {"is": "alert"},
        "user": {"from": "user.name"},
        "vendor_product": {"is": "Ping Identity PingIntelligence ABS"},
    },
    usual={
        "event.type": [["info"]],
        "pingintelligence.count": [1],
        "pingintelligence.report": ["api_attack_type"],
        "pingintelligence.scope": ["api"],
        "pingintelligence.time_source": ["access_time"],
    },
    implied={
        "pingintelligence.attack_type": "rule.name",
        "pingintelligence.identifier.type": "source.ip",
        "pingintelligence.api_name": "service.name",
        "pingintelligence.attack_code_parts": "pingintelligence.attack_code",
        "pingintelligence.access_time": {"pingintelligence.time_source": "access_time"},
    },
)

ATTACKLIST = Cim(
    custom=("dvc", "src", "src_ip", "subject", "user", "vendor_product"),
    fields={
        "dvc": {"from": "observer.name"},
        "src": {"from": "source.address"},
        "src_ip": {"from": "source.ip"},
        "subject": {"from": "message"},
        "user": {"from": "user.name"},
        "vendor_product": {"is": "Ping Identity PingIntelligence ABS"},
    },
)

REPORT = Cim(
    custom=("app", "dvc", "subject", "vendor_product"),
    fields={
        "app": {"from": "service.name", "out_of": ["pingintelligence.api_name"]},
        "dvc": {"from": "observer.name"},
        "subject": {"from": "message"},
        "vendor_product": {"is": "Ping Identity PingIntelligence ABS"},
    },
)
# fmt: on
