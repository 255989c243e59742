"""PingIntelligence ABS: attacks, the deny list and other reports, asked for at the pace that ABS
can keep; and the two exports that ABS writes.

Follows the vendor's pages "Attack reporting" and "ABS external REST APIs".
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from functools import partial
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from siemtap.core import bounds, syslog
from siemtap.core.convert import zone
from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.core.mapping import Record, rfc3339
from siemtap.core.model import Batch, Cursor, Payload, Plugin, Unit
from siemtap.core.windows import HOUR, MINUTE, Millis, Window, whole
from siemtap.edge.http import JSON, Http, Reply, Request, refuse
from siemtap.edge.tail import tail
from siemtap.edge.walk import Walk

from . import attack_list, attack_types, ddos
from .attacks import Asked, flatten, of_log
from .commands import COMMANDS
from .manifest import Settings
from .mapping import ATTACK, ATTACKLIST, REPORT
from .reports import REPORTS, licence, record
from .times import asked

log = logging.getLogger("siemtap")

HEADERS = {"restricted": ("x-abs-ak-ru", "x-abs-sk-ru"), "admin": ("x-abs-ak", "x-abs-sk")}
DEFAULTS = ("abs_ak", "abs_sk", "abs_ak_ru", "abs_sk_ru")  # as ABS comes
EARLIEST = 30 * MINUTE  # "minimum 30": abs.query.offset of the vendor's own dashboard
NARROWEST = 10 * MINUTE
EVER = "2017-01-01T00:00"  # before there was a product: the whole deny list
IN_FILE = "file:"  # the scope of an attack.log
ADMIN = "admin"


class Client:
    """The calls of ABS. One per account, thread-safe; at most `concurrency` calls in flight, one
    after ABS said that it was too many."""

    def __init__(self, settings: Settings, http: Http) -> None:
        self.settings, self.http = settings, http
        zone(settings.timezone)
        if settings.lag < EARLIEST and not settings.allow_early:
            raise ConfigError(
                "`lag` is below 30m, and ABS detects for that long: what it finds later would be"
                f" lost. Raise it, or say `allow_early: true` (it is {settings.lag // MINUTE}m)"
            )
        if settings.url and not (settings.access_key and settings.secret_key):
            raise ConfigError("`url` needs `access_key` and `secret_key`")
        if settings.url and settings.attack_log:
            raise ConfigError(
                "`url` and `attack_log` tell of the same attacks, with other ids: use one of them"
            )
        if settings.mongodb:
            ddos.check()
        if settings.access_key in DEFAULTS or settings.secret_key in DEFAULTS:
            log.warning(
                "the keys of ABS are those it comes with: change them with `cli.sh update_keys`,"
                " anybody can read its reports"
            )
        self.gate = threading.Condition()
        self.flying, self.parallel = 0, settings.concurrency
        self.node, self.failures = 0, 0
        self.refused: Dict[int, str] = {}  # real-time types that ABS does not know
        self.version = "" if settings.admin_version == "auto" else settings.admin_version
        self.misspelt = False  # backend errors want `ealier_date`
        self.trained = False
        self.known: List[str] = []
        self.licensed = False  # these keys may ask for the admin report

    def get(self, path: str, query: Mapping[str, str]) -> Any:
        """The JSON of an answer; None of an empty one."""
        return self.ask("GET", path, query)

    def ask(self, method: str, path: str, query: Mapping[str, str], body: bytes = b"") -> Any:
        mine = self.settings
        access, secret = HEADERS[mine.role]
        headers = {
            **JSON,
            access: mine.access_key,
            secret: mine.secret_key,
            **({"Authorization": mine.authorization} if mine.authorization else {}),
        }
        node = self.node
        request = self.http.get(f"{mine.url[node % len(mine.url)]}{path}", query, headers)._replace(
            method=method, body=body
        )
        try:
            with self.turn():
                reply = self.http.ask(request)
            self.understand(request, reply)
        except Retry as error:
            self.another_node(node, error)
            raise
        self.failures = 0
        if reply.status == 204 or not reply.body.strip():
            return None
        try:
            return reply.json()
        except (ValueError, RecursionError) as error:
            raise Malformed(
                f"the answer is no JSON ({type(error).__name__}, {len(reply.body)} bytes)",
                request.line,
            ) from None

    def understand(self, request: Request, reply: Reply) -> None:
        if reply.status == 204 or (reply.status == 200 and not reply.body.strip()):
            return
        with self.gate:
            self.parallel = (
                1
                if reply.status in (429, 503)
                else min(self.settings.concurrency, self.parallel * 2)
            )
        try:
            refuse(request, reply, self.http.now())
        except AuthError as error:
            raise AuthError(
                f"{error.what}; ABS does not take the pair"
                f" {' and '.join(HEADERS[self.settings.role])}: check `access_key`, `secret_key`"
                f" and `role: {self.settings.role}`",
                error.where,
                error.status,
            ) from None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until one more call may fly."""
        with self.gate:
            while self.flying >= self.parallel:
                self.gate.wait()
            self.flying += 1
        try:
            yield
        finally:
            with self.gate:
                self.flying -= 1
                self.gate.notify()

    def another_node(self, node: int, error: Retry) -> None:
        """Every node tells the same; after the second failure in a row it is the next one's
        turn."""
        with self.gate:
            if node != self.node or (error.status and error.status < 500):
                return
            self.failures += 1
            if self.failures >= 2:
                self.node, self.failures = (self.node + 1) % len(self.settings.url), 0

    # Admin

    def admin(self) -> Dict[str, Any]:
        """v5 as the newest pages have it, v4 where there is none."""
        for version in [self.version] if self.version else ["v5", "v4"]:
            try:
                said = self.get(f"/{version}/abs/admin", {})
            except ConfigError as error:
                if error.status != 404 or self.version or version == "v4":
                    raise
                continue
            self.version = version
            if not isinstance(said, dict):
                raise Malformed("the admin report is no object")
            return said
        raise AssertionError("unreachable")

    def apis(self) -> List[str]:
        """The APIs to read. Where the keys may not ask for them: those that are listed."""
        mine = self.settings
        listed = [api for api in mine.apis if api != "all"]
        try:
            said = self.admin()
        except (AuthError, ConfigError) as error:
            if self.known:  # they could before: it is no reason to forget what there is
                return self.known
            self.licensed = False
            if "all" in mine.apis:
                log.warning(
                    "these keys cannot read the admin report (%s): %s",
                    error.what,
                    (
                        "only the listed APIs are read"
                        if listed
                        else "only attacks across APIs are read; list the others under `apis`"
                    ),
                )
            return listed
        self.licensed = True
        found = said.get("apis")
        names = (
            [api.get("api_name") if isinstance(api, dict) else api for api in found]
            if isinstance(found, list)
            else []
        )
        if "all" in mine.apis:
            listed += [
                name
                for name in names
                if isinstance(name, str)
                and name
                and name not in listed
                and name not in mine.exclude_apis
            ]
        if (
            found
            and not self.trained
            and not any(
                api.get("prediction_mode") is True for api in found if isinstance(api, dict)
            )
        ):
            log.info("ABS is still training for all of its APIs: attacks come once it is done")
        self.trained = True
        self.known = listed
        return listed

    # Attack reports

    def attacks(self, api: str, window: Window) -> List[Record]:
        """All that ABS says of a window, for one API or (empty) across them."""
        earlier, later = asked(window.start, window.stop, self.settings.timezone)
        found: List[Record] = []
        for id in self.types(api):
            if id in self.refused:
                continue
            query = {
                "later_date": later,
                "earlier_date": earlier,
                **({"api": api} if api else {}),
                "type": str(id),
            }
            try:
                said = self.get(f"/{self.settings.attack_version}/abs/attack", query)
            except ConfigError as error:
                if id not in attack_types.REAL_TIME or "all" not in self.settings.types:
                    raise
                self.refused[id] = error.what
                log.warning(
                    "ABS does not answer for type %d (%s): it is asked for no more until the next"
                    " start",
                    id,
                    error.what,
                )
                continue
            found += flatten(said, Asked(id, api), self.settings)
        return ddos.resolved(found, self.settings) if self.settings.mongodb else found

    def types(self, api: str) -> List[int]:
        if "all" in self.settings.types:
            return [0, *attack_types.REAL_TIME] if api else [0]
        other = attack_types.ACROSS if api else attack_types.API
        return [int(id) for id in self.settings.types if attack_types.scope_of(int(id)) != other]

    # The deny list

    def deny_list(self, later: str) -> Tuple[Any, Any]:
        """(active, expired), as it is now."""
        query = {"earlier_date": EVER, "later_date": later}
        return self.get("/v4/abs/attacklist", {**query, "status": "active"}), self.get(
            "/v4/abs/attacklist", {**query, "status": "expired"}
        )

    # Other reports

    def report(self, name: str, api: str, window: Window) -> Tuple[Any, str, str]:
        """(what it says, earlier_date, later_date)"""
        of = REPORTS[name]
        earlier, later = asked(window.start, window.stop, self.settings.timezone)
        path = f"/v4/abs/{of.path}"
        query = {"later_date": later, "earlier_date": earlier} if of.ranged else {}
        if of.each:
            query["api"] = api
        if name != "be":
            return self.get(path, query), earlier, later
        # as the vendor's page has it
        misspelt = {"later_date": later, "ealier_date": earlier, "api": api}
        if self.misspelt:
            return self.get(path, misspelt), earlier, later
        try:
            return self.get(path, query), earlier, later
        except ConfigError as error:
            if error.status != 400:
                raise
            said = self.get(path, misspelt)
            self.misspelt = True
            return said, earlier, later


def units(client: Client, settings: Settings) -> Iterator[Tuple[str, str]]:
    """One across the APIs and one for each, so that one that fails holds up nobody; the deny
    list, the licence, and every report that is wanted."""
    if settings.attack_log:
        yield ATTACK.name, f"{IN_FILE}{settings.attack_log}"
    if not settings.url:
        return
    apis = client.apis()
    if client.types(""):
        yield ATTACK.name, ""
    for api in apis:
        if client.types(api):
            yield ATTACK.name, api
    if settings.attack_list:
        yield ATTACKLIST.name, ""
    if client.licensed:
        yield REPORT.name, ADMIN
    for name in settings.reports:
        if REPORTS[name].admin and settings.role != "admin":
            raise ConfigError(
                f"ABS gives the {name} report to the admin user only: leave it out of `reports`, or"
                " use `role: admin`"
            )
        for api in apis if REPORTS[name].each else [""]:
            yield REPORT.name, f"{name}/{api}" if api else name


def collect(client: Client, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    if unit.dataset == ATTACKLIST.name:
        return of_attack_list(client, cursor, now)
    if unit.dataset == REPORT.name:
        return (
            of_licence(client, cursor, now)
            if unit.scope == ADMIN
            else of_report(client, unit.scope, cursor, now)
        )
    if unit.scope.startswith(IN_FILE):
        return of_file(client, unit.scope[len(IN_FILE) :], cursor, now)
    wish = client.settings
    # an hour that comes twice is asked for twice
    blur = 0 if wish.timezone.upper() == "UTC" else HOUR
    return Walk(
        ATTACK,
        unit.scope,
        partial(client.attacks, unit.scope),
        wish,
        client.http.now,
        whole(wish.max_query_range, MINUTE),
        NARROWEST,
        MINUTE,
        1,
        blur=blur,
    ).batches(cursor, now)


def of_file(client: Client, path: str, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """ "pi-attack-info-" and JSON, a line each. The position is the cursor: nothing is read
    twice."""
    for found in tail(path, cursor.get("position", {})):
        records = [
            one
            for line in found.lines
            for one in of_log(line.decode("utf-8", "backslashreplace"), client.settings)
        ]
        yield Batch(ATTACK, records, {"position": found.position, "until": now}, now)


def of_attack_list(client: Client, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """What changed. The time of the question is saved before it is put, so that what a crash
    repeats has the same id."""
    at = int(cursor.get("asked", whole(now, MINUTE)))
    if "asked" not in cursor:
        yield Batch(ATTACKLIST, [], {**cursor, "asked": at}, at)
    later = asked(at, at, client.settings.timezone)[1]
    states, clear = attack_list.merged(*client.deny_list(later), client.settings)
    before: Optional[Dict[attack_list.Entry, str]] = None
    if "seen" in cursor:
        before = {attack_list.Entry(*one[:3]): one[3] for one in cursor["seen"]}
    found = [
        attack_list.record(entry, state, clear.get(entry), later, rfc3339(at))
        for entry, state in attack_list.changes(before, states)
    ]
    yield Batch(
        ATTACKLIST,
        found,
        {"seen": sorted([*entry, state] for entry, state in states.items()), "until": at},
        at,
    )


def of_licence(client: Client, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Once an hour."""
    at = int(cursor.get("asked", now))
    if "asked" not in cursor:
        if now - int(cursor.get("until", 0)) < HOUR:
            return
        yield Batch(REPORT, [], {**cursor, "asked": at}, at)
    yield Batch(REPORT, licence(client.admin(), at, client.settings), {"until": at}, at)


def of_report(client: Client, scope: str, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """One question for the hours that are over."""
    name, _, api = scope.partition("/")
    stop = whole(now - client.settings.lag, HOUR)
    start = max(int(cursor.get("until", stop - HOUR)), stop - client.settings.max_query_range)
    if start < stop:
        said, earlier, later = client.report(name, api, Window(start, stop))
        yield Batch(
            REPORT,
            record(REPORTS[name], said, api, earlier, later, stop, client.settings),
            {"until": stop},
            stop,
        )


def receive(settings: Settings, payload: Payload) -> Iterator[Batch]:
    """The syslog form of attack.log."""
    lines, beyond = bounds.lines(payload.body.decode("utf-8", "backslashreplace"))
    if payload.channel in ("udp", "tcp", "tls"):
        lines = [syslog.line(line).message for line in lines]
    records = [one for line in lines for one in of_log(line, settings)]
    yield Batch(
        ATTACK,
        [*records, {"line": bounds.kept(beyond)}] if beyond else records,
        {},
        payload.received,
    )


def greet(client: Client) -> None:
    """The attacks across APIs of one minute."""
    stop = whole(client.http.now() - client.settings.lag, MINUTE)
    if client.settings.url:
        client.attacks("", Window(stop - MINUTE, stop))


PLUGIN = Plugin(
    name="pingintelligence",
    title="PingIntelligence ABS",
    categories=("ids_ips",),
    settings=Settings,
    datasets=(ATTACK, ATTACKLIST, REPORT),
    connect=Client,
    units=units,
    collect=collect,
    receive=receive,
    commands=COMMANDS,
    greet=greet,
    at_once=lambda settings: int(settings.concurrency),
)
