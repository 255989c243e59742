"""Client of the ABS REST API, and the check of its settings."""

from __future__ import annotations

import logging
import threading
from typing import Any, Dict, Iterable, List, Mapping, Optional, Set, Tuple

from siemtap.core.convert import zone
from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry, SiemtapError
from siemtap.core.rows import Record
from siemtap.core.windows import MINUTE, Window
from siemtap.edge.client.ahead import Throttle
from siemtap.edge.client.http import Http
from siemtap.edge.client.messages import Reply, Request
from siemtap.edge.client.replies import json_of, raise_for_status

from . import attack_types, ddos
from .attacks import Query, flatten
from .manifest import Settings
from .report_types import REPORTS
from .times import query_dates

log = logging.getLogger("siemtap")

HEADERS = {"restricted": ("x-abs-ak-ru", "x-abs-sk-ru"), "admin": ("x-abs-ak", "x-abs-sk")}
DEFAULT_KEYS = ("abs_ak", "abs_sk", "abs_ak_ru", "abs_sk_ru")
MIN_LAG = 30 * MINUTE  # "minimum 30": abs.query.offset of the vendor's own dashboard
EARLIEST_DATE = "2017-01-01T00:00"  # before the first release: the whole deny list


class Client:
    """The calls of one ABS account. Thread-safe. At most `concurrency` calls are in flight."""

    def __init__(self, settings: Settings, http: Http) -> None:
        check_settings(settings)
        self.settings = settings
        self.http = http
        self.throttle = Throttle(settings.concurrency)
        self.lock = threading.Lock()
        self.node = 0  # index of the node in use
        self.failures = 0  # of this node, in a row
        self.answered: Set[int] = set()  # attack types that ABS has answered
        self.refused: Set[int] = set()  # real-time attack types that ABS rejects
        self.version = "" if settings.admin_version == "auto" else settings.admin_version
        self.misspelt = False  # the backend error report needs `ealier_date`
        self.training_checked = False
        self.known_apis: List[str] = []
        self.can_read_admin = False

    def get(self, path: str, query: Mapping[str, str]) -> Any:
        """Return the JSON of a GET; None for an empty response."""
        return self.call("GET", path, query)

    def call(
        self, method: str, path: str, query: Optional[Mapping[str, str]] = None, body: Any = None
    ) -> Any:
        """Return the JSON of a call; None for an empty response.

        AuthError for keys that ABS does not accept; Malformed for a body that is no JSON; Retry for
        what may succeed later, also after a switch to another node.
        """
        node = self.node
        url = self.settings.url[node % len(self.settings.url)]
        request = self.http.request(method, f"{url}{path}", body, query, self._headers())
        try:
            with self.throttle.slot():
                reply = self.http.ask(request)
            self._check_reply(request, reply)
        except Retry as error:
            self._switch_node(node, error)
            raise
        self.failures = 0
        if reply.status == 204 or not reply.body.strip():
            return None
        return json_of(request, reply)

    def _headers(self) -> Dict[str, str]:
        settings = self.settings
        access_header, secret_header = HEADERS[settings.role]
        headers = {
            access_header: settings.access_key,
            secret_header: settings.secret_key,
        }
        if settings.authorization:
            headers["Authorization"] = settings.authorization
        return headers

    def _check_reply(self, request: Request, reply: Reply) -> None:
        """Raise the error of a refused call, and adapt how many calls may be in flight."""
        self.throttle.note(reply.status)
        if reply.status == 204 or (reply.status == 200 and not reply.body.strip()):
            return
        try:
            raise_for_status(request, reply, self.http.now())
        except AuthError as error:
            raise AuthError(
                f"{error.message}; ABS rejects the pair"
                f" {' and '.join(HEADERS[self.settings.role])}: check `access_key`, `secret_key`"
                f" and `role: {self.settings.role}`",
                error.where,
                error.status,
            ) from None

    def _switch_node(self, node: int, error: Retry) -> None:
        """Use the next node after the second failure in a row. All nodes have the same data."""
        with self.lock:
            if node != self.node or (error.status and error.status < 500):
                return
            self.failures += 1
            if self.failures >= 2:
                self.node = (self.node + 1) % len(self.settings.url)
                self.failures = 0

    # Admin

    def admin(self) -> Dict[str, Any]:
        """Return the admin report: v5, or v4 where ABS has no v5."""
        version = self.version or "v5"
        try:
            report = self.get(f"/{version}/abs/admin", {})
        except ConfigError as error:
            if error.status != 404 or self.version:
                raise
            version = "v4"
            report = self.get("/v4/abs/admin", {})
        self.version = version
        if not isinstance(report, dict):
            raise Malformed("the admin report is not an object")
        return report

    def apis(self) -> List[str]:
        """Return the names of the APIs to read. If the keys cannot read the admin report: those
        that it named before, else those listed in `apis`."""
        listed = [api for api in self.settings.apis if api != "all"]
        try:
            report = self.admin()
        except (AuthError, ConfigError) as error:
            # A later refusal does not change which APIs exist.
            if self.known_apis:
                return self.known_apis
            self.can_read_admin = False
            if "all" in self.settings.apis:
                self._warn_no_admin(error, listed)
            return listed
        self.can_read_admin = True
        apis = report.get("apis")
        if "all" in self.settings.apis and isinstance(apis, list):
            for api in apis:
                name = api.get("api_name") if isinstance(api, dict) else api
                if isinstance(name, str) and self._is_selected(name, listed):
                    listed.append(name)
        if apis and not self.training_checked:
            self._log_training(apis)
        self.training_checked = True
        self.known_apis = listed
        return listed

    def _is_selected(self, name: str, listed: List[str]) -> bool:
        return bool(name) and name not in listed and name not in self.settings.exclude_apis

    def _warn_no_admin(self, error: SiemtapError, listed: List[str]) -> None:
        consequence = (
            "only the listed APIs are read"
            if listed
            else "only attacks across APIs are read; list the others under `apis`"
        )
        log.warning("these keys cannot read the admin report (%s): %s", error.message, consequence)

    def _log_training(self, apis: Any) -> None:
        is_trained = any(
            api.get("prediction_mode") is True for api in apis if isinstance(api, dict)
        )
        if not is_trained:
            log.info("ABS is still training for all APIs: it reports attacks once training ends")

    # Attack reports

    def know(self, types: Iterable[Any]) -> None:
        """Note real-time attack types that ABS answered before this process started."""
        self.answered |= {id for id in attack_types.REAL_TIME if id in types}

    def known_types(self, api: str) -> List[int]:
        """Return the real-time attack types that are queried for one API or (empty) across APIs,
        and that ABS has answered."""
        real_time = set(self.types(api)).intersection(attack_types.REAL_TIME)
        return sorted(real_time & self.answered)

    def attacks(self, api: str, window: Window) -> List[Record]:
        """Return the attacks of a window, of one API or (empty) across APIs."""
        earlier, later = query_dates(window.start, window.stop, self.settings.timezone)
        records: List[Record] = []
        for id in self.types(api):
            query = {"later_date": later, "earlier_date": earlier}
            if api:
                query["api"] = api
            query["type"] = str(id)
            try:
                response = self.get(f"/{self.settings.attack_version}/abs/attack", query)
            except ConfigError as error:
                # An ABS that has answered knows the type: its attacks of this window would be lost.
                is_optional = id in attack_types.REAL_TIME and "all" in self.settings.types
                if not is_optional:
                    raise
                if id in self.answered:
                    raise ConfigError(
                        f"{error.message}; ABS has answered attack type {id} before: if it does not"
                        " know it any more, name the other types in `types`",
                        error.where,
                        error.status,
                    ) from None
                if id not in self.refused:
                    log.warning(
                        "ABS rejects attack type %d (%s): its attacks are not read until ABS"
                        " answers; name the other types in `types` if it never does",
                        id,
                        error.message,
                    )
                self.refused.add(id)
                continue
            self.answered.add(id)
            records += flatten(response, Query(id, api), self.settings)
        return ddos.add_addresses(records, self.settings) if self.settings.mongodb else records

    def types(self, api: str) -> List[int]:
        """Return the type numbers to query for one API or (empty) across APIs; 0 is all types."""
        if "all" in self.settings.types:
            return [0, *attack_types.REAL_TIME] if api else [0]
        other_scope = attack_types.ACROSS if api else attack_types.API
        ids = [int(id) for id in self.settings.types]
        return [id for id in ids if attack_types.scope_of(id) != other_scope]

    # Deny list

    def deny_list(self, later_date: str) -> Tuple[Any, Any]:
        """Return the current responses (active, expired)."""
        query = {"earlier_date": EARLIEST_DATE, "later_date": later_date}
        active = self.get("/v4/abs/attacklist", {**query, "status": "active"})
        expired = self.get("/v4/abs/attacklist", {**query, "status": "expired"})
        return active, expired

    # Other reports

    def report(self, name: str, api: str, window: Window) -> Tuple[Any, str, str]:
        """Return (response, earlier_date, later_date) of a report."""
        report = REPORTS[name]
        earlier, later = query_dates(window.start, window.stop, self.settings.timezone)
        path = f"/v4/abs/{report.path}"
        query = {"later_date": later, "earlier_date": earlier} if report.has_time_range else {}
        if report.each:
            query["api"] = api
        if name == "be":
            return self._backend_errors(path, query), earlier, later
        return self.get(path, query), earlier, later

    def _backend_errors(self, path: str, query: Mapping[str, str]) -> Any:
        """Return the backend error report. The vendor's page spells its parameter `ealier_date`;
        that spelling is used once ABS rejects the right one."""
        if not self.misspelt:
            try:
                return self.get(path, query)
            except ConfigError as error:
                if error.status != 400:
                    raise
        names = {"earlier_date": "ealier_date"}
        response = self.get(path, {names.get(name, name): query[name] for name in query})
        self.misspelt = True
        return response


def check_settings(settings: Settings) -> None:
    """Raise ConfigError for settings that do not go together; warn of ABS's default keys."""
    zone(settings.timezone)
    if settings.lag < MIN_LAG and not settings.allow_early:
        raise ConfigError(
            f"`lag` is {settings.lag // MINUTE}m, and ABS reports attacks up to 30 minutes late:"
            " use 30m or more, or set `allow_early: true` and lose the late ones"
        )
    if settings.url and not (settings.access_key and settings.secret_key):
        raise ConfigError("`url` needs `access_key` and `secret_key`")
    if settings.url and settings.attack_log:
        raise ConfigError(
            "`url` and `attack_log` deliver the same attacks with different ids: use one of them"
        )
    for name in settings.reports:
        if REPORTS[name].admin and settings.role != "admin":
            raise ConfigError(
                f"`reports` names {name}, which ABS gives to the admin user only: remove it, or use"
                " `role: admin`"
            )
    if settings.mongodb:
        ddos.check()
    if settings.access_key in DEFAULT_KEYS or settings.secret_key in DEFAULT_KEYS:
        log.warning(
            "ABS still has its default keys, which anybody can use to read its reports: change them"
            " with `cli.sh update_keys`"
        )
