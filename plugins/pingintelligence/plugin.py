"""PingIntelligence ABS: attack reports, the deny list, the licence and other reports over the REST
API; attack.log as a file and over syslog.

Follows the vendor's pages "Attack reporting" and "ABS external REST APIs".
"""

from __future__ import annotations

from functools import partial
from typing import Dict, Iterator, List, Optional, Tuple

from siemtap.core import bounds
from siemtap.core.convert import rfc3339
from siemtap.core.formats import syslog
from siemtap.core.formats.payload import text_of
from siemtap.core.model import Batch, Cursor, Payload, Plugin, Records, Unit, query_time, time_in
from siemtap.core.rows import Record
from siemtap.core.windows import HOUR, MINUTE, Millis, Window, whole
from siemtap.edge.client.walk import Walk
from siemtap.edge.tail import tail

from . import attack_list
from .attack_log import join_lines, parse_log_line
from .client import Client
from .commands import COMMANDS
from .manifest import Settings
from .mapping import ATTACK, ATTACKLIST, REPORT
from .report_types import REPORTS
from .reports import licence, record
from .times import query_dates

NARROWEST = 10 * MINUTE
FILE_SCOPE = "file:"  # prefix of the scope of an attack.log
ADMIN = "admin"  # scope of the licence


def units(client: Client, settings: Settings) -> Iterator[Tuple[str, str]]:
    """Yield (dataset, scope) of each unit: attack.log; attacks across APIs and of each API; the
    deny list; the licence; each report. A unit that fails does not stop the others."""
    if settings.attack_log:
        yield ATTACK.name, f"{FILE_SCOPE}{settings.attack_log}"
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
    if client.can_read_admin:
        yield REPORT.name, ADMIN
    for name in settings.reports:
        for api in apis if REPORTS[name].each else [""]:
            yield REPORT.name, f"{name}/{api}" if api else name


def collect(client: Client, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Return the batches of a unit from its cursor to the present."""
    if unit.dataset == ATTACKLIST.name:
        return collect_attack_list(client, cursor, now)
    if unit.dataset == REPORT.name and unit.scope == ADMIN:
        return collect_licence(client, cursor, now)
    if unit.dataset == REPORT.name:
        return collect_report(client, unit.scope, cursor, now)
    if unit.scope.startswith(FILE_SCOPE):
        return collect_attack_log(client, unit.scope[len(FILE_SCOPE) :], cursor, now)
    settings = client.settings
    walk = Walk(
        dataset=ATTACK,
        scope=unit.scope,
        fetch=partial(client.attacks, unit.scope),
        settings=settings,
        clock=client.http.now,
        widest=whole(settings.max_query_range, MINUTE),
        narrowest=NARROWEST,
        grain=MINUTE,
        parallel=1,
        # Near a local time that occurs twice, a query starts an hour earlier.
        blur=0 if settings.timezone.upper() == "UTC" else HOUR,
    )
    return remembering_types(client, walk, cursor, now)


def remembering_types(client: Client, walk: Walk, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Yield the batches of a walk. `types` of their cursors are the real-time types that ABS has
    answered: after a restart, too, a refusal of one then is no reason to go on without it."""
    earlier = cursor.get("types")
    client.know(earlier if isinstance(earlier, list) else [])
    for batch in walk.batches(cursor, now):
        types = client.known_types(walk.scope)
        if types and "until" in batch.cursor:
            batch = batch._replace(cursor={**batch.cursor, "types": types})
        yield batch


def collect_attack_log(client: Client, path: str, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Yield the records of new lines of attack.log. The cursor is the position in the file."""
    for chunk in tail(path, cursor.get("position", {})):
        records: List[Record] = []
        for line in chunk.lines:
            records += parse_log_line(line.decode("utf-8", "backslashreplace"), client.settings)
        yield Batch(ATTACK, records, {"position": chunk.position, "until": now}, now)


def collect_attack_list(client: Client, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Yield the changes of the deny list."""
    asked = yield from query_time(ATTACKLIST, cursor, whole(now, MINUTE))
    _, later = query_dates(asked, asked, client.settings.timezone)
    states, clear = attack_list.merge_responses(*client.deny_list(later), client.settings)
    before: Optional[Dict[attack_list.Entry, str]] = None
    if "seen" in cursor:
        before = {attack_list.Entry(*row[:3]): row[3] for row in cursor["seen"]}
    records = [
        attack_list.record(
            entry=entry,
            state=state,
            clear=clear.get(entry),
            later_date=later,
            timestamp=rfc3339(asked),
        )
        for entry, state in attack_list.changes(before, states)
    ]
    seen = sorted([*entry, state] for entry, state in states.items())
    yield Batch(ATTACKLIST, records, {"seen": seen, "until": asked}, asked)


def collect_licence(client: Client, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Yield the licence, once an hour."""
    if "asked" not in cursor and now - time_in(cursor, "until") < HOUR:
        return
    asked = yield from query_time(REPORT, cursor, now)
    records = licence(client.admin(), asked, client.settings)
    yield Batch(REPORT, records, {"until": asked}, asked)


def collect_report(client: Client, scope: str, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Yield one report of all full hours since the cursor. `scope`: NAME or NAME/API."""
    name, _, api = scope.partition("/")
    stop = whole(now - client.settings.lag, HOUR)
    start = max(time_in(cursor, "until", stop - HOUR), stop - client.settings.max_query_range)
    if start >= stop:
        return
    response, earlier, later = client.report(name, api, Window(start, stop))
    records = record(
        REPORTS[name],
        response,
        api=api,
        earlier=earlier,
        later=later,
        until=stop,
        settings=client.settings,
    )
    yield Batch(REPORT, records, {"until": stop}, stop)


def receive(settings: Settings, payload: Payload) -> Iterator[Records]:
    """Yield the records of attack.log lines, received over syslog or replayed from a file."""
    lines, beyond = bounds.split_lines(text_of(payload))
    if payload.channel in ("udp", "tcp", "tls"):
        lines = [syslog.parse_line(line).message for line in lines]
    records: List[Record] = []
    for line in join_lines(lines):
        records += parse_log_line(line, settings)
    if beyond:
        records.append({"line": bounds.truncated(beyond)})
    yield Records(ATTACK, records)


def check_login(client: Client) -> None:
    """Query the attacks across APIs of one minute."""
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
    check_login=check_login,
    sources=("url", "attack_log"),
    parallel_units=lambda settings: int(settings.concurrency),
)
