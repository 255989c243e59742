"""Dashboards into Kibana, through its API for saved objects, which every version and serverless
have."""

from __future__ import annotations

import base64
import json
from typing import Any, Dict, Iterator, List, Optional

import urllib3

from .. import contract, health
from ..core.errors import AuthError, ConfigError
from ..core.forms import Connection
from ..core.manifest import fill_in
from ..core.mapping import Dataset
from ..edge.http import Http, Reply, Request, connect, refuse
from ..outputs.elasticsearch import PATTERN
from ..render import kibana as rendered
from ..render.elastic import Asset, Server, types
from ..render.panels import Overview, overview, product_of
from .config import Config


class Kibana:
    """One space of one Kibana."""

    def __init__(self, config: Config) -> None:
        wish, output = config.kibana, config.output_settings
        if config.output == "opensearch":
            raise ConfigError(
                "setup.kibana: OpenSearch Dashboards does not know the panels of Kibana; leave"
                " setup.kibana out"
            )
        self.base = wish.host + (f"/s/{wish.space}" if wish.space else "")
        own = wish.api_key or wish.username
        self.authorization = _authorization(wish if own else output)
        self.http: Http = connect(
            fill_in(Connection, {"ca_file": wish.ca_file or output.ca_file, "verify": wish.verify})
        )

    def check(self) -> None:
        """ConfigError for a Kibana that is too old for the panels."""
        said = self._json(self.http.get(f"{self.base}/api/status"))
        number = str(said.get("version", {}).get("number", "") if isinstance(said, dict) else "")
        version = tuple(int(part) for part in number.split(".")[:2] if part.isdigit())
        if len(version) < 2:
            raise ConfigError(f"setup.kibana.host: {self.base} does not answer as Kibana does")
        if version < rendered.OLDEST:
            raise ConfigError(
                f"setup.kibana: Kibana {number} is too old for the dashboards; they need"
                f" {'.'.join(map(str, rendered.OLDEST))}. Leave setup.kibana out"
            )

    def found(self, kind: str, id: str) -> Optional[Dict[str, Any]]:
        """A saved object as it is there."""
        request = self.http.post(
            f"{self.base}/api/saved_objects/_export",
            {"objects": [{"type": kind, "id": id}], "excludeExportDetails": True},
        )
        reply = self._ask(request)
        if reply.status == 400 and _is_missing(reply):
            return None
        self._refuse(request, reply)
        return dict(json.loads(reply.body.decode().splitlines()[0]))

    def put(self, saved: List[Dict[str, Any]]) -> None:
        """All or, with the reason, not all."""
        body, kind = urllib3.encode_multipart_formdata(
            {"file": ("siemtap.ndjson", rendered.ndjson(saved).encode(), "application/ndjson")}
        )
        said = self._json(
            Request(
                "POST",
                f"{self.base}/api/saved_objects/_import?overwrite=true",
                {"Content-Type": kind},
                body,
            )
        )
        if not said.get("success"):
            failed = [
                f"{one.get('type')} {one.get('id')}: {one.get('error', {}).get('type', 'refused')}"
                for one in said.get("errors", [])
            ]
            raise ConfigError(f"Kibana refused {'; '.join(failed[:5]) or 'the import'}")

    def _json(self, request: Request) -> Any:
        reply = self._ask(request)
        self._refuse(request, reply)
        return reply.json()

    def _ask(self, request: Request) -> Reply:
        return self.http.ask(
            request._replace(
                headers={**request.headers, "kbn-xsrf": "siemtap", **self.authorization}
            )
        )

    def _refuse(self, request: Request, reply: Reply) -> None:
        try:
            refuse(request, reply, self.http.now())
        except AuthError as error:
            raise AuthError(
                f"{error}; check the login of setup.kibana (that of the output by default), and"
                " that it may write saved objects, as the README lists"
            ) from None


def _authorization(wish: Any) -> Dict[str, str]:
    if wish.api_key:
        key = (
            wish.api_key
            if ":" not in wish.api_key
            else base64.b64encode(wish.api_key.encode()).decode()
        )
        return {"Authorization": f"ApiKey {key}"}
    if wish.username:
        return {
            "Authorization": (
                f"Basic {base64.b64encode(f'{wish.username}:{wish.password}'.encode()).decode()}"
            )
        }
    return {}


def _is_missing(reply: Reply) -> bool:
    try:
        return any(
            one.get("error", {}).get("statusCode") == 404
            for one in reply.json()["attributes"]["objects"]
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


# What should be there


def overviews(datasets: List[Dataset]) -> Iterator[Overview]:
    """One a vendor, in the order of the configuration; and our own."""
    for name in dict.fromkeys(dataset.namespace for dataset in datasets):
        some = [dataset for dataset in datasets if dataset.namespace == name]
        yield (
            health.OVERVIEW
            if name == health.DATASET.namespace
            else overview(product_of(some), some)
        )


def saved_objects(
    server: Server, datasets: List[Dataset], patterns: Dict[str, str]
) -> List[Dict[str, Any]]:
    """`patterns`: where the events of a vendor lie."""
    found: List[Dict[str, Any]] = []
    for shown in overviews(datasets):
        known = {
            path: kind
            for dataset in shown.datasets
            for path, kind in types(server, contract.read("event.schema.json"), dataset).items()
        }
        found += rendered.objects(
            shown, known, rendered.View(f"siemtap-{shown.name}", patterns[shown.name])
        )
    return found


def patterns(config: Config, datasets: List[Dataset]) -> Dict[str, str]:
    """Data streams of each vendor, or the indices that its inputs, or the output, were given."""
    found = {}
    for name in dict.fromkeys(dataset.namespace for dataset in datasets):
        given = {
            (wish.every.index or config.output_settings.index)
            for wish in config.inputs
            if wish.plugin.name == name
        } or {config.output_settings.index}
        found[name] = ",".join(
            sorted(PATTERN.sub("*", index) if index else f"logs-{name}.*" for index in given)
        )
    return found


def assets(server: Server, config: Config, datasets: List[Dataset]) -> List[Asset]:
    """`path` is "type/id"."""
    return [
        Asset(KINDS[one["type"]], one["id"], f"{one['type']}/{one['id']}", one)
        for one in saved_objects(server, datasets, patterns(config, datasets))
    ]


KINDS = {"index-pattern": "data view", "search": "saved search", "dashboard": "dashboard"}


def differences(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    """A data view is the user's once it is there, but for where it looks; of the rest, which
    revision it is."""
    name = "title" if after["type"] == "index-pattern" else "description"
    old, new = (one["attributes"].get(name) for one in (before, after))
    return [] if old == new else [f"{name}: {old} -> {new}"]
