"""siemtap.yml: what it may look like, and what a person hears of a mistake."""

import pytest

from siemtap.core.errors import ConfigError
from siemtap.core.forms import Connection
from siemtap.core.manifest import fill_in
from siemtap.render.config import sample
from siemtap.runners import plugins
from siemtap.runners.config import load, parse

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


def test_filebeats_habits():
    config = parse(GOOD, environment={"ID": "me"})
    first, second = config.inputs
    assert (
        first.settings.client_id,
        first.settings.client_secret,
        first.settings.websites,
        first.settings.overlap,
    ) == ("me", "none", ("a.example.com", "b.example.com"), 300_000)
    assert (first.id, second.id, second.settings.client_secret, second.every.enabled) == (
        "apptrana",
        "second",
        "12345",
        False,
    )
    assert (
        config.path.data,
        config.output,
        config.output_settings.path,
        config.http.port,
        config.general.workers,
    ) == ("./here", "file", "/tmp/x", 8080, 3)
    nested = parse(
        "path: {data: ./here}\noutput:\n  file: {path: /tmp/x}\ninputs: [{type: apptrana,"
        " client_id: a, client_secret: b}]"
    )
    assert (nested.path.data, nested.output_settings.path) == ("./here", "/tmp/x")
    assert (
        parse("inputs: [{type: apptrana, client_id: a, client_secret: b}]\noutput.stdout:").output
        == "stdout"
    )
    assert parse("inputs: [{type: apptrana, client_id: a, client_secret: b}]").output == "sqlite"


def test_a_secret_from_a_file(tmp_path):
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
        "siemtap.yml line 2: inputs[0]: client_secret is missing. Shown next to the API ID.",
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
        'siemtap.yml line 6: inputs[1]: the id "x" is that of inputs[0] too',
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
        "siemtap.yml line 5: output.file: path is missing. The folder to write events.ndjson into.",
    ),
    (
        INPUT + "output.fiel: {path: x}\n",
        (
            'siemtap.yml line 5: output.fiel is not known; did you mean "file"? Allowed are sqlite,'
            " file, stdout"
        ),
    ),
    (INPUT + "output.file: {path: x}\noutput.stdout: {}\n", "one output at a time"),
    (INPUT + "path: {data: a}\npath.data: b\n", "siemtap.yml line 6: path.data is given twice"),
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
    ("- a\n- b\n", "a file of keys and values was expected"),
    ("inputs: [\n", "siemtap.yml line"),
    ("", "a file of keys and values was expected"),
]


@pytest.mark.parametrize("said,words", MISTAKES, ids=[words[:60] for _, words in MISTAKES])
def test_a_mistake_names_file_line_key_and_what_is_allowed(said, words):
    with pytest.raises(ConfigError) as caught:
        parse(said)
    assert str(caught.value).startswith(words) or words in str(caught.value), str(caught.value)
    assert "s3cret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="No such file.*-c"):
        load(str(tmp_path / "siemtap.yml"))


class Anything(dict):
    """An environment in which every variable is set."""

    def __contains__(self, name):
        return True

    def get(self, name, default=None):
        return "x"


@pytest.mark.parametrize("plugin", plugins.installed().values(), ids=lambda plugin: plugin.name)
def test_every_setting_of_the_sample_is_accepted(plugin):
    """The rendered sample, with every commented line put in force."""
    config = parse(sample(plugin).replace("    # ", "    "), environment=Anything())
    assert (
        config.inputs[0].connection == fill_in(Connection, {}) and config.inputs[0].plugin is plugin
    )
