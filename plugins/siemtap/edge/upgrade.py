"""uvicorn's quicker HTTP, made to ignore offers of another protocol, as RFC 9110 7.8 allows and as
h11 does.

llhttp ends a request at its head where the head offers an upgrade: the body behind it would be the
other protocol's. curl --http2 and Java's HttpClient offer h2c with every request to http://, and
their bodies are ours. So such a head is read again without the offer. Not in add-ons, which have
h11 alone.
"""

from __future__ import annotations

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

OFFERS = (b"upgrade", b"http2-settings")  # headers, and words of the header Connection


class PlainHttp(HttpToolsProtocol):  # type: ignore[misc]
    """Any request in HTTP/1.1 or 1.0, whatever else it offers."""

    parser: Any

    def data_received(self, data: bytes) -> None:
        """As uvicorn's, which takes an offered protocol for the end."""
        self._unset_keepalive_if_required()
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as offer:
                    data, head = data[offer.args[0] :], self._head_without_offer()
                    self.parser = httptools.HttpRequestParser(self)
                    # as uvicorn does
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                    self.parser.feed_data(head)
        # CONNECT is an upgrade for ever
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
        """Not for a head that is read again. Trailers come as headers, too, and change nothing."""
        self.scope["headers"] = list(self.headers)
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _head_without_offer(self) -> bytes:
        parser, lines = self.parser, []
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(
                    word for word in value.split(b",") if word.strip().lower() not in OFFERS
                )
            if name not in OFFERS and value:
                lines.append(name + b": " + value)
        version = parser.get_http_version().encode()
        return b"\r\n".join(
            [parser.get_method() + b" " + self.url + b" HTTP/" + version, *lines, b"", b""]
        )
