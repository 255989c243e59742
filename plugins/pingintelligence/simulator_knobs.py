"""Settings of the simulated ABS: what the vendor does not document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

from siemtap.testing.vendor import CommonKnobs


@dataclass
class Knobs(CommonKnobs):
    """Behaviour that is not known of a real ABS. Each default is the harmless variant; comments
    name the others."""

    apis: Any = ("shop", "pay & go/v1")  # names, or a number of APIs
    rate: float = 0.05  # attacks per second and scope
    # wrong weekdays, swapped dates, repeats, identifiers in wrong lists, unusual identifiers
    odd: bool = True
    # seconds after its time until an attack can be read: one of these, at random
    late: Tuple[float, ...] = (0.0,)
    role: str = "restricted"  # admin
    wrong_key: str = "401"  # 403, 200: status for wrong keys
    obfuscated: str = "digest"  # mask: how secrets appear to the restricted user
    zone: str = "UTC"
    edges: str = "[]"  # [), (], (): whether the ends of the time range are included
    select: str = "access"  # detection: select by the time an attack could be read
    real_time_in_zero: bool = True  # whether type 0 includes 100 and 101
    admin_at: str = "v5"  # v4, both, refused
    be_name: str = "both"  # ealier_date
    widest: float = 0.0  # hours; a longer time range fails with 504; 0: no limit
    empty_as: str = "list"  # object, lists, nothing, 204
    one_object: bool = False  # a response with one report is an object, not a list
    list_form: str = "plain"  # wrapped, objects
    list_filter: bool = True  # false: ignore `status`
    training: bool = False
    poison: float = 0.0  # epoch seconds: a report that covers this time is no JSON; 0: none
    twice: int = 0  # push every n-th line again; 0: none
