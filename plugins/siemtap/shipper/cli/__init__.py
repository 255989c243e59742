"""The command line."""

import gc
import sys

from ..memory import run_gc_less_often

if sys.version_info < (3, 10):  # it installs: what an add-on carries runs on Python 3.9
    sys.exit(
        f"siemtap requires Python 3.10 or newer, and this is {sys.version.split()[0]}; install it"
        " with another Python"
    )


def start() -> None:
    """Run the command `siemtap`: the console script.

    What the modules make lives as long as the process: without this, searching it for cycles is a
    sixth of the start.
    """
    run_gc_less_often()
    from .main import main

    gc.freeze()
    main()
