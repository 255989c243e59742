"""A simulator of Splunk Web and splunkd around a built add-on: its pages, its REST handlers as
processes of one of Splunk's Python versions, and the validation of its input."""

from __future__ import annotations

import configparser
import json
import mimetypes
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from splunk_breaker import break_events, parse_props
from splunkd_stand_in import KEY, Handler, Refused, Splunkd, form

PYTHON = Path(__file__).with_name("splunk_python")
ACTIONS = {"GET": "list", "DELETE": "remove"}
SCRIPTS = {
    "/i18ncatalog": "window.gettext=function(s){return s};window._=window._||window.gettext;",
    "/static/js/i18n.js": "window.gettext=function(s){return s};window._=window._||window.gettext;",
    "/static/build/api/layout.js": (
        "window.__splunk_layout__={create:function(){var"
        " d=document.createElement('main');document.body.appendChild(d);return{getContainerElement:function(){return"
        " d}}}};"
    ),
}
JAVASCRIPT = "text/javascript"


def conf(path):
    """Return stanza -> key -> value of a conf file."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), allow_no_value=True)
    parser.optionxform = str
    parser.read(path, encoding="utf-8")
    return {name: dict(parser.items(name)) for name in parser.sections()}


class Web(Splunkd):
    """`folder`: the add-on, unpacked under $SPLUNK_HOME/etc/apps. `theme`: light or dark."""

    def __init__(self, app, folder, python):
        self.folder, self.python, self.home, self.theme, self.crashed = (
            Path(folder),
            python,
            Path(folder).parents[2],
            "light",
            [],
        )
        (self.home / "var/log/splunk").mkdir(parents=True, exist_ok=True)
        super().__init__(app.name, app.root)
        self.RequestHandlerClass = WebHandler
        for path in sorted((self.folder / "default").glob("*.conf")):
            self.confs[path.stem] = conf(path)
        self.confs["server"] = {
            "sslConfig": {"enableSplunkdSSL": "false"},
            "general": {"serverName": "stand-in"},
        }
        self.confs["web"] = {"settings": {"mgmtHostPort": self.url.partition("//")[2]}}
        self.documents[f"{app.root}_checkpoints"] = {}
        self.handlers = {
            name.partition(":")[2]: keys
            for name, keys in self.confs["restmap"].items()
            if name.startswith("admin_external:")
        }
        self.exposed = [
            (re.compile(re.escape(keys["pattern"]).replace(r"\*", "[^/]+")), keys["methods"])
            for keys in conf(self.folder / "default/web.conf").values()
        ]

    @property
    def environment(self):
        return {
            "PATH": os.environ["PATH"],
            "SPLUNK_HOME": str(self.home),
            "SPLUNKD_URI": self.url,
            "PYTHONPATH": str(PYTHON),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def rest(self, method, place, query, body, key):
        if place[0] in self.handlers:
            return self.run_handler(method, place, query, form(body), key)
        if place[0] == "web-features":
            return []
        return super().rest(method, place, query, body, key)

    def run_handler(self, method, place, query, fields, key):
        """Run the add-on's REST handler, as splunkd starts it, and return its entries."""
        known = self.handlers[place[0]]
        name = place[1] if len(place) > 1 else None
        action = ACTIONS.get(method) or ("edit" if name else "create")
        if action not in known["handleractions"].split(", ") or (action == "remove" and not name):
            raise Refused(405, "method not allowed")
        fields.pop("output_mode", None)
        if action == "create":
            if "name" not in fields:
                raise Refused(400, "The following required arguments are missing: name.")
            name = fields.pop("name")
        if action == "list":
            fields = {
                word: value
                for word, value in query.items()
                if word
                not in (
                    "output_mode",
                    "count",
                    "offset",
                    "search",
                    "sort_dir",
                    "sort_key",
                    "sort_mode",
                )
            }
        request = json.dumps(
            {"action": action, "id": name, "data": fields, "session_key": key, "app": self.app}
        )
        self.lock.release()  # the script calls this server
        try:
            done = subprocess.run(
                [str(self.python), str(self.folder / "bin" / known["handlerfile"])],
                input=request,
                capture_output=True,
                text=True,
                env=self.environment,
                timeout=300,
            )
        finally:
            self.lock.acquire()
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            self.crashed.append(done.stderr + done.stdout)
            raise Refused(500, "the handler crashed") from None
        if "error" in answer:
            status = re.search(r"REST Error \[(\d+)\]", answer["error"])
            if not status and "ArgValidationException" not in answer["kind"]:
                self.crashed.append(answer["where"])
            raise Refused(
                int(status[1]) if status else 400 if "ArgValidation" in answer["kind"] else 500,
                f"Unexpected error \"<class '{answer['kind']}'>\" from python handler:"
                f' "{answer["error"]}". See splunkd.log/python.log for more details.',
            )
        return [(entry["name"], entry["content"]) for entry in answer["entries"]]

    def validate(self, kind, name, settings):
        params = "".join(
            f'<param name="{escape(word)}">{escape(str(value))}</param>'
            for word, value in settings.items()
            if word != "name"
        )
        stdin = (
            '<?xml version="1.0"'
            f' encoding="UTF-8"?><items><server_host>h</server_host><server_uri>{self.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>{self.home}</checkpoint_dir><item'
            f' name="{escape(name)}">{params}</item></items>'
        )
        done = subprocess.run(
            [str(self.python), str(self.folder / f"bin/{kind}.py"), "--validate-arguments"],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=300,
        )
        return (
            (
                ElementTree.fromstring(done.stdout).findtext("message")
                if done.stdout.strip()
                else done.stderr
            )
            if done.returncode
            else ""
        )

    def cycle(self, kind, name):
        """Run the input once as splunkd does, and return (exit status, events as text)."""
        params = "".join(
            f'<param name="{escape(word)}">{escape(str(value))}</param>'
            for word, value in self.inputs[kind][name].items()
        )
        stdin = (
            '<?xml version="1.0"'
            f' encoding="UTF-8"?><input><server_host>h</server_host><server_uri>{self.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>{self.home}</checkpoint_dir><configuration><stanza'
            f' name="{kind}://{escape(name)}"'
            f' app="{self.app}">{params}</stanza></configuration></input>'
        )
        done = subprocess.run(
            [str(self.python), str(self.folder / f"bin/{kind}.py")],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=300,
        )
        return done.returncode, [
            indexed.raw
            for indexed in break_events(
                done.stdout, parse_props((self.folder / "default/props.conf").read_text())
            )
        ]


class WebHandler(Handler):
    def serve(self, method):
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(
            "utf-8", "replace"
        )
        path = re.sub(r"^/[a-z]{2}-[A-Z]{2}/", "/", parts.path)
        self.server.requests.append((method, path))
        if not path.startswith("/splunkd/__raw/"):
            return (
                self.rest(method, path, {**form(parts.query), **output_mode(body)}, body)
                if path.startswith("/services")
                else self.page(re.sub(r"^/static/@[^/]+", "/static", path))
            )
        query = {**form(parts.query), "output_mode": "json"}
        if method != "GET" and not self.headers.get("X-Splunk-Form-Key"):
            return self.fail(401, "CSRF validation failed", query)
        path = path[len("/splunkd/__raw") :]
        place = unquote(re.sub(r"^/(services|servicesNS/[^/]+/[^/]+)/", "", path))
        allowed = [methods for pattern, methods in self.server.exposed if pattern.fullmatch(place)]
        if not place.startswith(("web-features", "server/info")) and not (
            allowed and method in allowed[0]
        ):
            return self.fail(404, f"Splunk Web does not expose {place}", query)
        self.headers["Authorization"] = f"Splunk {KEY}"
        return self.rest(method, path, query, body)

    def page(self, path):
        server = self.server
        if path == "/config":
            config = {
                "BUILD_NUMBER": 1,
                "LOCALE": "en-US",
                "MRSPARKLE_ROOT_PATH": "",
                "MRSPARKLE_PORT_NUMBER": str(server.server_address[1]),
                "SPLUNKD_PATH": "/en-US/splunkd/__raw",
                "USERNAME": "admin",
            }
            return self.reply(200, f"window.$C={json.dumps(config)};", JAVASCRIPT, self.cookie())
        if path == "/static/build/api/get_theme.js":
            return self.reply(
                200,
                "window.__get_theme__={getTheme:function(){return"
                f" Promise.resolve('{server.theme}')}}}};",
                JAVASCRIPT,
            )
        if path in SCRIPTS or path.startswith("/static/build/api/layout"):
            return self.reply(
                200, SCRIPTS.get(path, SCRIPTS["/static/build/api/layout.js"]), JAVASCRIPT
            )
        own = f"/static/app/{server.app}/"
        if path.startswith(own):
            file = server.folder / "appserver/static" / path[len(own) :]
        elif re.fullmatch(rf"/app/{server.app}/\w+", path):
            file = server.folder / "appserver/templates/base.html"
        else:
            return self.reply(404, "not found", "text/plain")
        if not file.is_file():
            return self.reply(404, "not found", "text/plain")
        return self.reply(
            200,
            file.read_bytes(),
            (
                JAVASCRIPT
                if file.suffix == ".js"
                else mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            ),
            self.cookie(),
        )

    def cookie(self):
        return [
            ("Set-Cookie", f"splunkweb_csrf_token_{self.server.server_address[1]}=token; Path=/")
        ]


def output_mode(body):
    return {name: value for name, value in form(body).items() if name == "output_mode"}
