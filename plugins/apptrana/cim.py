"""The datasets of AppTrana in Splunk's Common Information Model."""

from __future__ import annotations

from siemtap.core.rows import Cim

# The host of a URL, without user, password and port; or the host alone, an IPv6 address too
# fmt: off
HOST = "(?s)^(?:[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?)?(\\[[^/?#]*\\]|[^/?#:]*:[^/?#:]*:[^/?#]*|[^/?#:]*).*$"

ATTACK = Cim(
    models=("Intrusion_Detection", "Web"),
    tags=("ids", "attack", "web"),
    custom=("src_country", "src_reputation", "ssl_version", "transaction_id"),
    fields={
        # in Splunk's copy the usual words of the vendor stand for event.action
        "action": {"from": "event.action", "out_of": ["event.action", "apptrana.event_type"], "map": {"blocked": "blocked", "Block": "blocked"}, "else": "allowed"},
        "app": {"is": "AppTrana"},
        "bytes_out": {"from": "http.response.body.bytes", "out_of": ["apptrana.response_headers.content-length"], "match": "^0*([0-9]{1,15})$"},
        "category": {"from": "rule.category", "else": "unknown"},
        "cookie": {"from": "apptrana.request_headers.cookie", "unless": "REDACTED"},
        "dest": {"first": ["destination.address", "url.domain"], "out_of": ["destination.address", "url.domain", "url.full"], "match": HOST},
        "dest_port": {"from": "destination.port"},
        "dvc": {"from": "observer.name"},
        "http_content_type": {"lower": True, "first": ["http.request.mime_type", "http.response.mime_type"], "out_of": ["apptrana.request_headers.content-type", "apptrana.response_headers.content-type"], "match": "(?s)^([^;]*[^;\\s])\\s*(?:;.*)?$"},
        "http_referrer": {"from": "http.request.referrer", "out_of": ["apptrana.request_headers.referer"]},
        "http_referrer_domain": {"from": "http.request.referrer", "out_of": ["apptrana.request_headers.referer"], "part": HOST},
        "http_user_agent": {"from": "user_agent.original", "out_of": ["apptrana.request_headers.user-agent"]},
        "http_user_agent_length": {"from": "user_agent.original", "out_of": ["apptrana.request_headers.user-agent"], "length": True},
        "ids_type": {"is": "application"},
        "severity": {"from": "event.severity", "map": {"21": "low", "47": "medium", "73": "high", "99": "critical"}, "else": "unknown"},
        "severity_id": {"from": "apptrana.severity"},
        "signature": {"from": "rule.name"},
        "signature_id": {"from": "rule.id"},
        "site": {"from": "apptrana.website"},
        "src": {"from": "source.address"},
        "src_country": {"from": "source.geo.country_iso_code"},
        "src_ip": {"from": "source.ip"},
        "src_port": {"from": "source.port"},
        "src_reputation": {"from": "apptrana.ip_reputation"},
        "ssl_version": {"from": "tls.version"},
        "status": {"from": "http.response.status_code"},
        "transaction_id": {"from": "http.request.id"},
        "uri_path": {"from": "url.path", "out_of": ["url.full", "url.original"], "match": "(?s)^(?:[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*)?([^?]*).*$"},
        "uri_query": {"from": "url.query", "out_of": ["url.full", "url.original"], "match": "(?s)^[^?]*[?]?(.*)$"},
        "url": {"first": ["url.full", "url.original"]},
        "url_domain": {"from": "url.domain", "out_of": ["url.domain", "url.full"], "match": HOST},
        "url_length": {"first": ["url.full", "url.original"], "length": True},
        "vendor_product": {"is": "Indusface AppTrana"},
    },
    usual={"event.action": ["logged"]},
    implied={
        "event.action": {"apptrana.event_type": "Block"},
        "url.original": "url.full",
        "url.domain": "url.full",
    },
    same={
        "destination.address": "url.domain",
        "apptrana.request_headers.host": "url.domain",
    },
)

ACTIVITY = Cim(
    models=("Change",),
    tags=("change",),
    custom=("src_ip",),
    fields={
        "action": {"is": "modified"},  # what was done is a text of the vendor's: see command
        "change_type": {"is": "application"},
        "command": {"from": "message"},
        "dest": {"is": "AppTrana"},
        "dvc": {"from": "observer.name"},
        "object": {"from": "service.name", "else": "unknown"},
        "object_category": {"is": "website"},
        "src": {"from": "source.address"},
        "src_ip": {"from": "source.ip"},
        "status": {"is": "success"},
        "user": {"from": "user.name", "else": "unknown"},
        "vendor_product": {"is": "Indusface AppTrana"},
    },
)
# fmt: on
