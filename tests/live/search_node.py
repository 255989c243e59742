"""A throw-away OpenSearch node: real, on loopback, gone with the process that started it.

    with Node(**{"http.max_content_length": "1mb"}) as node:
        requests.get(node.url)
        node.kill(); node.start()       # a crash, and back on the same data and port
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import filelock
import requests

HERE = Path(__file__).parent / "opensearch"
CACHE = Path(os.environ.get("SIEMTAP_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "siemtap")
FLAGS = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")        # the quick compiler only: short runs


def java() -> Path:
    """The folder of a Java that is at least 21."""
    tried = [os.environ.get("JAVA_HOME", ""), *sorted(map(str, Path("/usr/lib/jvm").glob("*")), reverse=True)]
    if shutil.which("java"):
        tried.append(str(Path(os.path.realpath(shutil.which("java"))).parents[1]))
    for home in filter(None, tried):
        if (Path(home) / "bin/javac").exists():
            said = subprocess.run([f"{home}/bin/java", "-version"], capture_output=True, text=True, check=False).stderr
            found = re.search(r'version "(\d+)', said)
            if found and int(found[1]) >= 21:
                return Path(home)
    raise RuntimeError("OpenSearch needs a JDK of version 21 or newer; set JAVA_HOME. Tried: " + ", ".join(filter(None, tried)))


def jars() -> Path:
    """The folder of jars, filled once for each state of the list."""
    stamp = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in ("pom.xml", "OsNode.java"))).hexdigest()[:12]
    lib = CACHE / f"opensearch-{stamp}"
    lib.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(lib / "lock"):
        if not (lib / "ready").exists():
            fill(lib)
    return lib


def fill(lib: Path) -> None:
    subprocess.run(["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={lib}"],
                   check=True, timeout=900, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([java() / "bin/javac", "-cp", f"{lib}/*", "-d", out, HERE / "OsNode.java"], check=True, timeout=120)
        subprocess.run([java() / "bin/jar", "cf", lib / "os-node.jar", "-C", out, "."], check=True, timeout=60)
    (lib / "ready").touch()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Node:
    def __init__(self, **settings: str) -> None:
        self.lib, self.port = jars(), free_port()
        self.home = Path(tempfile.mkdtemp(prefix="siemtap-node-"))
        self.settings = {"http.port": str(self.port), **settings}
        self.url = f"http://127.0.0.1:{self.port}"
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        archive = self.lib / "os-node.jsa"
        command = [java() / "bin/java", *FLAGS, "-XX:+AutoCreateSharedArchive", f"-XX:SharedArchiveFile={archive}", "-cp", f"{self.lib}/*", "OsNode", self.home,
                   *(f"{name}={value}" for name, value in self.settings.items())]
        log = self.home / "node.log"
        with open(log, "wb") as out:
            self.process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=out, stdin=subprocess.PIPE, env={**os.environ, "OS_NODE_PARENT": "1"})
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            if b"READY " in log.read_bytes():
                return
            time.sleep(0.05)
        raise RuntimeError("the node did not start:\n" + log.read_text(errors="replace")[-3000:])

    def ask(self, method: str, path: str, **how):
        return requests.request(method, self.url + path, timeout=60, **how)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def close(self) -> None:
        process = getattr(self, "process", None)
        if process is not None:
            if process.poll() is None and not (self.lib / "os-node.jsa").exists():
                process.terminate()         # a clean stop writes the class archive, which halves every later start
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    pass
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdin.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *exc) -> None:
        self.close()
