"""Checks of settings that belong together or name something outside: what would fail later is a
mistake of the configuration now."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import ssl
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Mapping, NoReturn, Tuple
from urllib.parse import urlsplit

from ...core.errors import ConfigError, Retry, SiemtapError
from ...core.windows import DAY
from ...edge.client.http import Http
from ...edge.client.messages import Request
from ...edge.receive import addresses
from ...edge.receive.addresses import is_loopback

if TYPE_CHECKING:
    from .sections import Input

Problem = Tuple[str, str]  # a setting, and what goes on after its place
SETTING = re.compile(r"`([a-z0-9_]+)`")
FILES = ("ca_file", "certificate", "key")
# a login is both or none
PAIRS = (("username", "password"), ("proxy_user", "proxy_password"))


def problems(form: Any) -> Iterator[Problem]:
    """Yield what is wrong with the settings of a section, one problem a setting."""
    names = {field.name for field in dataclasses.fields(form)}
    for name in FILES:
        if name in names:
            has_key = name == "key" or not getattr(form, "key", "")  # else it is in `key`
            yield from _file_problems(name, getattr(form, name), has_key)
    for first, second in PAIRS:
        if {first, second} <= names:
            yield from _pair_problems(form, first, second)
    if "key" in names and form.key and not form.certificate:
        yield "key", ": a key needs its `certificate`"
    if "tls" in names:
        yield from _kafka_problems(form)
    elif "hosts" in names and not getattr(form, "cloud_id", ""):
        for host in form.hosts:
            problem = url_problem(host)
            if problem:
                yield "hosts", f": {problem}"
    for name in ("url", "proxy"):
        value = getattr(form, name, "")
        if isinstance(value, str) and value and _bad_authority(value):
            yield name, ": its host or port is none; write https://host.example.com:8443"
    if "host" in names and "port" in names and not _is_host(form.host):
        yield "host", f' is "{form.host}"; write an address or a name, such as 127.0.0.1'
    elif "remote" in names and form.enabled and not (form.remote or is_loopback(form.host)):
        yield (
            "host",
            f' is "{form.host}", and the page has no login; write 127.0.0.1, or set `remote: true`'
            " to let whoever reaches that address read it",
        )
    if "lifecycle" in names:
        yield from _lifecycle_problems(form)
    if "host" in names and "port" not in names and form.host and _bad_authority(form.host):
        yield "host", ": its host or port is none; write https://host.example.com:5601"


def _file_problems(name: str, path: str, has_key: bool) -> Iterator[Problem]:
    """Yield what is wrong with a file. `has_key`: a certificate's or a key's holds the key."""
    if not path:
        return
    try:
        with open(path, "rb") as file:
            content = file.read(10 * 1024**2)
    except IsADirectoryError:
        yield name, f": {path} is a directory; write a PEM file, which may hold many certificates"
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such name"
        yield name, f": {path} cannot be read: {reason}"
        return
    if b"-----BEGIN " not in content:
        yield name, f": {path} is no PEM file; it begins with -----BEGIN …"
    elif name == "ca_file":
        try:
            ssl.create_default_context().load_verify_locations(cadata=content.decode("latin-1"))
        except (ssl.SSLError, ValueError) as error:
            yield name, f": {path} holds no certificate that can be read ({type(error).__name__})"
    elif name == "certificate" and b"CERTIFICATE-----" not in content:
        yield name, f": {path} holds no certificate"
    elif has_key and b"PRIVATE KEY-----" not in content:
        advice = "; write its path as `key`" if name == "certificate" else ""
        yield name, f": {path} holds no private key{advice}"


def _kafka_problems(form: Any) -> Iterator[Problem]:
    for name in FILES:
        if getattr(form, name) and not form.tls:
            yield name, " needs `tls: true`"
    if form.sasl_mechanism and not form.username:
        yield "sasl_mechanism", " needs `username` and `password`"


def topic_of_both(topics: Iterable[str], written: str, datasets: Iterable[str]) -> str:
    """Return a topic that an input reads and a Kafka output writes; "" if there is none.

    `topics`: names, or regular expressions that begin with ^. `written`: the output's pattern.
    """
    for dataset in datasets:
        topic = re.sub(r"%\{[^%}]*\}", "x", written.replace("%{[event.dataset]}", dataset))
        for name in topics:
            try:
                is_read = re.match(name, topic) if name.startswith("^") else name == topic
            except re.error:  # librdkafka reads expressions of another kind, and reports it
                continue
            if is_read:
                return topic
    return ""


def _lifecycle_problems(form: Any) -> Iterator[Problem]:
    if form.retention % DAY:  # a part of a day would count as 0, which keeps all events
        yield "retention", ": write whole days, such as 90d; 0s keeps events forever"
    if form.lifecycle == "policy" and not form.policy:
        yield "lifecycle", " is policy, and needs the name of an ILM policy as `policy`"


def _pair_problems(form: Any, first: str, second: str) -> Iterator[Problem]:
    if getattr(form, first) and not getattr(form, second):
        yield first, f" needs `{second}`"
    if getattr(form, second) and not getattr(form, first):
        yield second, f" needs `{first}`"


def url_problem(url: str) -> str:
    """Return what is wrong with the URL of a node; "" if nothing is. Credentials are not shown."""
    example = "write https://es.example.com:9200"
    if "@" in url:
        return f"a host holds no user or password; use `username` and `password`, and {example}"
    if not re.match(r"https?://", url):
        return f'"{url}" has no http:// or https://; {example}'
    if _bad_authority(url):
        return f'the host or port of "{url}" is none; {example}'
    return ""


def _bad_authority(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return not _is_host(parts.hostname or "") or parts.port == 0
    except ValueError:
        return True


def _is_host(host: str) -> bool:
    """Return whether this can be an address or a name in DNS."""
    if re.fullmatch(r"[0-9.]+", host) or ":" in host:
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        return True
    return bool(re.fullmatch(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?", host)) and len(host) < 254


def refusals(input_config: Input) -> Iterator[Problem]:
    """Yield what its plugin or its listeners refuse of an input's settings, and would end
    `siemtap run`; the setting is "" if the problem names none."""
    if input_config.receiving:
        try:
            addresses.check(input_config.receiving)
        except ConfigError as error:
            yield _refusal(error, input_config.receiving)
    if not input_config.common.enabled:
        return
    connection = input_config.connection
    http = Http(_refuse_to_send, connection.timeout, connection.user_agent)
    try:
        input_config.plugin.connect(input_config.settings, http)
    except ConfigError as error:
        yield _refusal(error, input_config.settings)
    except SiemtapError:  # of a request, which only a running input sends
        pass


def _refusal(error: ConfigError, form: Any) -> Problem:
    """Return the setting of a form that an error begins with, and what it says of it."""
    match = SETTING.match(error.message)
    if match and hasattr(form, match[1]):
        return match[1], error.message[match.end() :]
    return "", f": {error.message}"


def _refuse_to_send(request: Request, seconds: float) -> NoReturn:
    raise Retry("nothing is sent while the configuration is read", request.line)


def idle(input_config: Input) -> str:
    """Return that an enabled input can collect nothing, and what to set; "" if it can collect."""
    plugin, receiving = input_config.plugin, input_config.receiving
    if not input_config.common.enabled or (receiving and receiving.receives):
        return ""
    if plugin.pulls and not plugin.sources:
        return ""
    if any(getattr(input_config.settings, name) for name in plugin.sources):
        return ""
    names = [*plugin.sources]
    if receiving:
        names += ["listen", "syslog"] if plugin.webhook else ["syslog"]
    choices = " or ".join(f"`{name}`" for name in names)
    commands = ", or `enabled: false` if it is there for commands alone" if plugin.commands else ""
    return f"collects nothing: set {choices}{commands}" if names else ""


def warn_of_readers(secrets: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each file that holds a secret and that every user may read.

    secrets: file -> the place of a secret in it.
    """
    for file, place in secrets.items():
        try:
            readable = os.name == "posix" and os.stat(file).st_mode & 0o004
        except OSError:  # no file: a text, or -E
            continue
        if readable:
            yield (
                f"{place} is a secret, and every user of this machine may read the file; run"
                f" chmod 600 {file}, or refer to the secret as ${{keystore:NAME}}"
            )
