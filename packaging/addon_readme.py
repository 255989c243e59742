"""The README that an add-on carries: where it goes, how many inputs are made at once, what an
upgrade keeps."""

from __future__ import annotations

from typing import Dict, List

from siemtap import VERSION
from siemtap.core.manifest import describe
from siemtap.core.model import Plugin
from siemtap.render.splunk_views import action_name, alerts
from siemtap.runners.names import addon, of_account, of_input, sourcetype, webhook

TEXT = """{title} Add-on for Splunk, {version}
{rule}

Collects {datasets} and maps them to Splunk's Common Information Model. Made by siemtap from the plugin {plugin}.
Works on Splunk with Python 3.9 or 3.13 (9.3 and newer), Linux and Windows, Enterprise and Cloud (Victoria).


FIVE MINUTES

1. Install this file: Apps > Manage Apps > Install app from file. See WHERE IT GOES for the machine.
2. Open the add-on, Configuration > Accounts > Add. The account is kept once the vendor has let it in; his answer is shown if not.
   Where that machine has no way out, tick "Save without a test". Proxy and private CA: the tabs beside it.
3. Inputs > Create New Input: a name, the account, an index. Add.
4. Search:  `{root}_index` sourcetype={sourcetypes}
   Dashboards: overview and health, in the add-on's menu.


WHERE IT GOES

                           inputs      knowledge       pages
 heavy forwarder / IDM     yes         yes (parsing)   yes: make accounts and inputs here
 search head               no          yes             dashboards, searches
 search head cluster       no (*)      yes, by the deployer
 indexer                   no          yes (parsing)   no
 universal forwarder       no: it has no Python
 Cloud, Victoria           yes: install it on the stack, and make the inputs there
 Cloud, Classic            yes, on the IDM; by support elsewhere
 single instance           yes         yes             yes

(*) Every member of a search head cluster would run every input, and everything would come as often as there are members. Splunk offers no
    "only one" for modular inputs: make inputs on a heavy forwarder. What comes twice all the same has the same event.id.
{webhook}

MANY INPUTS AT ONCE

By REST, as an admin (secrets are encrypted on the way in):

  curl -u admin https://localhost:8089/servicesNS/nobody/{name}/{root}_account -d name=main {account}
  curl -u admin https://localhost:8089/servicesNS/nobody/{name}/{root}_{kind} -d name=first -d account=main -d interval={interval} -d index=main

By files: local/inputs.conf as below. Accounts have secrets and are made by REST or on the page.

  [{kind}://first]
  account = main
  interval = {interval}
  index = main

Settings of an input, each explained in README/inputs.conf.spec: {settings}.


HOW FAR IT HAS READ

is kept in the KV store ({root}_checkpoints), a document for each unit. It goes with its input; disabling keeps it; a clone begins afresh;
"Begin afresh" and a changed Start read again, and Splunk then has twice what it had. Where the KV store is switched off, an admin may choose
checkpoint = file: it then stays on that instance.


INDEXES

Every search here goes through the macro {root}_index, which is index=* until you say better:
Settings > Advanced search > Search macros > {root}_index > index=security
{alerts}

WHEN SOMETHING GOES WRONG

  index=_internal sourcetype={root}:log level=ERROR

and the dashboard health. The log is $SPLUNK_HOME/var/log/splunk/{root}_{kind}.log; it never has a secret.


UPGRADE

Install the new file over the old one. Accounts, inputs and marks stay; inputs go on where they were.


RELEASE NOTES

{version}: the first.


What is carried of others, and on which terms: LICENSES/THIRDPARTY.txt. This add-on: LICENSES/Apache-2.0.txt.
It was tested against a stand-in for splunkd and Splunk Web, by AppInspect and slim, and never in a real splunkd.
"""
WEBHOOK = """
The webhook is an input of a heavy forwarder: it listens on a port there (0.0.0.0:8443, say) with a certificate, and what it answered with 204
is on that machine's disk. Put a load balancer before two of them if you need that. Syslog has no input here: let SC4S or Trend's own add-on
take CEF, or siemtap's shipper anything else.
"""
ALERTS = """

ALERT ACTIONS

{lines}
"""


def readme(plugin: Plugin) -> str:
    app = addon(plugin)
    secrets = [
        s
        for s in of_account(plugin)
        if s["kind"] == "secret"
        and (s["required"] or s["name"] in ("password", "access_key", "secret_key"))
    ]
    needed: List[Dict[str, str]] = [
        s
        for s in of_account(plugin)
        if (s["required"] or (s["kind"] in ("url", "many") and not s["default"]))
        and s not in secrets
    ] + secrets
    title = f"{plugin.title} Add-on for Splunk, {VERSION}"
    interval = next(
        (str(s["default"]) for s in describe(plugin.settings) if s["name"] == "interval"), "60s"
    )
    lines = "\n".join(
        f"{command.alert} ({action_name(plugin, command)}): {command.help} Needs an account whose"
        " keys may do that."
        for command in alerts(plugin)
    )
    return TEXT.format(
        title=plugin.title,
        version=VERSION,
        rule="=" * len(title),
        plugin=plugin.name,
        datasets=", ".join(dataset.name for dataset in plugin.datasets),
        root=app.root,
        name=app.name,
        kind=app.kind,
        sourcetypes=sourcetype(f"{plugin.name}.*"),
        interval={"60s": "60", "10m": "600", "15m": "900"}.get(interval, "60"),
        account=" ".join(f"-d {s['name']}=..." for s in needed),
        settings=", ".join(s["name"] for s in of_input(plugin)),
        webhook=(
            WEBHOOK.format() + f"Its stanza: [{webhook(app).kind}://<name>].\n"
            if plugin.webhook
            else ""
        ),
        alerts=ALERTS.format(lines=lines) if lines else "",
    )
