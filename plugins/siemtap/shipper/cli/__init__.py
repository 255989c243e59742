"""The command line."""

import sys

if sys.version_info < (3, 10):  # it installs: what an add-on carries runs on Python 3.9
    sys.exit(
        f"siemtap requires Python 3.10 or newer, and this is {sys.version.split()[0]}; install it"
        " with another Python"
    )
