"""Worlds in which something is broken: each function makes one in a folder, and returns how the
commands run in it."""

import sqlite3

GARBAGE = bytes(range(256)) * 40
INPUTS = """\
inputs:
  - {type: apptrana, client_id: a, client_secret: hidden-secret, url: "http://127.0.0.1:9", timeout: 1s}
  - {type: centurylink_ips, syslog: "udp://127.0.0.1:0"}
"""
NORMAL = "path.data: data\nhttp.port: 0\n" + INPUTS
CLUSTER = NORMAL + "output.elasticsearch: {hosts: 'http://127.0.0.1:9', timeout: 1s}\n"
UNIT = "apptrana/apptrana.attack"

COMMANDS = [
    "run --once --patience 0s",
    "run --once --patience 0s --from 2026-03-04T10:00Z --to 2026-03-04T11:00Z",
    "run --from yesterday",
    "test config",
    "test inputs",
    "test inputs --preview",
    "test output",
    "setup",
    "setup --dry-run",
    "export mapping apptrana.attack",
    "export mapping nothing",
    "export schema config",
    "export schema apptrana",
    "export schema nothing",
    "export templates --into into",
    "export templates --into into --version x",
    "export dashboards --into into -c siemtap.yml",
    "export dashboards --into into",
    "export sample apptrana",
    "audit --since 1h --patience 0s",
    "audit --since 1h --patience 0s --repair",
    "audit --since x",
    "state list",
    f"state show {UNIT}",
    f'state set {UNIT} {{"until":1}}',
    f'state set {UNIT} {{"until":"x"}}',
    f"state set {UNIT} [[[",
    f"state delete {UNIT}",
    "rejected list",
    "rejected list --json",
    "rejected retry",
    "rejected delete --all",
    "rejected delete nothing",
    "queue list",
    "queue delete nothing",
    "replay payload.json",
    "replay garbage",
    "replay missing",
    "replay folder",
    "build elastic apptrana --into into",
    "build splunk nothing --into into",
    "simulate apptrana --for 0s",
    "simulate apptrana --for 0s --port 99999",
    "simulate nothing",
    "new vendor --into into",
    "new ../x --into into",
    "centurylink_ips notifications list x",
]
# the commands that read no configuration, and write or listen
INDEPENDENT = ("export mapping", "export schema", "export sample", "simulate", "new", "build")
DEPENDENT = [command for command in COMMANDS if not command.startswith(INDEPENDENT)]
WORLDS = {}


def world(make):
    WORLDS[make.__name__] = make
    return make


def commands(selected=COMMANDS):
    """Return the arguments of each command; those that read a configuration read siemtap.yml."""
    return [command.split(" ") for command in selected]


def usual(folder, text=NORMAL):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "siemtap.yml").write_text(text, encoding="utf-8")
    (folder / "payload.json").write_text('{"a": 1}')
    (folder / "garbage").write_bytes(GARBAGE)
    (folder / "folder").mkdir(exist_ok=True)
    return {}


def stored(folder, **columns):
    """Write a database with one mark and one rejected event; `columns` replaces values."""
    from siemtap.edge.store import checkpoints, rejected

    database = checkpoints.Database(folder / "data/siemtap.db")
    rejected.RejectedEvents(database)
    database.close()
    row = {
        "mark": '{"cursor": {"until": 1772625600000}, "seen": {}}',
        "saved": 1772625600000,
        "reason": "refused",
        "time": 1772625600000,
        "event": '{"event": {"id": "x", "dataset": "apptrana.attack"}}',
        **columns,
    }
    with sqlite3.connect(folder / "data/siemtap.db") as db:
        db.execute(
            "INSERT INTO mark VALUES ('apptrana', 'apptrana.attack', '', ?, ?)",
            [row["mark"], row["saved"]],
        )
        db.execute(
            "INSERT INTO rejected (id, output, input, dataset, reason, time, event, size)"
            " VALUES ('x', '', 'apptrana', 'apptrana.attack', ?, ?, ?, 9)",
            [row["reason"], row["time"], row["event"]],
        )
    db.close()


# The configuration


@world
def nothing_is_broken(folder):
    usual(folder)
    stored(folder)
    return {}


@world
def a_cluster_that_does_not_answer(folder):
    usual(folder, CLUSTER)
    return {}


@world
def an_opensearch_and_kibana_that_do_not_answer(folder):
    text = CLUSTER.replace("elasticsearch", "opensearch")
    return usual(folder, text + "setup.kibana.host: http://127.0.0.1:9\n")


@world
def no_configuration(folder):
    usual(folder)
    (folder / "siemtap.yml").unlink()


@world
def the_configuration_is_a_folder(folder):
    usual(folder)
    (folder / "siemtap.yml").unlink()
    (folder / "siemtap.yml").mkdir()


@world
def the_configuration_is_garbage(folder):
    usual(folder)
    (folder / "siemtap.yml").write_bytes(GARBAGE)


@world
def the_configuration_is_empty(folder):
    usual(folder, "")


@world
def the_configuration_is_latin_1(folder):
    usual(folder)
    (folder / "siemtap.yml").write_bytes((NORMAL + "# für\n").encode("latin-1"))


@world
def the_configuration_is_utf_16(folder):
    usual(folder)
    (folder / "siemtap.yml").write_bytes(NORMAL.encode("utf-16"))


@world
def the_configuration_has_control_characters(folder):
    usual(folder, NORMAL + "x: '\x07'\n")


# The data folder


@world
def the_data_folder_is_a_file(folder):
    usual(folder)
    (folder / "data").write_text("x")


@world
def the_data_folder_is_below_a_file(folder):
    usual(folder, NORMAL.replace("path.data: data", "path.data: garbage/data"))


@world
def the_data_folder_cannot_be_made(folder):
    usual(folder, NORMAL.replace("path.data: data", "path.data: /proc/siemtap"))


@world
def nobody_may_write(folder):
    """The user may read everything, and write nothing."""
    usual(folder)
    stored(folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return {"user": 65534}


@world
def nobody_may_read(folder):
    """The user may read the configuration only."""
    usual(folder)
    stored(folder)
    for path in [*folder.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    (folder / "siemtap.yml").chmod(0o644)
    folder.chmod(0o755)
    return {"user": 65534}


@world
def nobody_may_read_the_configuration(folder):
    usual(folder)
    (folder / "siemtap.yml").chmod(0o600)
    folder.chmod(0o755)
    return {"user": 65534}


@world
def no_disk_space(folder):
    usual(folder)
    return {"file_size": 0}


@world
def no_disk_space_later(folder):
    usual(folder)
    stored(folder)
    return {"file_size": 8192}


@world
def the_database_is_a_folder(folder):
    usual(folder)
    (folder / "data/siemtap.db").mkdir(parents=True)


@world
def the_database_is_garbage(folder):
    usual(folder)
    (folder / "data").mkdir()
    (folder / "data/siemtap.db").write_bytes(GARBAGE)


@world
def the_database_is_empty(folder):
    usual(folder)
    (folder / "data").mkdir()
    (folder / "data/siemtap.db").write_bytes(b"")


@world
def the_database_is_cut(folder):
    usual(folder)
    stored(folder)
    path = folder / "data/siemtap.db"
    path.write_bytes(path.read_bytes()[:5000])


@world
def the_database_has_other_tables(folder):
    usual(folder)
    (folder / "data").mkdir()
    with sqlite3.connect(folder / "data/siemtap.db") as db:
        for table in ("mark", "rejected", "event", "queue"):
            db.execute(f"CREATE TABLE {table} (x)")
    db.close()


@world
def the_lock_is_a_folder(folder):
    usual(folder)
    (folder / "data/siemtap.lock").mkdir(parents=True)


@world
def the_pid_file_is_a_folder(folder):
    usual(folder)
    (folder / "data/siemtap.pid").mkdir(parents=True)


@world
def the_spool_is_a_file(folder):
    usual(folder)
    stored(folder)
    (folder / "data/spool").write_text("x")


@world
def the_spool_is_garbage(folder):
    usual(folder)
    stored(folder)
    (folder / "data/spool/centurylink_ips").mkdir(parents=True)
    for name in ("00000001.spool", "1", "x", "00000000000000000000.log"):
        (folder / "data/spool/centurylink_ips" / name).write_bytes(GARBAGE)


@world
def the_folder_was_deleted(folder):
    folder.mkdir()
    return {"deleted": True}


@world
def the_log_file_is_a_folder(folder):
    usual(folder, NORMAL + "logging.file: folder\n")


@world
def the_log_file_is_below_a_file(folder):
    usual(folder, NORMAL + "logging.file: garbage/log\n")


@world
def the_log_file_is_full(folder):
    usual(folder, NORMAL + "logging.file: /dev/full\n")


@world
def the_output_folder_is_a_file(folder):
    usual(folder, NORMAL + "output.file.path: garbage\n")


@world
def the_output_is_full(folder):
    usual(folder, NORMAL + "output.file.path: out\n")
    (folder / "out").mkdir()
    (folder / "out/events.ndjson").symlink_to("/dev/full")


@world
def the_output_is_a_folder(folder):
    usual(folder, NORMAL + "output.file.path: out\n")
    (folder / "out/events.ndjson").mkdir(parents=True)


@world
def standard_output_is_full(folder):
    usual(folder, NORMAL + "output.stdout:\n")
    stored(folder)
    return {"stdout": "/dev/full"}


@world
def the_terminal_is_ascii(folder):
    usual(folder, NORMAL)
    stored(folder, reason="für … 😀 \ud800".encode("utf-8", "replace").decode())
    return {"encoding": "ascii"}


@world
def certificates_are_missing(folder):
    usual(folder, NORMAL.replace("timeout: 1s", "timeout: 1s, ca_file: nowhere.pem"))


@world
def certificates_are_garbage(folder):
    text = NORMAL.replace("timeout: 1s", "timeout: 1s, ca_file: garbage")
    text = text.replace("http://127.0.0.1:9", "https://127.0.0.1:9")
    text += "output.elasticsearch: {hosts: 'https://127.0.0.1:9', ca_file: garbage}\n"
    usual(folder, text)


@world
def a_host_is_none(folder):
    usual(folder, NORMAL.replace("http://127.0.0.1:9", "http://[::1"))


@world
def a_host_cannot_be_found(folder):
    text = CLUSTER.replace("http://127.0.0.1:9", "http://nowhere.invalid:9200")
    usual(folder, text.replace("timeout: 1s", "timeout: 2s"))


@world
def a_key_is_not_latin_1(folder):
    usual(folder, CLUSTER.replace("hidden-secret", "schlüssel-€-😀"))


@world
def what_is_written_to_is_a_file(folder):
    usual(folder)
    (folder / "into").write_text("x")


@world
def what_is_written_to_is_full(folder):
    usual(folder)
    (folder / "into").symlink_to("/dev/full")
