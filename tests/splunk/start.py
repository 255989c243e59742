"""What bin/<kind>.py of an add-on says."""

import sys
from importlib import import_module

from siemtap.runners.names import App
from siemtap.runners.splunk import main

sys.exit(
    main(import_module(sys.argv[1]).PLUGIN, App("TA-test", "ta_test", sys.argv[1]), sys.argv[2:])
)
