"""Reading siemtap.yml: accepted spellings, and the error for each mistake."""

import pytest

from siemtap.core.errors import ConfigError
from siemtap.core.manifest import fill_in
from siemtap.core.settings import Connection
from siemtap.render import registry
from siemtap.render.config import sample
from siemtap.shipper.config import load as loading
from siemtap.shipper.config.load import load, parse

GOOD = """\
path.data: ./here
inputs:
  - type: apptrana
    client_id: ${ID}
    client_secret: ${SECRET:none}
    websites: [a.example.com, b.example.com]
    overlap: 5m
    drop: {severity: low}
  - type: apptrana
    id: second
    client_id: x
    client_secret: 12345
    enabled: false
output.file:
  path: /tmp/x
http: {port: "8080"}
workers: 3
"""


def test_settings_have_the_names_of_filebeat():
    config = parse(GOOD, environment={"ID": "me"})
    first, second = config.inputs
    assert (
        first.settings.client_id,
        first.settings.client_secret,
        first.settings.websites,
        first.settings.overlap,
    ) == ("me", "none", ("a.example.com", "b.example.com"), 300_000)
    assert (first.id, second.id, second.settings.client_secret, second.common.enabled) == (
        "apptrana",
        "second",
        "12345",
        False,
    )
    assert (
        config.path.data,
        config.output.type,
        config.output.settings.path,
        config.http.port,
        config.general.workers,
    ) == ("./here", "file", "/tmp/x", 8080, 3)
    nested = parse(
        "path: {data: ./here}\noutput:\n  file: {path: /tmp/x}\ninputs: [{type: apptrana,"
        " client_id: a, client_secret: b}]"
    )
    assert (nested.path.data, nested.output.settings.path) == ("./here", "/tmp/x")
    assert (
        parse(
            "inputs: [{type: apptrana, client_id: a, client_secret: b}]\noutput.stdout:"
        ).output.type
        == "stdout"
    )
    assert (
        parse("inputs: [{type: apptrana, client_id: a, client_secret: b}]").output.type == "sqlite"
    )


def test_secret_from_a_file(tmp_path):
    (tmp_path / "key").write_text("s3cret\n")
    config = parse(
        f"inputs: [{{type: apptrana, client_id: a, client_secret: '${{file:{tmp_path}/key}}'}}]"
    )
    assert config.inputs[0].settings.client_secret == "s3cret"
    assert "s3cret" not in repr(config)


INPUT = "inputs:\n  - type: apptrana\n    client_id: a\n    client_secret: s3cret\n"

MISTAKES = [
    (
        "inputs:\n  - type: apptrana\n    client_id: a\n",
        "siemtap.yml line 2: inputs[0]: client_secret is missing. Shown in the AppTrana portal next to the API ID.",
    ),
    (
        INPUT + "    intervall: 5m\n",
        (
            'siemtap.yml line 5: inputs[0].intervall is not known; did you mean "interval"? Allowed'
            " are type, client_id"
        ),
    ),
    (
        INPUT + "    lookback: 1 day\n",
        (
            'siemtap.yml line 5: inputs[0].lookback is "1 day"; use a number and a unit, such as'
            " 30s, 5m, 12h or 1d"
        ),
    ),
    (
        INPUT + "    lookback: 90d\n",
        'siemtap.yml line 5: inputs[0].lookback: "90d" is not between 0s and 30d',
    ),
    (
        INPUT + "    auth: basci\n",
        (
            'siemtap.yml line 5: inputs[0].auth is "basci"; did you mean "basic"? Allowed are'
            " client_credentials, basic, code"
        ),
    ),
    (INPUT + "    concurrency: 900\n", "siemtap.yml line 5: inputs[0].concurrency"),
    (INPUT + "    url: tas.example.com\n", "siemtap.yml line 5: inputs[0].url"),
    (
        INPUT + '    severity_map: {"2": 50}\n',
        'siemtap.yml line 5: inputs[0].severity_map: "50" for 2 is not one of',
    ),
    (
        INPUT + "    drop: {severity: hihg}\n",
        'siemtap.yml line 5: inputs[0].drop.severity is "hihg"; did you mean "high"?',
    ),
    (
        INPUT + "    drop:\n      sevrity: high\n",
        'siemtap.yml line 6: inputs[0].drop.sevrity is not known; did you mean "severity"?',
    ),
    (INPUT + "    namespace: Prod\n", "siemtap.yml line 5: inputs[0].namespace"),
    (INPUT + "    client_id: b\n", "siemtap.yml line 5: found duplicate key"),
    (
        INPUT + "  - type: apptrana\n    client_id: b\n    client_secret: c\n",
        "siemtap.yml line 5: inputs[1]: a second input of type apptrana needs an `id` of its own",
    ),
    (
        INPUT
        + "    id: x\n  - type: apptrana\n    id: x\n    client_id: b\n    client_secret: c\n",
        'siemtap.yml line 6: inputs[1]: the id "x" is also that of inputs[0]',
    ),
    (
        "inputs:\n  - type: apptrena\n",
        (
            'siemtap.yml line 2: inputs[0].type is "apptrena"; did you mean "apptrana"? Allowed are'
            " apptrana"
        ),
    ),
    ("inputs:\n  - client_id: a\n", "siemtap.yml line 2: inputs[0]: type is missing"),
    (
        "input:\n  - type: apptrana\n",
        'siemtap.yml line 1: input is not known; did you mean "inputs"?',
    ),
    ("output.file: {path: x}\n", "siemtap.yml: inputs is missing"),
    ("inputs: []\n", "siemtap.yml line 1: inputs"),
    (
        INPUT + "output.file: {}\n",
        "siemtap.yml line 5: output.file: path is missing. Folder of events.ndjson and of the rotated files.",
    ),
    (
        INPUT + "output.fiel: {path: x}\n",
        (
            'siemtap.yml line 5: output.fiel is not known; did you mean "file"? Allowed are sqlite,'
            " file, stdout"
        ),
    ),
    (
        INPUT + "output.file: {path: x}\noutput.stdout: {}\n",
        "only one output is allowed here; found file, stdout",
    ),
    (INPUT + "path: {data: a}\npath.data: b\n", "siemtap.yml line 6: path.data is set twice"),
    (INPUT + "http.port: 99999\n", "siemtap.yml line 5: http.port"),
    (INPUT + "logging.level: verbose\n", 'siemtap.yml line 5: logging.level is "verbose"'),
    (INPUT + "    proxy: proxy.example.com\n", "siemtap.yml line 5: inputs[0].proxy"),
    (
        INPUT + "    tags: ${NOT_SET}\n",
        (
            "siemtap.yml line 5: inputs[0].tags needs the environment variable NOT_SET, which is"
            " not set"
        ),
    ),
    (
        INPUT + "    tags: ${file:/nowhere}\n",
        "siemtap.yml line 5: inputs[0].tags reads /nowhere: No such file",
    ),
    (INPUT + "    lag: [1]\n", "siemtap.yml line 5: inputs[0].lag"),
    ("- a\n- b\n", "expected keys and values"),
    ("inputs: [\n", "siemtap.yml line"),
    ("", "expected keys and values"),
]


@pytest.mark.parametrize("text,message", MISTAKES, ids=[message[:60] for _, message in MISTAKES])
def test_error_names_file_line_key_and_allowed_values(text, message):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert message in str(caught.value), str(caught.value)
    assert "s3cret" not in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="No such file.*-c"):
        load(str(tmp_path / "siemtap.yml"))


class AnyVariable(dict):
    """An environment in which every variable is set."""

    def __contains__(self, name):
        return True

    def get(self, name, default=None):
        return "x"


@pytest.mark.parametrize("plugin", registry.installed().values(), ids=lambda plugin: plugin.name)
def test_every_setting_of_the_sample_is_accepted(plugin):
    """Read the rendered sample with every commented setting enabled."""
    config = parse(sample(plugin).replace("    # ", "    "), environment=AnyVariable())
    assert (
        config.inputs[0].connection == fill_in(Connection, {}) and config.inputs[0].plugin is plugin
    )


def test_vendor_that_sends_only_syslog_has_no_settings_of_a_webhook():
    """They are missing in its sample, and `listen` is an error."""
    listener = "syslog: tcp://127.0.0.1:5614"
    parse(f"inputs: [{{type: pingintelligence, {listener}}}]")
    with pytest.raises(ConfigError, match=r"inputs\[0\]\.listen is not known"):
        parse(f"inputs: [{{type: pingintelligence, {listener}, listen: '127.0.0.1:8443'}}]")
    assert " listen:" not in sample(registry.plugin("pingintelligence"))
    assert " listen:" in sample(registry.plugin("centurylink_ips"))


def test_reading_many_inputs_takes_no_longer_for_each(monkeypatch):
    asked = []
    monkeypatch.setattr(
        loading, "input_types", lambda types=loading.input_types: asked.append(1) or types()
    )

    def questions(number):
        asked.clear()
        entry = "  - {{type: apptrana, id: i{}, client_id: a, client_secret: b}}\n"
        parse("inputs:\n" + "".join(map(entry.format, range(number))))
        return len(asked)

    assert questions(40) - questions(20) == questions(60) - questions(40)
