"""A search cluster, Elasticsearch or OpenSearch: how it is reached, and what its answers mean
for the loop."""

from __future__ import annotations

import gzip
import json
import logging
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple, Type

import elastic_transport
from elastic_transport import NdjsonSerializer, Urllib3HttpNode
from elasticsearch import ApiError, Elasticsearch, OrjsonSerializer, UnsupportedProductError

from ..core.errors import AuthError, ConfigError, Retry, SiemtapError
from ..core.forms import FINGERPRINT, FINGERPRINT_ALLOWED, INDEX, INDEX_ALLOWED
from ..core.manifest import duration, integer, many, secret, switch, text
from ..edge.pins import Pin, pinned

VERSIONED = re.compile(r"application/vnd\.elasticsearch\+([\w-]+)\s*;\s*compatible-with=\d+")
WAIT = frozenset((429, 500, 502, 503, 504))
TOLD_AT_MOST = 500  # characters of a server's reason
# What a call of the client raises; str() of an answer that is nested deeply is the last.
FAILURES = (ApiError, elastic_transport.TransportError, RecursionError)

NOT_WHOLE = "the answer is not that of a whole search: did a shard fail, or is a proxy in between?"

# we say ourselves what fails
logging.getLogger("elastic_transport").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Settings:
    hosts: Tuple[str, ...] = many(
        "Hosts",
        ("http://127.0.0.1:9200",),
        help="One URL or several of the same cluster, such as https://es.example.com:9200.",
    )
    cloud_id: str = text("Cloud id", "", help="Instead of `hosts`, for Elastic Cloud.")
    api_key: str = secret(
        "API key", "", help="As Kibana shows it (base64), or id:key. Elasticsearch only."
    )
    username: str = text("User name", "", help="With `password`, instead of an API key.")
    password: str = secret("Password", "", help="With `username`.")
    bearer_token: str = secret("Bearer token", "", help="A service token, instead of an API key.")
    ca_file: str = text(
        "CA file", "", help="A PEM file of the authorities to trust instead of the public ones."
    )
    ca_fingerprint: str = text(
        "CA fingerprint",
        "",
        pattern=FINGERPRINT,
        allowed=FINGERPRINT_ALLOWED,
        help=(
            "SHA-256 of the authority that signed the server's certificate, as Elasticsearch prints"
            " it at its first start: it alone is trusted, for a certificate with the host's name,"
            " and the server has to send it along. Or of the server's certificate itself: it is"
            " trusted, whoever signed it. Instead of `ca_file`."
        ),
    )
    certificate: str = text("Client certificate", "", help="A PEM file to log in with.")
    key: str = text("Client key", "", help="The PEM file of its key.")
    verify: bool = switch(
        "Verify certificates",
        True,
        help="false trusts anybody; siemtap warns for as long as it is off.",
    )
    index: str = text(
        "Index",
        "",
        pattern=INDEX,
        allowed=INDEX_ALLOWED,
        help=(
            "A plain index instead of the data stream logs-<dataset>-<namespace>, such as"
            " siem-%{+yyyy.MM.dd} or waf-%{[event.dataset]}."
        ),
    )
    bulk_max_size: int = integer(
        "Bulk max size", 1600, least=1, most=50_000, help="The most events in one request."
    )
    bulk_max_bytes: int = integer(
        "Bulk max bytes",
        5 * 1024**2,
        least=1024,
        most=100 * 1024**2,
        help="The most bytes in one request, before compression.",
    )
    compression_level: int = integer(
        "Compression level", 1, least=0, most=9, help="gzip; 0 sends as it is."
    )
    worker: int = integer(
        "Worker", 2, least=1, most=64, help="Requests in flight at once for one batch."
    )
    timeout: int = duration(
        "Timeout", "90s", least="1s", most="10m", help="How long one request may take."
    )


def client(wish: Settings, flavour: str) -> Elasticsearch:
    """The client that both flavours share. ConfigError names the setting that is wrong."""
    ways = [
        name
        for name, given in (
            ("api_key", wish.api_key),
            ("username", wish.username),
            ("bearer_token", wish.bearer_token),
        )
        if given
    ]
    if len(ways) > 1:
        raise ConfigError(f"output.{flavour}: {' and '.join(ways)} are given; use one of them")
    if bool(wish.username) != bool(wish.password):
        raise ConfigError(f"output.{flavour}: username and password go together")
    if bool(wish.certificate) != bool(wish.key):
        raise ConfigError(f"output.{flavour}: certificate and key go together")
    if flavour == "opensearch" and (wish.api_key or wish.cloud_id):
        raise ConfigError(
            "output.opensearch: OpenSearch knows neither api_key nor cloud_id; use username and"
            " password, a bearer_token or a certificate"
        )
    how: Dict[str, Any] = {}
    if wish.api_key:
        id, colon, key = wish.api_key.partition(":")
        how["api_key"] = (id, key) if colon else wish.api_key
    if wish.username:
        how["basic_auth"] = (wish.username, wish.password)
    if wish.bearer_token:
        how["bearer_auth"] = wish.bearer_token
    if wish.cloud_id:
        how["cloud_id"] = wish.cloud_id
    else:
        how["hosts"] = list(wish.hosts)
    if wish.cloud_id or any(host.startswith("https://") for host in wish.hosts):
        how.update(verify_certs=wish.verify or bool(wish.ca_fingerprint), ssl_show_warn=False)
        for name, given in (
            ("ca_certs", wish.ca_file),
            ("client_cert", wish.certificate),
            ("client_key", wish.key),
        ):
            if given:
                how[name] = given
    try:
        pin = Pin(wish.ca_fingerprint, wish.certificate, wish.key) if wish.ca_fingerprint else None
        return Elasticsearch(
            node_class=_node(flavour, wish.compression_level, pin),
            serializers={"application/json": _Serializer(), "application/x-ndjson": _Lines()},
            request_timeout=wish.timeout / 1000,
            max_retries=0,
            retry_on_timeout=False,
            **how,
        )
    except (ValueError, OSError) as error:
        raise ConfigError(f"output.{flavour}: {error}") from None


class _Serializer(OrjsonSerializer):
    """orjson, and the standard library for what it refuses: half a surrogate pair, which
    attackers send and clusters give back."""

    def json_loads(self, data: bytes) -> Any:
        try:
            return super().json_loads(data)
        except ValueError:
            try:
                return json.loads(data)
            except RecursionError:
                raise ValueError("nested too deeply") from None


class _Lines(NdjsonSerializer):
    """Lines that are written already."""

    def dumps(self, data: Any) -> bytes:
        return data if isinstance(data, bytes) else super().dumps(data)


def _node(flavour: str, level: int, pin: Optional[Pin] = None) -> Type[Urllib3HttpNode]:
    class Node(Urllib3HttpNode):
        """Compresses at the level that was asked for; for OpenSearch, leaves out Elastic's media
        types and the product header that it does not know.

        With a pin, nothing is sent before the server has shown what is pinned. The
        `ssl_assert_fingerprint` of elastic_transport believes every authority in a chain that
        nobody verified.
        """

        def __init__(self, config: elastic_transport.NodeConfig) -> None:
            super().__init__(config)
            if pin and config.scheme == "https":
                self.pool.ConnectionCls = pinned(self.pool.ConnectionCls, pin)

        def perform_request(
            self,
            method: str,
            target: str,
            body: Optional[bytes] = None,
            headers: Any = None,
            request_timeout: Any = elastic_transport.client_utils.DEFAULT,
        ) -> Any:
            said = {name.lower(): value for name, value in (headers or {}).items()}
            if flavour == "opensearch":
                said = {
                    name: VERSIONED.sub(r"application/\1", value) for name, value in said.items()
                }
            if level and body and len(body) > 1024:
                body, said["content-encoding"] = gzip.compress(body, level), "gzip"
            answer = super().perform_request(
                method,
                target,
                body=body,
                headers=elastic_transport.HttpHeaders(said),
                request_timeout=request_timeout,
            )
            if flavour == "opensearch":
                answer.meta.headers = elastic_transport.HttpHeaders(
                    {**answer.meta.headers, "x-elastic-product": "Elasticsearch"}
                )
            if not answer.body:  # as a 413 of OpenSearch: no JSON, whatever it says
                answer.meta.headers = elastic_transport.HttpHeaders(
                    {**answer.meta.headers, "content-type": "text/plain"}
                )
            return answer

    return Node


def trouble(error: Exception, flavour: str, doing: str) -> SiemtapError:
    """What an exception of the client means: whose turn it is."""
    if isinstance(error, UnsupportedProductError):
        return ConfigError(
            f"{doing}: the server is not Elasticsearch; for OpenSearch write output.opensearch"
        )
    if isinstance(error, ApiError):
        status, (kind, reason) = error.status_code, words(error.body)
        said = f"{doing}: {status} {kind or _text(error.message)}{f': {reason}' if reason else ''}"
        if status in WAIT or is_block(kind):
            return Retry(said, status=status)
        if status == 401:
            keys = "username and password"
            if flavour != "opensearch":
                keys = f"api_key, or {keys},"
            return AuthError(f"{said}; check {keys} of output.{flavour}", status=status)
        if status == 403:
            return AuthError(
                f"{said}; give the user the rights that the README lists", status=status
            )
        if status == 406 or "content-type" in reason.lower():
            return ConfigError(
                f"{said}; a server that refuses Elastic's media types is OpenSearch: write"
                " output.opensearch",
                status=status,
            )
        return ConfigError(said, status=status)
    if isinstance(error, elastic_transport.TlsError):
        return ConfigError(
            f"{doing}: {_short(error)}; check hosts, ca_file or ca_fingerprint of output.{flavour}"
        )
    if isinstance(error, (elastic_transport.SerializationError, RecursionError)):
        return Retry(
            f"{doing}: the answer is no JSON; is output.{flavour}.hosts the cluster, or a proxy in"
            " front of it?"
        )
    return Retry(f"{doing}: {type(error).__name__} {_short(error)}")


def words(said: Any) -> Tuple[str, str]:
    """The type and the reason in an error of the server's, the innermost cause last.

    Empty where it has another shape.
    """
    error = said.get("error", said) if isinstance(said, dict) else {}
    if not isinstance(error, dict):
        return "", _text(error)
    reason, cause = _text(error.get("reason")), error.get("caused_by")
    if isinstance(cause, dict) and _text(cause.get("reason")):
        reason += f"; caused by {_text(cause['reason'])}"
    return _text(error.get("type")), reason[:TOLD_AT_MOST]


def _text(value: Any) -> str:
    """A word of a server's, cut short; nothing for what is none."""
    return str(value)[:TOLD_AT_MOST] if isinstance(value, (str, int, float)) else ""


def hits_of(body: Any, doing: str) -> List[Dict[str, Any]]:
    """The hits of a search over everything.

    Retry for an answer that may be a part of it: a search that timed out, or a shard that failed,
    answers 200; and for one that is no search's. What is not there is no "it is not there".
    """
    complete(body, doing)
    outer = body.get("hits", {})  # filter_path leaves out what is empty
    hits = outer.get("hits", []) if isinstance(outer, dict) else None
    objects = isinstance(hits, list) and all(isinstance(hit, dict) for hit in hits)
    if body.get("timed_out") is not False or not objects:
        raise Retry(f"{doing}: {NOT_WHOLE}")
    return list(hits or ())


def complete(body: Any, doing: str) -> None:
    """Retry for an answer without, or with failed, shards."""
    shards = body.get("_shards") if isinstance(body, dict) else None
    failed = shards.get("failed") if isinstance(shards, dict) else None
    if failed.__class__ is not int or failed:
        raise Retry(f"{doing}: {NOT_WHOLE}")


def is_block(kind: str) -> bool:
    """A read-only cluster or index, a full disk: it passes."""
    return kind == "cluster_block_exception"


def _short(error: Exception) -> str:
    return str(getattr(error, "message", error)).partition("\n")[0][:TOLD_AT_MOST]
