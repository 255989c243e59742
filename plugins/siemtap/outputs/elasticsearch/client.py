"""The connection to a search cluster (Elasticsearch or OpenSearch), and what its errors mean."""

from __future__ import annotations

import logging
import re
from typing import Any, Dict, List, Optional, Tuple, TypedDict, Union

import elastic_transport
from elasticsearch import ApiError, Elasticsearch, UnsupportedProductError

from ...core.errors import AuthError, ConfigError, Retry, SiemtapError
from ...edge.certificates import Followed, client_context
from ...edge.client.pins import Pin
from .node import Lines, NodeTls, Serializer, node_class
from .settings import Settings, check_login

Hit = Dict[str, object]  # of a search
WAIT = frozenset((408, 425, 429, 500, 502, 503, 504))
USERINFO = re.compile(r"://[^/\s]*@")  # user and password of a host, in an error of the client
MAX_LENGTH = 500  # characters of a server's text in an error
# What a call of the client raises. A deeply nested answer raises the last one.
FAILURES = (ApiError, elastic_transport.TransportError, RecursionError)
INCOMPLETE = (
    "the answer is no complete search; check whether a shard failed, or a proxy is in between"
)

# siemtap's own errors say what failed.
logging.getLogger("elastic_transport").addHandler(logging.NullHandler())


class LoginOptions(TypedDict, total=False):
    """Options of the client for the login."""

    api_key: Union[str, Tuple[str, str]]
    basic_auth: Tuple[str, str]
    bearer_auth: str


class ServerOptions(TypedDict, total=False):
    """Options of the client for the address and for TLS."""

    cloud_id: str
    hosts: List[str]
    verify_certs: bool
    ssl_show_warn: bool


class Tls:
    """How a client verifies the nodes, and the certificate that it shows them.

    `files`: what follows `ca_file`, `certificate` and `key`. Raise ConfigError if they cannot be
    used.
    """

    def __init__(self, settings: Settings, flavour: str) -> None:
        self.node: NodeTls = None
        self.files: List[Followed[Any]] = []
        own = (settings.certificate, settings.key)
        if settings.ca_fingerprint:
            self.node = Pin(settings.ca_fingerprint, *own)
            self.files.append(self.node.contexts)
        elif settings.ca_file or settings.certificate:
            self.node = client_context(settings.ca_file, *own, verify=settings.verify)
            self.files.append(self.node)
        for followed in self.files:
            try:
                followed.latest()
            except ConfigError as error:
                raise error.at(f"output.{flavour}") from None


def build_client(settings: Settings, flavour: str, tls: Optional[Tls] = None) -> Elasticsearch:
    """Return a client for either flavour. Raise ConfigError that names the wrong setting."""
    try:
        check_login(settings, flavour)
    except ConfigError as error:
        raise error.at(f"output.{flavour}") from None
    tls = tls or Tls(settings, flavour)
    try:
        return Elasticsearch(
            node_class=node_class(flavour, settings.compression_level, tls.node),
            serializers={"application/json": Serializer(), "application/x-ndjson": Lines()},
            request_timeout=settings.timeout / 1000,
            max_retries=0,
            retry_on_timeout=False,
            **_login_options(settings),
            **_server_options(settings),
        )
    except (ValueError, OSError) as error:
        reason = USERINFO.sub("://", str(error))
        raise ConfigError(f"output.{flavour}: {reason}") from None


def _login_options(settings: Settings) -> LoginOptions:
    options: LoginOptions = {}
    if settings.api_key:
        id, colon, key = settings.api_key.partition(":")
        options["api_key"] = (id, key) if colon else settings.api_key
    if settings.username:
        options["basic_auth"] = (settings.username, settings.password)
    if settings.bearer_token:
        options["bearer_auth"] = settings.bearer_token
    return options


def _server_options(settings: Settings) -> ServerOptions:
    options: ServerOptions = {}
    if settings.cloud_id:
        options["cloud_id"] = settings.cloud_id
    else:
        options["hosts"] = list(settings.hosts)
    if settings.cloud_id or any(host.startswith("https://") for host in settings.hosts):
        options["verify_certs"] = settings.verify or bool(settings.ca_fingerprint)
        options["ssl_show_warn"] = False
    return options


def error_from(error: Exception, flavour: str, doing: str) -> SiemtapError:
    """Return the error of siemtap that an exception of the client means.

    `doing` says what was attempted, such as "bulk".
    """
    if isinstance(error, UnsupportedProductError):
        return ConfigError(
            f"{doing}: the server is not Elasticsearch; for OpenSearch write output.opensearch"
        )
    if isinstance(error, ApiError):
        return _error_from_answer(error, flavour, doing)
    if isinstance(error, elastic_transport.TlsError):
        return ConfigError(
            f"{doing}: {_short(error)}; check hosts, ca_file or ca_fingerprint of output.{flavour}"
        )
    if isinstance(error, (elastic_transport.SerializationError, RecursionError)):
        return Retry(
            f"{doing}: the answer is not JSON; check whether output.{flavour}.hosts is the cluster,"
            " or a proxy in front of it"
        )
    return Retry(f"{doing}: {type(error).__name__} {_short(error)}{_tls_hint(error)}")


def _tls_hint(error: Exception) -> str:
    closed = "Remote end closed" in _short(error) or "reset by peer" in _short(error)
    return "; if hosts has http:// and the server expects TLS, write https://" if closed else ""


def _error_from_answer(error: ApiError, flavour: str, doing: str) -> SiemtapError:
    """Return the error that an answer with an error status means."""
    status = error.status_code
    kind, reason = parse_error(error.body)
    text = f"{doing}: {status} {kind or _text(error.message)}"
    if reason:
        text += f": {reason}"
    if status in WAIT or is_block(kind, reason):
        return Retry(text, status=status)
    if status == 401:
        settings = "username and password"
        if flavour != "opensearch":
            settings = f"api_key, or {settings},"
        return AuthError(f"{text}; check {settings} of output.{flavour}", status=status)
    if status == 403:
        return AuthError(
            f"{text}; give the user the rights that docs/elasticsearch.md lists", status=status
        )
    if status == 406 or "content-type" in reason.lower():
        return ConfigError(
            f"{text}; a server that rejects Elastic's media types is OpenSearch: write"
            " output.opensearch",
            status=status,
        )
    return ConfigError(text, status=status)


def parse_error(body: object) -> Tuple[str, str]:
    """Return the type and the reason of a server's error, the innermost cause last.

    A part that the body does not have is "".
    """
    error = body.get("error", body) if isinstance(body, dict) else {}
    if not isinstance(error, dict):
        return "", _text(error)
    reason = _text(error.get("reason"))
    cause = error.get("caused_by")
    if isinstance(cause, dict) and _text(cause.get("reason")):
        reason += f"; caused by {_text(cause['reason'])}"
    return _text(error.get("type")), reason[:MAX_LENGTH]


def _text(value: object) -> str:
    """Return a server's text, shortened; "" for a value that is no text."""
    return str(value)[:MAX_LENGTH] if isinstance(value, (str, int, float)) else ""


def parse_hits(body: object, doing: str) -> List[Hit]:
    """Return the hits of a complete search.

    Raise Retry for an incomplete answer, and for one that is no answer to a search. A search that
    timed out, or whose shard failed, answers 200 too. Only a complete answer proves that a document
    is missing. OpenSearch counts a shard that is not there as neither failed nor successful
    (SearchResponse; elastic/elasticsearch#47700), and one that it could skip as successful.
    """
    answer = require_all_shards(body, doing)
    shards = answer["_shards"]
    assert isinstance(shards, dict)
    total = shards.get("total")
    if total.__class__ is not int or shards.get("successful") != total:
        raise Retry(f"{doing}: {INCOMPLETE}")
    outer = answer.get("hits", {})  # filter_path leaves out what is empty
    hits = outer.get("hits", []) if isinstance(outer, dict) else None
    is_valid = isinstance(hits, list) and all(isinstance(hit, dict) for hit in hits)
    if answer.get("timed_out") is not False or not is_valid:
        raise Retry(f"{doing}: {INCOMPLETE}")
    return list(hits or ())


def require_all_shards(body: object, doing: str) -> Dict[str, object]:
    """Return an answer as an object. Raise Retry if it names no shards, or failed ones."""
    answer = body if isinstance(body, dict) else {}
    shards = answer.get("_shards")
    failed = shards.get("failed") if isinstance(shards, dict) else None
    if failed.__class__ is not int or failed:
        raise Retry(f"{doing}: {INCOMPLETE}")
    return answer


def is_block(kind: str, reason: str) -> bool:
    """Return whether an error is about the index or the cluster, whatever its status: a read-only
    one, a full disk, a closed index, the limit of shards, a pipeline that is not there.

    Somebody puts it right, so the events wait.
    """
    return (
        kind in ("cluster_block_exception", "index_closed_exception")
        or (kind == "validation_exception" and "shards open" in reason)
        or (reason.startswith("pipeline with id [") and "] does not exist" in reason)
    )


def _short(error: Exception) -> str:
    return str(getattr(error, "message", error)).partition("\n")[0][:MAX_LENGTH]
