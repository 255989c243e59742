"""Settings of the simulated AppTrana: what the vendor's page leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from siemtap.testing.vendor import CommonKnobs


@dataclass
class Knobs(CommonKnobs):
    """What is unknown about the real service. Each default is the most helpful behaviour; comments
    list the other values."""

    # Data
    websites: Tuple[str, ...] = ("shop.example.com", "www.example.com")
    rate: float = 6.0  # attacks per minute and website
    seed: int = 1
    odd: bool = True  # some records have unusual or invalid values: ODD
    enabled_days: float = 30.0  # days since SIEM was enabled
    late: Tuple[float, ...] = (0.0,)  # seconds until an attack is readable, one at random
    # Token
    auth: str = "any"  # the only accepted method: client_credentials, basic, code
    code_parameter: str = "code"
    code_extra: bool = False  # more parameters in the redirect
    # The service calls the redirect URL itself, and its response holds no code.
    code_silent: bool = False
    code_once: bool = True
    code_life: float = 60.0  # seconds
    token_life: float = 86_400.0  # seconds
    token_fresh: bool = False  # every call returns a new token, and not the valid one
    expires_in_as: str = "number"  # string, missing
    revoke_every: int = 0  # data calls after which the token is revoked
    refuse_always: bool = False  # 401 to every data call
    stubborn: bool = False  # returns the token that was revoked
    allow_list: str = ""  # the address is not on it: 403_json, 401_json, 403_html
    one_token_call: bool = False  # rejects a token call while another one is running
    # Attacks
    edges: str = "[]"  # [), (], ()
    order: str = "asc"  # desc, shuffled
    cap: int = 0  # responses are truncated to this many attacks, without any hint
    unknown_site: str = "empty"  # 400
    old_window: str = "empty"  # 400
    # How a website without attacks is returned: null, missing, no_site, data_null.
    no_attacks: str = "list"
    # A time in seconds. Responses for windows that contain it are broken JSON.
    poison: float = 0.0
    agents: str = ""  # accepted prefix of the User-Agent; others get 406 and HTML
    # The response has the key `data` twice; the second one is right.
    twice: bool = False
    # successMessage: other, missing. failed: a 200 with errorMessages.
    odd_success: str = ""
    # Activity and sites
    activity_unit: str = "records"  # pages
    activity_strict: bool = True  # 400 for a time with seconds
    activity_repeat: bool = False  # returns the first page for every offset
    activity_null: bool = False  # result: null
    sites_as: str = "objects"  # nested, empty, missing
