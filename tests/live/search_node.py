"""A temporary OpenSearch node on loopback, which ends with the process that started it.

with Node(**{"http.max_content_length": "1mb"}) as node:
    requests.get(node.url)
    node.kill(); node.start()       # a crash, and a restart on the same data and port"""

from __future__ import annotations

import datetime
import functools
import hashlib
import ipaddress
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

import filelock
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

HERE = Path(__file__).parent / "opensearch"
CACHE = Path(
    os.environ.get("SIEMTAP_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "siemtap"
)
# only the fast compiler, because runs are short
FLAGS = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@functools.cache
def java(least: int = 21) -> Path:
    """Return the folder of a JDK of this version or newer; OpenSearch needs 21."""
    tried = [
        os.environ.get("JAVA_HOME", ""),
        *sorted(map(str, Path("/usr/lib/jvm").glob("*")), reverse=True),
    ]
    if shutil.which("java"):
        tried.append(str(Path(os.path.realpath(shutil.which("java"))).parents[1]))
    for home in filter(None, tried):
        if (Path(home) / "bin/javac").exists():
            printed = subprocess.run(
                [f"{home}/bin/java", "-version"], capture_output=True, text=True, check=False
            ).stderr
            match = re.search(r'version "(\d+)', printed)
            if match and int(match[1]) >= least:
                return Path(home)
    raise RuntimeError(
        f"the server needs a JDK of version {least} or newer; set JAVA_HOME. Tried: "
        + ", ".join(filter(None, tried))
    )


def jars() -> Path:
    """Return the folder of jars. It is filled once for each state of the list."""
    stamp = hashlib.sha256(
        b"".join((HERE / name).read_bytes() for name in ("pom.xml", "OsNode.java"))
    ).hexdigest()[:12]
    lib = CACHE / f"opensearch-{stamp}"
    lib.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(lib / "lock"):
        if not (lib / "ready").exists():
            fill(lib)
    return lib


def fill(lib: Path) -> None:
    """Download the jars into a folder."""
    subprocess.run(
        [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(HERE / "pom.xml"),
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={lib}",
        ],
        check=True,
        timeout=900,
        stdout=subprocess.DEVNULL,
    )
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [java() / "bin/javac", "-cp", f"{lib}/*", "-d", out, HERE / "OsNode.java"],
            check=True,
            timeout=300,
        )
        subprocess.run(
            [java() / "bin/jar", "cf", lib / "os-node.jar", "-C", out, "."], check=True, timeout=300
        )
    (lib / "ready").touch()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Node:
    plugins: tuple[str, ...] = ()
    more_jars: str = ""
    archive = "os-node.jsa"

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
        archive = self.lib / self.archive
        command = [
            java() / "bin/java",
            *FLAGS,
            "-XX:+AutoCreateSharedArchive",
            f"-XX:SharedArchiveFile={archive}",
            "-cp",
            f"{self.lib}/*{self.more_jars}",
            "OsNode",
            self.home,
            *(f"+{name}" for name in self.plugins),
            *(f"{name}={value}" for name, value in self.settings.items()),
        ]
        log = self.home / "node.log"
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                list(map(str, command)),
                stdout=out,
                stderr=out,
                stdin=subprocess.PIPE,
                env={**os.environ, "OS_NODE_PARENT": "1"},
            )
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            if b"READY " in log.read_bytes():
                return
            time.sleep(0.05)
        raise RuntimeError("the node did not start:\n" + log.read_text(errors="replace")[-3000:])

    def ask(self, method: str, path: str, **options):
        return requests.request(method, self.url + path, timeout=300, **options)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def close(self) -> None:
        process = getattr(self, "process", None)
        if process is not None:
            if process.poll() is None and not (self.lib / self.archive).exists():
                # a clean stop writes the class archive, which halves the time of later starts
                process.terminate()
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


# the second list lacks entries of the first
PLUGIN = (
    "org.opensearch.plugin:opensearch-security:3.4.0.0:zip",
    "org.apache.commons:commons-collections4:4.5.0",
)


def security(lib: Path) -> Path:
    """Add the jars of the security plugin that the server lacks, and its configuration. Maven
    Central has an older version than that of the server, which works as well."""
    folder = lib / "security"
    with filelock.FileLock(lib / "lock"):
        if (folder / "ready").exists():
            return folder
        for artifact in PLUGIN:
            subprocess.run(
                [
                    "mvn",
                    "-q",
                    "-B",
                    "-f",
                    str(HERE / "pom.xml"),
                    "dependency:copy",
                    f"-Dartifact={artifact}",
                    f"-DoutputDirectory={folder}",
                ],
                check=True,
                timeout=600,
                stdout=subprocess.DEVNULL,
            )
        existing = {re.sub(r"-\d[\w.\-]*\.jar$", "", path.name) for path in lib.glob("*.jar")}
        with zipfile.ZipFile(next(folder.glob("*.zip"))) as plugin:
            for entry in plugin.namelist():
                if re.fullmatch(r"config/\w+\.yml", entry) or (
                    entry.endswith(".jar")
                    and re.sub(r"-\d[\w.\-]*\.jar$", "", entry) not in existing
                ):
                    plugin.extract(entry, folder)
        (folder / "ready").touch()
    return folder


def certificates(folder: Path) -> None:
    """Write an authority, and the certificates that it signed for the node and an administrator,
    as PEM."""
    now = datetime.datetime.now(datetime.timezone.utc)
    authority = rsa.generate_private_key(65537, 2048)
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test ca")])

    def signed(name, key, extensions):
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
        )
        made = made.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(
            now + datetime.timedelta(days=2)
        )
        for extension, critical in extensions:
            made = made.add_extension(extension, critical)
        return made.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    names = x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    )
    uses = x509.ExtendedKeyUsage(
        [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    (folder / "ca.pem").write_bytes(
        signed(issuer, authority, [(x509.BasicConstraints(True, None), True)])
    )
    for owner in ("node", "admin"):
        key = rsa.generate_private_key(65537, 2048)
        made = signed(
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, owner)]),
            key,
            [(names, False), (uses, False)],
        )
        # the authority is sent along, as Elasticsearch does
        (folder / f"{owner}.pem").write_bytes(made + (folder / "ca.pem").read_bytes())
        (folder / f"{owner}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


class SecureNode(Node):
    """A node with TLS, users and roles: admin/admin, and users that `user` adds."""

    plugins = ("org.opensearch.security.OpenSearchSecurityPlugin",)
    archive = "os-node-secure.jsa"

    def start(self) -> None:
        folder = security(self.lib)
        self.more_jars = f"{os.pathsep}{folder}/*"
        config = self.home / "config"
        if not config.exists():
            shutil.copytree(folder / "config", config / "opensearch-security")
            certificates(config)
        self.url = self.url.replace("http://", "https://")
        self.ca = str(config / "ca.pem")
        self.settings.update(
            {
                "plugins.security.ssl.http.enabled": "true",
                "plugins.security.ssl.transport.enforce_hostname_verification": "false",
                "plugins.security.allow_default_init_securityindex": "true",
                "plugins.security.authcz.admin_dn": "CN=admin",
                "plugins.security.nodes_dn": "CN=node",
                "plugins.security.restapi.roles_enabled": "all_access",
                "plugins.security.audit.type": "noop",
                **{
                    f"plugins.security.ssl.{layer}.{name}_filepath": file
                    for layer in ("http", "transport")
                    for name, file in (
                        ("pemcert", "node.pem"),
                        ("pemkey", "node.key"),
                        ("pemtrustedcas", "ca.pem"),
                    )
                },
            }
        )
        super().start()
        end = time.monotonic() + 120
        while (
            self.ask("GET", "/").status_code != 200
        ):  # the REST API answers before the users are loaded
            if time.monotonic() > end:
                raise RuntimeError("the users did not come")
            time.sleep(0.2)

    def ask(self, method: str, path: str, **options):
        with requests.Session() as session:
            session.trust_env = False  # otherwise REQUESTS_CA_BUNDLE overrides verify
            return session.request(
                method,
                self.url + path,
                timeout=300,
                **{"auth": ("admin", "admin"), "verify": self.ca, **options},
            )

    def user(self, name: str, **role) -> None:
        for path, body in (
            (f"roles/{name}", role),
            (f"internalusers/{name}", {"password": "a-long-Passw0rd-of-4-words!"}),
            (f"rolesmapping/{name}", {"users": [name]}),
        ):
            answer = self.ask("PUT", f"/_plugins/_security/api/{path}", json=body)
            assert answer.status_code in (200, 201), answer.text
