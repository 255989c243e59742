"""Render the scripts in an add-on's bin/, which splunkd starts."""

from __future__ import annotations

from typing import Dict

from ...core.model import Plugin
from ..runtime.names import addon, webhook_app
from .alerts import action_name, alert_commands

INPUT_SCRIPT = '''"""{title}: the modular input that splunkd starts."""

import import_declare_test  # noqa: F401  (puts lib/ first on the path)
import sys

from {plugin} import PLUGIN
from siemtap.splunk.runtime.names import addon
from siemtap.splunk.runtime.script import main

if __name__ == "__main__":
    sys.exit(main(PLUGIN, addon(PLUGIN)))
'''
WEBHOOK_SCRIPT = '''"""{title}: the webhook that splunkd starts on a heavy forwarder."""

import import_declare_test  # noqa: F401  (puts lib/ first on the path)
import sys

from {plugin} import PLUGIN
from siemtap.splunk.runtime.names import addon, webhook_app
from siemtap.splunk.runtime.script import main
from siemtap.splunk.runtime.webhook import Webhook

if __name__ == "__main__":
    sys.exit(main(PLUGIN, webhook_app(addon(PLUGIN)), input_type=Webhook))
'''

PAGES_SCRIPT = '''"""REST handlers of the pages: test the login of {title}, reset inputs, delete checkpoints and tokens."""

import import_declare_test  # noqa: F401  (puts lib/ first on the path)

from {plugin} import PLUGIN
from siemtap.splunk.runtime.names import addon
from siemtap.splunk.runtime.pages import (
    account_error,
    delete_checkpoints,
    delete_token,
    input_error,
    removal_error,
    set_generation,
)
from siemtap.splunk.runtime.splunkd import Splunkd
from solnlib.splunkenv import get_splunkd_uri
from splunktaucclib.rest_handler.admin_external import AdminExternalHandler
from splunktaucclib.rest_handler.error import RestError


def connect(handler):
    return Splunkd(addon(PLUGIN), get_splunkd_uri(), handler.getSessionKey())


def refuse(error):
    if error:
        raise RestError(400, error)


class AccountHandler(AdminExternalHandler):
    def handleCreate(self, confInfo):
        self.check_login()
        AdminExternalHandler.handleCreate(self, confInfo)

    def handleEdit(self, confInfo):
        self.check_login()
        AdminExternalHandler.handleEdit(self, confInfo)

    def handleRemove(self, confInfo):
        refuse(removal_error(connect(self), self.callerArgs.id))
        AdminExternalHandler.handleRemove(self, confInfo)
        delete_token(connect(self), self.callerArgs.id)

    def check_login(self):
        refuse(account_error(PLUGIN, connect(self), self.callerArgs.id, self.payload))


class InputHandler(AdminExternalHandler):
    def handleCreate(self, confInfo):
        refuse(input_error(connect(self), self.payload))
        set_generation(self.payload, True)
        AdminExternalHandler.handleCreate(self, confInfo)

    def handleEdit(self, confInfo):
        refuse(input_error(connect(self), self.payload))
        set_generation(self.payload, False)
        AdminExternalHandler.handleEdit(self, confInfo)

    def handleRemove(self, confInfo):
        AdminExternalHandler.handleRemove(self, confInfo)
        delete_checkpoints(connect(self), addon(PLUGIN).kind + "://" + self.callerArgs.id)
'''


ALERT_SCRIPT = '''"""{label}: the alert action that Splunk starts."""

import import_declare_test  # noqa: F401  (puts lib/ first on the path)
import sys

from {plugin} import PLUGIN
from siemtap.splunk.runtime.names import addon
from siemtap.splunk.runtime.alert import main

if __name__ == "__main__":
    sys.exit(main(PLUGIN, addon(PLUGIN), "{command}"))
'''


def scripts(plugin: Plugin) -> Dict[str, str]:
    """Return the scripts in bin/: name -> text."""
    app = addon(plugin)
    texts = {
        app.kind: INPUT_SCRIPT.format(title=plugin.title, plugin=plugin.name),
        f"{app.root}_pages": PAGES_SCRIPT.format(title=plugin.title, plugin=plugin.name),
    }
    if plugin.webhook:
        texts[webhook_app(app).kind] = WEBHOOK_SCRIPT.format(title=plugin.title, plugin=plugin.name)
    for command in alert_commands(plugin):
        texts[action_name(plugin, command)] = ALERT_SCRIPT.format(
            label=command.alert, plugin=plugin.name, command=command.name
        )
    return texts
