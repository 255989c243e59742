"""Kibana's API: for saved objects, which every version and serverless have, and for integration
packages (Fleet, elastic/kibana, x-pack/platform/plugins/shared/fleet/server/routes/epm)."""

from __future__ import annotations

import base64
import json
from typing import Any, Dict, Iterator, List, Optional, Tuple

import urllib3

from ...core.errors import AuthError, ConfigError
from ...core.manifest import fill_in
from ...core.rows import Dataset
from ...core.settings import Connection
from ...edge.client.http import Http, connect
from ...edge.client.messages import Reply, Request
from ...edge.client.replies import raise_for_status
from ...render import health
from ...render.panels import Overview, dashboards, product_name
from ..assets import Asset
from ..field_types import types
from ..server import Server
from . import saved_objects as rendered

Version = Tuple[int, ...]
# What a refused login may lack.
SAVED_OBJECTS = "write saved objects"
INTEGRATIONS = "install integrations"


class Kibana:
    """A client for one space of a Kibana."""

    def __init__(self, settings: Any, output: Any) -> None:
        """`settings`: those of `setup.kibana`; what they leave out is that of the `output`."""
        self.base = settings.host + (f"/s/{settings.space}" if settings.space else "")
        has_login = settings.api_key or settings.username
        self.authorization = _authorization(settings if has_login else output)
        self.http: Http = connect(
            fill_in(
                Connection,
                {"ca_file": settings.ca_file or output.ca_file, "verify": settings.verify},
            )
        )

    def check(self, oldest: Version = rendered.OLDEST, needed_by: str = "the dashboards") -> None:
        """Raise ConfigError for a Kibana that is too old for what is written."""
        body = self._json(self.http.get(f"{self.base}/api/status"))
        number = ""
        if isinstance(body, dict):
            number = str(body.get("version", {}).get("number", ""))
        version = tuple(int(part) for part in number.split(".")[:2] if part.isdigit())
        if len(version) < 2:
            raise ConfigError(f"setup.kibana.host: {self.base} is not a Kibana; check the URL")
        if version < oldest:
            raise ConfigError(
                f"setup.kibana: Kibana {number} is too old for {needed_by}; they need"
                f" {'.'.join(map(str, oldest))}; update Kibana, or remove setup.kibana"
            )

    def read(self, kind: str, id: str) -> Optional[Dict[str, Any]]:
        """Return a saved object as Kibana has it; None if it is missing."""
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
        """Write saved objects, replacing those with the same ids.

        Raise ConfigError if Kibana rejects one.
        """
        form, content_type = urllib3.encode_multipart_formdata(
            {"file": ("siemtap.ndjson", rendered.ndjson(saved).encode(), "application/ndjson")}
        )
        body = self._json(
            Request(
                "POST",
                f"{self.base}/api/saved_objects/_import?overwrite=true",
                {"Content-Type": content_type},
                form,
            )
        )
        if not body.get("success"):
            failed = []
            for item in body.get("errors", []):
                reason = item.get("error", {}).get("type", "rejected")
                failed.append(f"{item.get('type')} {item.get('id')}: {reason}")
            raise ConfigError(f"Kibana rejected {'; '.join(failed[:5]) or 'the import'}")

    def installed_version(self, package: str) -> str:
        """Return the version of an installed integration package; "" if it is not installed."""
        request = self.http.get(f"{self.base}/api/fleet/epm/packages/{package}")
        reply = self._ask(request)
        if reply.status == 404:
            return ""
        self._refuse(request, reply, INTEGRATIONS)
        item = reply.json()["item"]
        return str(item["installationInfo"]["version"]) if item["status"] == "installed" else ""

    def upload(self, package: bytes) -> None:
        """Install an integration package, a ZIP archive.

        Raises:
            Retry: Kibana takes no upload within ten seconds after another.
            ConfigError: Kibana refuses the package.
        """
        url = f"{self.base}/api/fleet/epm/packages"
        request = Request("POST", url, {"Content-Type": "application/zip"}, package)
        self._refuse(request, self._ask(request), INTEGRATIONS)

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

    def _refuse(self, request: Request, reply: Reply, right: str = SAVED_OBJECTS) -> None:
        try:
            raise_for_status(request, reply, self.http.now())
        except AuthError as error:
            raise AuthError(
                f"{error}; check the login of setup.kibana (by default that of the output) and its"
                f" right to {right}, which docs/elasticsearch.md lists"
            ) from None


def _authorization(settings: Any) -> Dict[str, str]:
    if settings.api_key:
        key = settings.api_key
        if ":" in key:
            key = base64.b64encode(key.encode()).decode()
        return {"Authorization": f"ApiKey {key}"}
    if settings.username:
        pair = f"{settings.username}:{settings.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _is_missing(reply: Reply) -> bool:
    """Return whether an export failed because the object does not exist."""
    try:
        return any(
            item.get("error", {}).get("statusCode") == 404
            for item in reply.json()["attributes"]["objects"]
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


# The saved objects of a configuration


def vendor_dashboards(datasets: List[Dataset]) -> Iterator[Tuple[Overview, ...]]:
    """Yield the dashboards of each vendor, in the order of the datasets, and siemtap's own."""
    for name in dict.fromkeys(dataset.namespace for dataset in datasets):
        if name == health.DATASET.namespace:
            yield (health.OVERVIEW,)
        else:
            of_vendor = [dataset for dataset in datasets if dataset.namespace == name]
            yield dashboards(product_name(of_vendor), of_vendor)


def saved_objects(
    server: Server, datasets: List[Dataset], patterns: Dict[str, str]
) -> List[Dict[str, Any]]:
    """Return the saved objects of all dashboards.

    `patterns`: vendor -> index pattern of its events.
    """
    saved: List[Dict[str, Any]] = []
    for shown in vendor_dashboards(datasets):
        fields: Dict[str, Any] = {}
        for dataset in shown[0].datasets:
            fields.update(types(server, dataset))
        view = rendered.View(f"siemtap-{shown[0].name}", patterns[shown[0].name])
        saved += rendered.objects(shown, fields, view)
    return saved


def assets(server: Server, datasets: List[Dataset], patterns: Dict[str, str]) -> List[Asset]:
    """Return the saved objects as assets. Their `path` is "type/id"."""
    return [
        Asset(
            kind=KINDS[saved["type"]],
            name=saved["id"],
            path=f"{saved['type']}/{saved['id']}",
            body=saved,
        )
        for saved in saved_objects(server, datasets, patterns)
    ]


KINDS = {"index-pattern": "data view", "search": "saved search", "dashboard": "dashboard"}


def differences(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    """Return what has to change, as `name: before -> after`.

    Of a data view only the index pattern (`title`) is compared; the rest belongs to the user. Of
    other objects only the revision is compared, which the description names.
    """
    name = "title" if after["type"] == "index-pattern" else "description"
    old = before["attributes"].get(name)
    new = after["attributes"].get(name)
    return [] if old == new else [f"{name}: {old} -> {new}"]
