"""What an add-on keeps in Splunk: accounts and their secrets, settings, and in the KV store the
marks. Everything through splunkd's REST."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import time
import traceback
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional
from urllib.parse import quote, urlsplit

from splunklib.binding import HTTPError
from splunklib.client import Service, connect

from ..core.errors import ConfigError, Retry, SiemtapError
from ..core.forms import Connection
from ..core.identity import canonical
from ..core.manifest import describe, fill_in
from ..core.mapping import rfc3339
from ..core.model import Mark, Unit
from ..edge.bearer import Kept
from .names import App

log = logging.getLogger("siemtap")

# secrets longer than 255 characters stand in pieces: name, this, number
CUT = "``splunk_cred_sep``"
PIECE = 255
LARGEST = 4 * 1024 * 1024  # bytes of a document, packed; the KV store takes 16 MB
PATIENCE = 30.0  # seconds that the KV store may take to come up
STARTING = (503, 500)
LONGEST = 1_000  # characters of an error in the log
CALLS = 4  # of a fault of ours, the innermost ones


class Splunkd:
    """One session with splunkd, as the input's XML names it."""

    def __init__(self, app: App, uri: str, session_key: str) -> None:
        parts = urlsplit(uri)
        self.app = app
        self.service: Service = connect(
            scheme=parts.scheme,
            host=parts.hostname,
            port=parts.port,
            token=session_key,
            owner="nobody",
            app=app.name,
            autologin=False,
        )

    def stanza(self, conf: str, name: str) -> Dict[str, str]:
        """A stanza of <root>_<conf>.conf, its secrets in the clear. ConfigError where there is
        none."""
        file = f"{self.app.root}_{conf}"
        try:
            content = self._get(f"configs/conf-{file}/{name}")
        except HTTPError as error:
            if error.status == 404:
                raise ConfigError(
                    f'there is no {conf} "{name}"; choose another on the page of the input'
                ) from None
            raise
        said = {
            key: str(value)
            for key, value in content.items()
            if not key.startswith("eai:") and value is not None
        }
        return {**said, **self.secrets(f"configs/conf-{file}", name)}

    def settings(self, name: str) -> Dict[str, str]:
        """A tab of the configuration page; nothing where nobody has saved it yet."""
        try:
            return self.stanza("settings", name)
        except ConfigError:
            return {}

    def connection(self) -> Connection:
        """How to reach a vendor from here: the tabs of the proxy and of what is advanced."""
        said = {**self.settings("advanced"), **proxy(self.settings("proxy"))}
        found: Connection = fill_in(
            Connection, answers(said, {s["name"]: s["kind"] for s in describe(Connection)})
        )
        return found

    def secrets(self, endpoint: str, name: str) -> Dict[str, str]:
        """What the pages' handlers encrypt: JSON in pieces, under a realm of the add-on's."""
        whole = self.password(f"__REST_CREDENTIAL__#{self.app.name}#{endpoint}", name)
        try:
            said = json.loads(
                whole.partition("``splunk_cred_sep``S``splunk_cred_sep``P``splunk_cred_sep``L")[0]
                or "{}"
            )
        except ValueError:
            raise ConfigError(
                f'the secrets of "{name}" cannot be read: enter them again on the configuration'
                " page"
            ) from None
        return {str(key): str(value) for key, value in said.items()}

    def password(self, realm: str, name: str) -> str:
        """What is encrypted under a name: in pieces, for one holds no more than 255 characters."""
        pieces: Dict[int, str] = {}
        for password in self.service.storage_passwords.list(count=-1):
            of, cut, number = str(password.content.get("username")).rpartition(CUT)
            if password.content.get("realm") == realm and cut and of == name:
                pieces[int(number)] = str(password.content.get("clear_password"))
        return "".join(piece for _, piece in sorted(pieces.items()))

    def keep_password(self, realm: str, name: str, whole: str) -> None:
        place = "storage/passwords"
        wanted = {
            f"{name}{CUT}{number // PIECE + 1}": whole[number : number + PIECE]
            for number in range(0, len(whole), PIECE)
        }
        for password in self.service.storage_passwords.list(count=-1):
            username = str(password.content.get("username"))
            if password.content.get("realm") == realm and username.rpartition(CUT)[0] == name:
                entry = f"{realm}:{username}:"  # the SDK quotes it
                if username in wanted:
                    self.service.post(f"{place}/{entry}", password=wanted.pop(username))
                else:
                    self.service.delete(f"{place}/{entry}")
        for username, piece in wanted.items():
            self.service.post(place, name=username, realm=realm, password=piece)

    def _get(self, path: str) -> Mapping[str, Any]:
        answer = self.service.get(path, output_mode="json")
        content: Mapping[str, Any] = json.loads(answer["body"].read())["entry"][0]["content"]
        return content


class Tokens:
    """A vendor's token in storage/passwords, one for each account and what it says: who changes
    the account logs in again."""

    def __init__(self, splunkd: Splunkd, account: str, said: Mapping[str, str]) -> None:
        self.splunkd, self.account, self.realm = splunkd, account, f"{splunkd.app.root}_token"
        self.of = hashlib.sha256(canonical(dict(said)).encode("utf-8", "surrogatepass")).hexdigest()

    def recall(self) -> Optional[Kept]:
        try:
            said = json.loads(self.splunkd.password(self.realm, self.account) or "{}")
            return Kept(said["token"], int(said["until"])) if said.get("of") == self.of else None
        except (ValueError, TypeError, KeyError):
            return None  # pieces of two tokens, say
        except (HTTPError, OSError) as error:
            log.warning(
                "the token of account %s cannot be read from storage/passwords (%s): logging in",
                self.account,
                error,
            )
            return None

    def keep(self, token: Kept) -> None:
        try:
            self.splunkd.keep_password(
                self.realm,
                self.account,
                json.dumps({"token": token.text, "until": token.until, "of": self.of}),
            )
        except (HTTPError, OSError) as error:
            log.warning(
                "the token of account %s cannot be kept in storage/passwords (%s): the next start"
                " logs in again",
                self.account,
                error,
            )

    def drop(self) -> None:
        self.splunkd.keep_password(self.realm, self.account, "")


class KvCheckpoints:
    """Marks as documents of a collection, one for each unit of an input. `began`: which
    beginning of the input they belong to; those of another are none."""

    def __init__(
        self,
        splunkd: Splunkd,
        input: str,
        began: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.input, self.began, self.collection, self.sleep = (
            input,
            began,
            f"{splunkd.app.root}_checkpoints",
            sleep,
        )
        self.data = splunkd.service.kvstore
        self.service = splunkd.service

    def key(self, unit: Unit) -> str:
        text = "\n".join((self.input, unit.dataset, unit.scope))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def load(self, unit: Unit) -> Mark:
        try:
            document = self._ask(lambda: self._documents().query_by_id(self.key(unit)))
        except HTTPError as error:
            if error.status == 404:
                return Mark()
            raise
        try:
            if str(document.get("began", "")) != self.began:
                log.info("%s begins afresh: it was reset, or its start was changed", unit)
                return Mark()
            return Mark.from_json(json.loads(zlib.decompress(base64.b64decode(document["state"]))))
        except (ValueError, TypeError, KeyError, AttributeError, zlib.error):
            raise ConfigError(
                f"the checkpoint {self.key(unit)} of {unit} cannot be read; reset it on the page of"
                " the input"
            ) from None

    def save(self, unit: Unit, mark: Mark) -> None:
        packed = _packed(mark)
        while len(packed) > LARGEST and mark.seen:
            ends = sorted(set(mark.seen.values()))
            keep = ends[len(ends) // 2] if len(ends) > 1 else ends[-1] + 1
            log.warning(
                "%s: %d ids of the overlap do not fit into the KV store; what comes again from"
                " before %s will be sent again",
                unit,
                len(mark.seen),
                rfc3339(keep),
            )
            mark = Mark(
                mark.cursor, {id: until for id, until in mark.seen.items() if until >= keep}
            )
            packed = _packed(mark)
        document = json.dumps(
            {
                "_key": self.key(unit),
                "input": self.input,
                "unit": str(unit),
                "began": self.began,
                "state": packed,
                "until": str(mark.cursor.get("until", "")),
            }
        )
        self._ask(lambda: self._documents().batch_save(json.loads(document)))

    def forget(self) -> None:
        """All that is kept of this input."""
        self._ask(lambda: self._documents().delete(json.dumps({"input": self.input})))

    def _documents(self) -> Any:
        return self.data[self.collection].data

    def _off(self) -> ConfigError:
        return ConfigError(
            f"the KV store has no collection {self.collection}, and none can be made: it seems to"
            " be switched off on this instance. Collect where it runs, or set `checkpoint` to"
            " file, and keep the input on this instance"
        )

    def _ask(self, work: Callable[[], Any]) -> Any:
        """The KV store comes up after the inputs do."""
        deadline, missing = time.monotonic() + PATIENCE, True
        while True:
            try:
                return work()
            except KeyError:
                if not missing:
                    raise self._off() from None
                missing = False
                try:
                    self.data.create(self.collection)
                except HTTPError:
                    raise self._off() from None
            except HTTPError as error:
                if "disabled" in str(error).lower():
                    raise self._off() from None
                if error.status not in STARTING or time.monotonic() > deadline:
                    if error.status in STARTING:
                        raise Retry("the KV store does not answer", status=error.status) from None
                    raise
                self.sleep(1.0)


def _packed(mark: Mark) -> str:
    text = canonical(mark.to_json()).encode("utf-8", "surrogatepass")
    return base64.b64encode(zlib.compress(text)).decode()


def answers(found: Mapping[str, str], kinds: Mapping[str, str]) -> Dict[str, Any]:
    """What a conf file says of settings, in the words of a form: tables are JSON there, and
    nothing is an empty text."""
    said: Dict[str, Any] = {}
    for name, value in found.items():
        if name not in kinds or value == "":
            continue
        if kinds[name] == "table":
            try:
                said[name] = json.loads(value)
            except ValueError:
                raise ConfigError(f'{name} is no JSON object; write {{"name": value}}') from None
        else:
            said[name] = value
    return said


def stanza_name(whole: str) -> str:
    """`acme://main` -> `main`"""
    return whole.partition("://")[2]


def proxy(said: Dict[str, str]) -> Dict[str, str]:
    """The proxy page in the words of a connection."""
    if said.get("proxy_enabled") not in ("1", "true", "True") or not said.get("proxy_url"):
        return {}
    scheme = {"socks5": "socks5h" if said.get("proxy_rdns") in ("1", "true") else "socks5"}.get(
        said.get("proxy_type", "http"), said.get("proxy_type", "http")
    )
    host = said["proxy_url"] if ":" not in said["proxy_url"] else f"[{said['proxy_url']}]"
    return {
        "proxy": f"{scheme}://{quote(host, safe='[]:.')}:{said.get('proxy_port', '3128')}",
        "proxy_user": said.get("proxy_username", ""),
        "proxy_password": said.get("proxy_password", ""),
    }


def summary(error: BaseException) -> str:
    """Return an error as one short line.

    Of a fault of ours it says where it arose and never its text, which may repeat a secret.
    """
    kind = type(error).__name__
    if isinstance(error, (SiemtapError, HTTPError)):
        return f"{kind}: {' '.join(str(error).split())}"[:LONGEST]
    if isinstance(error, OSError) and error.strerror:
        file = f": {error.filename}" if error.filename else ""
        return f"{kind}: {error.strerror}{file}"[:LONGEST]
    calls = traceback.extract_tb(error.__traceback__, -CALLS)
    places = [f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in reversed(calls)]
    return f"{kind} at {' < '.join(places)}"[:LONGEST]
