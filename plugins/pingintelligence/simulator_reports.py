"""Reports of the simulated ABS about its attacks, in the published shapes."""

from __future__ import annotations

import json
import random
from typing import Any, Dict, List, Tuple

from siemtap.core.windows import Millis

from .attack_types import TYPES
from .simulator_attacks import Attack, Attacks

LISTS = {
    "ip": "ips",
    "cookie": "cookies",
    "access_token": "access_tokens",
    "username": "usernames",
    "api_key": "api_keys",
}


def build_reports(
    simulated: Attacks, luck: random.Random, attacks: List[Attack], start: Millis, stop: Millis
) -> List[Dict[str, Any]]:
    """Return reports of the attacks, each in one of the published shapes."""
    reports = []
    for (type, _), group in _grouped(simulated, luck, attacks).items():
        report = _report_head(simulated, luck, type, group[0], start, stop)
        if group[0].kind == "ddos_info":
            reports.append({**report, "ddos_info": json.loads(group[0].value)})
            continue
        bare_times = simulated.knobs.odd and luck.random() < 0.3
        wrong_list = simulated.knobs.odd and luck.random() < 0.2
        if type in (100, 101):
            report.update(ips=[], cookies=[], access_tokens=[])
        elements = _elements(simulated, luck, group, bare_times)
        for (kind, _), element in elements.items():
            name = "access_tokens" if wrong_list and kind == "ip" else LISTS[kind]
            report.setdefault(name, []).append(element)
            if kind == "cookie":
                report["cookie"] = "JSESSIONID"
        reports.append(report)
    luck.shuffle(reports)
    return reports


def _grouped(
    simulated: Attacks, luck: random.Random, attacks: List[Attack]
) -> Dict[Tuple[int, str], List[Attack]]:
    """Return the attacks by report: by type, and by kind of identifier or not."""
    groups: Dict[Tuple[int, str], List[Attack]] = {}
    for attack in attacks:
        part = ""
        if attack.kind == "ddos_info":
            part = attack.value
        elif luck.random() < 0.5 or not simulated.knobs.odd:
            part = attack.kind
        groups.setdefault((attack.type, part), []).append(attack)
    return groups


def _report_head(
    simulated: Attacks, luck: random.Random, type: int, attack: Attack, start: Millis, stop: Millis
) -> Dict[str, Any]:
    earlier = simulated.timestamp(start, luck)
    later = simulated.timestamp(stop, luck)
    if simulated.knobs.odd and luck.random() < 0.1:
        earlier, later = later, earlier
    type_key = "ioc_type" if simulated.knobs.odd and luck.random() < 0.3 else "attack_type"
    return {
        "company": "ping identity",
        "name": "api_attack_type",
        "description": "an invented\n  description",
        "earlier_date": earlier,
        "later_date": later,
        "api_name": attack.api or "all",
        type_key: TYPES[type].name,
    }


def _elements(
    simulated: Attacks, luck: random.Random, attacks: List[Attack], bare_times: bool
) -> Dict[Tuple[str, str], Dict[str, Any]]:
    """Return (kind, identifier) -> element. `bare_times`: an attack without a code is only a
    time."""
    elements: Dict[Tuple[str, str], Dict[str, Any]] = {}
    for attack in attacks:
        subject = simulated.visible(attack.kind, attack.value)
        element = elements.setdefault((attack.kind, subject), {attack.kind: subject})
        for _ in range(attack.times):
            if bare_times and not attack.code:
                element.setdefault("access_time", []).append(attack.access_time)
                continue
            detail = {"access_time": attack.access_time}
            if attack.code or luck.random() < 0.5:
                detail["attack_code"] = attack.code
            if attack.deviation:
                detail["attack_deviation"] = attack.deviation
            element.setdefault("details", []).append(detail)
    for element in elements.values():
        if "access_time" in element and "details" in element:  # one or the other
            element["details"] += [{"access_time": time} for time in element.pop("access_time")]
    return elements
