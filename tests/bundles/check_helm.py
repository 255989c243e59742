"""The Helm chart: by `helm lint`, rendered by `helm template` for several values, and each manifest
by Kubernetes' own schemas. Run by `ci/bundle`, which builds Helm. No cluster runs here.

The ServiceMonitor is a resource of the Prometheus Operator, for which there is no schema here: its
fields are checked by name.
"""

import json
import os
import subprocess
from pathlib import Path

import chart
import pytest
from ruamel.yaml import YAML

from siemtap.shipper.config.load import parse

ROOT = Path(__file__).parents[2]
KUBERNETES = ("1.28", "1.37")  # the oldest and the newest that the validator knows
INPUT = {"type": "apptrana", "client_id": "${ID}", "client_secret": "${SECRET}"}
VALUES = {
    "defaults": {},
    "pull": {
        "config": {
            "inputs": [INPUT],
            "output.elasticsearch": {"hosts": ["https://es.example.com"]},
        },
        "secretEnv": ["apptrana"],
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "persistence": {"storageClassName": "fast"},
    },
    "receive": {
        "secretFiles": ["siemtap-files"],
        "receivers": [
            {"name": "webhook", "port": 8443},
            {"name": "syslog", "port": 6514, "protocol": "UDP"},
        ],
        "service": {"type": "LoadBalancer"},
        "networkPolicy": {"enabled": True},
        "podLabels": {"team": "soc"},
        "podAnnotations": {"note": "x"},
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "soc", "operator": "Exists"}],
    },
}
REFUSED = {
    "path.data": {"config": {"inputs": [], "path.data": "/tmp"}},
    "got 514": {"receivers": [{"name": "syslog", "port": 514}]},
    "there are none": {"service": {"type": "LoadBalancer"}},
    "needs service.type ClusterIP": {
        "service": {"type": "NodePort"},
        "receivers": [{"name": "w", "port": 8443}],
        "serviceMonitor": {"enabled": True},
    },
}


def helm(*arguments, code=0):
    tools = Path(os.environ["SIEMTAP_ELASTIC_TOOLS"])
    command = [str(tools / "helm"), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (result.returncode == 0) is (code == 0), result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return chart.build(ROOT, tmp_path_factory.mktemp("dist"))


def render(package, folder, values, code=0):
    path = folder / "values.json"
    path.write_text(json.dumps(values))
    output = helm("template", "soc", package, "--namespace", "soc", "--values", path, code=code)
    (folder / "rendered.yml").write_text(output)
    if code:
        return output
    return {each["kind"]: each for each in YAML(typ="safe").load_all(output) if each}


def test_chart_passes_lint(package):
    assert "0 chart(s) failed" in helm("lint", "--strict", package)
    assert "version: 0.1.0" in helm("show", "chart", package)


@pytest.mark.parametrize("name", VALUES)
def test_manifests_are_valid(package, tmp_path, name):
    manifests = render(package, tmp_path, VALUES[name])
    assert {"StatefulSet", "Service", "ConfigMap"} <= set(manifests)
    for version in KUBERNETES:
        command = [os.environ["SIEMTAP_KUBERNETES"], "--strict", "--no-warn", "-k", version]
        result = subprocess.run(
            [*command, str(tmp_path / "rendered.yml")], capture_output=True, text=True
        )
        output = result.stdout + result.stderr
        assert result.returncode == 0, output
        assert output.count(" passed for ") == len(manifests) - ("ServiceMonitor" in manifests)


def test_validator_refuses_a_wrong_manifest(package, tmp_path):
    render(package, tmp_path, {})
    path = tmp_path / "rendered.yml"
    path.write_text(path.read_text().replace("replicas: 1", "replica: 1"))
    command = [os.environ["SIEMTAP_KUBERNETES"], "--strict", str(path)]
    assert subprocess.run(command, capture_output=True).returncode != 0


def test_configuration_is_that_of_siemtap(package, tmp_path):
    text = render(package, tmp_path, VALUES["pull"])["ConfigMap"]["data"]["siemtap.yml"]
    config = parse(text, environment={"ID": "x", "SECRET": "not in the chart"})
    assert (config.http.host, config.http.port) == ("0.0.0.0", 5066)
    assert str(config.data) == "/var/lib/siemtap" and config.outputs[0].type == "elasticsearch"
    assert "not in the chart" not in (tmp_path / "rendered.yml").read_text()


@pytest.mark.parametrize("name", VALUES)
def test_pod_is_restricted(package, tmp_path, name):
    """What the standard `restricted` of Kubernetes demands, a read-only root and no token."""
    spec = render(package, tmp_path, VALUES[name])["StatefulSet"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert spec["replicas"] == 1 and pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {each["mountPath"]: each.get("readOnly", False) for each in container["volumeMounts"]}
    assert [path for path, closed in mounts.items() if not closed] == ["/var/lib/siemtap", "/tmp"]
    assert "env" not in container, "secrets are references"


def test_secrets_are_references(package, tmp_path):
    pod = render(package, tmp_path, VALUES["pull"])["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "apptrana"}}]
    pod = render(package, tmp_path, VALUES["receive"])["StatefulSet"]["spec"]["template"]["spec"]
    sources = [v["projected"]["sources"] for v in pod["volumes"] if v["name"] == "secrets"]
    assert sources == [[{"secret": {"name": "siemtap-files"}}]]


def test_status_page_is_not_published(package, tmp_path):
    manifests = render(package, tmp_path, VALUES["receive"])
    assert [port["name"] for port in manifests["Service"]["spec"]["ports"]] == ["webhook", "syslog"]
    probes = manifests["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    assert probes["readinessProbe"]["tcpSocket"] == {"port": "http"}
    probes = render(package, tmp_path, {})["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert probes[0]["readinessProbe"]["httpGet"] == {"path": "/health", "port": "http"}


def test_service_monitor_finds_the_service(package, tmp_path):
    manifests = render(package, tmp_path, VALUES["pull"])
    monitor, service = manifests["ServiceMonitor"], manifests["Service"]
    assert set(monitor["spec"]) == {"jobLabel", "selector", "endpoints"}
    labels = monitor["spec"]["selector"]["matchLabels"]
    assert labels.items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "siemtap", "of the rules"


@pytest.mark.parametrize("reason", REFUSED)
def test_wrong_values_are_refused(package, tmp_path, reason):
    assert reason in render(package, tmp_path, REFUSED[reason], code=1)
