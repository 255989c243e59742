"""Checks of settings that belong together or name something outside: what would fail later is a
mistake of the configuration now."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import ssl
from typing import Any, Iterable, Iterator, Mapping, Tuple
from urllib.parse import urlsplit

from ...edge.receive.addresses import is_loopback

Problem = Tuple[str, str]  # a setting, and what goes on after its place
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
