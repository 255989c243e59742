"""What an add-on stores in Splunk: accounts and their secrets, settings, and checkpoints in the KV
store. All of it goes through splunkd's REST API."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import time
import traceback
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Mapping, Optional
from urllib.parse import quote, urlsplit

from splunklib.binding import HTTPError
from splunklib.client import Service, connect

from ...core.convert import rfc3339
from ...core.errors import ConfigError, Retry, SiemtapError
from ...core.identity import canonical
from ...core.manifest import describe, fill_in, kind_of
from ...core.model import Mark, Unit
from ...core.settings import Connection
from ...edge.client.tokens import Token
from .names import App

log = logging.getLogger("siemtap")

# solnlib stores a secret in parts of 255 characters: <name><SEPARATOR><number>, counted from 1
SEPARATOR = "``splunk_cred_sep``"
PART_CHARACTERS = 255
END_OF_SECRET = SEPARATOR.join(("", "S", "P", "L"))
MAX_STATE_CHARACTERS = 4 * 1024 * 1024  # of a checkpoint, packed; a document holds 16 MB
KV_STORE_START = 30.0  # seconds the KV store may take to start
STARTING_STATUSES = (503, 500)
MAX_ERROR_CHARACTERS = 1_000  # of an error in the log
TRACEBACK_CALLS = 4  # the innermost calls that an error line names


class Splunkd:
    """A session with splunkd: the address and the key come from the input's XML."""

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

    def read_stanza(self, conf: str, name: str) -> Dict[str, str]:
        """Return a stanza of `<root>_<conf>.conf` with its secrets in plain text.

        Raise ConfigError if the stanza does not exist.
        """
        file = f"{self.app.root}_{conf}"
        try:
            content = self._get(f"configs/conf-{file}/{name}")
        except HTTPError as error:
            if error.status == 404:
                raise ConfigError(
                    f'there is no {conf} "{name}"; choose another on the page of the input'
                ) from None
            raise
        values = {
            key: str(value)
            for key, value in content.items()
            if not key.startswith("eai:") and value is not None
        }
        return {**values, **self.read_secrets(f"configs/conf-{file}", name)}

    def read_settings(self, name: str) -> Dict[str, str]:
        """Return a tab of the configuration page; empty if it was never saved."""
        try:
            return self.read_stanza("settings", name)
        except ConfigError:
            return {}

    def read_connection(self) -> Connection:
        """Return the connection settings: the tabs Advanced and Proxy of the configuration page."""
        values = {
            **self.read_settings("advanced"),
            **proxy_settings(self.read_settings("proxy")),
        }
        connection: Connection = fill_in(Connection, parse_values(values, describe(Connection)))
        return connection

    def read_secrets(self, endpoint: str, name: str) -> Dict[str, str]:
        """Return the secrets that a REST handler of the add-on encrypted for a stanza.

        solnlib stores them as JSON under a realm of the app and the endpoint. Raise ConfigError if
        it is no JSON.
        """
        text = self.read_password(f"__REST_CREDENTIAL__#{self.app.name}#{endpoint}", name)
        try:
            secrets = json.loads(text.partition(END_OF_SECRET)[0] or "{}")
        except ValueError:
            raise ConfigError(
                f'the secrets of "{name}" cannot be read: enter them again on the configuration'
                " page"
            ) from None
        return {str(key): str(value) for key, value in secrets.items()}

    def read_password(self, realm: str, name: str) -> str:
        """Return what storage/passwords holds under a realm and a name, its parts joined."""
        parts: Dict[int, str] = {}
        for password in self.service.storage_passwords.list(count=-1):
            owner, separator, number = str(password.content.get("username")).rpartition(SEPARATOR)
            if password.content.get("realm") == realm and separator and owner == name:
                parts[int(number)] = str(password.content.get("clear_password"))
        return "".join(part for _, part in sorted(parts.items()))

    def save_password(self, realm: str, name: str, text: str) -> None:
        """Store a text in storage/passwords in parts; an empty text deletes it."""
        path = "storage/passwords"
        parts = {
            f"{name}{SEPARATOR}{start // PART_CHARACTERS + 1}": text[
                start : start + PART_CHARACTERS
            ]
            for start in range(0, len(text), PART_CHARACTERS)
        }
        for password in self.service.storage_passwords.list(count=-1):
            username = str(password.content.get("username"))
            is_same_realm = password.content.get("realm") == realm
            if is_same_realm and username.rpartition(SEPARATOR)[0] == name:
                entry = f"{realm}:{username}:"  # the SDK quotes it
                if username in parts:
                    self.service.post(f"{path}/{entry}", password=parts.pop(username))
                else:
                    self.service.delete(f"{path}/{entry}")
        for username, part in parts.items():
            self.service.post(path, name=username, realm=realm, password=part)

    def _get(self, path: str) -> Mapping[str, Any]:
        response = self.service.get(path, output_mode="json")
        content: Mapping[str, Any] = json.loads(response["body"].read())["entry"][0]["content"]
        return content


class TokenPasswords:
    """A token store in storage/passwords: one token for each account.

    A token is stored with a digest of its account, so an edited account logs in again.
    """

    def __init__(self, splunkd: Splunkd, account: str, values: Mapping[str, str]) -> None:
        self.splunkd = splunkd
        self.account = account
        self.realm = f"{splunkd.app.root}_token"
        text = canonical(dict(values)).encode("utf-8", "surrogatepass")
        self.digest = hashlib.sha256(text).hexdigest()

    def load(self) -> Optional[Token]:
        """Return the stored token; None if there is none, or if it cannot be read."""
        try:
            stored = json.loads(self.splunkd.read_password(self.realm, self.account) or "{}")
            if stored.get("of") != self.digest:
                return None
            return Token(stored["token"], int(stored["until"]))
        except (ValueError, TypeError, KeyError):
            return None  # such as the parts of two tokens
        except (HTTPError, OSError) as error:
            log.warning(
                "the token of account %s cannot be read from storage/passwords (%s): logging in",
                self.account,
                error,
            )
            return None

    def save(self, token: Token) -> None:
        """Store a token; where that fails, warn, and the next run logs in again."""
        document = {"token": token.text, "until": token.until, "of": self.digest}
        try:
            self.splunkd.save_password(self.realm, self.account, json.dumps(document))
        except (HTTPError, OSError) as error:
            log.warning(
                "the token of account %s cannot be stored in storage/passwords (%s): the next run"
                " logs in again",
                self.account,
                error,
            )

    def delete(self) -> None:
        """Delete the stored token."""
        self.splunkd.save_password(self.realm, self.account, "")


class KvCheckpoints:
    """The marks of an input in a KV store collection, one document for each unit.

    `generation`: the start and the reset number of the stanza. A mark of another generation does
    not count: the input was reset, or its start was changed.
    """

    def __init__(
        self,
        splunkd: Splunkd,
        input: str,
        generation: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.input = input
        self.generation = generation
        self.collection = f"{splunkd.app.root}_checkpoints"
        self.sleep = sleep
        self.kvstore = splunkd.service.kvstore

    def key(self, unit: Unit) -> str:
        """Return the `_key` of a unit's document: 16 hex digits."""
        text = "\n".join((self.input, unit.dataset, unit.scope))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def load(self, unit: Unit) -> Mark:
        """Return a unit's mark, an empty one if there is none of this generation.

        Raise ConfigError if the document is damaged or the KV store is disabled, Retry if it does
        not start in time.
        """
        try:
            document = self._call(lambda: self._documents().query_by_id(self.key(unit)))
        except HTTPError as error:
            if error.status == 404:
                return Mark()
            raise
        try:
            if str(document.get("began", "")) != self.generation:
                log.info("%s starts again: the input was reset, or its start was changed", unit)
                return Mark()
            return Mark.from_json(json.loads(zlib.decompress(base64.b64decode(document["state"]))))
        except (ValueError, TypeError, KeyError, AttributeError, zlib.error):
            raise ConfigError(
                f"the checkpoint {self.key(unit)} of {unit} cannot be read; reset it on the page of"
                " the input"
            ) from None

    def save(self, unit: Unit, mark: Mark) -> None:
        """Save a unit's mark. The oldest ids are dropped until it fits into a document."""
        state = _pack(mark)
        while len(state) > MAX_STATE_CHARACTERS and mark.seen:
            mark = self._drop_oldest_ids(unit, mark)
            state = _pack(mark)
        document = {
            "_key": self.key(unit),
            "input": self.input,
            "unit": str(unit),
            "began": self.generation,
            "state": state,
            "until": str(mark.cursor.get("until", "")),
        }
        text = json.dumps(document)
        self._call(lambda: self._documents().batch_save(json.loads(text)))

    def _drop_oldest_ids(self, unit: Unit, mark: Mark) -> Mark:
        """Return the mark without the older half of its ids, and warn."""
        ends = sorted(set(mark.seen.values()))
        oldest = ends[len(ends) // 2] if len(ends) > 1 else ends[-1] + 1
        log.warning(
            "%s: the %d ids of the overlap do not fit into the KV store; events from before %s that"
            " are read again are sent again",
            unit,
            len(mark.seen),
            rfc3339(oldest),
        )
        return Mark(mark.cursor, {id: until for id, until in mark.seen.items() if until >= oldest})

    def delete_all(self) -> None:
        """Delete every document of the input."""
        self._call(lambda: self._documents().delete(json.dumps({"input": self.input})))

    def _documents(self) -> Any:
        return self.kvstore[self.collection].data

    def _disabled_error(self) -> ConfigError:
        return ConfigError(
            f"the KV store has no collection {self.collection}, and none can be created: it seems"
            " to be disabled on this instance. Run the input on an instance with a KV store, or set"
            " `checkpoint` to file and leave the input on this instance"
        )

    def _call(self, request: Callable[[], Any]) -> Any:
        """Call the KV store, wait while it starts, and create the collection if it is missing."""
        deadline = time.monotonic() + KV_STORE_START
        may_create = True
        while True:
            try:
                return request()
            except KeyError:
                if not may_create:
                    raise self._disabled_error() from None
                may_create = False
                try:
                    self.kvstore.create(self.collection)
                except HTTPError:
                    raise self._disabled_error() from None
            except HTTPError as error:
                if "disabled" in str(error).lower():
                    raise self._disabled_error() from None
                if error.status not in STARTING_STATUSES:
                    raise
                if time.monotonic() > deadline:
                    raise Retry("the KV store does not answer", status=error.status) from None
                self.sleep(1.0)


def _pack(mark: Mark) -> str:
    """Return a mark as compressed JSON in Base64."""
    text = canonical(mark.to_json()).encode("utf-8", "surrogatepass")
    return base64.b64encode(zlib.compress(text)).decode()


def parse_values(
    parameters: Mapping[str, str], settings: Iterable[Mapping[str, Any]]
) -> Dict[str, Any]:
    """Return the values of settings among a stanza's parameters.

    An empty value counts as not set, and a table is JSON.
    """
    kinds = {s["name"]: kind_of(s) for s in settings}
    values: Dict[str, Any] = {}
    for name, value in parameters.items():
        if name not in kinds or value == "":
            continue
        if kinds[name].is_json:
            try:
                values[name] = json.loads(value)
            except ValueError:
                raise ConfigError(f'{name} is not a JSON object; write {{"name": value}}') from None
        else:
            values[name] = value
    return values


def stanza_name(stanza: str) -> str:
    """Return the name in a stanza: `main` for `acme://main`."""
    return stanza.partition("://")[2]


def proxy_settings(tab: Mapping[str, str]) -> Dict[str, str]:
    """Return the Proxy tab as settings of a connection; empty if the proxy is not enabled."""
    if tab.get("proxy_enabled") not in ("1", "true", "True") or not tab.get("proxy_url"):
        return {}
    scheme = tab.get("proxy_type", "http")
    if scheme == "socks5" and tab.get("proxy_rdns") in ("1", "true"):
        scheme = "socks5h"  # the proxy resolves host names
    host = tab["proxy_url"]
    if ":" in host:  # an IPv6 address
        host = f"[{host}]"
    port = tab.get("proxy_port", "3128")
    return {
        "proxy": f"{scheme}://{quote(host, safe='[]:.')}:{port}",
        "proxy_user": tab.get("proxy_username", ""),
        "proxy_password": tab.get("proxy_password", ""),
    }


def error_summary(error: BaseException) -> str:
    """Return an error as one line of at most MAX_ERROR_CHARACTERS.

    For an error of Python the line names its innermost calls and leaves out its text, which may
    contain a secret.
    """
    kind = type(error).__name__
    if isinstance(error, (SiemtapError, HTTPError)):
        return f"{kind}: {' '.join(str(error).split())}"[:MAX_ERROR_CHARACTERS]
    if isinstance(error, OSError) and error.strerror:
        file = f": {error.filename}" if error.filename else ""
        return f"{kind}: {error.strerror}{file}"[:MAX_ERROR_CHARACTERS]
    calls = traceback.extract_tb(error.__traceback__, -TRACEBACK_CALLS)
    lines = [f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in reversed(calls)]
    return f"{kind} at {' < '.join(lines)}"[:MAX_ERROR_CHARACTERS]
