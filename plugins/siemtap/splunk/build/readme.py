"""Render the README.txt of an add-on: installation, many inputs at once, upgrade, troubleshooting."""

from __future__ import annotations

from typing import Any, Dict, List

from ...core.manifest import describe, kind_of
from ...core.model import Plugin
from ...edge.splunk.serializer import sourcetype
from ..runtime.names import account_settings, addon, input_settings, webhook_app
from .alerts import action_name, alert_commands
from .knowledge import event_types

TEXT = """{title} Add-on for Splunk, {version}
{rule}

Collects {datasets} and maps the events to Splunk's Common Information Model (CIM). Built by siemtap from the plugin {plugin}.
Runs on Splunk with Python 3.9 or 3.13 (9.3 and newer), Linux and Windows, Enterprise and Cloud (Victoria).


QUICK START

1. Install this file: Apps > Manage Apps > Install app from file. WHERE TO INSTALL says on which instance.
2. Open the add-on, Configuration > Accounts > Add. The account is saved only if the login succeeds; otherwise the vendor's error is shown.
   If that instance cannot reach the vendor, tick "Save without a test". The tabs Proxy and Advanced have the proxy and a private CA;
   an account may have a proxy of its own.
3. Inputs > Create New Input: enter a name, the account and an index. Click Add.
4. Search:  `{root}_index` sourcetype={sourcetypes}
   The dashboards overview and health are in the add-on's menu.


WHERE TO INSTALL

                           inputs      knowledge       pages
 heavy forwarder / IDM     yes         yes (parsing)   yes: create accounts and inputs here
 search head               no          yes             dashboards, searches
 search head cluster       no (*)      yes, by the deployer
 indexer                   no          yes (parsing)   no
 universal forwarder       no: it has no Python
 Cloud, Victoria           yes: install it on the stack and create the inputs there
 Cloud, Classic            yes, on the IDM; through Splunk Support elsewhere
 single instance           yes         yes             yes

(*) Every member of a search head cluster would run every input, and each event would be indexed once per member. Modular inputs cannot be
    limited to one member: create them on a heavy forwarder. Duplicates of an event have the same event.id.
{webhook}

MANY INPUTS AT ONCE

With the REST API, as an admin (secrets are encrypted when they are saved):

  curl -u admin https://localhost:8089/servicesNS/nobody/{name}/{root}_account -d name=main {account}
  curl -u admin https://localhost:8089/servicesNS/nobody/{name}/{root}_{kind} -d name=first -d account=main -d interval={interval} -d index=main

With conf files, in local/inputs.conf as below. Accounts have secrets: create them on the page or with the REST API.

  [{kind}://first]
  account = main
  interval = {interval}
  index = main

Settings of an input, each explained in README/inputs.conf.spec: {settings}.


CHECKPOINTS

The checkpoint of an input is in the KV store, in the collection {root}_checkpoints: a document for each unit, such as a website or an API.
Deleting an input deletes it; disabling an input keeps it; a clone starts without one. After "Reset checkpoint" or a change of Start the
input collects again, and Splunk indexes those events a second time. If the KV store is disabled, an admin can set checkpoint = file: the
checkpoint is then stored on that instance.


INDEXES

Every search of the add-on uses the macro {root}_index, which is index=* by default. Set it to your index:
Settings > Advanced search > Search macros > {root}_index > index=security


DATA MODELS

{models}
Events that report an error (event.kind=pipeline_error) are in no data model.
{alerts}

TROUBLESHOOTING

  index=_internal sourcetype={root}:log level=ERROR

and the dashboard health. The log file is $SPLUNK_HOME/var/log/splunk/{root}_{kind}.log; it never contains a secret.


UPGRADE

Install the new file over the old one: on the search heads first, then where the inputs run. Accounts, inputs and checkpoints stay; inputs
continue from their checkpoints. A dashboard or a search that you edited is in local/ and hides the new one: compare it, and delete your copy
(local/data/ui/views/overview.xml, local/savedsearches.conf). Then look at the dashboard health.


RELEASE NOTES

{version}: the first release.


Third-party libraries and their licenses: LICENSES/THIRDPARTY.txt. License of this add-on: LICENSES/Apache-2.0.txt.
The add-ons of siemtap itself were tested with mocks of splunkd and Splunk Web, AppInspect and slim; none with a real splunkd.
"""
WEBHOOK = """
The webhook is an input of a heavy forwarder. It listens there on a port (such as 0.0.0.0:8443) with a certificate. A payload that was answered
with 204 is stored on the disk of that instance. For high availability, put a load balancer in front of two heavy forwarders. There is no syslog input:
use SC4S or the add-on of Trend Micro for CEF, and the siemtap shipper for other formats.
"""
ALERTS = """

ALERT ACTIONS

{lines}
"""


def render_readme(plugin: Plugin, version: str) -> str:
    """Return the text of README.txt."""
    app = addon(plugin)
    title = f"{plugin.title} Add-on for Splunk, {version}"
    interval = next(
        (str(s["default"]) for s in describe(plugin.settings) if s["name"] == "interval"), "60s"
    )
    webhook = ""
    if plugin.webhook:
        webhook = f"{WEBHOOK}Its stanza: [{webhook_app(app).kind}://<name>].\n"
    lines = "\n".join(
        f"{command.alert} ({action_name(plugin, command)}): {command.help} Requires an account whose"
        " keys permit it."
        for command in alert_commands(plugin)
    )
    models = "".join(
        f"  {each.name:<50}{', '.join(each.of.models)}\n" for each in event_types(plugin)
    )
    return TEXT.format(
        title=plugin.title,
        version=version,
        rule="=" * len(title),
        plugin=plugin.name,
        datasets=", ".join(dataset.name for dataset in plugin.datasets),
        root=app.root,
        name=app.name,
        kind=app.kind,
        sourcetypes=sourcetype(f"{plugin.name}.*"),
        interval={"60s": "60", "10m": "600", "15m": "900"}.get(interval, "60"),
        account=" ".join(f"-d {s['name']}=..." for s in _example_settings(plugin)),
        settings=", ".join(s["name"] for s in input_settings(plugin)),
        models=f"  eventtype{'':<41}data models\n{models}" if models else "None.\n",
        webhook=webhook,
        alerts=ALERTS.format(lines=lines) if lines else "",
    )


def _example_settings(plugin: Plugin) -> List[Dict[str, Any]]:
    """Return the account settings of the curl example: those that a login needs, secrets last."""
    settings = account_settings(plugin)
    secrets = [
        s
        for s in settings
        if kind_of(s).is_secret
        and (s["required"] or s["name"] in ("password", "access_key", "secret_key"))
    ]
    needed = [
        s
        for s in settings
        if s not in secrets and (s["required"] or (kind_of(s).has_addresses and not s["default"]))
    ]
    return needed + secrets
