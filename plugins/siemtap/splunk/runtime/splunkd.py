"""What an add-on stores in Splunk: accounts and their secrets, and settings. All of it goes through
splunkd's REST API."""

from __future__ import annotations

import json
import logging
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional
from urllib.parse import quote, urlsplit

from splunklib.binding import HTTPError, UrlEncoded
from splunklib.client import Service, connect

from ...core.errors import ConfigError, Retry, SiemtapError
from ...core.manifest import describe, fill_in, kind_of
from ...core.settings import Connection
from .names import App, proxy_settings

log = logging.getLogger("siemtap")

MASK = "******"  # what a conf file, and a page, has for a secret
# solnlib stores a secret in parts of 255 characters: <name><SEPARATOR><number>, counted from 1
SEPARATOR = "``splunk_cred_sep``"
PART_CHARACTERS = 255
END_OF_SECRET = SEPARATOR.join(("", "S", "P", "L"))
PASSWORDS = "storage/passwords"
PATIENCE = 10.0  # seconds splunkd may answer that it fails; a page waits 30 seconds
TRANSIENT_STATUSES = (500, 502, 503, 504)
MAX_ERROR_CHARACTERS = 1_000  # of an error in the log
TRACEBACK_CALLS = 4  # the innermost calls that an error line names
# passwords.conf holds secrets that are encrypted with the instance's splunk.secret (Splunk,
# "Securing Splunk Enterprise", Deploy secure passwords across multiple servers)
PASSWORDS_ADVICE = (
    'look for the reason in splunkd.log (index=_internal sourcetype=splunkd "storage/passwords").'
    " If local/passwords.conf was copied from another instance, whose"
    " splunk.secret encrypted it, delete its entries and enter the secrets again on the"
    " configuration page"
)


class SessionEnded(Retry):
    """splunkd no longer accepts the session key.

    splunkd passes one key to each run, and the SDK can renew a key only with a user and a password
    (splunklib.binding, `autologin`). So the run ends, and the next one has a key of its own.
    """


class Splunkd:
    """A session with splunkd: the address and the key come from the input's XML."""

    def __init__(
        self,
        app: App,
        uri: str,
        session_key: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(uri)
        self.app = app
        self.sleep = sleep
        self.service: Service = connect(
            scheme=parts.scheme,
            host=parts.hostname,
            port=parts.port,
            token=session_key,
            owner="nobody",
            app=app.name,
            autologin=False,
        )

    def call(
        self,
        request: Callable[[], Any],
        endpoint: str,
        advice: str,
        patience: Optional[float] = None,
    ) -> Any:
        """Call splunkd, and repeat a call that it fails to answer for so many seconds (PATIENCE).

        Raise SessionEnded if the session key is refused, Retry with the advice if splunkd goes on
        failing, and HTTPError for any other answer. `endpoint`: for the error.
        """
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        while True:
            try:
                return request()
            except HTTPError as error:
                if error.status == 401:
                    raise SessionEnded(
                        "splunkd no longer accepts the session key of this run (HTTP 401): it"
                        " expired, or splunkd was restarted. The next run gets a new key and"
                        " continues from the checkpoint; if this repeats, raise sessionTimeout in"
                        " server.conf",
                        status=401,
                    ) from None
                if error.status not in TRANSIENT_STATUSES:
                    raise
                status, reason = error.status, f"HTTP {error.status}"
            except OSError as error:
                status, reason = 0, error_summary(error)
            if time.monotonic() >= deadline:
                raise Retry(f"{endpoint} of splunkd fails ({reason}): {advice}", status=status)
            self.sleep(1.0)

    def read_stanza(self, conf: str, name: str) -> Dict[str, str]:
        """Return a stanza of `<root>_<conf>.conf` with its secrets in plain text.

        Raise ConfigError if the stanza does not exist, or if it has only the mask of a secret.
        """
        values = self._read_unmasked(conf, name)
        masked = sorted(key for key, value in values.items() if value == MASK)
        if masked:
            raise ConfigError(mask_error(conf, name, masked))
        return values

    def _read_unmasked(self, conf: str, name: str) -> Dict[str, str]:
        """Return a stanza with its secrets; those that are not stored here are still masked."""
        file = f"{self.app.root}_{conf}"
        try:
            content = self._get(f"configs/conf-{file}", name)
        except HTTPError as error:
            if error.status == 404:
                raise MissingStanza(
                    f'there is no {conf} "{name}" on this instance: create it on the configuration'
                    " page, or choose another one on the page of the input"
                ) from None
            raise
        values = {
            key: str(value)
            for key, value in content.items()
            if not key.startswith("eai:") and value is not None
        }
        return {**values, **self.read_secrets(f"configs/conf-{file}", name)}

    def read_settings(self, name: str) -> Dict[str, str]:
        """Return a tab of the configuration page; empty if it was never saved.

        A secret that is not stored on this instance is still masked.
        """
        try:
            return self._read_unmasked("settings", name)
        except MissingStanza:
            return {}

    def read_connection(self, account: Mapping[str, str]) -> Connection:
        """Return the connection settings of an account: the tab Advanced of the configuration page,
        and the account's own proxy, or without one that of the tab Proxy."""
        proxy = {s["name"]: account.get(s["name"], "") for s in proxy_settings()}
        if not proxy["proxy"]:
            proxy = proxy_of_tab(self.read_settings("proxy"))
        if proxy.get("proxy_password") == MASK:
            raise ConfigError(mask_error("settings", "proxy", ["proxy_password"]))
        values = {**self.read_settings("advanced"), **proxy}
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
        for password in self._passwords():
            owner, separator, number = str(password.content.get("username")).rpartition(SEPARATOR)
            if password.content.get("realm") == realm and separator and owner == name:
                parts[int(number)] = str(password.content.get("clear_password"))
        return "".join(part for _, part in sorted(parts.items()))

    def save_password(self, realm: str, name: str, text: str) -> None:
        """Store a text in storage/passwords in parts; an empty text deletes it."""
        parts = {
            f"{name}{SEPARATOR}{start // PART_CHARACTERS + 1}": text[
                start : start + PART_CHARACTERS
            ]
            for start in range(0, len(text), PART_CHARACTERS)
        }
        for password in self._passwords():
            username = str(password.content.get("username"))
            is_same_realm = password.content.get("realm") == realm
            if is_same_realm and username.rpartition(SEPARATOR)[0] == name:
                entry = _path(PASSWORDS, password.name)
                if username in parts:
                    self.service.post(entry, password=parts.pop(username))
                else:
                    self.service.delete(entry)
        for username, part in parts.items():
            self.service.post(PASSWORDS, name=username, realm=realm, password=part)

    def inputs_of_account(self, account: str) -> List[str]:
        """Return the names of the add-on's inputs that log in with an account."""
        try:
            response = self.call(
                lambda: self.service.get(
                    f"data/inputs/{self.app.kind}", output_mode="json", count=0
                ),
                f"data/inputs/{self.app.kind}",
                "try again when splunkd has started",
            )
        except HTTPError as error:
            if error.status == 404:  # splunkd did not load the input on this instance
                return []
            raise
        entries = json.loads(response["body"].read())["entry"]
        return sorted(
            entry["name"] for entry in entries if entry["content"].get("account") == account
        )

    def has_account(self, name: str) -> bool:
        """Return whether an account exists on this instance."""
        try:
            self._get(f"configs/conf-{self.app.root}_account", name)
        except HTTPError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _passwords(self) -> Iterable[Any]:
        entries: Iterable[Any] = self.call(
            lambda: self.service.storage_passwords.list(count=-1), PASSWORDS, PASSWORDS_ADVICE
        )
        return entries

    def _get(self, endpoint: str, name: str) -> Mapping[str, Any]:
        response = self.call(
            lambda: self.service.get(_path(endpoint, name), output_mode="json"),
            endpoint,
            "is splunkd still starting? Look for the reason in splunkd.log",
        )
        content: Mapping[str, Any] = json.loads(response["body"].read())["entry"][0]["content"]
        return content


class MissingStanza(ConfigError):
    """A stanza of a conf file does not exist."""


def _path(endpoint: str, name: str) -> UrlEncoded:
    """Return the path of an entry. The SDK itself leaves a slash in a name as it is."""
    return UrlEncoded(f"{endpoint}/{quote(name, safe='')}", skip_encode=True)


def mask_error(conf: str, name: str, masked: List[str]) -> str:
    """Return what is wrong with a stanza that came without its secrets, and what to do."""
    return (
        f'{conf} "{name}" has only the mask {MASK} of {", ".join(masked)} on this instance: a'
        " deployment server, or a copy of local/, brought the conf file without its secret, which"
        " is in storage/passwords. Open the add-on's configuration page on this instance, enter the"
        " secret again and save"
    )


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


def proxy_of_tab(tab: Mapping[str, str]) -> Dict[str, str]:
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
