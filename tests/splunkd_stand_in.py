"""A stand-in for splunkd's REST, as far as an input needs it: confs, storage/passwords, the KV store. Answers Atom and JSON, as the SDK asks."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

KEY = "session-key-of-a-test"
CUT = "``splunk_cred_sep``"
END = CUT.join(("", "S", "P", "L", "U", "N", "K", ""))


class Splunkd(ThreadingHTTPServer):
    """`confs`: file -> stanza -> settings. `documents`: collection -> key -> document; a collection that is not there is None."""

    daemon_threads = True

    def __init__(self, app, root):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.app, self.root = app, root
        self.confs, self.passwords, self.documents = {}, {}, {}
        self.kv_starts_after, self.kv_off, self.asked = 0, False, []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self):
        self.shutdown()
        self.server_close()

    def account(self, name, secrets, **settings):
        """As the pages' handlers keep one: asterisks in the conf, JSON in pieces of 255 characters under a realm."""
        file = f"{self.root}_account"
        self.confs.setdefault(file, {})[name] = {**settings, **dict.fromkeys(secrets, "******")}
        whole = json.dumps(secrets) + END
        for number in range(0, len(whole), 255):
            username = f"{name}{CUT}{number // 255 + 1}"
            self.passwords[f"{self.app}:{username}:"] = {"realm": f"__REST_CREDENTIAL__#{self.app}#configs/conf-{file}", "username": username, "clear_password": whole[number:number + 255]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_GET(self):
        self.serve("GET")

    def do_POST(self):
        self.serve("POST")

    def do_DELETE(self):
        self.serve("DELETE")

    def serve(self, method):
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        splunkd = self.server
        splunkd.asked.append((method, parts.path))
        if self.headers.get("Authorization") != f"Splunk {KEY}":
            return self.fail(401, "call not properly authenticated")
        place = [unquote(part) for part in parts.path.split("/")[1:]]
        place = place[3:] if place[0] == "servicesNS" else place[1:]
        if place[0] == "configs":
            stanzas = splunkd.confs.get(place[1][len("conf-"):], {})
            found = [(name, content) for name, content in stanzas.items() if len(place) < 3 or name == place[2]]
            return self.feed(found, query) if found or len(place) < 3 else self.fail(404, f"Could not find object id={place[2]}")
        if place[:2] == ["storage", "passwords"]:
            return self.feed(list(splunkd.passwords.items()), query)
        if place[:2] == ["storage", "collections"]:
            return self.collections(method, place[2:], query, body)
        return self.fail(404, "Not Found")

    def collections(self, method, place, query, body):
        splunkd = self.server
        if splunkd.kv_off:
            return self.fail(404, "Could not find object")
        if splunkd.kv_starts_after:
            splunkd.kv_starts_after -= 1
            return self.fail(503, "KV Store initialization has not completed yet.")
        if place[0] == "config":
            if method == "POST":
                splunkd.documents.setdefault(parse_qs(body)["name"][0], {})
                return self.feed([(parse_qs(body)["name"][0], {})], query)
            there = [(name, {}) for name in splunkd.documents if len(place) < 2 or name == place[1]]
            return self.feed(there, query) if there else self.fail(404, "Could not find object")
        documents = splunkd.documents.get(place[1])
        if documents is None:
            return self.fail(404, "Could not find object")
        key = place[2] if len(place) > 2 else ""
        if method == "POST" and key == "batch_save":
            for document in json.loads(body):
                assert len(json.dumps(document)) < 16 * 2**20
                documents[document["_key"]] = document
            return self.say(200, json.dumps([document["_key"] for document in json.loads(body)]), "application/json")
        if method == "DELETE":
            wanted = json.loads(query.get("query", "{}"))
            for name in [name for name, document in documents.items() if (name == key or not key) and wanted.items() <= document.items()]:
                del documents[name]
            return self.say(200, "{}", "application/json")
        if key:
            return self.say(200, json.dumps(documents[key]), "application/json") if key in documents else self.fail(404, "Could not find object.")
        return self.say(200, json.dumps(list(documents.values())), "application/json")

    def feed(self, entries, query):
        if query.get("output_mode") == "json":
            return self.say(200, json.dumps({"entry": [{"name": name, "content": content} for name, content in entries]}), "application/json")
        made = "".join(f'<entry><title>{escape(name)}</title><id>{self.server.url}/x/{escape(name)}</id><link href="/servicesNS/nobody/{self.server.app}/x/{escape(name)}" rel="alternate"/><content type="text/xml">'
                       f'<s:dict>{"".join(f"<s:key name={chr(34)}{escape(key)}{chr(34)}>{escape(str(value))}</s:key>" for key, value in content.items())}'
                       f'<s:key name="eai:acl"><s:dict><s:key name="app">{self.server.app}</s:key><s:key name="owner">nobody</s:key><s:key name="sharing">app</s:key></s:dict></s:key></s:dict></content></entry>' for name, content in entries)
        return self.say(200, f'<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom" xmlns:s="http://dev.splunk.com/ns/rest"><title>x</title>{made}</feed>', "text/xml")

    def fail(self, status, said):
        return self.say(status, f'<response><messages><msg type="ERROR">{escape(said)}</msg></messages></response>', "text/xml")

    def say(self, status, said, kind):
        data = said.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")         # the SDK reads empty bodies otherwise
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True
