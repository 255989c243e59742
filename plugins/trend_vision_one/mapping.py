"""Mappings of the two datasets: Workbench alerts and Observed Attack Techniques.

The rows are in the order of the API reference. `detail` of a detection is the event of the product
that saw it; which of its keys are there depends on the product.
"""

from __future__ import annotations

import re
from typing import Any, List, Optional

from siemtap.core.convert import Timestamp, endpoint, epoch, instant, mac, only, required_ip, text
from siemtap.core.declared import (
    each,
    integer,
    integer_within,
    long_text,
    lookup,
    lower,
    match,
    stored_text,
)
from siemtap.core.rows import Dataset, Field, Join, Record, Split

from . import cim

# A technique as the vendor writes it: T1112, V9.T1548.002 with the version of MITRE ATT&CK.
TECHNIQUE = re.compile(r"(?:V[0-9]+\.)?(T[0-9]{4})(\.[0-9]{3})?")
OBSERVER = {"observer.vendor": "Trend Micro", "observer.product": "Vision One"}
SEVERITY = {"low": 21, "medium": 47, "high": 73, "critical": 99}

severity = each(lookup(SEVERITY, lower=True), lower)
risk_level = each(lookup({"undefined": None, "info": 21, **SEVERITY}, lower=True), lower)
file_name = match(r"(?:[^\x00]*[\\/])?([^\\/\x00]+)", (1, text))
port = integer_within(0, 65_535)


def changed(record: Record) -> Timestamp:
    """Return the time of an alert: that of its last change."""
    return instant(record["updatedDateTime"])


def detected(record: Record) -> Timestamp:
    """Return the time of a detection."""
    return instant(record["detectedDateTime"])


def technique_ids(values: Any) -> Optional[List[str]]:
    """Return the techniques, without those below them, each once."""
    matches = [TECHNIQUE.fullmatch(value) for value in values if isinstance(value, str)]
    return list(dict.fromkeys(match[1] for match in matches if match)) or None


def subtechnique_ids(values: Any) -> Optional[List[str]]:
    """Return the subtechniques, each once."""
    matches = [TECHNIQUE.fullmatch(value) for value in values if isinstance(value, str)]
    below = [match[1] + match[2] for match in matches if match and match[2]]
    return list(dict.fromkeys(below)) or None


def account_name(accounts: Any) -> Optional[str]:
    r"""Return the user of the only account: eve of EXAMPLE\eve."""
    account = only(accounts)
    return account.rpartition("\\")[2] or None if account else None


def account_domain(accounts: Any) -> Optional[str]:
    r"""Return the domain of the only account: EXAMPLE of EXAMPLE\eve."""
    account = only(accounts)
    return account.partition("\\")[0] or None if account and "\\" in account else None


def texts(value: Any) -> List[str]:
    """Return a text, or a list of them, as a list."""
    return [text(item) for item in value] if isinstance(value, list) else [text(value)]


HOST = "impactScope.entities[entityType=host].entityValue"
ACCOUNT = "impactScope.entities[entityType=account].entityValue"
FILTER = "matchedRules[].matchedFilters[]"

# fmt: off
ALERT = Dataset(
    name="trend_vision_one.alert",
    cim=cim.ALERT,
    clock=changed,
    # A change is an event of its own.
    identity=("id", "updatedDateTime"),
    latest_only=True,
    constant={**OBSERVER, "event.kind": "alert", "event.category": ["intrusion_detection"], "event.type": ["info"]},
    rows=(
        Field("schemaVersion",             "trend_vision_one.schema_version"),
        Field("id",                        "trend_vision_one.id"),
        Field("investigationStatus",       "trend_vision_one.investigation_status"),
        Field("status",                    "trend_vision_one.status"),
        Field("investigationResult",       "trend_vision_one.investigation_result"),
        Field("workbenchLink",             "event.url"),
        Field("alertProvider",             "trend_vision_one.alert_provider"),
        Field("modelId",                   "rule.id"),
        Field("model",                     ("rule.name", "message")),
        Field("modelType",                 "trend_vision_one.model_type"),
        Field("score",                     "event.risk_score", integer_within(0, 100)),
        Split("severity",                  ("event.severity", "trend_vision_one.severity"), severity),
        Field("firstInvestigatedDateTime", "trend_vision_one.first_investigated", instant),
        Field("createdDateTime",           "event.start", instant),
        Field("incidentId",                "trend_vision_one.incident_id"),
        Field("caseId",                    "trend_vision_one.case_id"),
        Field("ownerIds[]",                "trend_vision_one.owner_ids"),
        Field("impactScope.desktopCount",       "trend_vision_one.impact.desktops", integer),
        Field("impactScope.serverCount",        "trend_vision_one.impact.servers", integer),
        Field("impactScope.accountCount",       "trend_vision_one.impact.accounts", integer),
        Field("impactScope.emailAddressCount",  "trend_vision_one.impact.email_addresses", integer),
        Field("impactScope.containerCount",     "trend_vision_one.impact.containers", integer),
        Field("impactScope.cloudIdentityCount", "trend_vision_one.impact.cloud_identities", integer),
        Field("impactScope.cloudWorkloadCount", "trend_vision_one.impact.cloud_workloads", integer),
        Field(f"{HOST}.name",              ("trend_vision_one.hosts", "related.hosts")),
        Join((f"{HOST}.name",),            "host.name", only),
        Field(f"{HOST}.guid",              "trend_vision_one.host_ids"),
        Join((f"{HOST}.guid",),            "host.id", only),
        Field(f"{HOST}.ips[]",             ("host.ip", "related.ip"), required_ip),
        Field(ACCOUNT,                     ("trend_vision_one.accounts", "related.user")),
        Join((ACCOUNT,),                   "user.name", account_name),
        Join((ACCOUNT,),                   "user.domain", account_domain),
        Field("impactScope.entities[entityType=emailAddress].entityValue",  ("trend_vision_one.email_addresses", "related.user")),
        Field("impactScope.entities[entityType=container].entityValue",     "trend_vision_one.containers"),
        Field("impactScope.entities[entityType=cloudIdentity].entityValue", "trend_vision_one.cloud_identities"),
        Field("description",               ("rule.description", "event.reason")),
        Field("matchedRules[].id",         "trend_vision_one.matched_rule_ids"),
        Field("matchedRules[].name",       "trend_vision_one.matched_rules"),
        Field(f"{FILTER}.id",              "trend_vision_one.filter_ids"),
        Field(f"{FILTER}.name",            "trend_vision_one.filters"),
        Field(f"{FILTER}.mitreTechniqueIds[]",   "trend_vision_one.mitre_technique_ids"),
        Join((f"{FILTER}.mitreTechniqueIds[]",), "threat.technique.id", technique_ids),
        Join((f"{FILTER}.mitreTechniqueIds[]",), "threat.technique.subtechnique.id", subtechnique_ids),
        Field(f"{FILTER}.matchedEvents[].uuid",  "trend_vision_one.matched_event_ids"),
        Field(f"{FILTER}.matchedEvents[].type",  "trend_vision_one.matched_event_types"),
        Field("indicators[type=ip].value",             ("trend_vision_one.indicators.ips", "related.ip"), required_ip),
        Field("indicators[type=domain].value",         ("trend_vision_one.indicators.domains", "related.hosts")),
        Field("indicators[type=url].value",            "trend_vision_one.indicators.urls", long_text),
        Field("indicators[type=file_sha1].value",      ("trend_vision_one.indicators.sha1", "related.hash")),
        Field("indicators[type=file_sha256].value",    ("trend_vision_one.indicators.sha256", "related.hash")),
        Field("indicators[type=command_line].value",   "trend_vision_one.indicators.command_lines", long_text),
        Field("indicators[type=fullpath].value",       "trend_vision_one.indicators.paths", long_text),
        Field("indicators[type=registry_key].value",   "trend_vision_one.indicators.registry_keys", long_text),
        Field("indicators[type=user_account].value",   ("trend_vision_one.indicators.accounts", "related.user")),
        Field("indicators[type=host].value.name",      "related.hosts"),
        Field("indicators[type=host].value.ips[]",     "related.ip", required_ip),
        Field("campaign",                  "trend_vision_one.campaign"),
        Field("industry",                  "trend_vision_one.industry"),
        Field("regionAndCountry",          "trend_vision_one.region_and_country"),
        Field("createdBy",                 "trend_vision_one.created_by"),
        Field("totalIndicatorCount",       "trend_vision_one.total_indicators", integer),
        Field("matchedIndicatorCount",     "trend_vision_one.matched_indicators", integer),
        Field("reportLink",                "event.reference"),
        Field("matchedIndicatorPatterns[].id",            "trend_vision_one.pattern_ids"),
        Field("matchedIndicatorPatterns[].pattern",       "trend_vision_one.patterns", long_text),
        Field("matchedIndicatorPatterns[].tags[]",        "trend_vision_one.pattern_tags"),
        Field("matchedIndicatorPatterns[].matchedLogs[]", "trend_vision_one.matched_logs", stored_text),
    ),
)

DETECTION = Dataset(
    name="trend_vision_one.detection",
    cim=cim.DETECTION,
    clock=detected,
    selected_by="trend_vision_one.ingested",
    # One that is ingested again, for example with another filter, is an event of its own.
    identity=("uuid", "ingestedDateTime"),
    constant={**OBSERVER, "event.kind": "event", "event.category": ["intrusion_detection"], "event.type": ["info"]},
    rows=(
        Field("source",                    "trend_vision_one.source"),
        Field("uuid",                      "trend_vision_one.id"),
        Field("ingestedDateTime",          "trend_vision_one.ingested", instant),
        Field("filters[].id",              "trend_vision_one.filter_ids"),
        Field("filters[0].id",             "rule.id"),
        Field("filters[].name",            "trend_vision_one.filters"),
        Field("filters[0].name",           ("rule.name", "message")),
        Field("filters[0].description",    "rule.description"),
        Field("filters[].type",            "trend_vision_one.filter_types"),
        Field("filters[].riskLevel",       "trend_vision_one.filter_risk_levels", lower),
        Field("filters[].mitreTacticIds[]",      "threat.tactic.id"),
        Field("filters[].mitreTechniqueIds[]",   "trend_vision_one.mitre_technique_ids"),
        Join(("filters[].mitreTechniqueIds[]",), "threat.technique.id", technique_ids),
        Join(("filters[].mitreTechniqueIds[]",), "threat.technique.subtechnique.id", subtechnique_ids),
        Field("entityType",                "trend_vision_one.entity_type"),
        Field("entityName",                "trend_vision_one.entity_name"),
        Field("endpoint.endpointName",     ("host.name", "related.hosts")),
        Field("endpoint.agentGuid",        "host.id"),
        Field("endpoint.ips[]",            ("host.ip", "related.ip"), required_ip),
        # The product and its event
        Field("detail.productCode",        "trend_vision_one.product.code"),
        Field("detail.pname",              "trend_vision_one.product.name"),
        Field("detail.pver",               "trend_vision_one.product.version"),
        Split("detail.filterRiskLevel",    ("event.severity", "trend_vision_one.risk_level"), risk_level),
        Field("detail.eventTime",          "trend_vision_one.event_time", epoch),
        Field("detail.firstSeen",          "event.start", epoch),
        Field("detail.lastSeen",           "event.end", epoch),
        Field("detail.eventId",            "event.code"),
        Field("detail.eventSubId",         "trend_vision_one.event_sub_id"),
        Field("detail.eventName",          "event.action", lower),
        Field("detail.tags[]",             "trend_vision_one.tags"),
        Field("detail.act",                "trend_vision_one.actions", texts),
        Field("detail.ruleId",             "trend_vision_one.product.rule_id"),
        Field("detail.ruleName",           "trend_vision_one.product.rule"),
        Field("detail.policyName",         "trend_vision_one.product.policy"),
        Field("detail.severity",           "trend_vision_one.product.severity", integer),
        Field("detail.malName",            "trend_vision_one.malware.name"),
        Field("detail.malType",            "trend_vision_one.malware.type"),
        Field("detail.threatName",         "trend_vision_one.malware.threat"),
        Field("detail.dvchost",            "observer.hostname"),
        Field("detail.dvc[]",              ("observer.ip", "related.ip"), required_ip),
        # The endpoint
        Field("detail.endpointHostName",   "related.hosts"),
        Field("detail.endpointIp[]",       "related.ip", required_ip),
        Field("detail.endpointMacAddress[]", "host.mac", mac),
        Field("detail.osName",             "host.os.name"),
        Field("detail.osVer",              "host.os.version"),
        Field("detail.osDescription",      "host.os.full"),
        # The network
        Field("detail.app",                "network.application", lower),
        Split("detail.src",                ("source.ip", "source.port", "source.address", "related.ip"), endpoint),
        Field("detail.spt",                "source.port", port),
        Field("detail.shost",              ("source.domain", "related.hosts")),
        Field("detail.smac",               "source.mac", mac),
        Split("detail.dst",                ("destination.ip", "destination.port", "destination.address", "related.ip"), endpoint),
        Field("detail.dpt",                "destination.port", port),
        Field("detail.dhost",              ("destination.domain", "related.hosts")),
        Field("detail.dmac",               "destination.mac", mac),
        Field("detail.hostName",           "related.hosts"),
        Field("detail.request",            "url.original", long_text),
        # Who
        Field("detail.suid",               ("user.name", "related.user")),
        Field("detail.domainName",         "user.domain"),
        Field("detail.processUser",        ("user.name", "related.user")),
        Field("detail.processUserDomain",  "user.domain"),
        # The process
        Split("detail.processName",        ("process.name",), file_name),
        Field("detail.processFilePath",    "process.executable"),
        Field("detail.processPid",         "process.pid", integer),
        Field("detail.processCmd",         "process.command_line", long_text),
        Field("detail.processLaunchTime",  "process.start", epoch),
        Field("detail.processFileHashMd5",    ("process.hash.md5", "related.hash")),
        Field("detail.processFileHashSha1",   ("process.hash.sha1", "related.hash")),
        Field("detail.processFileHashSha256", ("process.hash.sha256", "related.hash")),
        Split("detail.parentName",         ("process.parent.name",), file_name),
        Field("detail.parentFilePath",     "process.parent.executable"),
        Field("detail.parentPid",          "process.parent.pid", integer),
        Field("detail.parentCmd",          "process.parent.command_line", long_text),
        Field("detail.parentFileHashSha1",   ("process.parent.hash.sha1", "related.hash")),
        Field("detail.parentFileHashSha256", ("process.parent.hash.sha256", "related.hash")),
        # What the process did it to
        Field("detail.objectFilePath",     "file.path"),
        Split("detail.objectName",         ("file.name",), file_name),
        Field("detail.objectFileHashMd5",    ("file.hash.md5", "related.hash")),
        Field("detail.objectFileHashSha1",   ("file.hash.sha1", "related.hash")),
        Field("detail.objectFileHashSha256", ("file.hash.sha256", "related.hash")),
        Field("detail.objectFileSize",     "file.size", integer),
        Field("detail.objectPid",          "trend_vision_one.object.pid", integer),
        Field("detail.objectCmd",          "trend_vision_one.object.command_line", long_text),
        Field("detail.objectUser",         ("trend_vision_one.object.user", "related.user")),
        Field("detail.objectIp",           ("trend_vision_one.object.ip", "related.ip"), required_ip),
        Field("detail.objectPort",         "trend_vision_one.object.port", port),
        Field("detail.objectRegistryKeyHandle", "registry.key"),
        Field("detail.objectRegistryValue",     "registry.value"),
        # A message
        Field("detail.mailMsgSubject",     "email.subject"),
        Field("detail.msgId",              "email.message_id"),
        Field("detail.suser[]",            ("email.from.address", "related.user")),
        Field("detail.duser[]",            ("email.to.address", "related.user")),
    ),
    expected_keys=("detectedDateTime", "detail.uuid"),
)
# fmt: on
