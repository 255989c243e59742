"""Dashboards: how they are derived from the mapping tables and written to Kibana."""

import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from elastic_simulator import Cluster, Server
from kibana_simulator import Kibana, panels, source, used_fields

from siemtap.core.errors import ConfigError
from siemtap.core.manifest import describe
from siemtap.core.rows import Dataset, Field
from siemtap.elastic import field_types as elastic_types
from siemtap.elastic.kibana import saved_objects as kibana
from siemtap.elastic.server import Server as ClusterInfo
from siemtap.render import health, registry
from siemtap.render.panels import Panel, overview
from siemtap.shipper.cli.main import main
from siemtap.shipper.config.load import load
from siemtap.shipper.setup.kibana import kibana_client

pytestmark = pytest.mark.slow

ES = ClusterInfo("elasticsearch", (9, 1))
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
            {"type": name, **sample(plugin)} for name, plugin in registry.installed().items()
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


def run(*arguments):
    return CliRunner().invoke(main, list(arguments))


def field_types(saved):
    """Return the types of every field of the datasets in the filter of a dashboard."""
    (only,) = source(saved)["filter"]
    return {
        path: spec
        for name in only["meta"]["params"]
        for path, spec in elastic_types.types(ES, registry.datasets()[name]).items()
    }


def test_setup_writes_valid_dashboards_once(served, tmp_path):
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
        saved["attributes"]["title"]
        for (kind, _), saved in board.saved.items()
        if kind == "dashboard"
    }
    assert {"[Logs AppTrana] Overview", "[Logs siemtap] Health"} <= titles
    assert {id for kind, id in board.saved if kind == "dashboard"} == {
        "siemtap-siemtap",
        *(
            f"siemtap-{name}{topic}"
            for name in registry.installed()
            for topic in ("", "-sources", "-rules", "-collection")
        ),
    }
    for (kind, _), saved in board.saved.items():
        if kind == "index-pattern":
            continue
        known = field_types(saved)
        looked_at = used_fields(saved)
        assert len(looked_at) >= (5 if kind == "dashboard" else 2)
        for path_, type_, operation in looked_at:
            if path_ in ("___records___", "@timestamp"):
                continue
            assert path_ in known, f"{path_} is not a field of the events"
            assert (
                type_ is None
                or operation == "unique_count"
                or LENS_TYPES[known[path_]["type"]] == type_
            ), path_
            assert operation not in ("sum", "max") or type_ == "number", path_


def test_panels_fill_the_dashboard_without_gaps(served, tmp_path):
    run("setup", "-c", configured(served, tmp_path))
    for (kind, id), saved in served[1].cluster.saved.items():
        if kind == "dashboard":
            rows = {}
            for panel in panels(saved):
                rows.setdefault(panel["gridData"]["y"], []).append(panel["gridData"])
            bottom = 0
            for top, row in sorted(rows.items()):
                assert (
                    top == bottom
                    and sum(grid["w"] for grid in row) == 48
                    and len({grid["h"] for grid in row}) == 1
                ), id
                bottom = top + row[0]["h"]


def test_change_of_a_user_is_kept_until_the_revision_changes(served, tmp_path):
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


def test_login_space_and_data_views(tmp_path):
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
        assert "ok    dashboard siemtap-apptrana exists" in tested.output
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
        ("8.10.4", "Kibana 8.10.4 is too old for the dashboards; they need 8.11"),
        ("soon", "is not a Kibana"),
    ],
)
def test_kibana_without_support_is_reported(tmp_path, version, sentence):
    with Server(Cluster()) as cluster, Server(Kibana(version=version)) as board:
        done = run("setup", "-c", configured((cluster, board), tmp_path))
        assert done.exit_code == 2 and sentence in done.output and not board.cluster.saved


def test_objects_rejected_by_kibana_are_reported(served, tmp_path, monkeypatch):
    monkeypatch.setattr(kibana, "CORE_VERSION", "99.0.0")
    done = run("setup", "-c", configured(served, tmp_path))
    assert (
        done.exit_code == 2
        and "Kibana rejected index-pattern siemtap-apptrana: newer_version" in done.output
    )


def test_kibana_setup_is_rejected_for_opensearch(served, tmp_path):
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
        kibana_client(load(str(path)))


def test_export_writes_the_dashboards_of_setup(served, tmp_path):
    path = configured(served, tmp_path)
    run("setup", "-c", path)
    done = run("export", "dashboards", "-c", path, "--into", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    written = [
        json.loads(line)
        for file in (tmp_path / "out").iterdir()
        for line in file.read_text().splitlines()
    ]
    assert {
        (saved["type"], saved["id"]): saved["attributes"].get("description") for saved in written
    } == {
        key: saved["attributes"].get("description")
        for key, saved in served[1].cluster.saved.items()
    }


def test_export_of_dashboards_needs_no_configuration(served, tmp_path, monkeypatch):
    """Without a file, or with one whose output is no cluster, they are those of setup."""
    monkeypatch.chdir(tmp_path)
    done = run("export", "dashboards", "--into", "without")
    assert done.exit_code == 0, done.output
    configured(served, tmp_path)  # siemtap.yml, which is read if it is there
    assert run("export", "dashboards", "--into", "with").exit_code == 0
    path = configured(served, tmp_path, output={"index": "own-%{+yyyy.MM.dd}"})
    assert run("export", "dashboards", "-c", path, "--into", "own").exit_code == 0
    tree = json.loads(Path(path).read_text())
    Path("other.yml").write_text(json.dumps({**tree, "output": {"sqlite": {}}}))
    done = run("export", "dashboards", "-c", "other.yml", "--into", "other")
    assert done.exit_code == 0, done.output
    without, *others = (
        {file.name: file.read_text() for file in Path(folder).iterdir()}
        for folder in ("without", "with", "other", "own")
    )
    assert without == others[0] == others[1] and len(without) == len(registry.installed()) + 1
    assert "own-*" in others[2]["kibana-apptrana.ndjson"]
    assert run("export", "dashboards", "-c", "none.yml", "--into", "x").exit_code == 2


def test_panel_with_a_missing_field_is_an_error():
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
    types = elastic_types.types(ES, dataset)
    assert len(kibana.objects([shown], types, kibana.View("logs-*"))) == 2, (
        "an existing data view must not be created"
    )
    for wrong in (
        Panel("No", "top", "nobody.knows"),
        Panel("No", "top", "message"),
        Panel("No", "number", measure="sum", of="source.address"),
        Panel("No", "top", "event.kind", only=("nobody.knows", "1")),
    ):
        with pytest.raises(KeyError):
            kibana.objects([shown._replace(panels=(wrong,))], types, kibana.View("logs-*"))
    with pytest.raises(KeyError):  # a text cannot be filtered by its values
        text = shown._replace(controls=(("Text", "message"),))
        kibana.objects([text], types, kibana.View("logs-*"))


def test_health_dashboard():
    assert {path for panel in health.OVERVIEW.panels for path in panel.fields} <= set(
        health.DATASET.targets()
    )


@pytest.mark.parametrize("name", registry.installed())
def test_each_dataset_has_a_saved_search(name):
    """With its events alone, and columns that it sets."""
    plugin = registry.plugin(name)
    vendor = overview(name, plugin.datasets)
    known = {
        path: spec
        for dataset in plugin.datasets
        for path, spec in elastic_types.types(ES, dataset).items()
    }
    saved = kibana.objects([vendor], known, kibana.View("logs-*", package=name))
    by_datasets = {}
    for item in saved:
        if item["type"] == "search":
            (only,) = source(item)["filter"]
            by_datasets.setdefault(tuple(only["meta"]["params"]), []).append(item["attributes"])
    for dataset in plugin.datasets:
        (attributes,) = by_datasets[(dataset.name,)]
        assert len(attributes["columns"]) >= 2
        assert set(attributes["columns"]) <= set(dataset.targets()) - set(dataset.constant)
