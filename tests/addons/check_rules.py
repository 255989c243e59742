"""The rules for add-ons: a built add-on breaks none, and each rule detects its planted defect."""

import shutil
import tarfile

import pytest
import rules
from built import each_plugin, tarball, unpacked

from siemtap.render import registry


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return unpacked(registry.plugin("pingintelligence"), tmp_path_factory.mktemp("pristine"))


@each_plugin
def test_built_add_on_breaks_no_rule(plugin, tmp_path):
    assert (
        rules.broken_by_tarball(tarball(plugin)) == []
        and rules.broken_rules(unpacked(plugin, tmp_path)) == []
    )


def replaced(path, old, new):
    def plant(folder):
        file = folder / path
        text = file.read_text()
        assert old in text, f"{path} does not contain the text to replace"
        file.write_text(text.replace(old, new, 1))

    return plant


def added(path, text):
    def plant(folder):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with open(folder / path, "a") as file:
            file.write(text)

    return plant


def mode(path, bits):
    return lambda folder: (folder / path).chmod(bits)


HTTP, SEARCHES, VIEW = (
    "lib/siemtap/edge/client/http.py",
    "default/savedsearches.conf",
    "default/data/ui/views/overview.xml",
)
PLANTED = [
    ("certificates are verified", added(HTTP, "\nsession.verify = False\n")),
    ("certificates are verified", added(HTTP, "\ncontext.check_hostname = False\n")),
    (
        "certificates are verified",
        added("lib/pingintelligence/plugin.py", "\nssl._create_unverified_context()\n"),
    ),
    ("no UDP", added("bin/pingintelligence.py", "\nimport socketserver\nsocketserver.UDPServer\n")),
    ("no UDP", added(HTTP, "\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n")),
    ("no eval and no pickle", added(HTTP, "\neval(text)\n")),
    ("no eval and no pickle", added("lib/siemtap/engine.py", "\nimport pickle\n")),
    ("no proxy of the environment", added(HTTP, "\nsession.trust_env = True\n")),
    (
        "syntax of the oldest python",
        added("lib/siemtap/engine.py", "\nmatch 1:\n    case 1:\n        pass\n"),
    ),
    (
        "pure python and no development files",
        added("lib/fast.cpython-311-x86_64-linux-gnu.so", "x"),
    ),
    ("pure python and no development files", added("local/inputs.conf", "[x]\n")),
    ("pure python and no development files", added(".gitignore", "x")),
    ("pure python and no development files", added("bin/json.py", "")),
    ("files are neither writable by others nor executable", mode("bin/pingintelligence.py", 0o755)),
    ("files are neither writable by others nor executable", mode("default/app.conf", 0o664)),
    (
        "python version and python required",
        replaced("default/inputs.conf", "python.required = 3.9, 3.13", "python.required = 3.13"),
    ),
    (
        "python version and python required",
        replaced("default/alert_actions.conf", "python.version = python3\n", ""),
    ),
    (
        "python version and python required",
        replaced(
            "default/restmap.conf", "python.version = python3\n", "python.version = python3.9\n"
        ),
    ),
    (
        "spec files declare every parameter",
        replaced("README/inputs.conf.spec", "lookback = ", "lookbak = "),
    ),
    (
        "spec files declare every parameter",
        added("README/inputs.conf.spec", "python.required = <string>\n"),
    ),
    (
        "spec files declare every parameter",
        replaced("README/alert_actions.conf.spec", "param._cam = ", "param.cam = "),
    ),
    (
        "spec files declare every parameter",
        replaced("README/ta_pingintelligence_settings.conf.spec", "loglevel = ", "log_level = "),
    ),
    (
        "spec files declare every parameter",
        replaced("README/restmap.conf.spec", "{3.9|3.13}", "{3.7|3.9|3.13}"),
    ),
    (
        "alert actions are adaptive responses",
        replaced("default/alert_actions.conf", '"task": ["allow"]', '"task": []'),
    ),
    (
        "alert actions are adaptive responses",
        replaced("default/alert_actions.conf", "param._cam = {", "param._cam = "),
    ),
    ("no confs of the instance", added("default/indexes.conf", "[security]\n")),
    (
        "saved searches are disabled and run hourly at most",
        replaced(SEARCHES, "disabled = 1", "disabled = 0"),
    ),
    (
        "saved searches are disabled and run hourly at most",
        replaced(SEARCHES, "cron_schedule = 7 *", "cron_schedule = */2 *"),
    ),
    (
        "a scheduled search sees late events",
        replaced(SEARCHES, "realtime_schedule = 0", "realtime_schedule = 1"),
    ),
    (
        "a scheduled search sees late events",
        replaced(SEARCHES, "dispatch.index_latest = @h", "dispatch.index_latest = now"),
    ),
    (
        "every search names its index",
        replaced(SEARCHES, "where `ta_pingintelligence_index` ", "where index=* "),
    ),
    (
        "every search names its index",
        replaced(
            SEARCHES, "search = eventtype=ta_pingintelligence_attack", "search = sourcetype=x"
        ),
    ),
    (
        "every search names its index",
        replaced(VIEW, '"query": "eventtype=ta_pingintelligence_attack', '"query": "index=*'),
    ),
    (
        "every search names its index",
        replaced("default/eventtypes.conf", "search = `ta_pingintelligence_index` ", "search = "),
    ),
    (
        "dashboards use known fields",
        replaced(VIEW, "timechart sum(count) by action", "timechart sum(count) by actoin"),
    ),
    ("dashboards use known fields", replaced(VIEW, "stats count by src ", "stats count by scr ")),
    ("shared searches are there", replaced(VIEW, '"sources": {', '"source": {')),
    ("shared searches are there", replaced(VIEW, '"query": "| stats', '"query": "stats')),
    (
        "shared searches are there",
        replaced("default/data/ui/views/health.xml", 'id="events"', 'id="event"'),
    ),
    (
        "the menu names existing views",
        replaced("default/data/ui/nav/default.xml", 'name="health"', 'name="healthy"'),
    ),
    (
        "no event is truncated",
        replaced("default/props.conf", "TRUNCATE = 0", "TRUNCATE = 1000000"),
    ),
    ("no event is truncated", replaced("default/props.conf", "TRUNCATE = 0\n", "")),
    ("one name and one version", replaced("app.manifest", '"version": "', '"version": "9')),
]


@pytest.mark.parametrize(
    "rule, plant", PLANTED, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(PLANTED)]
)
def test_rule_detects_its_planted_defect(rule, plant, pristine, tmp_path):
    folder = tmp_path / pristine.name
    shutil.copytree(pristine, folder)
    plant(folder)
    lines = rules.broken_rules(folder)
    assert lines and {line.partition(":")[0] for line in lines} == {rule}, lines


def test_every_rule_has_a_planted_defect():
    assert {rule.__name__.replace("_", " ") for rule in rules.RULES} == {
        rule for rule, _ in PLANTED
    }


def test_rule_for_the_tarball(pristine, tmp_path):
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("TA-x/link")
        info.type, info.linkname, info.uid = tarfile.SYMTYPE, "/etc/passwd", 1000
        tar.addfile(info)
    assert len(rules.broken_by_tarball(path)) == 1
