"""The fields that Deep Security adds to those of the vendor's table, and their converters."""

from __future__ import annotations

import re
from typing import Any, List, Optional, Tuple

from siemtap.core.convert import Ip, LongText, Port, endpoint, ip, text
from siemtap.core.declared import integer_within, long_text, lower, match
from siemtap.core.formats.url import split_url, without_userinfo
from siemtap.core.rows import Field, Row, Split

MAX_LONG = 2**63  # an index holds whole numbers below this
CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,9}")
HOST_END = re.compile(r"[/?#:]")

number = integer_within(0, MAX_LONG - 1)
md5 = match(r"[0-9A-Fa-f]{32}", (0, lower), (0, lower))
sha1 = match(r"[0-9A-Fa-f]{40}", (0, lower), (0, lower))
sha256 = match(r"[0-9A-Fa-f]{64}", (0, lower), (0, lower))


def address_list(value: Any) -> Tuple[List[Ip], Ip]:
    """Return an address as a list, and as it is. ValueError for another text, which is kept in
    `extra`."""
    address = ip(text(value))
    if address is None:
        raise ValueError("not an IP address")
    return [address], address


def split_path(path: str) -> Tuple[str, str]:
    """Return the folder and the last part of a path of Linux or Windows."""
    place = max(path.rfind("/"), path.rfind("\\"))
    return path[: max(place, 0)], path[place + 1 :]


def file(value: Any) -> Tuple[str, Optional[str], Optional[str]]:
    """Return `file.path`, `file.name` and `file.directory`."""
    path = text(value)
    folder, name = split_path(path)
    return path, name or None, folder or None


def base_name(value: Any) -> Optional[str]:
    """Return the last part of a path."""
    return split_path(text(value))[1] or None


def process(value: Any) -> Tuple[str, Optional[str]]:
    """Return `process.executable` and `process.name`."""
    path = text(value)
    return path, split_path(path)[1] or None


def page(
    value: Any,
) -> Tuple[
    LongText,
    Optional[LongText],
    Optional[str],
    Optional[str],
    Optional[Port],
    Optional[LongText],
    Optional[str],
]:
    """Return `url.original`, `url.full`, `url.scheme`, `url.domain`, `url.port`, `url.path` and
    `url.query` of a URL, or of a host and a path, without a password."""
    shown = without_userinfo(text(value))
    url = split_url(shown)
    if url:
        path, _, query = url.rest.partition("#")[0].partition("?")
        domain = url.domain or None
        return shown, shown, url.scheme, domain, url.port, path or None, query or None
    end = HOST_END.search(shown)
    host, rest = (shown[: end.start()], shown[end.start() :]) if end else (shown, "")
    path, _, query = rest.partition("?")
    is_host = "." in host and (not rest or rest[0] in "/?")
    return shown, None, None, host if is_host else None, None, path or None, query or None


def parts(value: Any) -> Optional[List[str]]:
    """Return the parts of a list, or of a text with commas or semicolons."""
    items = value if isinstance(value, list) else re.split("[,;]", text(value))
    return [trimmed for item in items if (trimmed := text(item).strip())] or None


def weaknesses(value: Any) -> Tuple[Optional[str], Optional[str], Optional[List[str]]]:
    """Return a rule's note without the quotes around it, the first CVE number in it, and all."""
    note = text(value).strip('"')
    return (note or None, *vulnerabilities(note))


def vulnerabilities(value: Any) -> Tuple[Optional[str], Optional[List[str]]]:
    """Return the first CVE number of a text or a list, and all of them."""
    words = " ".join(map(text, value)) if isinstance(value, list) else text(value)
    numbers = list(dict.fromkeys(CVE.findall(words.upper())))
    return (numbers[0], numbers) if numbers else (None, None)


def icmp(value: Any) -> Tuple[int, Optional[int]]:
    """Return type and code of ICMP, two numbers with a blank between them."""
    numbers = text(value).split()
    if not 1 <= len(numbers) <= 2:
        raise ValueError("not a type and a code of ICMP")
    kinds = [octet(number) for number in numbers]
    return kinds[0], kinds[1] if len(kinds) > 1 else None


octet = integer_within(0, 255)


def container(value: Any) -> Tuple[Optional[str], Optional[str], Optional[str]]:
    """Return image, name and id of a container: `image | name | id`."""
    fields = [field.strip() for field in text(value).split("|")]
    if len(fields) != 3:
        raise ValueError("not a container")
    return fields[0] or None, fields[1] or None, fields[2] or None


# fmt: off
ROWS: Tuple[Row, ...] = (
    Field("DPIRuleID",          ("rule.id", "event.code")),
    Field("DPIEventID",         "centurylink_ips.dpi_event_id"),
    Field("description",        "event.reason"),
    Field("ruleDescription",    "rule.description"),
    Split("note",               ("centurylink_ips.note", "vulnerability.id", "centurylink_ips.cve"),
                                weaknesses),
    Split("cve",                ("vulnerability.id", "centurylink_ips.cve"), vulnerabilities),
    Field("mitre",              "threat.technique.id", parts),
    Field("reasonCode",         "centurylink_ips.reason"),
    Field("status",             "centurylink_ips.status"),
    # The computer and the manager
    Field("hostID",             ("centurylink_ips.host_id", "host.id")),
    Split("hostIP",             ("host.ip", "related.ip"), address_list),
    Field("hostDisplayName",    "centurylink_ips.host_display_name"),
    Field("hostDomain",         "host.domain"),
    Field("hostOS",             "host.os.full"),
    Field("hostInstanceID",     "cloud.instance.id"),
    Field("hostSecurityPolicyName", "centurylink_ips.policy"),
    Field("managerName",        "observer.hostname"),
    Split("managerIP",          ("observer.ip", "related.ip"), address_list),
    Field("tenant",             "centurylink_ips.tenant"),
    Field("tenant_id",          "centurylink_ips.tenant_id"),
    # Packets
    Field("repeatCount",        "centurylink_ips.repeat_count", number),
    Field("dataFlags",          "centurylink_ips.data_flags"),
    Field("dataIndex",          "centurylink_ips.data_index"),
    Field("frame_type",         "centurylink_ips.frame_type"),
    Field("packet_position",    "centurylink_ips.packet_position"),
    Field("stream_position",    "centurylink_ips.stream_position"),
    Field("ips_flags",          "centurylink_ips.ips_flags"),
    Split("xff",                ("client.ip", "client.port", "client.address", "related.ip"),
                                endpoint),
    Split("icmp",               ("centurylink_ips.icmp.type", "centurylink_ips.icmp.code"), icmp),
    # Files, processes, users
    Split("filePath",           ("file.path", "file.name", "file.directory"), file),
    Field("fileName",           "file.name", base_name),
    Field("oldFilePath",        "centurylink_ips.old_file_path"),
    Field("fileSize",           "file.size", number),
    Split("md5",                ("file.hash.md5", "related.hash"), md5),
    Split("sha1",               ("file.hash.sha1", "related.hash"), sha1),
    Split("sha256",             ("file.hash.sha256", "related.hash"), sha256),
    Field("registryPath",       "registry.path"),
    Field("entity",             "centurylink_ips.entity"),
    Field("entityType",         "centurylink_ips.entity_type"),
    Field("changes",            "centurylink_ips.changes", parts),
    Split("process",            ("process.executable", "process.name"), process),
    Field("processID",          "process.pid", number),
    Field("commandLine",        "process.command_line"),
    Field("user",               ("user.name", "related.user")),
    Field("userID",             "user.id"),
    Field("targetUser",         ("user.target.name", "related.user")),
    Field("sourceHost",         ("source.domain", "related.hosts")),
    Split("container",          ("container.image.name", "container.name", "container.id"),
                                container),
    Field("containerImage",     "container.image.name"),
    Field("containerName",      "container.name"),
    Field("containerID",        "container.id"),
    # Anti-malware
    Field("result",             "centurylink_ips.result"),
    Field("scanType",           "centurylink_ips.scan_type"),
    Field("scanConfiguration",  "centurylink_ips.scan_configuration"),
    Field("malwareType",        "centurylink_ips.malware_type"),
    Field("virusType",          "centurylink_ips.virus_type"),
    Field("malwareTarget",      "centurylink_ips.malware_target"),
    Field("malwareTargetType",  "centurylink_ips.malware_target_type"),
    Field("malwareTargetCount", "centurylink_ips.malware_target_count", number),
    Field("detectionNames",     "centurylink_ips.detection_names", parts),
    Field("detectionConfidence", "centurylink_ips.detection_confidence"),
    Field("behaviorRuleID",     "centurylink_ips.behavior_rule_id"),
    Field("behaviorType",       "centurylink_ips.behavior_type"),
    Field("infectedResource",   "centurylink_ips.infected_resource"),
    Field("resourceType",       "centurylink_ips.resource_type"),
    Field("riskLevel",          "centurylink_ips.risk_level"),
    Field("quarantineFileSize", "centurylink_ips.quarantine_file_size", number),
    # Log inspection, web reputation, application and device control, system
    Field("log",                "centurylink_ips.log", long_text),
    Field("logName",            "centurylink_ips.log_name"),
    Field("level",              "centurylink_ips.level"),
    Split("url",                ("url.original", "url.full", "url.scheme", "url.domain", "url.port",
                                 "url.path", "url.query"), page),
    Field("actionReason",       "centurylink_ips.action_reason"),
    Field("aggregationType",    "centurylink_ips.aggregation_type"),
    Field("deviceName",         "centurylink_ips.device_name"),
    Field("deviceType",         "centurylink_ips.device_type"),
    Field("deviceModel",        "device.model.name"),
    Field("deviceVendor",       "device.manufacturer"),
    Field("deviceSerial",       "device.serial_number"),
    Field("permission",         "centurylink_ips.permission"),
    Field("target",             "centurylink_ips.target"),
    Field("targetID",           "centurylink_ips.target_id"),
    Field("targetType",         "centurylink_ips.target_type"),
)
# fmt: on
