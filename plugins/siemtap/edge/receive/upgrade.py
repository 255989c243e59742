"""uvicorn's httptools protocol, changed to ignore protocol upgrades, as RFC 9110 7.8 allows and as
h11 does.

llhttp ends a request after its head if the head offers an upgrade, because the body would belong to
the other protocol. curl --http2 and Java's HttpClient offer h2c with every request to http://, and
send their HTTP/1.1 body with it. So such a head is parsed again without the offer. Splunk add-ons
do not include this module; they use h11.
"""

from __future__ import annotations

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

OFFERS = (b"upgrade", b"http2-settings")  # headers, and options of the header Connection


class PlainHttp(HttpToolsProtocol):  # type: ignore[misc]
    """HTTP/1.1 or 1.0, whatever upgrade a request offers."""

    parser: Any

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, as uvicorn does, except that uvicorn stops at an upgrade offer."""
        self._unset_keepalive_if_required()
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as offer:
                    head = self._head_without_offer()
                    data = data[offer.args[0] :]
                    self.parser = httptools.HttpRequestParser(self)
                    # as uvicorn does
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                    self.parser.feed_data(head)
        # CONNECT stays an upgrade without the offer
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
        """Start the request, unless its head will be parsed again. Trailers call this too, and
        change nothing."""
        self.scope["headers"] = list(self.headers)
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _head_without_offer(self) -> bytes:
        lines = []
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(
                    option for option in value.split(b",") if option.strip().lower() not in OFFERS
                )
            if name not in OFFERS and value:
                lines.append(name + b": " + value)
        method = self.parser.get_method()
        version = self.parser.get_http_version().encode()
        request_line = method + b" " + self.url + b" HTTP/" + version
        return b"\r\n".join([request_line, *lines, b"", b""])
