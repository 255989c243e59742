"""What a dataset says about the CIM is checked when its plugin is loaded."""

import pytest

from siemtap.core.convert import text
from siemtap.core.errors import ConfigError
from siemtap.core.rows import Cim, CimClass, Dataset, Field
from siemtap.render import cim

ROWS = (
    Field("id", "acme.id"),
    Field("kind", "acme.kind"),
    Field("ip", "source.address"),
    Field("name", "rule.name"),
)
ALERT_FIELDS = {
    "severity": {"is": "high"},
    "signature": {"from": "rule.name", "else": "unknown"},
    "type": {"is": "alert"},
}
ALERT = CimClass(("Alerts",), ("alert",), ("alert",), ALERT_FIELDS)


def check(rules):
    cim.check(Dataset("acme.event", text, ("id",), ROWS, cim=rules))


def test_a_dataset_without_models_with_one_and_with_classes():
    check(Cim())
    check(Cim(custom=("src",), fields={"src": {"from": "source.address"}}))
    check(Cim(("Alerts",), ("alert", "mine"), fields=ALERT_FIELDS))
    check(Cim(by="acme.kind", classes={"alert": ALERT}))
    check(Cim(by="acme.kind", classes={"alert": ALERT._replace(fields={})}, fields=ALERT_FIELDS))


TRAFFIC = CimClass(
    ("Network_Traffic",),
    ("network", "communicate"),
    ("firewall",),
    {
        "action": {"is": "blocked"},
        "dest": {"is": "here"},
        "dvc": {"is": "here"},
        "src": {"from": "source.address"},
        "vendor_product": {"is": "Acme Gate"},
    },
)


@pytest.mark.parametrize(
    "rules, sentence",
    [
        (
            Cim(by="acme.kind", classes={"alert": ALERT, "traffic": TRAFFIC}),
            "the class traffic of Cim is in Network_Traffic, which requires transport; add a rule"
            ' for each to its fields or to Cim.fields, such as "transport": {"from": "<a field of'
            ' the event>"}',
        ),
        (
            Cim(("Alerts",), ("alert",), fields={"severity": {"is": "high"}}),
            "Cim is in Alerts, which requires signature, type; add a rule for each to Cim.fields,"
            ' such as "signature": {"from": "<a field of the event>"}',
        ),
        (Cim(("Alert",), ("alert",)), "Cim names Alert; the data models are Intrusion_Detection,"),
        (Cim((), ("alert",)), "Cim has tags and no data model; name the model that the tags mean"),
        (
            Cim(("Alerts",), ("alerts",), fields=ALERT_FIELDS),
            "Cim is in Alerts, whose events have the tags alert; add them",
        ),
        (
            Cim(("Alerts",), ("alert",), fields={**ALERT_FIELDS, "type": {"is": "page"}}),
            "Cim gives the CIM field type the value page; Alerts allows alarm, alert, event,",
        ),
        (
            Cim(
                ("Alerts",),
                ("alert",),
                fields={
                    **ALERT_FIELDS,
                    "severity": {"from": "rule.name", "map": {"1": "low"}, "else": {"is": "top"}},
                },
            ),
            "Cim gives the CIM field severity the value top; Alerts allows critical, high,",
        ),
        (
            Cim(fields={"src": {"from": "source.address"}}),
            "the CIM field src is in none of its data models (none); write it as the model does, or"
            " list it in Cim.custom",
        ),
        (
            Cim(custom=("src",), fields={"src": {"from": "source.adress"}}),
            "the rule of the CIM field src reads source.adress, which no row sets (close to it:"
            " source.address",
        ),
        (
            Cim(by="acme.knd", classes={"alert": ALERT}),
            "Cim.by reads acme.knd, which no row sets (close to it: acme.kind",
        ),
        (Cim(classes={"alert": ALERT}), "Cim has classes; name the field that tells them apart"),
        (Cim(by="acme.kind"), "Cim.by is for classes, and Cim has none; add them to Cim.classes"),
        (
            Cim(by="acme.kind", classes={"alert": ALERT._replace(values=())}),
            "the class alert of Cim has no values; list those of acme.kind that mean it",
        ),
        (
            Cim(by="acme.kind", classes={"alert": ALERT, "second": ALERT}),
            "acme.kind alert means two classes of Cim, alert and second",
        ),
    ],
)
def test_a_rule_that_cannot_hold_is_refused_with_what_to_do(rules, sentence):
    with pytest.raises(ConfigError) as caught:
        check(rules)
    assert str(caught.value).startswith(f"acme.event: {sentence}")
