"""Readers of the forms of Trend Micro Deep Security: the manager's JSON, CEF and LEEF."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, List, Optional, Tuple

from siemtap.core.bounds import cached
from siemtap.core.convert import ip
from siemtap.core.formats import cef, leef
from siemtap.core.rows import Record, escape_key

from .classes import IPS, REFUSED, SIGN_INS, SIGN_OUTS, entity_of, kind
from .keys import (
    CODE_KEYS,
    CODE_NAMES,
    JSON_KEYS,
    LABEL_PREFIXES,
    LABELS,
    LEVELS,
    LINE_KEYS,
    MALWARE_KEYS,
    PATHS,
    RISK_SEVERITIES,
    RISKS,
    SCAN_ACTIONS,
    SYSTEM_SEVERITIES,
)

NOTHING = ("", "-", "N/A", "(no user)", "Description Omitted")  # values that mean "no value"
VENDOR = "Trend Micro"
OTHER_END = (" (", " [")  # where another name of a computer begins, behind its name
HASHES = {32: "md5", 40: "sha1", 64: "sha256"}  # number of hex digits -> the hash
FROM = "from "  # a user's address follows it in the text of a sign-in


def deep_security(element: Dict[str, Any]) -> Record:
    """Return the record of the manager's own JSON, whose keys begin with a capital letter and whose
    codes may have a name beside them."""
    event_type = element.get("EventType")
    record: Dict[str, Any] = {
        "@channel": "deep_security",
        "@vendor": VENDOR,
        "@kind": _kind_of_type(event_type, element),
    }
    is_manager = isinstance(event_type, str) and kind("", "", event_type) == "system"
    rest = dict(element)
    if record["@kind"] == "anti_malware":
        for name, key in MALWARE_KEYS.items():
            if name in rest:
                record[key] = rest.pop(name)
    for name, key in JSON_KEYS.items():  # by the table's order: several keys may say the same
        if name in rest and (key not in record or _is_nothing(rest[name])):
            value = rest.pop(name)
            if not _is_nothing(value):
                record[key] = value
    for name, key in CODE_KEYS.items():
        if name in rest:
            value = rest.pop(name)
            if element.get(f"{name}String") in (None, ""):
                record.setdefault(key, _name_of_code(name, value, is_manager))
    for name, value in sorted(rest.items(), key=lambda pair: pair[0]):  # an agent knows no order
        _add(record, escape_key(name[:1].lower() + name[1:]), value)
    if isinstance(event_type, str):
        record.pop("eventType", None)
    record["@product"] = f"Deep Security {'Manager' if is_manager else 'Agent'}"
    _complete_json(record, element)
    return _complete(record)


def _kind_of_type(event_type: Any, element: Dict[str, Any]) -> str:
    """Return the class of an element: by its EventType, by its keys where it has none (an
    anti-malware element after the first of an array may lack it), else intrusion prevention."""
    if isinstance(event_type, str):
        number = element.get("Number")
        return kind("", str(number) if type(number) is int else "", event_type)
    return "anti_malware" if "MalwareName" in element else IPS


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value in NOTHING)


def _name_of_code(name: str, value: Any, is_manager: bool) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        is_system = name == "Severity" and is_manager
        names = SYSTEM_SEVERITIES if is_system else CODE_NAMES[name]
        return names.get(str(value), value)
    return value


def _complete_json(record: Dict[str, Any], element: Dict[str, Any]) -> None:
    """Add what several keys of the JSON say together."""
    if type(record.get("DPIRuleID")) is int:
        record["DPIRuleID"] = str(record["DPIRuleID"])
    if record["@kind"] == "anti_malware" and "action" not in record:
        # The second action was taken if the first one failed.
        second = element.get("ScanAction2") if element.get("ScanResultAction1") else None
        action = SCAN_ACTIONS.get(str(second or element.get("ScanAction1")))
        if action:
            record["action"] = action
    if record["@kind"] == "web_reputation":
        risk = str(element.get("Risk"))
        record.setdefault("reason", "WebReputation")
        if risk in RISKS:
            record.setdefault("severity", RISK_SEVERITIES[risk])
            record.setdefault("description", RISKS[risk])
    level = record.get("level")
    if isinstance(level, int) and not isinstance(level, bool):
        severity = next((name for most, name in LEVELS if level <= most), None)
        record.setdefault("severity", severity)
    name = record.get("hostName")
    if isinstance(name, str):
        short = _before(name, OTHER_END)
        if short and short != name:
            record["hostName"] = short
            record["hostDisplayName"] = name


def read_cef(message: str) -> Dict[str, Any]:
    """Return the record of a CEF message."""
    parsed = cef.parse(message, PATHS)
    _, vendor, product, version, id, name, severity = parsed.header
    header = (vendor, product, version, id)
    record = _read_pairs(header, dict(parsed.extension), {"reason": name, "severity": severity})
    if parsed.is_cut or (record.get("data") and not _is_base64(str(record["data"]))):
        record["@truncated"] = True
    return {**record, "@channel": "cef"}


def read_leef(message: str) -> Dict[str, Any]:
    """Return the record of a LEEF message."""
    (_, vendor, product, version, id), pairs = leef.parse(message, PATHS)
    record = _read_pairs((vendor, product, version, id), pairs, {})
    if record.get("description") == record.get("reason"):
        record.pop("description", None)
    if record.get("data") and not _is_base64(str(record["data"])):
        record["@truncated"] = True
    return {**record, "@channel": "leef"}


def _read_pairs(
    header: Tuple[str, str, str, str], pairs: Dict[str, str], begun: Dict[str, Any]
) -> Dict[str, Any]:
    """Return the record of the pairs of a line. `header`: vendor, product, version and id."""
    vendor, product, version, id = header
    record: Dict[str, Any] = {
        "@vendor": vendor,
        "@product": product,
        "@version": version,
        "@kind": kind(product, id, pairs.pop("cat", "")),
        "DPIRuleID": id,
        **begun,
    }
    labels = {key[:-5]: pairs.pop(key) for key in list(pairs) if key.endswith("Label")}
    text = pairs.pop("desc", None)  # of LEEF: the name again, or `msg`, which goes first
    if text is not None and text != pairs.get("name"):
        pairs["desc"] = text
    others: List[Tuple[str, str]] = []  # values of unknown keys, and those of a key too many
    for key, value in pairs.items():
        if key in ("in", "out") and _is_number(value):
            if record.get("packetSize", "0") == "0":
                record["packetSize"] = value
                record["direction"] = "Incoming" if key == "in" else "Outgoing"
            elif value != "0":
                others.append((key, value))
        elif key == "dvchost" or (key == "dvc" and not ip(value)):
            if value not in NOTHING:
                record["hostName"] = value
        elif key == "dvc":
            record["hostIP"] = value
        else:
            name, is_known = _key_of(key, labels.get(key))
            if key == "msg":
                name, is_known = _key_of_message(record["@kind"]), True
            elif key == "fname" and record["@kind"] == "log_inspection":
                name = "logName"
            elif key == "fname" and "filePath" in pairs:
                name = "fileName"
            elif key == "proto":
                value = CODE_NAMES["Protocol"].get(value, value)
            if not is_known or record.get(name, value) != value:
                others.append((name, value))
            elif value not in NOTHING:
                record[name] = value
    fragments = record.pop("fragments", None)
    if fragments:
        flags = record.get("flags")
        record["flags"] = f"{flags} {fragments}" if flags else fragments
    _complete(record)
    for name, value in others:
        _add(record, name, value)
    return record


def _add(record: Dict[str, Any], name: str, value: Any) -> None:
    """Add the value of a key that is not known. Its name may be one that a record has of its own:
    what is there stays, and the value is kept in `extra`."""
    record[f"_{name}" if name in record else name] = value


@cached(1_024)
def _key_of(key: str, given: Optional[str]) -> Tuple[str, bool]:
    """Return the record's key for a key of a line, by its label if one is given, and whether we
    know it."""
    label = given or ""
    short = next((label[len(of) :] for of in LABEL_PREFIXES if label.startswith(of)), label)
    known = LABELS.get(short)
    if not known and (given is None or not key.startswith(("cs", "cn"))):
        known = LINE_KEYS.get(key)
    return (known, True) if known else (escape_key(label or key), False)


def _key_of_message(of_kind: str) -> str:
    """Return the record's key for `msg`, which means something else in each class."""
    return {"anti_malware": "scanType", "log_inspection": "log", "integrity": "changes"}.get(
        of_kind, "description"
    )


def _complete(record: Dict[str, Any]) -> Dict[str, Any]:
    """Add what several keys of an event say together."""
    of_kind = record["@kind"]
    is_recon = of_kind == "reconnaissance" and "manager" in str(record["@product"]).lower()
    file_hash = record.pop("fileHash", None)
    if isinstance(file_hash, str):
        key = HASHES.get(len(file_hash.strip()), "fileHash")
        record.setdefault(key, file_hash)
    if of_kind in ("system", "authentication") or is_recon:
        # `src` of a manager's event is the manager; who signed in or scanned stands in the text.
        source = _address_in(record)
        sender = record.get("sourceIP")
        if "sourceIP" in record and (not is_recon or source not in (None, sender)):
            record["managerIP"] = record.pop("sourceIP")
        if source:
            record["sourceIP"] = source
        _add_target(record)
    if of_kind == "integrity":
        entity = entity_of(record.get("filePath"), record.get("entityType"))
        if entity != "file" and "filePath" in record:
            record["registryPath" if entity == "registry" else "entity"] = record.pop("filePath")
    if of_kind == "log_inspection" and "user" not in record and "targetUser" in record:
        record["user"] = record["targetUser"]
    for name in ("computerName", "hostIP"):
        if record.get(name) not in (None, ""):
            record.setdefault("hostName", record[name])
    if "hostIP" not in record and ip(record.get("hostName")):
        record["hostIP"] = record["hostName"]
    return record


def _address_in(record: Dict[str, Any]) -> Optional[str]:
    """Return the address behind the last "from" of the text of a sign-in or a sign-out, or the
    first one in the text of a scan."""
    description, id = record.get("description"), record.get("DPIRuleID")
    if record["@kind"] == "reconnaissance" and isinstance(description, str):
        candidates = (word.strip("()[].,;'\"") for word in description[:1_000].split())
        return next(filter(ip, candidates), None)
    if id not in (*SIGN_INS, *REFUSED, *SIGN_OUTS) or not isinstance(description, str):
        return None
    begin = description.rfind(FROM)
    if begin < 0:
        return None
    words = description[begin + len(FROM) : begin + 80].split()
    address = words[0].rstrip(".,;)") if words else ""
    return address if ip(address) else None


def _add_target(record: Dict[str, Any]) -> None:
    """Add the computer or the user that a manager's event is about."""
    target, of_type = record.get("target"), record.get("targetType")
    if not isinstance(target, str):
        return
    id = record.get("DPIRuleID")
    number = int(id) if isinstance(id, str) and _is_number(id) and len(id) < 6 else 0
    name = _before(target, OTHER_END) or target
    address = target[len(name) :].strip(" ()[]")
    is_host = 250 <= number < 260 or 700 <= number < 800 or 850 <= number < 855
    if of_type == "Host" or (not of_type and (is_host or ip(address or target))):
        record.setdefault("hostName", name)
        if ip(address):
            record.setdefault("hostIP", address)
    elif of_type == "User" or record["@kind"] == "authentication" or id in SIGN_OUTS:
        record.setdefault("targetUser", target)


def _before(text: str, ends: Iterable[str]) -> str:
    """Return a text up to the first of these."""
    places = [place for end in ends if (place := text.find(end)) >= 0]
    return text[: min(places)].strip() if places else text


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_base64(text: str) -> bool:
    text = "".join(text.split())  # folded
    return len(text) % 4 == 0 and re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", text) is not None
