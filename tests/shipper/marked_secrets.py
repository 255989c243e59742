"""A configuration in which every secret setting that there is has a marked value, by the forms: a
new secret setting is in it by itself. The vendors and clusters that it names send back whatever
they are told, in errors."""

import base64
import json
from urllib.parse import quote, quote_plus

from siemtap.core.manifest import describe, kind_of
from siemtap.kafka.settings import HOST
from siemtap.outputs.types import OUTPUTS
from siemtap.render import registry
from siemtap.render.config import absent_settings, forms
from siemtap.shipper.config.sections import TOP
from siemtap.testing.simulation import Answer, Server

MARK = "Zq7.marked_{number:03d}~Xv9w"  # of the letters that every secret setting allows
# what goes with a secret, since half a login is a mistake of the configuration
COMPANIONS = {
    "password": {"username": "someone"},
    "proxy_password": {"proxy_user": "someone", "proxy": "{url}"},
    "secret": {"listen": "127.0.0.1:0"},
    "mongodb": {},
}
SHAPES = {"mongodb": "mongodb://someone:{mark}@127.0.0.1:9/abs"}
REFUSED = {("opensearch", "api_key")}  # OpenSearch has no such login, and siemtap says so
# A worker of a fleet has no output but Kafka, whose settings of the connection are the same.
ALONE = ("cluster.kafka",)
HOW = ("literal", "variable", "file", "keystore")


class Mirror:
    """A vendor that sends back the whole request in an error."""

    def __init__(self):
        self.seen = []

    def answer(self, request, now):
        # the logins first, since errors are cut short
        headers = sorted(request.headers.items(), key=lambda item: "uthoriz" not in item[0])
        self.seen.append(f"{dict(headers)} {request.url} {request.body!r}")
        status = (401, 403, 400, 500, 429)[len(self.seen) % 5]
        told = {
            "error": {"reason": f"mirror {self.seen[-1]}", "type": "mirror"},
            "message": f"mirror {self.seen[-1]}",
            "text": f"mirror {self.seen[-1]}",
            "code": 4,
        }
        return Answer(status, {"Content-Type": "application/json"}, json.dumps(told).encode())


class MarkedSecrets:
    """The configuration in a folder: `file`, `secrets` (place -> value), `variables`."""

    def __init__(self, folder, url):
        self.folder, self.url = folder, url
        self.secrets, self.variables, self.keystore = {}, {}, {}
        (folder / "secret-files").mkdir()
        self.content = {
            "path.data": str(folder / "data"),
            "logging": {"level": "debug", "file": str(folder / "siemtap.log")},
            "http.port": 0,
            "health.enabled": True,
            "health.output": "plain",
            "outputs": {"plain": {"type": "file", "path": str(folder / "events")}},
            "inputs": list(self.inputs()),
        }
        for name, form in TOP.items():
            if name in ALONE:
                continue
            for setting in self.secret_settings(form):
                section = self.content.setdefault(name, {"host": url})
                section.update(self.with_secret(setting, name))
        for type, output in OUTPUTS.items():
            for setting in self.secret_settings(output.settings_type):
                if (type, setting["name"]) in REFUSED:
                    continue
                name = f"{type}_{setting['name']}"
                entry = {"type": type, **self.required(output.settings_type, name)}
                entry.update(self.with_secret(setting, name))
                self.content["outputs"][name] = entry
        for entry in self.content["inputs"]:
            entry["output"] = list(self.content["outputs"])
        self.file = folder / "siemtap.yml"
        self.file.write_text(json.dumps(self.content))

    def secret_settings(self, form):
        return [each for each in describe(form) if kind_of(each).is_secret]

    def inputs(self):
        """Yield an input of each plugin, with all of its secrets."""
        for plugin in registry.installed().values():
            entry = {"type": plugin.name, "timeout": "5s"}
            for form in forms(plugin):
                entry.update(self.required(form, plugin.name))
                for setting in self.secret_settings(form):
                    if setting["name"] not in (*absent_settings(plugin), *entry):
                        entry.update(self.with_secret(setting, plugin.name))
            yield entry

    def required(self, form, place):
        """Return values of the settings that a section must have, and its URLs."""
        values = {}
        for setting in describe(form):
            name, kind = setting["name"], kind_of(setting)
            if setting["kind"] == "url":
                values[name] = self.url
            elif name in ("hosts", "url"):
                is_url = setting.get("pattern") != HOST  # Kafka's are a name and a port
                values[name] = [self.url if is_url else self.url.partition("//")[2]]
            elif setting["required"]:
                values.update(
                    self.with_secret(setting, place) if kind.is_secret else {name: kind.placeholder}
                )
        return values

    def with_secret(self, setting, place):
        """Return a secret setting with a marked value, and what goes with it."""
        name, number = setting["name"], len(self.secrets)
        mark = MARK.format(number=number)
        value = SHAPES.get(name, "{mark}").format(mark=mark)
        self.secrets[f"{place}.{name}"] = mark
        companions = json.loads(json.dumps(COMPANIONS.get(name, {})).replace("{url}", self.url))
        return {name: self.written(value, number), **companions}

    def written(self, value, number):
        how = HOW[number % len(HOW)]
        if how == "literal":
            return value
        if how == "variable":
            self.variables[f"MARKED_{number}"] = value
            return f"${{MARKED_{number}}}"
        if how == "file":
            path = self.folder / "secret-files" / str(number)
            path.write_text(value)
            return f"${{file:{path}}}"
        self.keystore[f"MARKED_{number}"] = value
        return f"${{keystore:MARKED_{number}}}"

    def leaks(self, text):
        """Return the places whose secret is in a text, as it is or as it may be spelled there."""
        return sorted(
            place
            for place, secret in self.secrets.items()
            if any(spelling in text for spelling in spellings(secret))
        )


def spellings(secret):
    """Return a secret plain, in a URL and as the tail of a Basic login (three phases of base64)."""
    coded = {quote(secret, safe=""), quote_plus(secret), secret}
    for phase in range(3):
        text = base64.b64encode(b"x" * phase + secret.encode()).decode()
        coded.add(text[4:-4])
    return coded


def mirror():
    return Server(Mirror())
