"""The URL of an attacked request, which may be absolute: a proxy's request line is, and so are
those of some feeds."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from siemtap.core.bounds import cached
from siemtap.core.convert import LongText, Port, text
from siemtap.core.formats.url import Url, split_host, split_url, without_userinfo


def uri(
    value: Any,
) -> Tuple[LongText, Optional[LongText], Optional[str], Optional[str]]:
    """Return the URI as sent but without a password, its path and query, and the scheme of an
    absolute URL."""
    shown = text(value)
    scheme, rest = None, shown
    if "://" in shown:
        shown = rest = without_userinfo(shown)
        url = split_url(shown)
        if url:
            scheme, rest = url.scheme, url.rest
    path, _, query = rest.partition("?")
    return shown, path or None, query or None, scheme


@cached(1_024, typed=True)
def host(value: Any) -> Tuple[str, str, str, Optional[Port], str]:
    """Return the host of `hostName`, three times, its port, and the host."""
    sent = text(value)
    name, port = split_host(sent)
    name = name or sent
    return name, name, name, port, name


def absolute(uri: Any) -> Optional[Url]:
    """Return the parts of an absolute URL; None for a path, as nearly all are."""
    if not isinstance(uri, str) or "://" not in uri:
        return None
    return split_url(without_userinfo(uri))


def url_domain(uri: Any) -> Optional[str]:
    """Return the host of an absolute URL, which need not be that of the request."""
    url = absolute(uri)
    return url.domain or None if url else None


def url_port(uri: Any, host_name: Any) -> Optional[Port]:
    """Return the port of an absolute URL; else that of the request, where one is written."""
    url = absolute(uri)
    if url:
        return url.port
    return host(host_name.strip())[3] if isinstance(host_name, str) else None
