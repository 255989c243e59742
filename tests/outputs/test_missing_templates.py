"""An output `elasticsearch` whose cluster lacks the templates of `siemtap setup`: it says so once, and
delivers."""

import pytest
from elastic_simulator import Refusal
from outputs.simulated_cluster import UNIT, event, install, output


def deliver(served):
    out = output(served)
    assert out.deliver(UNIT, [], None) == []
    for number in range(3):
        assert out.deliver(UNIT, [event(number)], None) == []
    out.close()


def test_a_missing_template_is_told_once(served, caplog):
    deliver(served)
    assert caplog.text.count("no index template siemtap-apptrana.attack") == 1
    assert "run `siemtap setup`" in caplog.text


def test_nothing_is_said_after_setup(served, tmp_path, caplog):
    install(served, tmp_path)
    deliver(served)
    assert caplog.text == ""


def test_the_template_of_an_elastic_package_will_do(served, tmp_path, caplog):
    install(served, tmp_path)
    templates = served.cluster.templates
    templates["logs-apptrana.attack"] = templates.pop("siemtap-apptrana.attack")
    deliver(served)
    assert caplog.text == ""


@pytest.mark.parametrize("status", [403, 429, 500])
def test_who_is_not_answered_delivers_and_asks_no_more(served, monkeypatch, caplog, status):
    asked = []

    def refuse(method, name, query, body):
        asked.append((method, name))
        raise Refusal(status, "security_exception", "unauthorized")

    monkeypatch.setattr(served.cluster, "template", refuse)
    deliver(served)
    assert asked == [("HEAD", "siemtap-apptrana.attack")]
    assert "index template" not in caplog.text


def test_indices_of_ones_own_need_no_template_of_setup(served, caplog):
    out = output(served, index="logs-siem-%{+yyyy.MM}")
    assert out.deliver(UNIT, [event(1)], None) == []
    assert caplog.text == ""
    out.close()
