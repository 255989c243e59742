"""Dashboards: what is made of the tables, and how it comes into Kibana."""

import base64
import json

import pytest
from click.testing import CliRunner
from elastic_simulator import Cluster, Server
from kibana_simulator import Kibana, asked, panels, source

from siemtap import contract, health
from siemtap.core.errors import ConfigError
from siemtap.core.manifest import describe
from siemtap.core.mapping import Dataset, Field
from siemtap.render import elastic, kibana
from siemtap.render.panels import Panel, overview
from siemtap.runners import plugins
from siemtap.runners.cli import main
from siemtap.runners.config import load
from siemtap.runners.kibana import Kibana as Client

ES = elastic.Server("elasticsearch", (9, 1))
LENS_TYPES = {
    "keyword": "string",
    "constant_keyword": "string",
    "wildcard": "string",
    "ip": "ip",
    "long": "number",
    "double": "number",
    "date": "date",
}


@pytest.fixture
def served():
    with Server(Cluster()) as cluster, Server(Kibana()) as board:
        yield cluster, board


def configured(served, folder, **more):
    cluster, board = served
    path = folder / "siemtap.yml"
    settings = {
        "output": {"elasticsearch": {"hosts": [cluster.url], **more.pop("output", {})}},
        "setup": {"kibana": {"host": board.url, **more.pop("kibana", {})}},
        "health": {"enabled": True},
        "inputs": [
            {"type": name, **sample(plugin)} for name, plugin in plugins.installed().items()
        ],
        **more,
    }
    path.write_text(json.dumps(settings))
    return str(path)


def sample(plugin):
    return {
        s["name"]: "https://vendor.example.com" if s["kind"] == "url" else "x"
        for s in describe(plugin.settings)
        if s["required"]
    }


def run(*words):
    return CliRunner().invoke(main, list(words))


def field_types(saved):
    """Types of every field of the datasets that a dashboard is filtered on."""
    (only,) = source(saved)["filter"]
    return {
        path: spec
        for name in only["meta"]["params"]
        for path, spec in elastic.types(
            ES, contract.read("event.schema.json"), plugins.datasets()[name]
        ).items()
    }


def test_setup_brings_them_once_and_object_by_object_they_hold(served, tmp_path):
    path = configured(served, tmp_path)
    board = served[1].cluster
    dry = run("setup", "--dry-run", "-c", path)
    assert (
        dry.exit_code == 0
        and "would be created: dashboard siemtap-apptrana" in dry.output
        and not board.saved
    ), dry.output
    first = run("setup", "-c", path)
    assert first.exit_code == 0 and board.imports == 1, first.output
    assert "created: data view siemtap-apptrana" in first.output
    again = run("setup", "-c", path)
    assert again.exit_code == 0 and "0 changed" in again.output and board.imports == 1, again.output
    titles = {
        one["attributes"]["title"] for (kind, _), one in board.saved.items() if kind == "dashboard"
    }
    assert {"[Logs AppTrana] Overview", "[Logs siemtap] Health"} <= titles
    assert {id for kind, id in board.saved if kind == "dashboard"} == {
        "siemtap-siemtap",
        *(f"siemtap-{name}" for name in plugins.installed()),
    }
    for (kind, _), one in board.saved.items():
        if kind == "index-pattern":
            continue
        known = field_types(one)
        looked_at = asked(one)
        assert len(looked_at) >= 5
        for path_, type_, operation in looked_at:
            if path_ in ("___records___", "@timestamp"):
                continue
            assert path_ in known, f"{path_} is no field of ours"
            assert (
                type_ is None
                or operation == "unique_count"
                or LENS_TYPES[known[path_]["type"]] == type_
            ), path_
            assert operation not in ("sum", "max") or type_ == "number", path_


def test_a_dashboard_is_filled_row_by_row_without_holes(served, tmp_path):
    run("setup", "-c", configured(served, tmp_path))
    for (kind, id), one in served[1].cluster.saved.items():
        if kind == "dashboard":
            rows = {}
            for panel in panels(one):
                rows.setdefault(panel["gridData"]["y"], []).append(panel["gridData"])
            bottom = 0
            for top, row in sorted(rows.items()):
                assert (
                    top == bottom
                    and sum(grid["w"] for grid in row) == 48
                    and len({grid["h"] for grid in row}) == 1
                ), id
                bottom = top + row[0]["h"]


def test_what_a_person_changed_stays_until_we_change_it_too(served, tmp_path):
    path = configured(served, tmp_path)
    board = served[1].cluster
    run("setup", "-c", path)
    board.saved["dashboard", "siemtap-apptrana"]["attributes"]["panelsJSON"] = "[]"
    board.saved["index-pattern", "siemtap-apptrana"]["attributes"]["fieldFormatMap"] = (
        '{"url.path": {}}'
    )
    assert "0 changed" in run("setup", "-c", path).output
    board.saved["dashboard", "siemtap-apptrana"]["attributes"]["description"] = (
        "Made by siemtap, revision 00000000"
    )
    done = run("setup", "-c", path)
    assert (
        "changed: dashboard siemtap-apptrana\n    description: Made by siemtap, revision"
        " 00000000 -> "
        in done.output
        and len(panels(board.saved["dashboard", "siemtap-apptrana"])) > 10
    )
    assert (
        board.saved["index-pattern", "siemtap-apptrana"]["attributes"]["fieldFormatMap"]
        == '{"url.path": {}}'
    )


def test_its_login_its_space_and_where_the_events_lie(tmp_path):
    key = base64.b64encode(b"id:key").decode()
    with (
        Server(Cluster(api_key=key)) as cluster,
        Server(Kibana(space="soc", authorization=f"ApiKey {key}")) as board,
    ):
        path = configured(
            (cluster, board),
            tmp_path,
            output={"api_key": "id:key", "index": "siem-%{+yyyy.MM.dd}"},
            kibana={"space": "soc"},
        )
        done = run("setup", "-c", path)
        assert done.exit_code == 0, done.output
        assert (
            board.cluster.saved["index-pattern", "siemtap-apptrana"]["attributes"]["title"]
            == "siem-*"
        )
        tested = run("test", "output", "-c", path)
        assert "ok    dashboard siemtap-apptrana is there" in tested.output
        wrong = run(
            "setup",
            "-c",
            configured(
                (cluster, board),
                tmp_path,
                output={"api_key": "id:key"},
                kibana={"space": "soc", "username": "me", "password": "s3cret"},
            ),
        )
        assert (
            wrong.exit_code == 1
            and "check the login of setup.kibana" in wrong.output
            and "s3cret" not in wrong.output
        )
        nowhere = run(
            "setup",
            "-c",
            configured(
                (cluster, board), tmp_path, output={"api_key": "id:key"}, kibana={"space": "other"}
            ),
        )
        assert nowhere.exit_code == 2 and "/s/other/api/status: 404" in nowhere.output


@pytest.mark.parametrize(
    "version, sentence",
    [
        ("8.8.2", "Kibana 8.8.2 is too old for the dashboards; they need 8.9"),
        ("soon", "does not answer as Kibana does"),
    ],
)
def test_a_kibana_that_cannot_show_them(tmp_path, version, sentence):
    with Server(Cluster()) as cluster, Server(Kibana(version=version)) as board:
        done = run("setup", "-c", configured((cluster, board), tmp_path))
        assert done.exit_code == 2 and sentence in done.output and not board.cluster.saved


def test_what_kibana_refuses_is_told(served, tmp_path, monkeypatch):
    monkeypatch.setattr(kibana, "CORE_VERSION", "99.0.0")
    done = run("setup", "-c", configured(served, tmp_path))
    assert (
        done.exit_code == 2
        and "Kibana refused index-pattern siemtap-apptrana: newer_version" in done.output
    )


def test_opensearch_has_no_kibana(served, tmp_path):
    path = tmp_path / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "output": {"opensearch": {"hosts": [served[0].url]}},
                "setup": {"kibana": {"host": served[1].url}},
                "inputs": [{"type": "apptrana", "client_id": "a", "client_secret": "b"}],
            }
        )
    )
    with pytest.raises(ConfigError, match="OpenSearch Dashboards does not know"):
        Client(load(str(path)))


def test_export_writes_what_setup_would(served, tmp_path):
    path = configured(served, tmp_path)
    run("setup", "-c", path)
    done = run("export", "dashboards", "-c", path, "--into", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    written = [
        json.loads(line)
        for file in (tmp_path / "out").iterdir()
        for line in file.read_text().splitlines()
    ]
    assert {(one["type"], one["id"]): one["attributes"].get("description") for one in written} == {
        key: one["attributes"].get("description") for key, one in served[1].cluster.saved.items()
    }


def test_a_panel_of_a_field_that_is_not_there_is_found_when_it_is_made():
    dataset = Dataset(
        "acme.event",
        lambda record: None,
        ("id",),
        (Field("sender", "source.address"), Field("text", "message")),
        {"event.action": "constant"},
    )
    shown = overview("Acme", [dataset])
    assert [panel.title for panel in shown.panels] == [
        "Events",
        "Sources",
        "Top sources",
        "Events",
    ] and "event.action" not in shown.panels[-1].columns
    types = elastic.types(ES, contract.read("event.schema.json"), dataset)
    assert len(kibana.objects(shown, types, kibana.View("logs-*"))) == 2, (
        "a data view that is there already is not made"
    )
    for wrong in (
        Panel("No", "top", "nobody.knows"),
        Panel("No", "top", "message"),
        Panel("No", "number", measure="sum", of="source.address"),
        Panel("No", "top", "event.kind", only=("nobody.knows", "1")),
    ):
        with pytest.raises(KeyError):
            kibana.objects(shown._replace(panels=(wrong,)), types, kibana.View("logs-*"))


def test_our_own_health_is_shown():
    assert {path for panel in health.OVERVIEW.panels for path in panel.fields} <= set(
        health.DATASET.targets()
    )
