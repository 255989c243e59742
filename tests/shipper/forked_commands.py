"""Run many commands of `siemtap` in children of one process that has imported everything, so that
hundreds of them take seconds.

`python forked_commands.py FILE`: FILE is JSON, a list of {"argv", "world", "user", "file_size",
"stdout", "encoding", "deleted"}. Prints a list of {"code", "output"}; a command that hangs is
killed.
"""

import importlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback

import click

LATER = (
    "click._textwrap",
    "cryptography.fernet",
    "cryptography.hazmat.primitives.kdf.scrypt",
    "elasticsearch",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_16",
    "encodings.utf_8_sig",
    "siemtap.bundles.addon",
    "siemtap.bundles.integration",
    "siemtap.shipper.cli.main",
    "siemtap.shipper.processes.supervisor",
    "siemtap.shipper.status.server",
    "siemtap.testing.scaffold",
    "uvicorn.lifespan.off",
    "uvicorn.loops.asyncio",
    "uvicorn.protocols.http.httptools_impl",
)
HANG = 60  # seconds
NOBODY = 65534


def forked(case):
    """Run one command in a child and return its exit code and all that it printed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        _child(case, writing)
    os.close(writing)
    deadline = time.monotonic() + HANG
    output = b""
    while time.monotonic() < deadline:
        if select.select([reading], [], [], deadline - time.monotonic())[0]:
            block = os.read(reading, 65536)
            output += block
            if not block:
                break
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(reading)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"code": code, "output": output.decode("utf-8", "replace")}


def _child(case, output):
    code = 99
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        if case.get("stdout"):
            os.dup2(os.open(case["stdout"], os.O_WRONLY), 1)
        encoding = case.get("encoding", "utf-8")
        sys.stdout = open(1, "w", encoding=encoding, closefd=False)
        sys.stderr = open(2, "w", encoding=encoding, closefd=False)
        os.chdir(case["world"])
        if case.get("deleted"):
            os.rmdir(case["world"])
        if case.get("file_size") is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (case["file_size"],) * 2)
        if case.get("user"):
            os.setgroups([])
            os.setgid(case["user"])
            os.setuid(case["user"])
        sys.argv = ["siemtap", *case["argv"]]
        from siemtap.shipper.cli.main import main

        main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # the interpreter prints it as "Exception ignored"
            pass
        sys.stderr.flush()
        os._exit(code or 0)


def import_all():
    """Import what a command imports later: the user of a world may not read the checkout."""
    for name in LATER:
        importlib.import_module(name)
    for output in importlib.import_module("siemtap.outputs.types").OUTPUTS.values():
        output.load()
    command = importlib.import_module("siemtap.shipper.cli.main").main
    command.list_commands(click.Context(command))  # which imports the other commands


if __name__ == "__main__":
    import_all()
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    print(json.dumps([forked(case) for case in cases]))
