"""The script bin/<kind>.py of an add-on."""

import sys
from importlib import import_module

from siemtap.splunk.runtime.names import App
from siemtap.splunk.runtime.script import main

sys.exit(
    main(import_module(sys.argv[1]).PLUGIN, App("TA-test", "ta_test", sys.argv[1]), sys.argv[2:])
)
