"""A process without what Windows does not have: python windows_limits.py MODULE ARGUMENTS…

The names are those that Python's documentation marks "Availability: Unix" (library/os, signal,
socket) and that siemtap could use; modules that are imported elsewhere are hidden. It stays Linux
for Python itself: paths, file locks and the event loop are not those of Windows.
"""

import os
import runpy
import signal
import socket
import sys

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "crypt", "spwd")
ON_WINDOWS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"}
OF_OS = (
    # not getuid, geteuid, fchmod and O_NONBLOCK, which pytest and filelock call on Linux
    *("fork", "forkpty", "getgid", "getegid", "getgroups", "setsid", "setuid"),
    *("chown", "lchown", "fchown", "mkfifo", "mknod", "nice", "sched_getaffinity"),
    *("posix_fadvise", "posix_fallocate", "sendfile", "statvfs", "fstatvfs", "uname", "killpg"),
    *("pread", "pwrite", "preadv", "pwritev", "fdatasync", "sync", "sysconf", "getloadavg"),
    *("O_DIRECTORY", "O_SYNC", "O_DSYNC", "getpgid", "getpgrp"),
)
OF_SOCKET = (
    # not AF_UNIX, which the event loop of Linux asks for
    *("SO_REUSEPORT", "MSG_DONTWAIT", "SO_PEERCRED", "TCP_USER_TIMEOUT"),
    *("SO_MARK", "IP_TRANSPARENT", "recv_fds", "send_fds", "CMSG_LEN", "CMSG_SPACE"),
)


def remove():
    """Remove the names and modules."""
    import asyncio  # noqa: F401  (Python's own use of them at import)
    import shutil  # noqa: F401
    import subprocess  # noqa: F401
    import tempfile  # noqa: F401

    try:
        import filelock  # noqa: F401  (its lock is that of the platform)
    except ImportError:  # what a heavy forwarder runs has none
        pass

    for name in MODULES:
        sys.modules[name] = None
    for name in [name for name in dir(signal) if name.startswith("SIG") and name[3] != "_"]:
        if name not in ON_WINDOWS:
            delattr(signal, name)
    for module, names in ((os, OF_OS), (socket, OF_SOCKET)):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)


if __name__ == "__main__":
    remove()
    del sys.argv[0]
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
