"""The Helm chart as a file; tests/bundles/check_helm.py has what Helm says of it."""

import io
import os
import tarfile
from pathlib import Path

import chart
import pytest
from ruamel.yaml import YAML

from siemtap import VERSION

ROOT = Path(__file__).parents[2]


def test_chart_is_the_same_byte_for_byte(tmp_path):
    first = chart.build(ROOT, tmp_path / "a")
    before = os.umask(0o077)
    try:
        second = chart.build(ROOT, tmp_path / "b")
    finally:
        os.umask(before)
    assert first.name == f"siemtap-{VERSION}.tgz" and first.read_bytes() == second.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(first.read_bytes())) as tar:
        names = [name for name in tar.getnames() if "." in name]
        described = YAML(typ="safe").load(tar.extractfile("siemtap/Chart.yaml").read())
    assert described["version"] == described["appVersion"] == VERSION
    assert "siemtap/values.yaml" in names and "siemtap/templates/statefulset.yaml" in names


def test_chart_without_a_version_to_replace(tmp_path, monkeypatch):
    (tmp_path / "helm").mkdir()
    (tmp_path / "helm/Chart.yaml").write_text("version: 1.0.0\n")
    monkeypatch.setattr(chart, "CHART", tmp_path / "helm")
    with pytest.raises(SystemExit, match="must have version"):
        chart.build(ROOT, tmp_path / "dist")
