"""A simulator of splunkd's REST API, as far as an add-on calls it: confs, storage/passwords, the KV
store, data/inputs. It answers in Atom and JSON, as the SDK requests.

It does not simulate: layers of conf files, replication, sharing, persistent handlers, schedules."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

# session keys of an admin and of a user without capabilities
KEY, POOR = "session-key-of-a-test", "session-key-of-someone-who-may-read"
CUT = "``splunk_cred_sep``"
END = CUT.join(("", "S", "P", "L", "U", "N", "K", ""))
NEEDED = {
    "storage/passwords": "list_storage_passwords",
    "data/inputs": "edit_modinput",
    "configs": "write of the app's access",
}
VERSION = "10.2.0"


class Refused(Exception):
    """An HTTP status with splunkd's message."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = status, message


class JsonList(list):
    """A list that is sent as JSON, not as a feed of entries."""


class Splunkd(ThreadingHTTPServer):
    """`confs`: file -> stanza -> settings. `documents`: collection -> key -> document; a
    collection that is not there is None. `inputs`: kind -> name -> settings. `keys`: accepted
    session keys. `failing`: endpoint -> [HTTP status, how often]."""

    daemon_threads = True

    def __init__(self, app, root):
        super().__init__(("127.0.0.1", 0), Handler)
        self.app, self.root = app, root
        self.confs, self.passwords, self.documents, self.inputs = {}, {}, {}, {}
        self.kv_starts_after, self.kv_off, self.requests = 0, False, []
        self.keys, self.failing = {KEY, POOR}, {}
        self.lock = threading.RLock()
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self):
        self.shutdown()
        self.server_close()

    def account(self, name, secrets, **settings):
        """Save an account as the REST handlers do: asterisks in the conf file, the secrets as JSON in
        parts of 255 characters under a realm."""
        file = f"{self.root}_account"
        self.confs.setdefault(file, {})[name] = {**settings, **dict.fromkeys(secrets, "******")}
        whole = json.dumps(secrets) + END
        for number in range(0, len(whole), 255):
            username = f"{name}{CUT}{number // 255 + 1}"
            self.password(
                f"__REST_CREDENTIAL__#{self.app}#configs/conf-{file}",
                username,
                whole[number : number + 255],
            )

    def password(self, realm, username, clear):
        self.passwords[f"{realm}:{username}:"] = {
            "realm": realm,
            "username": username,
            "password": "$7$sealed",
            "encr_password": "$7$sealed",
            "clear_password": clear,
        }

    def validate(self, kind, name, settings):
        """Return the error that an input's script gives for a stanza; always none here."""
        return ""

    # The answer of an endpoint: [(name, content)], or any other value as JSON

    def rest(self, method, place, query, body, key):
        if place[:1] == ["configs"] and len(place) > 1:
            if place[2:] == ["_reload"]:
                return []
            self.require(method == "GET" or key != POOR, "configs")
            return self.collection(
                method, self.confs.setdefault(place[1][len("conf-") :], {}), place[2:], form(body)
            )
        if place[:1] == ["properties"]:
            return [
                (name, {})
                for name in (self.confs.get(place[1], {}) if len(place) > 1 else self.confs)
            ]
        if place[:2] == ["storage", "passwords"]:
            self.require(key != POOR, "storage/passwords")
            # the SDK does not encode a slash in a name
            return self.storage_passwords(
                method, ["/".join(place[2:])] if place[2:] else [], form(body)
            )
        if place[:2] == ["storage", "collections"]:
            return self.collections(method, place[2:], query, body)
        if place[:2] == ["data", "inputs"] and len(place) > 2:
            self.require(method == "GET" or key != POOR, "data/inputs")
            return self.input(method, place[2], place[3:], form(body))
        if place[:2] == ["data", "indexes"]:
            return [("main", {}), ("security", {})]
        if place[:2] == ["server", "info"]:
            return [
                (
                    "server-info",
                    {
                        "version": VERSION,
                        "instance_type": "enterprise",
                        "product_type": "enterprise",
                        "serverName": "stand-in",
                        "server_roles": ["indexer", "kv_store"],
                    },
                )
            ]
        raise Refused(404, "Not Found")

    def fail_if_asked(self, place):
        for endpoint, failure in self.failing.items():
            if "/".join(place).startswith(endpoint) and failure[1]:
                failure[1] -= 1
                raise Refused(failure[0], "as asked")

    def require(self, allowed, endpoint):
        if not allowed:
            raise Refused(
                403,
                "You (user=poor) do not have permission to perform this operation (requires"
                f" capability: {NEEDED[endpoint]}).",
            )

    def collection(self, method, entries, place, fields):
        if method == "POST" and not place:
            name = fields.pop("name")
            if name in entries:
                raise Refused(409, f"An object with name={name} already exists")
            entries[name] = fields
            return [(name, fields)]
        if not place:
            return list(entries.items())
        if place[0] not in entries:
            raise Refused(404, f"Could not find object id={place[0]}")
        if method == "DELETE":
            del entries[place[0]]
            return []
        if method == "POST":
            entries[place[0]].update(fields)
        return [(place[0], entries[place[0]])]

    def storage_passwords(self, method, place, fields):
        if method == "POST" and not place:
            name = f"{fields.get('realm', '')}:{fields['name']}:"
            if name in self.passwords:
                raise Refused(409, "Cannot create object: it exists")
            if not fields["password"]:
                raise Refused(400, "password may not be empty")
            self.password(fields.get("realm", ""), fields["name"], fields["password"])
            return [(name, self.passwords[name])]
        if place and place[0] not in self.passwords:
            raise Refused(404, "Could not find object")
        if method == "DELETE":
            del self.passwords[place[0]]
            return []
        if method == "POST":
            self.passwords[place[0]]["clear_password"] = fields["password"]
        names = place[:1] or self.passwords
        return [(name, self.passwords[name]) for name in names]

    def input(self, method, kind, place, fields):
        entries = self.inputs.setdefault(kind, {})
        if place[1:] in (["enable"], ["disable"]) and place[0] in entries:
            entries[place[0]]["disabled"] = "1" if place[1] == "disable" else "0"
            return [(place[0], entries[place[0]])]
        if method == "POST":
            name = place[0] if place else fields.get("name", "")
            wrong = self.validate(kind, name, {**entries.get(name, {}), **fields})
            if wrong:
                raise Refused(400, wrong)
        return self.collection(method, entries, place, fields)

    def collections(self, method, place, query, body):
        if self.kv_off:
            raise Refused(404, "Could not find object")
        if self.kv_starts_after:
            self.kv_starts_after -= 1
            raise Refused(503, "KV Store initialization has not completed yet.")
        if place[0] == "config":
            if method == "POST":
                self.documents.setdefault(form(body)["name"], {})
                return [(form(body)["name"], {})]
            names = [(name, {}) for name in self.documents if len(place) < 2 or name == place[1]]
            if not names:
                raise Refused(404, "Could not find object")
            return names
        documents = self.documents.get(place[1])
        if documents is None:
            raise Refused(404, "Could not find object")
        key = place[2] if len(place) > 2 else ""
        if method == "POST" and key == "batch_save":
            for document in json.loads(body):
                assert len(json.dumps(document)) < 16 * 2**20
                documents[document["_key"]] = document
            return JsonList(document["_key"] for document in json.loads(body))
        if method == "DELETE":
            query_fields = json.loads(query.get("query", "{}"))
            for name in [
                name
                for name, document in documents.items()
                if (name == key or not key) and query_fields.items() <= document.items()
            ]:
                del documents[name]
            return {}
        if not key:
            return JsonList(documents.values())
        if key not in documents:
            raise Refused(404, "Could not find object.")
        return documents[key]


def form(body):
    return {name: values[-1] for name, values in parse_qs(body, keep_blank_values=True).items()}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.serve("GET")

    def do_POST(self):
        self.serve("POST")

    def do_DELETE(self):
        self.serve("DELETE")

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.fail(405, "method not allowed", {})

    do_PATCH = do_TRACE = do_OPTIONS = do_HEAD = do_QUERY = do_PUT

    def serve(self, method):
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(
            "utf-8", "replace"
        )
        self.server.requests.append((method, parts.path))
        self.rest(method, parts.path, form(parts.query), body)

    def rest(self, method, path, query, body):
        splunkd = self.server
        key = self.headers.get("Authorization", "").partition("Splunk ")[2]
        place = [unquote(part) for part in path.strip("/").split("/")]
        place = (place[3:] if place[0] == "servicesNS" else place[1:]) or [""]
        if key not in splunkd.keys and place != ["server", "info"]:
            return self.fail(401, "call not properly authenticated", query)
        try:
            with splunkd.lock:
                splunkd.fail_if_asked(place)
                result = splunkd.rest(method, place, query, body, key)
                text = json.dumps(result) if isinstance(result, (dict, JsonList)) else None
                if text is None:
                    new = method == "POST" and place in (
                        ["storage", "passwords"],
                        ["configs", place[-1]],
                    )
                    return self.feed(
                        result,
                        "/".join(quote(part, safe="") for part in place),
                        query,
                        201 if new else 200,
                    )
        except Refused as error:
            return self.fail(error.status, error.message, query)
        return self.reply(200, text, "application/json")

    def feed(self, entries, place, query, status=200):
        server = self.server
        acl = {
            "app": server.app,
            "owner": "nobody",
            "sharing": "app",
            "can_write": "1",
            "modifiable": "1",
            "removable": "1",
            "can_list": "1",
            "perms": {"read": ["*"], "write": ["admin"]},
        }
        content = [
            (name, {"disabled": "0", "eai:appName": server.app, "eai:userName": "nobody", **fields})
            for name, fields in entries
        ]
        if query.get("output_mode") == "json":
            entries = [
                {
                    "name": name,
                    "id": f"{server.url}/{place}",
                    "links": {},
                    "author": "nobody",
                    "acl": acl,
                    "content": {**fields, "eai:acl": None},
                }
                for name, fields in content
            ]
            return self.reply(
                status,
                json.dumps(
                    {
                        "links": {},
                        "entry": entries,
                        "paging": {"total": len(entries)},
                        "messages": [],
                    }
                ),
                "application/json",
            )
        own = {
            name: escape(
                f"/servicesNS/nobody/{server.app}/{place}"
                + ("" if place.endswith(f"/{quote(name, safe='')}") else f"/{quote(name, safe='')}")
            )
            for name, _ in content
        }
        whole = "".join(
            f"<entry><title>{escape(name)}</title><id>{server.url}{own[name]}</id><link"
            f' href="{own[name]}" rel="alternate"/><content'
            f' type="text/xml">{_xml({**fields, "eai:acl": acl})}</content></entry>'
            for name, fields in content
        )
        return self.reply(
            status,
            '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom"'
            f' xmlns:s="http://dev.splunk.com/ns/rest"><title>x</title>{whole}</feed>',
            "text/xml",
        )

    def fail(self, status, message, query):
        if query.get("output_mode") == "json":
            return self.reply(
                status,
                json.dumps({"messages": [{"type": "ERROR", "text": message}]}),
                "application/json",
            )
        return self.reply(
            status,
            f'<response><messages><msg type="ERROR">{escape(message)}</msg></messages></response>',
            "text/xml",
        )

    def reply(self, status, body, kind, headers=()):
        data = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        # the SDK cannot read an empty body
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(data))),
            ("Connection", "close"),
            *headers,
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True


def _xml(value):
    if isinstance(value, dict):
        return (
            "<s:dict>"
            + "".join(
                f'<s:key name="{escape(str(name))}">{_xml(item)}</s:key>'
                for name, item in value.items()
            )
            + "</s:dict>"
        )
    if isinstance(value, list):
        return (
            "<s:list>" + "".join(f"<s:item>{_xml(item)}</s:item>" for item in value) + "</s:list>"
        )
    return escape("" if value is None else str(value))
