"""One node of a search cluster: how requests are compressed, bounded in time, pinned and logged."""

from __future__ import annotations

import json
import logging
import re
import ssl
from typing import Any, Optional, Type, Union

import elastic_transport
from elastic_transport import NdjsonSerializer, Urllib3HttpNode
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import OrjsonSerializer

from ...edge.certificates import Followed, following
from ...edge.client.pins import Pin, pinned
from ...edge.client.quoted import redact_error
from ...edge.deadline import bounded, deadline
from ..compression import compress

log = logging.getLogger("siemtap")
VERSIONED = re.compile(r"application/vnd\.elasticsearch\+([\w-]+)\s*;\s*compatible-with=\d+")
LONGEST = 600.0  # seconds of a request without a time-out of its own


# a pin, or the authorities of `ca_file` and the client's certificate; None: the public authorities
NodeTls = Union[Pin, Followed[ssl.SSLContext], None]


class Serializer(OrjsonSerializer):
    """orjson, and the standard library for answers that orjson rejects.

    Such an answer has a lone surrogate, which attackers send and clusters return.
    """

    def json_loads(self, data: bytes) -> object:
        try:
            return super().json_loads(data)
        except ValueError:
            try:
                return json.loads(data)
            except RecursionError:
                raise ValueError("nested too deeply") from None


class Lines(NdjsonSerializer):
    """A serializer that passes on bytes, which are NDJSON already."""

    def dumps(self, data: object) -> bytes:
        return data if isinstance(data, bytes) else super().dumps(data)


def node_class(flavour: str, level: int, tls: NodeTls = None) -> Type[Urllib3HttpNode]:
    class Node(Urllib3HttpNode):
        """A node that compresses at a level of choice, speaks OpenSearch, and verifies a pin.

        OpenSearch knows neither Elastic's media types nor the product header.

        With a pin, nothing is sent before the server has shown the pinned certificate. The
        `ssl_assert_fingerprint` of elastic_transport trusts every authority in an unverified chain.
        """

        def __init__(self, config: elastic_transport.NodeConfig) -> None:
            super().__init__(config)
            if isinstance(tls, Pin) and config.scheme == "https":
                self.pool.ConnectionCls = pinned(self.pool.ConnectionCls, tls)
            elif isinstance(tls, Followed) and config.scheme == "https":
                self.pool.ConnectionCls = following(self.pool.ConnectionCls, tls)
            self.pool.ConnectionCls = bounded(self.pool.ConnectionCls)

        def perform_request(
            self,
            method: str,
            target: str,
            body: Optional[bytes] = None,
            headers: Optional[elastic_transport.HttpHeaders] = None,
            request_timeout: Union[DefaultType, float, None] = DEFAULT,
        ) -> Any:  # the type is private to elastic_transport
            fields = {name.lower(): value for name, value in (headers or {}).items()}
            if flavour == "opensearch":
                fields = {
                    name: VERSIONED.sub(r"application/\1", value) for name, value in fields.items()
                }
            if level and body and len(body) > 1024:
                body = compress(body, level)
                fields["content-encoding"] = "gzip"
            seconds = self.config.request_timeout if request_timeout is DEFAULT else request_timeout
            with deadline(seconds or LONGEST) as call:
                try:
                    answer = super().perform_request(
                        method,
                        target,
                        body=body,
                        headers=elastic_transport.HttpHeaders(fields),
                        request_timeout=request_timeout,
                    )
                except elastic_transport.TransportError:
                    if not call.is_late:
                        raise
                if call.is_late:
                    raise elastic_transport.ConnectionTimeout(f"no answer within {seconds:g} s")
            if log.isEnabledFor(logging.DEBUG):
                line = f"{method} {self.base_url}{target.partition('?')[0]}: {answer.meta.status}"
                size = f"{len(body or b''):,} bytes sent, {len(answer.body):,} received"
                log.debug("%s, %s, %.0f ms", line, size, answer.meta.duration * 1000)
            if answer.meta.status >= 400:
                error = redact_error(answer.body, fields.get("authorization", ""))
                answer = answer._replace(body=error)
            if flavour == "opensearch":
                answer.meta.headers = elastic_transport.HttpHeaders(
                    {**answer.meta.headers, "x-elastic-product": "Elasticsearch"}
                )
            # no JSON, whatever its content type says, such as a 413 of OpenSearch
            if not answer.body:
                answer.meta.headers = elastic_transport.HttpHeaders(
                    {**answer.meta.headers, "content-type": "text/plain"}
                )
            return answer

    return Node
