"""The conditions of `when`."""

from __future__ import annotations

import ipaddress
import operator
import re
from functools import partial
from typing import Any, Callable, Dict, List, Tuple

from ...core.rows import Event
from .fields import MISSING, Place, find, names_of

Condition = Callable[[Event], bool]
Test = Callable[[Any], bool]
COMPARISONS = {"gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}
NETWORKS: Dict[str, Callable[[Any], bool]] = {
    "loopback": lambda address: address.is_loopback,
    "private": lambda address: address.is_private and not address.is_loopback,
    "public": lambda address: address.is_global and not address.is_multicast,
    "multicast": lambda address: address.is_multicast,
    "unspecified": lambda address: address.is_unspecified,
    "link_local_unicast": lambda address: address.is_link_local,
}
LONGEST = 16_384  # characters of a text that `regexp` reads


def compile_condition(place: Place) -> Condition:
    """Return the condition of a section: all of its parts have to match. Raise ConfigError."""
    value = place.section(tuple(CONDITIONS))
    parts = [CONDITIONS[name](place.inner(name)) for name in value]
    return parts[0] if len(parts) == 1 else _all(parts)


def _all(parts: List[Condition]) -> Condition:
    return lambda event: all(part(event) for part in parts)


def _of_fields(place: Place, test_of: Callable[[Place], Test], each: bool = True) -> Condition:
    """Return a condition on fields: every one of them passes its test; of a list, any element."""

    def condition_of(name: str) -> Condition:
        test = test_of(place.inner(name))
        names = names_of(name)

        def condition(event: Event) -> bool:
            value = find(event, names)
            if value is MISSING:
                return False
            if each and isinstance(value, list):
                return any(test(item) for item in value)
            return test(value)

        return condition

    return _all([condition_of(name) for name in place.section()])


def _equals(place: Place) -> Condition:
    def test_of(setting: Place) -> Test:
        expected = setting.value
        if not isinstance(expected, (str, int, float, bool)):
            raise setting.error("must be a text, a number, true or false")
        return lambda value: type(value) is type(expected) and bool(value == expected)

    return _of_fields(place, test_of, each=False)


def _contains(place: Place) -> Condition:
    def test_of(setting: Place) -> Test:
        part = setting.value
        if not isinstance(part, str):
            raise setting.error("must be a text; quote it")
        return lambda value: isinstance(value, str) and part in value

    return _of_fields(place, test_of)


def _regexp(place: Place) -> Condition:
    def test_of(setting: Place) -> Test:
        try:
            search = re.compile(setting.value).search
        except (re.error, TypeError) as error:
            raise setting.error(f"is not a regular expression ({error})") from None
        return lambda value: isinstance(value, str) and search(value[:LONGEST]) is not None

    return _of_fields(place, test_of)


def _network(place: Place) -> Condition:
    def test_of(setting: Place) -> Test:
        listed = setting.value if isinstance(setting.value, list) else [setting.value]
        tests: List[Callable[[Any], bool]] = []
        for value in listed:
            if value in NETWORKS:
                tests.append(NETWORKS[value])
                continue
            try:
                network = ipaddress.ip_network(str(value))
            except ValueError:
                names = ", ".join(NETWORKS)
                problem = f'is "{value}"; use a network such as 192.0.2.0/24, or one of {names}'
                raise setting.error(problem) from None
            tests.append(partial(operator.contains, network))

        def test(value: Any) -> bool:
            try:
                address = ipaddress.ip_address(value)
            except ValueError:
                return False
            return any(matches(address) for matches in tests)

        return test

    return _of_fields(place, test_of)


def _range(place: Place) -> Condition:
    """`{field: {gte: 1, lt: 5}}`, or `{field.gte: 1, field.lt: 5}`."""
    bounds: List[Tuple[Tuple[str, ...], Any, float]] = []
    for name, value in place.section().items():
        if isinstance(value, dict):
            inner = place.inner(name)
            pairs = [(name, key, inner.inner(key)) for key in inner.section(tuple(COMPARISONS))]
        else:
            field, _, key = name.rpartition(".")
            pairs = [(field, key, place.inner(name))]
        for field, key, setting in pairs:
            if key not in COMPARISONS or not field:
                raise setting.error(f"needs a comparison: {', '.join(COMPARISONS)}")
            if not isinstance(setting.value, (int, float)) or isinstance(setting.value, bool):
                raise setting.error("must be a number")
            bounds.append((names_of(field), COMPARISONS[key], setting.value))

    def condition(event: Event) -> bool:
        for names, compare, bound in bounds:
            value = find(event, names)
            if not isinstance(value, (int, float)) or not compare(value, bound):
                return False
        return True

    return condition


def _has_fields(place: Place) -> Condition:
    paths = [names_of(name) for name in place.texts()]
    return lambda event: all(find(event, names) is not MISSING for names in paths)


def _list(place: Place) -> List[Condition]:
    if not isinstance(place.value, list) or not place.value:
        raise place.error("must be a list of conditions")
    return [compile_condition(place.inner(number)) for number in range(len(place.value))]


def _or(place: Place) -> Condition:
    parts = _list(place)
    return lambda event: any(part(event) for part in parts)


def _and(place: Place) -> Condition:
    return _all(_list(place))


def _not(place: Place) -> Condition:
    part = compile_condition(place)
    return lambda event: not part(event)


CONDITIONS: Dict[str, Callable[[Place], Condition]] = {
    "equals": _equals,
    "contains": _contains,
    "regexp": _regexp,
    "network": _network,
    "range": _range,
    "has_fields": _has_fields,
    "or": _or,
    "and": _and,
    "not": _not,
}
