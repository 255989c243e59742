"""Amazon SNS on loopback: its hosts with TLS behind a proxy, its certificate, its signatures.

The shipper calls the real names. A CONNECT proxy leads all of them here, and the certificate of the
server is signed by an authority of the test: no rule of the shipper is weakened.
"""

import base64
import datetime
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import tls
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from siemtap.core.manifest import fill_in
from siemtap.core.settings import Connection

TOPIC = "arn:aws:sns:us-east-1:123456789012:ips-events"
HOST = "sns.us-east-1.amazonaws.com"
TOKEN = "70ken" * 50
CONFIRMED = f"{TOPIC}:00000000-0000-4000-8000-000000000002"
ANSWER = (
    '<ConfirmSubscriptionResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
    f"<ConfirmSubscriptionResult><SubscriptionArn>{CONFIRMED}</SubscriptionArn>"
    "</ConfirmSubscriptionResult></ConfirmSubscriptionResponse>"
)
# written out here, and not taken from the code that is tested
SIGNED = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(key=KEY, name="sns.amazonaws.com", first=-1, last=1):
    """Return a certificate in PEM. `first`, `last`: of its validity, in days from now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=first))
        .not_valid_after(now + datetime.timedelta(days=last))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


def confirmation(version="1", key=KEY, age=0, changes=()):
    """Return a confirmation, changed and then signed. `age`: in days."""
    sent = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=age)
    values = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "00000000-0000-4000-8000-000000000001",
        "Token": TOKEN,
        "TopicArn": TOPIC,
        "Message": f"You have chosen to subscribe to the topic {TOPIC}.\nTo confirm … ü",
        "SubscribeURL": f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}"
        f"&Token={quote(TOKEN)}",
        "Timestamp": f"{sent:%Y-%m-%dT%H:%M:%S}.895Z",
        "SignatureVersion": version,
        "SigningCertURL": f"https://{HOST}/SimpleNotificationService-0a1b2c3d.pem",
        **dict(changes),
    }
    text = "".join(f"{name}\n{values[name]}\n" for name in SIGNED)
    digest = hashes.SHA1() if version == "1" else hashes.SHA256()
    signature = key.sign(text.encode(), PKCS1v15(), digest)
    return {**values, "Signature": base64.b64encode(signature).decode()}


class Sns:
    """`answers`: (status, headers, body) of the certificate and of the confirmation. `paths`: what
    was asked for. `hosts`: which names were called. `hold`: answers wait until it is set."""

    def __init__(self, folder, names=(HOST,)):
        authority = tls.Certificate("authority", authority=True)
        self.ca_file = folder / "authority.pem"
        self.ca_file.write_bytes(authority.pem)
        self.certificate = (200, {}, certificate())
        self.answer = (200, {"content-type": "text/xml"}, ANSWER.encode())
        self.paths = []
        self.hold = threading.Event()
        self.hold.set()
        sns = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                sns.paths.append(self.path)
                sns.hold.wait(300)
                is_certificate = self.path.partition("?")[0].endswith(".pem")
                status, headers, body = sns.certificate if is_certificate else sns.answer
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):  # a client that went away
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf = tls.Certificate("sns", by=authority, hosts=names)
        context.load_cert_chain(leaf.write(folder))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.proxy = tls.Proxy(self.server.server_port)

    @property
    def hosts(self):
        return {part.split()[1].decode().partition(":")[0] for part in self.proxy.received if part}

    @property
    def settings(self):
        return {"proxy": self.proxy.address, "ca_file": str(self.ca_file)}

    def connection(self, **more):
        return fill_in(Connection, {**self.settings, **more})

    def close(self):
        self.hold.set()
        self.proxy.socket.close()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def simulated_sns(folder, **more):
    sns = Sns(folder, **more)
    try:
        yield sns
    finally:
        sns.close()
