"""Our own rules for an add-on: silent about what is built, and each heard when its defect is
planted."""

import shutil
import tarfile

import pytest
import rules
from built import each_plugin, tarball, unpacked

from siemtap.runners import plugins


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return unpacked(plugins.plugin("pingintelligence"), tmp_path_factory.mktemp("pristine"))


@each_plugin
def test_what_is_built_breaks_none(plugin, tmp_path):
    assert (
        rules.of_tarball(tarball(plugin)) == [] and rules.broken(unpacked(plugin, tmp_path)) == []
    )


def replaced(path, old, new):
    def plant(folder):
        file = folder / path
        said = file.read_text()
        assert old in said, f"{path} does not have what is to be changed"
        file.write_text(said.replace(old, new, 1))

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
    "lib/siemtap/edge/http.py",
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
    ("nothing is run that is read", added(HTTP, "\neval(said)\n")),
    ("nothing is run that is read", added("lib/siemtap/engine.py", "\nimport pickle\n")),
    ("no proxy of the environment", added(HTTP, "\nsession.trust_env = True\n")),
    (
        "python that the oldest reads",
        added("lib/siemtap/engine.py", "\nmatch 1:\n    case 1:\n        pass\n"),
    ),
    (
        "pure python and nothing of a workshop",
        added("lib/fast.cpython-311-x86_64-linux-gnu.so", "x"),
    ),
    ("pure python and nothing of a workshop", added("local/inputs.conf", "[x]\n")),
    ("pure python and nothing of a workshop", added(".gitignore", "x")),
    ("pure python and nothing of a workshop", added("bin/json.py", "")),
    ("files that nobody else may write or run", mode("bin/pingintelligence.py", 0o755)),
    ("files that nobody else may write or run", mode("default/app.conf", 0o664)),
    (
        "both words for python",
        replaced("default/inputs.conf", "python.required = 3.9, 3.13", "python.required = 3.13"),
    ),
    (
        "both words for python",
        replaced("default/alert_actions.conf", "python.version = python3\n", ""),
    ),
    (
        "both words for python",
        replaced(
            "default/restmap.conf", "python.version = python3\n", "python.version = python3.9\n"
        ),
    ),
    ("confs that an add on has no business with", added("default/indexes.conf", "[security]\n")),
    ("searches that are switched off and rare", replaced(SEARCHES, "disabled = 1", "disabled = 0")),
    (
        "searches that are switched off and rare",
        replaced(SEARCHES, "cron_schedule = 7 *", "cron_schedule = */2 *"),
    ),
    (
        "every search says where",
        replaced(
            SEARCHES, "search = eventtype=ta_pingintelligence_attack", "search = sourcetype=x"
        ),
    ),
    (
        "every search says where",
        replaced(VIEW, "<query>eventtype=ta_pingintelligence_attack", "<query>index=*"),
    ),
    (
        "every search says where",
        replaced("default/eventtypes.conf", "search = `ta_pingintelligence_index` ", "search = "),
    ),
    (
        "fields that there are",
        replaced(VIEW, "timechart count by action", "timechart count by actoin"),
    ),
    (
        "pages that lead somewhere",
        replaced("default/data/ui/nav/default.xml", 'name="health"', 'name="healthy"'),
    ),
    (
        "the largest event is not cut",
        replaced("default/props.conf", "TRUNCATE = 0", "TRUNCATE = 1000000"),
    ),
    ("the largest event is not cut", replaced("default/props.conf", "TRUNCATE = 0\n", "")),
    ("the version is one", replaced("app.manifest", '"version": "', '"version": "9')),
]


@pytest.mark.parametrize(
    "rule, plant", PLANTED, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(PLANTED)]
)
def test_a_planted_defect_is_found_by_its_rule(rule, plant, pristine, tmp_path):
    folder = tmp_path / pristine.name
    shutil.copytree(pristine, folder)
    plant(folder)
    said = rules.broken(folder)
    assert said and {one.partition(":")[0] for one in said} == {rule}, said


def test_no_rule_is_without_its_defect():
    assert {rule.__name__.replace("_", " ") for rule in rules.RULES} == {
        rule for rule, _ in PLANTED
    }


def test_what_only_the_packed_form_shows(pristine, tmp_path):
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("TA-x/link")
        info.type, info.linkname, info.uid = tarfile.SYMTYPE, "/etc/passwd", 1000
        tar.addfile(info)
    assert len(rules.of_tarball(path)) == 1
